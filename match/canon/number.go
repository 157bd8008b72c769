package canon

import (
	"bytes"
	"strconv"
)

// numberEnd returns the end of the JSON number at i, or -1 if there is none.
func numberEnd(s []byte, i int) int {
	digits := func() bool {
		from := i
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if first := i; !digits() || s[first] == '0' && i > first+1 {
		return -1
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return -1
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return -1
		}
	}
	return i
}

const (
	// maxPlain bounds the digits of a number that is written without an exponent.
	maxPlain = 40
	// maxExponent bounds the digits of an exponent. A number with a longer one keeps its mantissa as written.
	maxExponent = 15
)

// appendNumber appends a JSON number in a form in which equal decimals are equal: without needless
// zeros, and without an exponent unless the number is long. -0 becomes 0.
func appendNumber(dst, text []byte) []byte {
	rest := text
	negative := rest[0] == '-'
	if negative {
		rest = rest[1:]
	}
	if plainInteger(rest) {
		if negative && !(len(rest) == 1 && rest[0] == '0') {
			dst = append(dst, '-')
		}
		return append(dst, rest...)
	}
	mantissa, exp := rest, []byte(nil)
	if e := bytes.IndexAny(rest, "eE"); e >= 0 {
		mantissa, exp = rest[:e], rest[e+1:]
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	digits := make([]byte, 0, len(mantissa))
	digits = append(append(digits, whole...), fraction...)
	point := int64(len(whole)) // digits before the decimal point
	trimmed := bytes.TrimLeft(digits, "0")
	point -= int64(len(digits) - len(trimmed))
	digits = bytes.TrimRight(trimmed, "0")
	if len(digits) == 0 {
		return append(dst, '0')
	}
	if negative {
		dst = append(dst, '-')
	}
	shift, small := exponent(exp)
	if !small { // normalise only the spelling of the exponent
		dst = append(append(dst, mantissa...), 'e')
		if exp[0] == '-' {
			dst = append(dst, '-')
		}
		return append(dst, bytes.TrimLeft(exp, "+-0")...)
	}
	point += shift
	n := int64(len(digits))
	switch {
	case point >= n && point <= maxPlain:
		return append(append(dst, digits...), zeros[:point-n]...)
	case point > 0 && point < n && n <= maxPlain:
		dst = append(append(dst, digits[:point]...), '.')
		return append(dst, digits[point:]...)
	case point <= 0 && n-point <= maxPlain:
		dst = append(append(dst, "0."...), zeros[:-point]...)
		return append(dst, digits...)
	}
	dst = append(dst, digits[0])
	if n > 1 {
		dst = append(append(dst, '.'), digits[1:]...)
	}
	return strconv.AppendInt(append(dst, 'e'), point-1, 10)
}

const zeros = "0000000000000000000000000000000000000000"

func plainInteger(s []byte) bool {
	if len(s) > maxPlain {
		return false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// exponent parses an exponent. ok is false if it has too many digits.
func exponent(s []byte) (n int64, ok bool) {
	if len(s) == 0 {
		return 0, true
	}
	digits := bytes.TrimLeft(s, "+-0")
	if len(digits) > maxExponent {
		return 0, false
	}
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	if s[0] == '-' {
		n = -n
	}
	return n, true
}
