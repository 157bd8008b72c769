package canon_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tapedeck/tapedeck/match/canon"
)

// leaves is a visitor that keeps every value with its path.
type leaves struct {
	path []string
	all  []string
}

func (l *leaves) Enter(s canon.Step) {
	l.path = append(l.path, fmt.Sprintf("%c%q#%d", s.Axis, s.Name, s.N))
}
func (l *leaves) Leave() { l.path = l.path[:len(l.path)-1] }
func (l *leaves) Leaf(k canon.Kind, value []byte) {
	l.all = append(l.all, fmt.Sprintf("%s %c%q", strings.Join(l.path, ""), k, value))
}

// tree reads a body and returns its values. It returns a body that violates the format as bytes.
func tree(f canon.Format, p canon.Params, body string) []string {
	var l leaves
	if f.Walk([]byte(body), p, &l) != nil {
		return []string{"bytes " + body}
	}
	slices.Sort(l.all)
	return append(l.all, f.String())
}

func same(contentType, a, b string) bool {
	f, p := canon.Detect(contentType, []byte(a))
	g, q := canon.Detect(contentType, []byte(b))
	return slices.Equal(tree(f, p, a), tree(g, q, b))
}

const (
	jsonType  = "application/json"
	xmlType   = "application/soap+xml; charset=utf-8"
	formType  = "application/x-www-form-urlencoded"
	protoType = "application/x-protobuf"
)

