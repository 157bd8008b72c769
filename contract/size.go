package contract

import (
	"errors"
	"strconv"
	"strings"
)

// ParseSize reads a number of bytes, with an optional suffix Ki, Mi or Gi.
func ParseSize(v string) (int64, error) {
	unit := int64(1)
	for suffix, u := range map[string]int64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30} {
		if digits, ok := strings.CutSuffix(v, suffix); ok {
			v, unit = digits, u
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, errors.New("want a number of bytes, such as 16Mi")
	}
	return n * unit, nil
}
