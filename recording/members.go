package recording

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// EachMember calls f with the members of a JSON object in order. It returns an error if there
// are more than most, because two bytes of JSON may become a hundred in memory. The text must be
// valid JSON. Values are slices of it, without white space around them: nothing is copied, since a
// record may have [MaxLine] bytes. null counts as an object without members.
func EachMember(text []byte, most int, f func(name string, value []byte) error) error {
	var name string
	isName := true
	return walk(text, "object", '{', '}', most, 2, func(part []byte) error {
		if isName = !isName; isName {
			return f(name, part)
		}
		var err error
		name, _, err = Unquote(part)
		return err
	})
}

// EachElement is [EachMember] for the elements of an array.
func EachElement(text []byte, most int, f func(element []byte) error) error {
	return walk(text, "array", '[', ']', most, 1, f)
}

// walk calls f with the elements of an array, or with the names and values of an object.
func walk(text []byte, kind string, begin, end byte, most, each int, f func(part []byte) error) error {
	if text = bytes.TrimSpace(text); string(text) == "null" {
		return nil
	}
	if len(text) < 2 || text[0] != begin || text[len(text)-1] != end {
		return fmt.Errorf("found %.20q, want a JSON %s", text, kind)
	}
	text = bytes.TrimSpace(text[1 : len(text)-1])
	for n := 0; len(text) > 0; n++ {
		if n == most*each {
			return fmt.Errorf("a JSON %s has more than %d entries", kind, most)
		}
		at := partEnd(text)
		if err := f(bytes.TrimSpace(text[:at])); err != nil {
			return err
		}
		text = text[min(at+1, len(text)):]
	}
	return nil
}

// partEnd returns the position of the comma or colon that ends the first part of the text.
func partEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = closingQuote(text, i+1)
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return len(text)
}

// closingQuote returns the position of the quote that ends the string at i, or len(text) or more
// if there is none.
func closingQuote(text []byte, i int) int {
	for i < len(text) {
		if len(text)-i >= 8 { // skip plain bytes
			if plain := bits.TrailingZeros64(oddBytes(binary.LittleEndian.Uint64(text[i:]))&tops) / 8; plain > 0 {
				i += plain
				continue
			}
		}
		switch text[i] {
		case '"':
			return i
		case '\\':
			i += 2
		default:
			i++
		}
	}
	return i
}

// Depth returns how deep the objects and arrays of a JSON text are nested: 0 for a string, number
// or literal, 1 for an object that has only those.
func Depth(text []byte) (most int) {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = closingQuote(text, i+1)
		case '{', '[':
			depth++
			most = max(most, depth)
		case '}', ']':
			depth--
		}
	}
	return most
}

// Unquote returns the text of a JSON string, as encoding/json does but several times faster. The
// string must be part of a valid JSON text. Bytes that are not UTF-8 and halves of surrogate pairs
// become U+FFFD, and exact is then false.
func Unquote(part []byte) (plain string, exact bool, err error) {
	if n := len(part); n >= 2 && part[0] == '"' && part[n-1] == '"' && utf8.Valid(part) {
		if plain, exact, ok := unescape(part[1 : n-1]); ok {
			return plain, exact, nil
		}
	}
	return plain, false, json.Unmarshal(part, &plain)
}

// checkJSON returns an error if the text is not JSON. It copies nothing.
func checkJSON(text []byte) error { return json.Unmarshal(text, new(checked)) }

type checked struct{}

func (*checked) UnmarshalJSON([]byte) error { return nil }
