package redact

import "strings"

// inMail marks the characters of a mail address before the at sign, and inHost those after it.
var (
	inMail = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-'")
	inHost = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-")
)

// emails finds mail addresses.
func emails(found []span, s string) []span {
	for i := strings.IndexByte(s, '@'); i >= 0; {
		from, to := i, i+1
		for from > 0 && i-from < 64 && inMail[s[from-1]] {
			from--
		}
		for to < len(s) && to-i < 254 && inHost[s[to]] {
			to++
		}
		for to > i && (s[to-1] == '.' || s[to-1] == '-') {
			to--
		}
		if from < i && strings.IndexByte(s[i:to], '.') > 1 {
			found = append(found, span{from, to})
		}
		next := strings.IndexByte(s[i+1:], '@')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return found
}

// phones finds phone numbers in international notation (ITU-T E.123): a plus sign and
// 8 to 15 digits, which spaces, dashes and brackets may divide.
func phones(found []span, s string) []span {
	for i := strings.IndexByte(s, '+'); i >= 0; {
		to, digits := i+1, 0
		for end := to; end < len(s) && digits <= 15; end++ {
			if isDigit(s[end]) {
				digits++
				to = end + 1
			} else if strings.IndexByte(" -()/.", s[end]) < 0 || end-to >= 2 {
				break
			}
		}
		if digits >= 8 && digits <= 15 && (i == 0 || !isWord[s[i-1]]) && !continues(s[to:]) {
			found = append(found, span{i, to})
		}
		next := strings.IndexByte(s[i+1:], '+')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return found
}
