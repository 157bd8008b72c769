package redact

import "strings"

// minNumber is how many digits a number needs to be secret because of its name: `"cvv": 123`.
const minNumber = 3

// isSecretText reports whether the text of a value is secret, given the form that applies to it and the
// verdict on its name. request is true if a client sent it.
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

// schemeOf returns the length of the authentication scheme at the beginning of a text, including the
// space after it. It returns 0 unless exactly one word follows. In a URL, the space may be escaped.
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

// isLabel reports whether a text names a secret, such as the label of a field on a page: `Password`,
// `Forgot your password?`. One of its words is a word for a secret, which is unlikely in a secret.
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

// maxLabel limits the length of a word of the table with the punctuation around it.
const maxLabel = 24

// secretWords has the words of the table that make a name secret on their own.
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
