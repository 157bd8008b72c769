package class

import "bytes"

// Prefix begins the tokens that redaction writes. 16 hexadecimal digits follow.
const Prefix = "REDACTED-"

const tokenLen = len(Prefix) + 16

// NumberPrefix begins the numbers that redaction writes. 12 digits follow.
const NumberPrefix = "8000"

// IsToken reports whether a string or number is exactly one token. In a binary message, whose size
// must not change, a token may be cut or padded with dashes.
func IsToken(s []byte) bool {
	if isNumber(s) {
		return true
	}
	digits, ok := bytes.CutPrefix(s, []byte(Prefix))
	if len(digits) >= tokenLen-len(Prefix) {
		digits = bytes.TrimRight(digits, "-")
		return ok && len(digits) == tokenLen-len(Prefix) && isHex(digits)
	}
	return ok && len(digits) > 0 && isHex(digits)
}

func isNumber(s []byte) bool {
	return len(s) == len(NumberPrefix)+12 && bytes.HasPrefix(s, []byte(NumberPrefix)) && countDigits(s) == len(s)
}

func startsToken(s []byte) bool {
	return len(s) >= tokenLen && bytes.HasPrefix(s, []byte(Prefix)) && isHex(s[len(Prefix):tokenLen])
}

// OfBody returns the class of a body of unknown format and any length.
func OfBody(s []byte) (v Value) {
	if _, _, ok := nextToken(s); ok {
		v.Class = Token
	}
	return v
}

// nextToken finds the first token in s.
func nextToken(s []byte) (from, to int, ok bool) {
	for i := 0; ; {
		n := bytes.Index(s[i:], []byte(Prefix))
		if n < 0 {
			return 0, 0, false
		}
		if i += n; startsToken(s[i:]) {
			return i, i + tokenLen, true
		}
		i += len(Prefix)
	}
}

// AppendPattern appends s with all tokens replaced by the same one.
func AppendPattern(dst, s []byte) []byte {
	for {
		from, to, ok := nextToken(s)
		if !ok {
			return append(dst, s...)
		}
		dst = append(append(dst, s[:from]...), Prefix+"*"...)
		s = s[to:]
	}
}
