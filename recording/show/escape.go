package show

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// visible reports whether a terminal shows a character where it stands, and as
// something. Control characters, those that turn the direction of text, and those
// that have no width do not pass: a recording is foreign, and must neither steer
// the terminal nor show what it does not hold.
func visible(r rune) bool {
	return r >= ' ' && r < 0x7f ||
		unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// plain reports whether text is visible ASCII alone, as most is.
func plain[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Clean escapes in a text from outside what a terminal or a page would obey, or not show, as Go
// does: \n, \x1b, \u202e. Bytes that are no UTF-8 become \xff.
func Clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if part := s[i : i+n]; visible(r) && !(r == utf8.RuneError && n == 1) {
			b.WriteString(part)
		} else {
			quoted := strconv.QuoteToASCII(part)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += n
	}
	return b.String()
}

// CleanLines is Clean for a text of several lines. Tabs become spaces, and each line ends with a
// line feed alone.
func CleanLines(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = Clean(strings.ReplaceAll(l, "\t", "        "))
	}
	return strings.Join(lines, "\n")
}

// CleanJSON is Clean for a line of JSON, which stays JSON of the same meaning. JSON itself asks
// for escapes below U+0020 alone.
func CleanJSON(p []byte) []byte {
	if plain(p) {
		return p
	}
	out := make([]byte, 0, len(p)+64)
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		switch {
		case visible(r) && !(r == utf8.RuneError && n == 1), r < ' ':
			out = append(out, p[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		p = p[n:]
	}
	return out
}
