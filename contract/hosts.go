package contract

import "strings"

// SplitHosts splits a value of NO_PROXY at commas and at blanks: curl, wget and Python accept both.
func SplitHosts(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}
