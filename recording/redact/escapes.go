package redact

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// view returns bytes as a string without a copy. The string is valid as long as the bytes don't change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// appendUnescaped appends the text of a JSON string without its escapes (RFC 8259, section 7). If an
// escape is unknown, it appends the character after the backslash.
func appendUnescaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' || i+1 == len(s) {
			dst = append(dst, c)
			continue
		}
		i++
		switch c = s[i]; c {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'u', 'x':
			n := 4
			if c == 'x' { // as in JavaScript
				n = 2
			}
			r, ok := hexRune(s[i+1:], n)
			if !ok {
				dst = append(dst, '\\', c)
				continue
			}
			i += n
			if utf16.IsSurrogate(r) && i+2 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
				if low, ok := hexRune(s[i+3:], 4); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
					r = utf16.DecodeRune(r, low)
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func hexRune(s string, digits int) (rune, bool) {
	if len(s) < digits {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:digits], 16, 16)
	return rune(n), err == nil
}

// appendEscaped appends a text with the escapes of a JSON string.
func appendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			if c < ' ' {
				dst = append(dst, `\u00`...)
				dst = append(dst, digits[c>>4], digits[c&15])
				continue
			}
			dst = append(dst, c)
		}
	}
	return dst
}
