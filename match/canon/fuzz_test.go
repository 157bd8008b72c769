package canon_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/match/canon"
)

// check reads a body as a format says and holds it to what every format promises: the
// canonical form is a body of the same format, with the same tree, and is its own
// canonical form.
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
		// Shuffled and spaced out, it is the same.
		v := parse(body)
		other := v.print(nil, rand.New(rand.NewPCG(seed, 1)))
		if two, err := canon.JSON.Append(nil, other, canon.Params{}); err != nil || !bytes.Equal(one, two) {
			t.Fatalf("%q\n%q, shuffled %q\n%q, %v", body, one, other, two, err)
		}
		// With one value changed, it is another.
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
	f.Fuzz(func(t *testing.T, body []byte) { check(t, canon.JSONLines, canon.Params{}, body) })
}

func FuzzXML(f *testing.F) {
	for _, s := range []string{
		`<?xml version="1.0"?><!DOCTYPE a><s:a xmlns:s="urn:s" s:i="1" i="2"><b> x <c/>y</b><?p i?></s:a>`,
		`<a xml:space="preserve"> <b xmlns=""/> </a>`, `<a><![CDATA[<]]>&#10;</a>`, `<a:b/>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) { check(t, canon.XML, canon.Params{}, body) })
}

func FuzzForm(f *testing.F) {
	f.Add([]byte("a=1&b=%7B%22a%22:1%7D&a=%zz+&=x&query={a}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		one := check(t, canon.Form, canon.Params{}, body)
		pairs := bytes.Split(body, []byte("&"))
		slices.SortStableFunc(pairs, func(a, b []byte) int { return bytes.Compare(formName(a), formName(b)) })
		if two, _ := canon.Form.Append(nil, bytes.Join(pairs, []byte("&")), canon.Params{}); !bytes.Equal(one, two) {
			t.Fatalf("%q\n%q, sorted by name\n%q", body, one, two)
		}
	})
}

// formName is a field's name, read by the form reader itself.
func formName(pair []byte) []byte {
	name, _, _ := bytes.Cut(pair, []byte("="))
	one, _ := canon.Form.Append(nil, name, canon.Params{})
	return one
}

func FuzzMultipart(f *testing.F) {
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Type: application/json\r\n\r\n{\"b\":1, \"a\":2}\r\n--x--\r\n"))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"a\\\"\"; filename=\"--part\"\r\n\r\n--part\r\n--x--"))
	f.Fuzz(func(t *testing.T, body []byte) { check(t, canon.Multipart, canon.Params{Boundary: "x"}, body) })
}

func FuzzGraphQL(f *testing.F) {
	f.Add([]byte(`{"query":"query Q($b:Int=1@d(x:1),$a:[Int!]!){f(y:{n:\"s\",m:1.5},x:$a)...on T@i{id}}#c","variables":{"b":1}}`))
	f.Add([]byte(`[{"query":"{a}"},{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}]`))
	f.Fuzz(func(t *testing.T, body []byte) { check(t, canon.GraphQL, canon.Params{}, body) })
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte("query Q($b: Int = 1, $a: [Int!]!) {\n f(y: {n: \"\"\"\n  s\n \\\"\"\" \"\"\", m: -1.5e3}, x: $a) { ...on T @i { id } } # c\n}"))
	f.Fuzz(func(t *testing.T, body []byte) { check(t, canon.Document, canon.Params{}, body) })
}

func FuzzProtobuf(f *testing.F) {
	f.Add([]byte("\x12\x05\x12\x01a\x08\x01\x08\x96\x01\x19\x01\x02\x03\x04\x05\x06\x07\x08\x25\x01\x02\x03\x04"))
	f.Add([]byte("\x0a\x0b\x08\xc0\xc7\xe1\xc7\x06\x10\x80\x94\xeb\xdc\x03"))
	f.Fuzz(func(t *testing.T, body []byte) { check(t, canon.Protobuf, canon.Params{}, body) })
}
