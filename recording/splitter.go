package recording

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// splitter finds the end of a JSON object. It checks nesting and separators only as far as needed
// to notice early that an object has no end. The decoder checks everything else.
type splitter struct {
	nested  [maxDepth/8 + 1]byte // a bit for each level: 1 for an object, 0 for an array
	depth   int
	next    expected
	escaped bool // the next character of the string is escaped
}

type expected uint8

const (
	aValue expected = iota
	aValueOrEnd
	aKey
	aKeyOrEnd
	aColon
	aCommaOrEnd
	inKey
	inString
	inWord // a number, true, false or null
)

type jsonState uint8

const (
	jsonGoesOn jsonState = iota
	jsonEnds
	jsonBad
)

// scan continues with p. It returns how many bytes of p belong to the object or, with jsonBad,
// the position of the wrong byte.
func (s *splitter) scan(p []byte) (int, jsonState) {
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch s.next {
		case inKey, inString:
			if s.escaped {
				s.escaped = false
				if c >= ' ' {
					continue
				}
			} else if len(p)-i >= 8 { // skip plain bytes
				odd := oddBytes(binary.LittleEndian.Uint64(p[i:])) & tops
				if skip := bits.TrailingZeros64(odd) / 8; skip > 0 {
					i += skip - 1
					continue
				}
			}
			switch {
			case c == '\\':
				s.escaped = true
			case c == '"' && s.next == inKey:
				s.next = aColon
			case c == '"':
				s.next = aCommaOrEnd
			case c < ' ':
				return i, jsonBad
			}
			continue
		case inWord:
			if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '+' || c == 'E' {
				continue
			}
			s.next = aCommaOrEnd
		}
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case s.depth == 0:
			if c != '{' {
				return i, jsonBad
			}
			s.open(c)
		case (s.next == aValue || s.next == aValueOrEnd) && (c == '{' || c == '['):
			if !s.open(c) {
				return i, jsonBad
			}
		case (s.next == aValue || s.next == aValueOrEnd) && c == '"':
			s.next = inString
		case (s.next == aValue || s.next == aValueOrEnd) && (c == '-' || '0' <= c && c <= '9' || c == 't' || c == 'f' || c == 'n'):
			s.next = inWord
		case (s.next == aKey || s.next == aKeyOrEnd) && c == '"':
			s.next = inKey
		case s.next == aColon && c == ':':
			s.next = aValue
		case s.next == aCommaOrEnd && c == ',' && s.inObject():
			s.next = aKey
		case s.next == aCommaOrEnd && c == ',':
			s.next = aValue
		case (s.next == aCommaOrEnd || s.next == aKeyOrEnd) && c == '}' && s.inObject(),
			(s.next == aCommaOrEnd || s.next == aValueOrEnd) && c == ']' && !s.inObject():
			s.depth--
			s.next = aCommaOrEnd
			if s.depth == 0 {
				return i + 1, jsonEnds
			}
		default:
			return i, jsonBad
		}
	}
	return len(p), jsonGoesOn
}

// open begins an object or an array.
func (s *splitter) open(c byte) bool {
	if s.depth == maxDepth {
		return false
	}
	bit := byte(1) << (s.depth % 8)
	if c == '{' {
		s.nested[s.depth/8] |= bit
		s.next = aKeyOrEnd
	} else {
		s.nested[s.depth/8] &^= bit
		s.next = aValueOrEnd
	}
	s.depth++
	return true
}

// inObject reports whether the innermost level is an object, not an array.
func (s *splitter) inObject() bool {
	at := s.depth - 1
	return s.nested[at/8]&(1<<(at%8)) != 0
}

// wrong describes what is wrong with the byte at which scan stopped.
func (s *splitter) wrong(c byte) string {
	if s.depth == maxDepth && (c == '{' || c == '[') {
		return fmt.Sprintf("nested more than %d deep", maxDepth)
	}
	return fmt.Sprintf("unexpected %q", c)
}
