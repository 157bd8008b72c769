package clean

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// MaxIndent is how many levels are indented. Deeper levels are written on one line, so that a body can't
// become a thousand times as long.
const MaxIndent = 50

// ErrLimit means that the text reached the limit.
var ErrLimit = errors.New("the text is longer than the limit")

// recordSeparator begins each text of a JSON text sequence (RFC 7464).
const recordSeparator = 0x1e

// IndentJSON writes one or several JSON texts in a row, with each value on a separate line. It changes
// only white space, and escapes characters that are not [Visible]. Bytes of src that aren't UTF-8 become
// U+FFFD. It returns the text, and how many bytes of src are in it. The error is [io.ErrUnexpectedEOF] if
// src ends early, [ErrLimit] once the text has limit bytes, or describes invalid JSON. The text up to the
// error is returned even then.
func IndentJSON(src []byte, limit int) (text []byte, used int, err error) {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	p := jsonIndenter{src: src, limit: limit}
	err = p.run()
	return p.out, p.i, err
}

type jsonIndenter struct {
	src, out []byte
	i        int
	limit    int
	open     []byte // open brackets
	values   int    // the number of texts
}

// The states say which token may come next.
type jsonState byte

const (
	wantValue  jsonState = iota
	wantItem             // an item, or the end of an empty array
	wantMember           // a member, or the end of an empty object
	wantName
	wantColon
	wantMore // a comma or an end
)

func (p *jsonIndenter) run() error {
	for state := wantValue; ; {
		p.space(len(p.open) == 0)
		if p.i == len(p.src) {
			if len(p.open) > 0 || p.values == 0 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		var err error
		if state, err = p.step(state); err != nil {
			return err
		}
		if len(p.open) == 0 {
			state = wantValue
			p.values++
		}
	}
}

func (p *jsonIndenter) space(between bool) {
	for p.i < len(p.src) {
		switch c := p.src[p.i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r', between && c == recordSeparator:
			p.i++
		default:
			return
		}
	}
}

// step writes the next token, and returns the next state.
func (p *jsonIndenter) step(state jsonState) (jsonState, error) {
	c := p.src[p.i]
	switch {
	case (state == wantItem || state == wantMore && p.last() == '[') && c == ']', (state == wantMember || state == wantMore && p.last() == '{') && c == '}':
		p.open = p.open[:len(p.open)-1]
		if state == wantMore {
			p.line()
		}
		p.out = append(p.out, c)
		p.i++
		return wantMore, nil
	case state == wantMore && c == ',':
		p.out = append(p.out, c)
		p.i++
		if len(p.out) >= p.limit {
			return 0, ErrLimit
		}
		p.line()
		if p.last() == '{' {
			return wantName, nil
		}
		return wantValue, nil
	case state == wantColon && c == ':':
		p.out = append(p.out, ": "...)
		p.i++
		return wantValue, nil
	case (state == wantName || state == wantMember) && c == '"':
		if state == wantMember {
			p.line()
		}
		return wantColon, p.string()
	case state == wantValue || state == wantItem:
		if state == wantItem || len(p.open) == 0 && p.values > 0 {
			p.line()
		}
		if len(p.out) >= p.limit {
			return 0, ErrLimit
		}
		switch c {
		case '{':
			p.bracket(c)
			return wantMember, nil
		case '[':
			p.bracket(c)
			return wantItem, nil
		case '"':
			return wantMore, p.string()
		}
		return wantMore, p.literal()
	}
	return 0, p.fail([...]string{"a value", "a value or ]", "a name or }", "a name", "a colon", "a comma or the end"}[state])
}

func (p *jsonIndenter) fail(want string) error { return fmt.Errorf("byte %d: want %s", p.i, want) }

func (p *jsonIndenter) last() byte { return p.open[len(p.open)-1] }

func (p *jsonIndenter) bracket(c byte) {
	p.open = append(p.open, c)
	p.out = append(p.out, c)
	p.i++
}

// line begins a line.
func (p *jsonIndenter) line() {
	if len(p.open) > MaxIndent {
		return
	}
	p.out = append(p.out, '\n')
	for range p.open {
		p.out = append(p.out, "  "...)
	}
}

func (p *jsonIndenter) string() error {
	for i := p.i + 1; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == '"':
			p.out = append(p.out, JSON(p.src[p.i:i+1])...)
			p.i = i + 1
			return nil
		case c < ' ':
			p.i = i
			return p.fail("no control character")
		case c == '\\':
			if i++; i < len(p.src) && bytes.IndexByte([]byte(`"\/bfnrtu`), p.src[i]) < 0 {
				p.i = i
				return p.fail("an escape")
			}
			if i == len(p.src) || p.src[i] != 'u' {
				continue
			}
			for range 4 {
				if i++; i < len(p.src) && bytes.IndexByte([]byte("0123456789abcdefABCDEF"), p.src[i]) < 0 {
					p.i = i
					return p.fail("four hexadecimal digits")
				}
			}
		}
	}
	p.cut()
	return io.ErrUnexpectedEOF
}

// cut writes the rest of a token that was cut.
func (p *jsonIndenter) cut() {
	rest := p.src[p.i:]
	for n := 1; n < utf8.UTFMax && n <= len(rest); n++ { // the last character may be incomplete
		if tail := rest[len(rest)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				rest = rest[:len(rest)-n]
			}
			break
		}
	}
	p.out = append(p.out, JSON(rest)...)
	p.i = len(p.src)
}

func (p *jsonIndenter) literal() error {
	end := p.i
	for end < len(p.src) && bytes.IndexByte([]byte("+-.0123456789abcdefghijklmnopqrstuvwxyzE"), p.src[end]) >= 0 {
		end++
	}
	word := p.src[p.i:end]
	switch {
	case isJSONNumber(word) || slices.Contains([]string{"true", "false", "null"}, string(word)):
		p.out = append(p.out, word...)
		p.i = end
		return nil
	case end == len(p.src) && len(word) > 0:
		p.cut()
		return io.ErrUnexpectedEOF
	}
	return p.fail("a value")
}

// isJSONNumber reports whether a text is a number (RFC 8259, section 6).
func isJSONNumber(s []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	s = bytes.TrimPrefix(s, []byte("-"))
	zero := len(s) > 1 && s[0] == '0' && '0' <= s[1] && s[1] <= '9'
	if zero || !digits() {
		return false
	}
	if len(s) > 0 && s[0] == '.' {
		if s = s[1:]; !digits() {
			return false
		}
	}
	if len(s) > 0 && s[0]|0x20 == 'e' {
		if s = s[1:]; len(s) > 0 && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(s) == 0
}
