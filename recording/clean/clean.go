// Package clean makes text from a recording safe to show. A recording is not trusted: its text must
// neither control a terminal nor look like different text.
//
// It promises that all text it returns is visible, and that visible text remains unchanged. Its functions
// are pure. It imports only the standard library, and the sidecar links it.
package clean

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Visible reports whether a terminal shows a character, and shows it in its place. Control characters,
// characters that change the direction of text, and characters without a width are not visible.
func Visible(r rune) bool {
	return r >= ' ' && r < 0x7f ||
		unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// plain reports whether text is only visible ASCII, as most text is.
func plain[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// IsText reports whether bytes begin like text: UTF-8 without NUL, and with few other control
// characters.
func IsText(p []byte) bool {
	p = p[:min(len(p), 4<<10)]
	odd, all := 0, 0
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 && len(p) >= utf8.UTFMax || r == 0 {
			return false
		}
		if unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) {
			odd++
		}
		p = p[n:]
		all++
	}
	return odd*20 <= all
}

// Text escapes the characters that are not visible, as Go does: \n, \x1b, \u202e. Bytes that aren't
// UTF-8 are escaped as in \xff.
func Text(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if part := s[i : i+n]; Visible(r) && !(r == utf8.RuneError && n == 1) {
			b.WriteString(part)
		} else {
			quoted := strconv.QuoteToASCII(part)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += n
	}
	return b.String()
}

// Lines is [Text] for text with several lines. Tabs become spaces, and each line ends with only a line
// feed.
func Lines(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = Text(strings.ReplaceAll(l, "\t", "        "))
	}
	return strings.Join(lines, "\n")
}

// JSON is [Text] for a line of JSON. The result is JSON with the same value. JSON itself requires escapes
// only below U+0020.
func JSON(p []byte) []byte {
	if plain(p) {
		return p
	}
	out := make([]byte, 0, len(p)+64)
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		switch {
		case Visible(r) && !(r == utf8.RuneError && n == 1), r < ' ':
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
