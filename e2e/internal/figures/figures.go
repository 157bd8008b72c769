// Package figures computes and formats the figures of benchmarks. It imports only the standard
// library.
package figures

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Median returns the middle value; of an even number of values, the larger of the two. There must be one.
func Median[T cmp.Ordered](all []T) T {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// Thousands writes a number with a comma before each three digits.
func Thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return Thousands(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