func TestWhatIsTheSame(t *testing.T) {
	part := func(boundary string, parts ...string) string {
		return "--" + boundary + "\r\n" + strings.Join(parts, "\r\n--"+boundary+"\r\n") + "\r\n--" + boundary + "--\r\n"
	}
	a := "Content-Disposition: form-data; name=\"a\"\r\n\r\n1"
	b := "Content-Disposition: form-data; name=\"b\"; filename=\"x.json\"\r\nContent-Type: application/json\r\n\r\n{\"m\": 1.0, \"n\": 2}"
	b2 := "content-type: application/json\r\ncontent-disposition: form-data; filename=x.json; name=b\r\n\r\n{\"n\":2,\"m\":1}"
	for _, c := range []struct {
		name, contentType, a, b string
		same                    bool
	}{
		{"members in another order", jsonType, `{"a":1,"b":[1,2]}`, ` { "b" : [1, 2] , "a" : 1 } `, true},
		{"items in another order", jsonType, `[1,2]`, `[2,1]`, false},
		{"a number's zeros and exponent", jsonType, `[1,100,0.5,0]`, `[1.0,1e2,5.0E-1,-0.00]`, true},
		{"integers beyond 2^53", jsonType, `12345678901234567890`, `12345678901234567891`, false},
		{"integers of many digits", jsonType, `1` + strings.Repeat("0", 80) + `1`, `1` + strings.Repeat("0", 80) + `2`, false},
		{"decimals that a float64 can't tell apart", jsonType, `0.1`, `0.1000000000000000055511151231257827`, false},
		{"a number and a string", jsonType, `{"a":1}`, `{"a":"1"}`, false},
		{"null and nothing", jsonType, `{"a":null}`, `{}`, false},
		{"empty object and empty array", jsonType, `{"a":{}}`, `{"a":[]}`, false},
		{"escapes", jsonType, `"é/\u2028\ud83d\ude00"`, `"\u00e9\/` + "\u2028😀" + `"`, true},
		{"a lone surrogate and its replacement", jsonType, `"\ud800"`, `"\ufffd"`, false},
		{"two lone surrogates", jsonType, `"\ud800"`, `"\ud801"`, false},
		{"bytes like those of a surrogate", jsonType, "\"\xed\xcd\xcd\"", `"\ud34d"`, false},
		{"bytes of two surrogates, and the character that their escapes mean", jsonType, "\"\xed\xa0\xbd\xed\xb8\x80\"", `"\ud83d\ude00"`, false},
		{"the order of equal names", jsonType, `{"a":1,"a":2}`, `{"a":2,"a":1}`, false},
		{"an equal name twice", jsonType, `{"a":2}`, `{"a":1,"a":2}`, false},
		{"a name with a dot and a path", jsonType, `{"a.b":1}`, `{"a":{"b":1}}`, false},
		{"a number as a name and an index", jsonType, `{"a":{"0":1}}`, `{"a":[1]}`, false},
		{"a byte order mark", jsonType, "\ufeff{}", "{}", true},
		{"invalid JSON is compared as bytes", jsonType, `{"a":1,}`, `{"a":1, }`, false},
		{"invalid JSON, equal bytes", jsonType, `{"a":1,}`, `{"a":1,}`, true},
		{"bytes that are not UTF-8", jsonType, "\"\xff\"", "\"\xfe\"", false},
		{"JSON that calls itself text", "text/plain", `{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		{"JSON that curl calls a form", formType, `{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		{"a form that begins like JSON", formType, `{a=1&b=2`, `b=2&{a=1`, true},
		{"lines of JSON", "application/x-ndjson", "{\"a\":1,\"b\":2}\n{}\n", `{"b":2,"a":1}` + "\r\n\n{}", true},
		{"lines of JSON that call themselves JSON", jsonType, "{\"a\":1,\"b\":2}\n{}\n", "{\"b\":2, \"a\":1}\n{}", true},
		{"the order of lines", "application/x-ndjson", "{}\n[]", "[]\n{}", false},
		{"lines and an array", jsonType, "{}\n{}", "[{},{}]", false},

		{"the order of attributes", xmlType, `<a x="1" y="2"/>`, `<a y='2' x="1"></a>`, true},
		{"prefixes", xmlType, `<s:a xmlns:s="urn:s" s:i="1"><s:b/></s:a>`, `<a xmlns="urn:s" xmlns:t="urn:s" t:i="1"><t:b/></a>`, true},
		{"an attribute with and without namespace", xmlType, `<a xmlns="urn:s" i="1"/>`, `<t:a xmlns:t="urn:s" t:i="1"/>`, false},
		{"namespaces", xmlType, `<a xmlns="urn:s"/>`, `<a xmlns="urn:t"/>`, false},
		{"space between elements, comments, declaration", xmlType, "<?xml version=\"1.0\"?>\n<a>\n  <b>1</b><!-- c -->\n</a>\n", `<a><b>1</b></a>`, true},
		{"space that is kept", xmlType, `<a xml:space="preserve"> <b/></a>`, `<a xml:space="preserve"><b/></a>`, false},
		{"space in text", xmlType, `<a> 1</a>`, `<a>1</a>`, false},
		{"CDATA and entities", xmlType, `<a><![CDATA[1<2]]>&amp;</a>`, `<a>1&lt;2&#38;</a>`, true},
		{"the order of elements", xmlType, `<a><b/><c/></a>`, `<a><c/><b/></a>`, false},
		{"the order of equal elements", xmlType, `<a><b>1</b><b>2</b></a>`, `<a><b>2</b><b>1</b></a>`, false},
		{"text between elements", xmlType, `<a>x<b/>y</a>`, `<a>y<b/>x</a>`, false},
		{"an entity that is defined inside", xmlType, `<!DOCTYPE a [<!ENTITY e "1">]><a>&e;</a>`, `<!DOCTYPE a [<!ENTITY e "1">]><a>1</a>`, false},

		{"fields in another order", formType, "a=1&b=2", "b=2&a=1", true},
		{"a query that selects nothing, and empty JSON", formType, "query={,}", "query={}", false},
		{"equal fields in another order", formType, "a=1&a=2", "a=2&a=1", false},
		{"escapes of a form", formType, "a=x+y%21", "a=x%20y!", true},
		{"a field without value", formType, "a", "a=", true},
		{"a field that is JSON", formType, `payload={"a":1,"b":2}`, `payload=%7B%22b%22:2,+%22a%22:1%7D`, true},

		{"boundaries, order of parts and of a part's headers", "multipart/form-data; boundary=x", part("x", a, b), part("x", b2, a), true},
		{"parts of the same name", "multipart/form-data; boundary=x", part("x", a, a+"2"), part("x", a+"2", a), false},
		{"file names", "multipart/form-data; boundary=x", part("x", b), part("x", strings.Replace(b, "x.json", "y.json", 1)), false},

		{"a query's spelling", jsonType, `{"query":"query Q($a:Int,$b:Int){ f(x:$a, y:{m:1 n:\"s\"}) { id } } # c","variables":{"a":1,"b":2}}`,
			`{"variables":{"b":2,"a":1},"operationName":null,"query":"query Q($b: Int $a: Int)\n{\n\tf(y: {n: \"\"\"s\"\"\", m: 1}, x: $a) {id}\n}","extensions":{}}`, true},
		{"the order of what is selected", jsonType, `{"query":"{a b}"}`, `{"query":"{b a}"}`, false},
		{"arguments", jsonType, `{"query":"{f(x:1)}"}`, `{"query":"{f(x:2)}"}`, false},
		{"operations", jsonType, `{"query":"query A{a} query B{b}","operationName":"A"}`, `{"query":"query A{a} query B{b}","operationName":"B"}`, false},
		{"a batch of queries", jsonType, `[{"query":"{ a }"},{"query":"{ b }"}]`, `[{"query":"{a}"},{"query":"{b}"}]`, true},
		{"a search is not GraphQL", jsonType, `{"query":"{ shoes"}`, `{"query":"{shoes"}`, false},

		{"fields of a message in another order", protoType, "\x08\x01\x12\x01a", "\x12\x01a\x08\x01", true},
		{"fields of a nested message in another order", protoType, "\x0a\x05\x08\x01\x12\x01a", "\x0a\x05\x12\x01a\x08\x01", true},
		{"repeated fields in another order", protoType, "\x08\x01\x08\x02", "\x08\x02\x08\x01", false},
		{"a long varint", protoType, "\x08\x01", "\x08\x81\x00", true},
		{"a timestamp with a long zero, and with none", protoType, "\x0a\x09\x08\xc0\xc7\xe1\xc7\x06\x10\x80\x00", "\x0a\x06\x08\xc0\xc7\xe1\xc7\x06", true},
		{"a varint and a fixed number", protoType, "\x08\x01", "\x0d\x01\x00\x00\x00", false},
		{"no message", protoType, "\x0b\x01", "\x0b\x02", false},

		{"bytes", "application/octet-stream", "a", "a ", false},
		{"text", "text/html", "<p>a</p>", "<p>a </p>", false},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			if got := same(c.contentType, c.a, c.b); got != c.same {
				f, p := canon.Detect(c.contentType, []byte(c.a))
				t.Errorf("same = %v, want %v\n%q: %q\n%q: %q", got, c.same, c.a, tree(f, p, c.a), c.b, tree(f, p, c.b))
			}
		})
	}
}

