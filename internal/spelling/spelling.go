// Package spelling finds the names that a misspelled name probably meant. It imports only the standard library.
package spelling

import (
	"slices"
	"strings"
)

// Nearest returns at most n names, the nearest to a misspelled one first. The case of letters does not count.
func Nearest(wrong string, names []string, n int) []string {
	wrong = strings.ToLower(wrong)
	all := slices.Clone(names)
	slices.SortStableFunc(all, func(a, b string) int {
		return distance(wrong, strings.ToLower(a)) - distance(wrong, strings.ToLower(b))
	})
	return all[:min(n, len(all))]
}

// Meant returns the name that was probably meant, or "" if no name is near.
func Meant(wrong string, names []string) string {
	for _, name := range Nearest(wrong, names, 1) {
		if distance(strings.ToLower(wrong), strings.ToLower(name)) < len(wrong)/3+1 {
			return name
		}
	}
	return ""
}

// distance returns the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
