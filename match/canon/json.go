package canon

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// walkJSON reads one JSON text (RFC 8259).
//
//   - The order of members does not count. Members of the same name are numbered:
//     {"a":1,"a":2} equals neither {"a":2,"a":1} nor {"a":2}.
//   - Strings are compared unescaped. A lone surrogate remains one.
//   - Numbers are compared as decimals: 1.0 equals 1 and 1e0. Integers of any length are
//     compared exactly.
func walkJSON(src []byte, v Visitor) error {
	s := newJSON(src, v)
	s.space()
	if s.i == len(s.src) {
		return errEmpty
	}
	if err := s.value(); err != nil {
		return err
	}
	if s.space(); s.i < len(s.src) {
		return s.fail("the end")
	}
	return nil
}

// walkLines reads a sequence of JSON texts: JSON Lines, NDJSON, or RFC 7464.
func walkLines(src []byte, v Visitor) error {
	s := newJSON(src, v)
	for n := 0; ; n++ {
		for s.space(); s.i < len(s.src) && s.src[s.i] == recordSeparator; s.space() {
			s.i++
		}
		if s.i == len(s.src) {
			if n == 0 {
				return errEmpty
			}
			return nil
		}
		if err := s.item(n); err != nil {
			return err
		}
	}
}

// recordSeparator begins each text of a JSON text sequence.
const recordSeparator = 0x1e

type jsonReader struct {
	src     []byte
	i       int
	v       Visitor
	depth   int
	names   counter
	scratch []byte
	number  []byte
}

func newJSON(src []byte, v Visitor) *jsonReader {
	s := &jsonReader{src: bytes.TrimPrefix(src, []byte("\ufeff")), v: v}
	if !utf8.Valid(s.src) {
		s.src = []byte{0} // no value begins with this byte
	}
	return s
}

func (s *jsonReader) fail(want string) error { return syntaxError("JSON", s.i, want) }

