package carry

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// form is a way in which a value stands in a text.
type form struct {
	// name is what reports call it.
	name string
	// take returns the value that a text has in this form, and false if it has none.
	take func(text string) (value string, ok bool)
	// put returns a text as the given one, with another value in it.
	put func(text, value string) string
}

// Forms, in the order in which they are looked for. A value is taken in the first one in
// which it is known.
const (
	whole = iota
	behindScheme
	inQuotes
	inBase64
	basicUser
	basicPassword
	percent
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
}

// basic are the parts of what stands behind the scheme Basic (RFC 7617).
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

// schemes are those of HTTP Authentication behind which a value stands by itself.
var schemes = map[string]bool{"apikey": true, "api-key": true, "basic": true, "bearer": true, "bot": true, "dpop": true, "jwt": true, "key": true, "oauth": true, "session": true, "ssws": true, "token": true}

func isScheme(word string) bool { return len(word) <= 7 && schemes[strings.ToLower(word)] }

var encodings = [...]*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding}

// debase64 decodes a text of at least 8 characters in base64, if it is another text.
func debase64(text string) (value string, enc *base64.Encoding, ok bool) {
	if len(text) < 8 || len(text) > maxValue || strings.HasPrefix(text, "ey") && strings.Count(text, ".") > 0 {
		return "", nil, false
	}
	for i := range len(text) {
		if !inEncodings[text[i]] {
			return "", nil, false
		}
	}
	for _, enc := range encodings {
		b, err := enc.DecodeString(text)
		if err != nil || !isText(b) {
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

// isText tells whether bytes are a text without control characters.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return len(b) > 0 && utf8.Valid(b)
}
