package carry

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// form is a way in which a string contains a value.
type form struct {
	// name is the form's name in reports.
	name string
	// take returns the value in text. ok is false if text does not have the form.
	take func(text string) (value string, ok bool)
	// put returns text with another value.
	put func(text, value string) string
}

// Indexes of forms, in the order in which they are tried. The first form that gives a known value
// is used.
const (
	whole = iota
	behindScheme
	inQuotes
	inBase64
	basicUser
	basicPassword
	percent
	beforeSuffix
)

var forms = [...]form{
	whole: {"", func(text string) (string, bool) { return text, true }, func(_, value string) string { return value }},
	behindScheme: {"behind the scheme",
		func(text string) (string, bool) {
			name, value, ok := strings.Cut(text, " ")
			return value, ok && value != "" && isScheme(name)
		},
		func(text, value string) string { return text[:strings.IndexByte(text, ' ')+1] + value }},
	inQuotes: {"in quotes",
		func(text string) (string, bool) {
			value := strings.TrimPrefix(text, "W/")
			if len(value) < 3 || value[0] != '"' || value[len(value)-1] != '"' || strings.Count(value, `"`) != 2 {
				return "", false
			}
			return value[1 : len(value)-1], true
		},
		func(text, value string) string { return text[:strings.IndexByte(text, '"')+1] + value + `"` }},
	inBase64: {"base64",
		func(text string) (string, bool) {
			value, _, ok := debase64(text)
			return value, ok
		},
		func(text, value string) string {
			_, enc, _ := debase64(text)
			return enc.EncodeToString([]byte(value))
		}},
	basicUser:     basic("the user of Basic", func(user, _ string) string { return user }, func(_, password, value string) string { return value + ":" + password }),
	basicPassword: basic("the password of Basic", func(_, password string) string { return password }, func(user, _, value string) string { return user + ":" + value }),
	percent: {"percent-encoded",
		func(text string) (string, bool) {
			value := unescaped(text, false)
			return value, value != text
		},
		func(text, value string) string { return inStyle(text, unescaped(text, false), value, pathStyles) }},
	beforeSuffix: {"before a suffix",
		func(text string) (string, bool) {
			i := suffix(text)
			return text[:i], i > 0 && i < len(text)
		},
		func(text, value string) string { return value + text[suffix(text):] }},
}

// suffix returns the index at which the suffix of a segment begins, such as .json or :cancel, which
// says what to do with a thing. Without a suffix, it is the segment's length.
func suffix(segment string) int {
	i := max(strings.LastIndexByte(segment, '.'), strings.LastIndexByte(segment, ':'))
	if i < 0 || !isStatic(segment[i+1:]) {
		return len(segment)
	}
	return i
}

// basic returns a form for one part of the credentials after the scheme Basic (RFC 7617).
func basic(name string, take func(user, password string) string, put func(user, password, value string) string) form {
	const scheme = "basic "
	parts := func(text string) (user, password string, enc *base64.Encoding, ok bool) {
		if len(text) <= len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme) {
			return "", "", nil, false
		}
		both, enc, ok := debase64(text[len(scheme):])
		user, password, colon := strings.Cut(both, ":")
		return user, password, enc, ok && colon
	}
	return form{name,
		func(text string) (string, bool) {
			user, password, _, ok := parts(text)
			return take(user, password), ok
		},
		func(text, value string) string {
			user, password, enc, _ := parts(text)
			return text[:len(scheme)] + enc.EncodeToString([]byte(put(user, password, value)))
		}}
}

// schemes are the schemes of HTTP Authentication after which a value follows without a name.
var schemes = [...]string{"bearer", "basic", "token", "apikey", "api-key", "bot", "dpop", "jwt", "key", "oauth", "session", "ssws"}

func isScheme(word string) bool {
	for _, s := range schemes {
		if len(word) == len(s) && strings.EqualFold(word, s) {
			return true
		}
	}
	return false
}

var encodings = [...]*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding}

// debase64 decodes base64 of at least 8 characters. ok is false if it does not decode to text.
func debase64(text string) (value string, enc *base64.Encoding, ok bool) {
	if len(text) < 8 || len(text) > maxValue || strings.HasPrefix(text, "ey") && strings.Count(text, ".") > 0 {
		return "", nil, false
	}
	for i := range len(text) {
		if !inEncodings[text[i]] {
			return "", nil, false
		}
	}
	var begin [6]byte // the first bytes distinguish most words from base64
	head := []byte(text[:8])
	for _, enc := range encodings {
		if n, err := enc.Decode(begin[:], head); err != nil || !isText(begin[:n], len(text) > len(head)) {
			continue
		}
		b, err := enc.DecodeString(text)
		if err != nil || !isText(b, false) {
			continue
		}
		if value = string(b); enc.EncodeToString(b) == text {
			return value, enc, true
		}
	}
	return "", nil, false
}

var inEncodings = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=") {
		t[c] = true
	}
	return t
}()

// isText reports whether b is text without control characters. If cut is set, the last character may
// be incomplete.
func isText(b []byte, cut bool) bool {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r < ' ' || r == 0x7f:
			return false
		case r == utf8.RuneError && size == 1:
			return cut && !utf8.FullRune(b[i:])
		}
		i += size
	}
	return len(b) > 0
}
