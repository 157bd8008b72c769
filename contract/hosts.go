package contract

import "strings"

// SplitHosts splits a value of NO_PROXY. Commas separate its entries, and so do
// blanks: curl, wget and Python read both.
func SplitHosts(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}