// TestHostileBodiesTakeLinearTime reads bodies that would take a naive reader quadratic time, at one
// length and at sixteen times that length.
func TestHostileBodiesTakeLinearTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		format canon.Format
		make   func(n int) string
	}{
		{"open arrays", canon.JSON, func(n int) string { return strings.Repeat("[", n) }},
		{"many members", canon.JSON, func(n int) string { return "{" + strings.Repeat(`"a":1,`, n) + `"b":1}` }},
		{"different members", canon.JSON, func(n int) string { return "{" + members(n) + `"b":1}` }},
		{"digits", canon.JSON, func(n int) string { return "0." + strings.Repeat("9", n) + "e9" }},
		{"open elements", canon.XML, func(n int) string { return strings.Repeat("<a>", n) }},
		{"elements", canon.XML, func(n int) string { return "<a>" + strings.Repeat("<b/><c/>", n) + "</a>" }},
		{"fields", canon.Form, func(n int) string { return strings.Repeat("a&", n) }},
		{"braces", canon.Document, func(n int) string { return strings.Repeat("{a", n) }},
		{"nested arguments", canon.Document, func(n int) string {
			return "{" + strings.Repeat("a(b:"+strings.Repeat("[", 400)+strings.Repeat("]", 400)+")", n/800) + "}"
		}},
		{"variables", canon.Document, func(n int) string { return "query(" + strings.Repeat("$a:B", n) + "){a}" }},
		{"messages in messages", canon.Protobuf, func(n int) string { return messages(n) }},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			took := func(n int) time.Duration {
				src := []byte(c.make(n))
				best := time.Hour
				for range 3 {
					start := cpuTime()
					c.format.Walk(src, canon.Params{}, nobody{})
					best = min(best, cpuTime()-start)
				}
				return best
			}
			// Readers stop at a lower depth. Below it, each level also takes the time to grow the stack.
			const n = 16_000
			if small, large := took(n), took(16*n); large > 100*max(small, 100*time.Microsecond) { // quadratic: 256 times
				t.Errorf("%d took %v, sixteen times as much %v", n, small, large)
			}
		})
	}
}

// cpuTime returns the CPU time of this thread, so that other processes make no difference.
func cpuTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// messages returns nested messages. The innermost level has n bytes that are not a message.
func messages(n int) string {
	b := append(bytes.Repeat([]byte{8, 1}, n), 7)
	for range 100 {
		b = protowire.AppendBytes([]byte{0x0a}, b)
	}
	return string(b)
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":1,`, i)
	}
	return b.String()
}

type nobody struct{}

func (nobody) Enter(canon.Step)        {}
func (nobody) Leaf(canon.Kind, []byte) {}
func (nobody) Leave()                  {}
