package redact

import "strings"

// looksRandom reports whether a value seems to be generated: a random string in hexadecimal, base64 or
// a similar encoding, a UUID, a JSON Web Token, or base64 of a login.
func looksRandom(s string) bool {
	return isUUID(s) || looksScrambled(s)
}

// looksScrambled is looksRandom for values that aren't UUIDs.
func looksScrambled(s string) bool {
	if len(s) < minRandom {
		return isLogin(s)
	}
	if strings.IndexByte(s, '.') >= 0 { // a name, unless one of its parts is random
		for part := range strings.SplitSeq(s, ".") {
			if len(part) >= minRandom && looksScrambled(part) {
				return true
			}
		}
		return false
	}
	changes, digits := 0, 0
	for i := range len(s) {
		c := s[i]
		if !tokenChar[c] {
			return false
		}
		if isDigit(c) {
			digits++
		}
		if i == 0 {
			continue
		}
		switch before := s[i-1]; {
		case isDigit(c) != isDigit(before), isUpper(c) && isLower(before):
			changes++
		}
	}
	if digits == len(s) || isUUID(s) || strings.Count(s, "/") > len(s)/16 { // a number, a UUID or a path
		return false
	}
	// In random hexadecimal and base64, nearly every second character changes between letters and
	// digits, or from lower to upper case. In aNameInCamelCase, every sixth does.
	return changes*5 >= len(s) && (digits > 0 || changes*4 >= len(s)) || isLogin(s)
}

// minRandom is the length of the shortest random value.
const minRandom = 16

// isUUID reports whether the whole text is a UUID.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') {
			return false
		} else if !dash && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}