func (s *jsonReader) space() {
	for s.i < len(s.src) {
		switch s.src[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *jsonReader) value() error {
	if s.i == len(s.src) {
		return s.fail("a value")
	}
	switch c := s.src[s.i]; c {
	case '{':
		return s.object()
	case '[':
		return s.array()
	case '"':
		text, err := s.string()
		if err == nil {
			s.v.Leaf(Text, text)
		}
		return err
	case 't':
		return s.literal("true", Bool)
	case 'f':
		return s.literal("false", Bool)
	case 'n':
		return s.literal("null", Null)
	default:
		from := s.i
		if s.i = numberEnd(s.src, s.i); s.i < 0 {
			s.i = from
			return s.fail("a value")
		}
		s.number = appendNumber(s.number[:0], s.src[from:s.i])
		s.v.Leaf(Number, s.number)
		return nil
	}
}

func (s *jsonReader) literal(word string, k Kind) error {
	if !bytes.HasPrefix(s.src[s.i:], []byte(word)) {
		return s.fail("a value")
	}
	s.i += len(word)
	s.v.Leaf(k, []byte(word))
	return nil
}

func (s *jsonReader) object() error {
	if s.depth++; s.depth > maxDepth {
		return errDepth
	}
	s.names.open()
	s.i++
	if s.space(); s.i < len(s.src) && s.src[s.i] == '}' {
		s.v.Leaf(Object, nil)
	} else {
		for {
			s.space()
			if s.i == len(s.src) || s.src[s.i] != '"' {
				return s.fail("a name")
			}
			name, err := s.string()
			if err != nil {
				return err
			}
			if s.space(); s.i == len(s.src) || s.src[s.i] != ':' {
				return s.fail("a colon")
			}
			s.i++
			s.v.Enter(Step{Axis: Member, Name: name, N: s.names.next(name)})
			s.space()
			if err := s.value(); err != nil {
				return err
			}
			s.v.Leave()
			if s.space(); s.i < len(s.src) && s.src[s.i] == ',' {
				s.i++
				continue
			}
			if s.i == len(s.src) || s.src[s.i] != '}' {
				return s.fail("a comma or }")
			}
			break
		}
	}
	s.i++
	s.names.close()
	s.depth--
	return nil
}

func (s *jsonReader) array() error {
	if s.depth++; s.depth > maxDepth {
		return errDepth
	}
	s.i++
	if s.space(); s.i < len(s.src) && s.src[s.i] == ']' {
		s.v.Leaf(Array, nil)
	} else {
		for n := 0; ; n++ {
			s.space()
			if err := s.item(n); err != nil {
				return err
			}
			if s.space(); s.i < len(s.src) && s.src[s.i] == ',' {
				s.i++
				continue
			}
			if s.i == len(s.src) || s.src[s.i] != ']' {
				return s.fail("a comma or ]")
			}
			break
		}
	}
	s.i++
	s.depth--
	return nil
}

func (s *jsonReader) item(n int) error {
	s.v.Enter(Step{Axis: Item, N: n})
	err := s.value()
	s.v.Leave()
	return err
}

// string reads and unescapes a string. The result is valid until the next call.
func (s *jsonReader) string() ([]byte, error) {
	s.i++
	from := s.i
	for s.i < len(s.src) {
		switch c := s.src[s.i]; {
		case c == '"':
			s.i++
			return s.src[from : s.i-1], nil
		case c == '\\':
			return s.escaped(from)
		case c < ' ':
			return nil, s.fail("no control character")
		}
		s.i++
	}
	return nil, s.fail("the end of the string")
}

// escaped continues string from the first escape.
func (s *jsonReader) escaped(from int) ([]byte, error) {
	out := append(s.scratch[:0], s.src[from:s.i]...)
	for s.i < len(s.src) {
		c := s.src[s.i]
		switch {
		case c == '"':
			s.i++
			s.scratch = out
			return out, nil
		case c < ' ':
			return nil, s.fail("no control character")
		case c != '\\':
			out = append(out, c)
			s.i++
			continue
		}
		if s.i+1 == len(s.src) {
			break
		}
		var n int
		if out, n = appendEscape(out, s.src[s.i:]); n == 0 {
			if s.src[s.i+1] == 'u' {
				return nil, s.fail("four hexadecimal digits")
			}
			return nil, s.fail("an escape")
		}
		s.i += n
	}
	return nil, s.fail("the end of the string")
}

// simpleEscapes maps the character after a backslash to the one that it stands for.
var simpleEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// appendEscape decodes the escape at the beginning of s, as used in strings of JSON (RFC 8259,
// section 7) and GraphQL. n is its length, including a second surrogate, or 0 if there is no
// escape.
func appendEscape(dst, s []byte) (text []byte, n int) {
	if len(s) < 2 {
		return dst, 0
	}
	if c := simpleEscapes[s[1]]; c != 0 {
		return append(dst, c), 2
	}
	r, ok := hex4(s[2:])
	if s[1] != 'u' || !ok {
		return dst, 0
	}
	n = 6
	if low, ok := lowSurrogate(s[n:]); ok && utf16.IsSurrogate(r) {
		if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
			r, n = both, 12
		}
	}
	return appendRune(dst, r), n
}

// lowSurrogate reads the \u escape at the beginning of s. The caller checks that it is a low surrogate.
func lowSurrogate(s []byte) (rune, bool) {
	if !bytes.HasPrefix(s, []byte(`\u`)) {
		return 0, false
	}
	return hex4(s[2:])
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// appendRune appends a rune as UTF-8, and lone surrogates in the same scheme. Valid UTF-8 contains
// no surrogates, so they can't be confused with anything else.
func appendRune(dst []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0xbf, 0x80|byte(r)&0xbf)
	}
	return utf8.AppendRune(dst, r)
}

// printJSON writes members sorted by name, without white space.
func printJSON(dst []byte, n *node) []byte {
	if len(n.children) == 0 {
		switch n.kind {
		case Text:
			return appendJSONString(dst, n.value)
		case Object:
			return append(dst, "{}"...)
		case Array:
			return append(dst, "[]"...)
		}
		return append(dst, n.value...)
	}
	if n.children[0].axis == Item {
		dst = append(dst, '[')
		for i, c := range n.children {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = printJSON(dst, c)
		}
		return append(dst, ']')
	}
	dst = append(dst, '{')
	for i, c := range n.sorted() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = printJSON(append(appendJSONString(dst, c.name), ':'), c)
	}
	return append(dst, '}')
}

// printLines writes one JSON text a line.
func printLines(dst []byte, n *node) []byte {
	for _, c := range n.children {
		dst = append(printJSON(dst, c), '\n')
	}
	return dst
}

// surrogateAt returns the surrogate that s begins with, in the scheme of appendRune, or 0 if there is none.
func surrogateAt(s []byte) rune {
	if len(s) < 3 || s[0] != 0xed || s[1] < 0xa0 || s[1] > 0xbf || s[2]&0xc0 != 0x80 {
		return 0
	}
	return 0xd000 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f)
}

// appendJSONString appends a string with the fewest escapes.
func appendJSONString(dst, s []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c == 0xed:
			r := surrogateAt(s[i:])
			switch next := surrogateAt(s[min(i+3, len(s)):]); {
			case r == 0:
				dst = append(dst, c)
			case utf16.DecodeRune(r, next) != utf8.RuneError: // escaped, the two would be one character
				dst = append(dst, s[i:i+6]...)
				i += 5
			default:
				dst = append(dst, '\\', 'u', digits[r>>12], digits[r>>8&15], digits[r>>4&15], digits[r&15])
				i += 2
			}
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
