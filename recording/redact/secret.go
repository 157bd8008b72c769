package redact

import "strings"

// minNumber is how many digits a number has that is secret by its name: `"cvv": 123`.
const minNumber = 3

// isSecretText reports whether the text of a value is secret, by the form that holds for
// it and what else its name says; request says whether a client sent it.
func isSecretText(v verdict, f form, text string, request bool) bool {
	if len(text) <= len("undefined") {
		switch strings.ToLower(text) {
		case "", "true", "false", "null", "none", "undefined":
			return false
		}
	}
	switch f {
	case plain:
		return false
	case scrambled:
		return looksScrambled(text)
	case random:
		return looksRandom(text) || schemeOf(text) > 0
	case mixed:
		return isRandom(text) || looksRandom(text) || schemeOf(text) > 0
	case oneTime:
		return looksScrambled(text) || request && len(text) == 6 && strings.Trim(text, "0123456789") == ""
	}
	return request || v.says&isPhrase != 0 || !isLabel(text)
}

// schemeOf is the length of the authentication scheme that a text begins with, and of the
// space behind it, if nothing but one word follows. In a URL, the space may be escaped.
func schemeOf(text string) int {
	const longest = len("bearer%20")
	for _, space := range [...]string{" ", "%20", "+"} {
		name, _, ok := strings.Cut(text[:min(len(text), longest)], space)
		if !ok || !isScheme(name) {
			continue
		}
		n := len(name) + len(space)
		if n == len(text) || strings.Contains(text[n:], space) && space != "+" {
			return 0
		}
		return n
	}
	return 0
}

func isScheme(name string) bool {
	switch strings.ToLower(name) {
	case "bearer", "basic", "token", "dpop", "apikey":
		return true
	}
	return false
}

// isLabel reports whether a text says what a secret is, as those do that a page shows beside
// a field: `Password`, `Forgot your password?`. It is one word or several of which
// one is a word for a secret; those of a secret hardly are.
func isLabel(text string) bool {
	if len(text) > 1<<10 || len(text) > maxLabel && strings.IndexByte(text, ' ') < 0 {
		return false
	}
	for word := range strings.FieldsSeq(text) {
		if len(word) <= maxLabel && secretWords[strings.ToLower(strings.Trim(word, ".,:;!?()\"'*-…¿¡"))] {
			return true
		}
	}
	const french = "mot de passe"
	return len(text) >= len(french) && strings.EqualFold(text[:len(french)], french) && (len(text) == len(french) || text[len(french)] == ' ')
}

// maxLabel is longer than the words of the table are, with the marks around them.
const maxLabel = 24

// secretWords are the words of the table that make a name secret on their own.
var secretWords = func() map[string]bool {
	m := map[string]bool{}
	for _, row := range words {
		if row.form == plain || row.in&inBody == 0 {
			continue
		}
		for _, run := range strings.Fields(row.list) {
			if strings.IndexByte(run, '-') < 0 {
				m[run], m[run+"s"] = true, true
			}
		}
	}
	return m
}()
