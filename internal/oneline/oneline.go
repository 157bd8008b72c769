// Package oneline makes foreign text safe for a log, an error or an answer.
//
// It imports only the standard library.
package oneline

import (
	"strings"
	"unicode"
)

// Text returns the first max bytes of a text as one line. A run of white space becomes one blank, and
// characters that can't be printed become U+FFFD. If the text was longer, … follows. It takes no more
// memory than the result.
func Text(text string, max int) string {
	cut := len(text) > max
	if cut {
		text = strings.ToValidUTF8(text[:max], "")
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
	if cut {
		text += "…"
	}
	return text
}
