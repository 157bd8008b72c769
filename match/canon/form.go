package canon

import (
	"bytes"
	"net/url"
	"strings"
)

// WalkQuery reads a URL's query or a form (WHATWG URL, section 5). Order counts only among fields
// of the same name. `a` equals `a=`. A percent sign that begins no escape stands for itself. A
// value that is JSON, such as GraphQL variables in a GET, is read as JSON.
func WalkQuery(query string, v Visitor) {
	var names counter
	names.open()
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, value = UnescapeForm(name), UnescapeForm(value)
		v.Enter(Step{Axis: Field, Name: []byte(name), N: names.next([]byte(name))})
		walkValue(name, []byte(value), v)
		v.Leave()
	}
}

// walkValue reads the value of a field: as JSON or a GraphQL document if it is one, otherwise as text.
func walkValue(name string, value []byte, v Visitor) {
	if looksLikeJSON(value) && walkJSON(value, nobody{}) == nil {
		walkJSON(value, v)
		return
	}
	if name == "query" && bytes.IndexByte(value, '{') >= 0 {
		// `{,}` selects nothing, and its canonical form `{}` would be JSON.
		if text, err := appendGraphQL(nil, value); err == nil && walkJSON(text, nobody{}) != nil {
			value = text
		}
	}
	v.Leaf(Text, value)
}

// nobody is a visitor that does nothing. It serves to check whether a body conforms to a format.
type nobody struct{}

func (nobody) Enter(Step)        {}
func (nobody) Leaf(Kind, []byte) {}
func (nobody) Leave()            {}

// UnescapeForm decodes a name or value of a form or query. A percent sign that begins no escape
// stands for itself.
func UnescapeForm(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// printForm writes the fields sorted by name.
func printForm(dst []byte, n *node) []byte {
	for i, f := range n.sorted() {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(append(dst, url.QueryEscape(string(f.name))...), '=')
		value := f.value
		if len(f.children) > 0 || f.kind != Text {
			value = printJSON(nil, f)
		}
		dst = append(dst, url.QueryEscape(string(value))...)
	}
	return dst
}
