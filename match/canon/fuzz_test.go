package canon_test

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tapedeck/tapedeck/match/canon"
)

// check reads a body in a format and checks what holds for every format: the canonical form is a
// body of the same format, has the same tree, and is its own canonical form.
func check(t *testing.T, f canon.Format, p canon.Params, body []byte) (canonical []byte) {
	var n nesting
	err := f.Walk(body, p, &n)
	if err != nil {
		return nil
	}
	if n.depth != 0 {
		t.Fatalf("%d steps down and not up again", n.depth)
	}
	one, err := f.Append(nil, body, p)
	if err != nil {
		t.Fatalf("walk reads it, append doesn't: %v", err)
	}
	q := p
	if f == canon.Multipart {
		_, q = canon.Detect("multipart/form-data; boundary="+string(one[2:bytes.IndexByte(one, '\r')]), nil)
	}
	two, err := f.Append(nil, one, q)
	if err != nil {
		t.Fatalf("the canonical form %q of %q: %v", one, body, err)
	}
	if !bytes.Equal(one, two) {
		t.Fatalf("canonical form of %q:\n%q, and of that:\n%q", body, one, two)
	}
	if a, b := tree(f, p, string(body)), tree(f, q, string(one)); f != canon.Protobuf && !slices.Equal(a, b) {
		t.Fatalf("%q reads as\n%q, its canonical form %q as\n%q", body, a, one, b)
	}
	return one
}

// pick returns a number below n that depends only on the body.
func pick(body []byte, n int) int {
	h := fnv.New64a()
	h.Write(body)
	return int(h.Sum64() % uint64(n))
}

// checkTypo checks that different values remain different: another letter somewhere after from in
// the canonical form makes a different body, or one that violates the format.
func checkTypo(t *testing.T, f canon.Format, one []byte, from int) {
	var letters []int
	for i, c := range one[from:] {
		if 'a' <= c|0x20 && c|0x20 <= 'z' {
			letters = append(letters, from+i+1)
		}
	}
	if len(letters) == 0 {
		return
	}
	at := letters[pick(one, len(letters))]
	typo := slices.Insert(bytes.Clone(one), at, 'x')
	if two, err := f.Append(nil, typo, canon.Params{}); err == nil && bytes.Equal(one, two) {
		t.Fatalf("%q and %q are both the same", one, typo)
	}
}

// checkSame checks that a different spelling makes no difference.
func checkSame(t *testing.T, f canon.Format, p canon.Params, one, other []byte) {
	if two, err := f.Append(nil, other, p); err != nil || !bytes.Equal(one, two) {
		t.Fatalf("%q in another order, %q, is\n%q, %v", one, other, two, err)
	}
}

type nesting struct{ depth int }

func (n *nesting) Enter(canon.Step)        { n.depth++ }
func (n *nesting) Leave()                  { n.depth-- }
func (n *nesting) Leaf(canon.Kind, []byte) {}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1.50e2,"\ud83d\ude00\ud800",null,true],"a":{}}`, "[]", `-0.0e-0`, `1e999999999999999999`, `"\u0000"`, "\ufeff {}"} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		one := check(t, canon.JSON, canon.Params{}, body)
		if one == nil {
			return
		}
		// The value remains the same if it is shuffled and spaced out.
		v := parse(body)
		other := v.print(nil, rand.New(rand.NewPCG(seed, 1)))
		if two, err := canon.JSON.Append(nil, other, canon.Params{}); err != nil || !bytes.Equal(one, two) {
			t.Fatalf("%q\n%q, shuffled %q\n%q, %v", body, one, other, two, err)
		}
		// The value is different if one part of it changes.
		if changed := v.change(seed); changed != nil {
			if two, err := canon.JSON.Append(nil, changed, canon.Params{}); err != nil || bytes.Equal(one, two) {
				t.Fatalf("%q and the changed %q are both %q, %v", body, changed, two, err)
			}
		}
	})
}

func FuzzJSONLines(f *testing.F) {
	f.Add([]byte("{}\n{\"b\":1,\"a\":2}\n"))
	f.Add([]byte("\x1e{}\n\x1e[]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if one := check(t, canon.JSONLines, canon.Params{}, body); one != nil {
			checkTypo(t, canon.JSONLines, one, 0)
		}
	})
}

func FuzzXML(f *testing.F) {
	for _, s := range []string{
		`<?xml version="1.0"?><!DOCTYPE a><s:a xmlns:s="urn:s" s:i="1" i="2"><b> x <c/>y</b><?p i?></s:a>`,
		`<a xml:space="preserve"> <b xmlns=""/> </a>`, `<a><![CDATA[<]]>&#10;</a>`, `<a:b/>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if one := check(t, canon.XML, canon.Params{}, body); one != nil {
			checkSame(t, canon.XML, canon.Params{}, one, reverseAttributes(one))
			checkTypo(t, canon.XML, one, 0)
		}
	})
}

