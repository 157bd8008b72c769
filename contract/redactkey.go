package contract

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// MinRedactKey and MaxRedactKey limit the size of a redaction key, in bytes. If its bytes are random, a
// key of the minimum size can't be found by trial.
const (
	MinRedactKey = 16
	MaxRedactKey = 4 << 10
)

// ParseRedactKey returns the key in a file, or in a value of a Secret: all its bytes, except for one
// newline (LF or CRLF) at the end. The key is a part of text. The error does not quote it.
func ParseRedactKey(text []byte) ([]byte, error) {
	key := text
	if line, ok := bytes.CutSuffix(text, []byte("\n")); ok {
		key = bytes.TrimSuffix(line, []byte("\r"))
	}
	if n := len(key); n < MinRedactKey || n > MaxRedactKey {
		return nil, fmt.Errorf("found a key of %d bytes, allowed: %d to %d", n, MinRedactKey, MaxRedactKey)
	}
	return key, nil
}

// RedactKeyID returns the ID by which recordings refer to a key: the first 8 bytes of
// SHA-256 over a label, a zero byte and the key, in hexadecimal. Anybody with
// an ID can check a guess at the key. So can anybody with a token and its secret. Nobody
// can guess a key of 16 random bytes. In a shell:
//
//	{ printf 'tapedeck redaction key id\0'; printf %s "$(cat key)"; } | sha256sum | cut -c1-16
func RedactKeyID(key []byte) string {
	h := sha256.New()
	h.Write([]byte("tapedeck redaction key id\x00"))
	h.Write(key)
	return hex.EncodeToString(h.Sum(nil)[:8])
}
