package redact

import "strings"

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// flat splits a name at characters that aren't letters or digits, and where digits begin and end.
func flat(name string) []string { return split(name, func(string, int) bool { return false }) }

// camel splits a name like flat, and also where a capital begins a word: accessToken, APIKey.
func camel(name string) []string {
	return split(name, func(s string, i int) bool {
		return isUpper(s[i]) && (isLower(s[i-1]) || i+1 < len(s) && isLower(s[i+1]))
	})
}

func split(name string, here func(s string, i int) bool) (found []string) {
	start := -1 // where the current word begins, or -1
	end := func(i int) {
		if start >= 0 {
			found = append(found, strings.ToLower(name[start:i]))
		}
		start = -1
	}
	for i := range len(name) {
		c := name[i]
		letter := isUpper(c) || isLower(c) || c >= 0x80
		switch {
		case !letter && !isDigit(c):
			end(i)
			continue
		case start >= 0 && (isDigit(c) != isDigit(name[i-1]) || letter && here(name, i)):
			end(i)
		}
		if start < 0 {
			start = i
		}
	}
	end(len(name))
	return found
}