var attribute = regexp.MustCompile(` [^\s=]+="[^"]*"`)

// reverseAttributes returns a canonical document whose start tags have their attributes in another order.
func reverseAttributes(doc []byte) []byte {
	var out []byte
	d := xml.NewDecoder(bytes.NewReader(doc))
	for from := int64(0); ; {
		token, err := d.RawToken()
		to := d.InputOffset()
		text := doc[from:to]
		if _, starts := token.(xml.StartElement); starts {
			text = reversedTag(text)
		}
		out = append(out, text...)
		if err != nil {
			return append(out, doc[to:]...)
		}
		from = to
	}
}

func reversedTag(tag []byte) []byte {
	all := attribute.FindAll(tag, -1)
	if len(all) < 2 {
		return tag
	}
	name := func(a []byte) []byte {
		name := a[1:bytes.IndexByte(a, '=')]
		if bytes.HasPrefix(name, []byte("xmlns")) {
			return name
		}
		return name[bytes.IndexByte(name, ':')+1:] // two prefixes may have the same namespace
	}
	slices.SortStableFunc(all, func(a, b []byte) int { return bytes.Compare(name(b), name(a)) }) // the reader takes two of a name
	return slices.Concat(tag[:bytes.IndexByte(tag, ' ')], bytes.Join(all, nil), []byte(">"))
}

func FuzzForm(f *testing.F) {
	f.Add([]byte("a=1&b=%7B%22a%22:1%7D&a=%zz+&=x&query={a}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		one := check(t, canon.Form, canon.Params{}, body)
		pairs := bytes.Split(body, []byte("&"))
		slices.SortStableFunc(pairs, func(a, b []byte) int { return bytes.Compare(formName(a), formName(b)) })
		checkSame(t, canon.Form, canon.Params{}, one, bytes.Join(pairs, []byte("&")))
		checkTypo(t, canon.Form, one, 0)
	})
}

// formName returns a field's name, read by the form reader itself.
func formName(pair []byte) []byte {
	name, _, _ := bytes.Cut(pair, []byte("="))
	one, _ := canon.Form.Append(nil, name, canon.Params{})
	return one
}

func FuzzMultipart(f *testing.F) {
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Type: application/json\r\n\r\n{\"b\":1, \"a\":2}\r\n--x--\r\n"))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"a\\\"\"; filename=\"--part\"\r\n\r\n--part\r\n--x--"))
	f.Fuzz(func(t *testing.T, body []byte) {
		one := check(t, canon.Multipart, canon.Params{Boundary: "x"}, body)
		if one == nil {
			return
		}
		dashed, rest, _ := bytes.Cut(one, []byte("\r\n"))
		parts := bytes.Split(bytes.TrimSuffix(rest, slices.Concat([]byte("\r\n"), dashed, []byte("--\r\n"))), slices.Concat([]byte("\r\n"), dashed, []byte("\r\n")))
		slices.SortStableFunc(parts, func(a, b []byte) int { return bytes.Compare(partName(b), partName(a)) }) // the other way round
		between := slices.Concat([]byte("\r\n"), dashed, []byte("\r\n"))
		other := slices.Concat(dashed, []byte("\r\n"), bytes.Join(parts, between), []byte("\r\n"), dashed, []byte("--\r\n"))
		checkSame(t, canon.Multipart, canon.Params{Boundary: string(dashed[2:])}, one, other)
	})
}

