package contract

import (
	"bytes"
	"strings"
	"testing"
)

func TestRedactKeys(t *testing.T) {
	const key = "0123456789abcdef"
	for text, want := range map[string]string{
		key:                                      key,
		key + "\n":                               key,
		key + "\r\n":                             key,
		key + "\n\n":                             key + "\n",
		key + "\r":                               key + "\r",
		"\n" + key:                               "\n" + key,
		" " + key + " ":                          " " + key + " ",
		"\x00\xff" + key:                         "\x00\xff" + key,
		key[1:] + "\n\n":                         key[1:] + "\n",
		strings.Repeat("k", MaxRedactKey) + "\n": strings.Repeat("k", MaxRedactKey),
	} {
		if got, err := ParseRedactKey([]byte(text)); err != nil || string(got) != want {
			t.Errorf("%q: read as %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                                  "found a key of 0 bytes, allowed: 16 to 4096",
		"\n":                                "found a key of 0 bytes, allowed: 16 to 4096",
		key[1:]:                             "found a key of 15 bytes, allowed: 16 to 4096",
		key[1:] + "\n":                      "found a key of 15 bytes, allowed: 16 to 4096",
		strings.Repeat("k", MaxRedactKey+1): "found a key of 4097 bytes, allowed: 16 to 4096",
	} {
		if got, err := ParseRedactKey([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: read as %q, %v, want %s", text, got, err, want)
		}
	}
}

// An ID can be computed without Tapedeck: these were computed with sha256sum.
func TestRedactKeyIDs(t *testing.T) {
	for key, want := range map[string]string{
		"0123456789abcdef":                  "89ed020fc6c66633",
		string(bytes.Repeat([]byte{0}, 32)): "fed3544a120bf8e0",
	} {
		if got := RedactKeyID([]byte(key)); got != want {
			t.Errorf("%q: %s, want %s", key, got, want)
		}
	}
}

// FuzzParseRedactKey checks that an accepted key has an allowed length and begins the text,
// followed by at most a newline.
func FuzzParseRedactKey(f *testing.F) {
	f.Add([]byte("0123456789abcdef\r\n"))
	f.Add([]byte("0123456789abcde\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseRedactKey(text)
		if err != nil {
			return
		}
		rest, begins := bytes.CutPrefix(text, key)
		if len(key) < MinRedactKey || len(key) > MaxRedactKey || !begins || len(rest) > 0 && string(rest) != "\n" && string(rest) != "\r\n" {
			t.Errorf("%q was read as %q", text, key)
		}
	})
}
