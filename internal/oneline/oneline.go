// Package oneline makes text of other programs fit for a log, an error or an answer.
//
// It imports the standard library alone.
package oneline

import (
	"strings"
	"unicode"
)

// Text returns the first max bytes of a text as one line. White space becomes a blank, what
// can't be printed U+FFFD, and … stands for what was cut off. It takes no more memory than
// what it returns.
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
