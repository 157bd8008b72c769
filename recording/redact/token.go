package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"
	"sync"
)

const (
	// Prefix begins each token that replaces a secret.
	Prefix = "REDACTED-"
	// NumberPrefix begins each number that replaces a secret number.
	NumberPrefix = "8000"

	tokenLen     = len(Prefix) + 16
	numberDigits = 12
	numberLen    = len(NumberPrefix) + numberDigits
)

// Tokens turns secrets into tokens under one key. It is safe for concurrent use.
//
// A token is a function of the key and of the secret's text alone:
//
//	mac    = HMAC-SHA256(key, text)
//	token  = "REDACTED-", then the first 8 bytes of mac in hexadecimal
//	number = "8000", then the next 8 bytes, as a big-endian number modulo 10^12, in 12 digits
//
// The text is the secret without escapes: those of JSON and XML are undone, percent-encoding up to six
// times, and `+` becomes a space, as in forms. Card numbers lose their spaces and dashes. So a secret
// has the same token in headers, URLs and bodies.
type Tokens struct{ macs sync.Pool }

// NewTokens returns the tokens of a key. Without a key it makes a random one, which
// never leaves memory.
func NewTokens(key []byte) *Tokens {
	if len(key) == 0 {
		key = make([]byte, sha256.Size)
		rand.Read(key)
	}
	key = bytes.Clone(key)
	return &Tokens{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// Of returns the token of a secret. It returns an empty secret, or one that is already a token,
// unchanged.
func (t *Tokens) Of(secret string) string {
	if secret == "" || IsToken(secret) {
		return secret
	}
	sum := t.mac(secret)
	var text [tokenLen]byte
	copy(text[:], Prefix)
	hex.Encode(text[len(Prefix):], sum[:8])
	return string(text[:])
}

// OfNumber returns the number that replaces a JSON number, given as a literal. It returns a number that
// is already a replacement unchanged.
func (t *Tokens) OfNumber(literal string) string {
	if literal == "" || IsNumber(literal) {
		return literal
	}
	sum := t.mac(literal)
	n := binary.BigEndian.Uint64(sum[8:16])
	text := []byte(NumberPrefix + "000000000000")
	for i := len(text) - 1; i >= len(NumberPrefix); i-- {
		text[i] = byte('0' + n%10)
		n /= 10
	}
	return string(text)
}

// Sized returns a token that is as long as the secret, cut or padded with dashes. Binary messages need
// it, because they store the lengths of their parts. It returns a secret that is already such a token
// unchanged.
func (t *Tokens) Sized(secret string) string {
	if isSized(secret) {
		return secret
	}
	token := t.Of(secret)
	if n := len(secret); len(token) > n {
		return token[:n]
	}
	return token + strings.Repeat("-", len(secret)-len(token))
}

func (t *Tokens) mac(secret string) (sum [sha256.Size]byte) {
	mac := t.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write([]byte(canonical(secret)))
	mac.Sum(sum[:0])
	t.macs.Put(mac)
	return sum
}

// canonical returns the same text for all encodings of a secret.
func canonical(secret string) string {
	if strings.IndexByte(secret, '%') >= 0 {
		secret = unescaped(secret)
	}
	if strings.IndexByte(secret, '+') >= 0 {
		secret = strings.ReplaceAll(secret, "+", " ")
	}
	if n := card(secret); n > 0 && n == len(secret) {
		secret = strings.NewReplacer(" ", "", "-", "").Replace(secret)
	}
	return secret
}

// IsToken reports whether the whole text is one token.
func IsToken(s string) bool {
	digits, ok := strings.CutPrefix(s, Prefix)
	return ok && len(s) == tokenLen && strings.Trim(digits, "0123456789abcdef") == ""
}

// isSized reports whether the text is a token that Sized cut or padded.
func isSized(s string) bool {
	if len(s) > tokenLen {
		return IsToken(s[:tokenLen]) && strings.Trim(s[tokenLen:], "-") == ""
	}
	n := min(len(s), len(Prefix))
	return s[:n] == Prefix[:n] && strings.Trim(s[n:], "0123456789abcdef") == ""
}

// IsNumber reports whether the text is a number that replaces a secret.
func IsNumber(s string) bool {
	digits, ok := strings.CutPrefix(s, NumberPrefix)
	return ok && len(s) == numberLen && strings.Trim(digits, "0123456789") == ""
}