// partName returns the name of a part, read by the reader itself.
func partName(part []byte) []byte {
	var n steps
	canon.Multipart.Walk(slices.Concat([]byte("--x\r\n"), part, []byte("\r\n--x--\r\n")), canon.Params{Boundary: "x"}, &n)
	return n.first
}

// steps keeps the name of the first step.
type steps struct {
	nesting
	met   bool
	first []byte
}

func (s *steps) Enter(step canon.Step) {
	if !s.met {
		s.met, s.first = true, bytes.Clone(step.Name)
	}
}

func FuzzGraphQL(f *testing.F) {
	f.Add([]byte(`{"query":"query Q($b:Int=1@d(x:1),$a:[Int!]!){f(y:{n:\"s\",m:1.5},x:$a)...on T@i{id}}#c","variables":{"b":1}}`))
	f.Add([]byte(`[{"query":"{a}"},{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		one := check(t, canon.GraphQL, canon.Params{}, body)
		if one == nil {
			return
		}
		other := parse(one).print(nil, rand.New(rand.NewPCG(1, uint64(pick(one, 1000)))))
		if f, _ := canon.Detect("application/json", other); f == canon.GraphQL { // it is not if a name is written in escapes, as no client does
			checkSame(t, canon.GraphQL, canon.Params{}, one, other)
		}
		checkTypo(t, canon.GraphQL, one, 0)
	})
}

var twoArguments = regexp.MustCompile(`\((\w+:\w+),(\w+:\w+)\)`)

func FuzzDocument(f *testing.F) {
	f.Add([]byte("query Q($b: Int = 1, $a: [Int!]!) {\n f(y: {n: \"\"\"\n  s\n \\\"\"\" \"\"\", m: -1.5e3}, x: $a) { ...on T @i { id } } # c\n}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		one := check(t, canon.Document, canon.Params{}, body)
		if one == nil {
			return
		}
		if !bytes.ContainsAny(one, `"$`) { // so what looks like arguments is
			checkSame(t, canon.Document, canon.Params{}, one, twoArguments.ReplaceAll(one, []byte("($2,$1)")))
		}
		checkTypo(t, canon.Document, one, 0)
	})
}

func FuzzProtobuf(f *testing.F) {
	f.Add([]byte("\x12\x05\x12\x01a\x08\x01\x08\x96\x01\x19\x01\x02\x03\x04\x05\x06\x07\x08\x25\x01\x02\x03\x04"))
	f.Add([]byte("\x0a\x0b\x08\xc0\xc7\xe1\xc7\x06\x10\x80\x94\xeb\xdc\x03"))
	f.Fuzz(func(t *testing.T, body []byte) {
		one := check(t, canon.Protobuf, canon.Params{}, body)
		fields := wireFields(body)
		if one == nil || len(fields) == 0 {
			return
		}
		other := slices.Clone(fields)
		slices.SortStableFunc(other, func(a, b wireField) int { return cmp.Compare(b.number, a.number) })
		var message []byte
		for _, f := range other {
			message = append(message, f.bytes...)
		}
		checkSame(t, canon.Protobuf, canon.Params{}, one, message)
		if i := pick(body, len(fields)); fields[i].kind == protowire.VarintType {
			value, _ := protowire.ConsumeVarint(fields[i].bytes[protowire.SizeTag(fields[i].number):])
			changed := protowire.AppendVarint(protowire.AppendTag(nil, fields[i].number, fields[i].kind), value+1)
			fields[i].bytes = changed
			message = message[:0]
			for _, f := range fields {
				message = append(message, f.bytes...)
			}
			if two, err := canon.Protobuf.Append(nil, message, canon.Params{}); err != nil || bytes.Equal(one, two) {
				t.Fatalf("%q and the changed %q are both %q, %v", body, message, two, err)
			}
		}
	})
}

type wireField struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte
}

// wireFields splits a message into its fields. The canonical form shortens overlong numbers, so
// wireFields returns no fields for a message with an overlong tag.
func wireFields(b []byte) (all []wireField) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeField(b)
		if n < 0 {
			return nil
		}
		_, _, tag := protowire.ConsumeTag(b)
		if tag != protowire.SizeTag(number) {
			return nil
		}
		all = append(all, wireField{number, kind, b[:n]})
		b = b[n:]
	}
	return all
}
