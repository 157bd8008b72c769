package filter

import (
	"errors"
	"strconv"
	"strings"
)

// rate is a share of all traces. The points of traces are spread evenly over all
// 64-bit numbers, and traces with points below the threshold are kept. So a higher rate
// keeps every trace that a lower rate keeps, as in OpenTelemetry's consistent sampling.
type rate struct {
	all       bool
	threshold uint64
}

func parseRate(v string) (rate, error) {
	digits, percent := strings.CutSuffix(v, "%")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" {
		return rate{}, errors.New("not a number")
	}
	if percent {
		n /= 100
	}
	switch {
	case n > 1:
		return rate{}, errors.New("more than all; a percentage ends in %")
	case n == 1:
		return rate{all: true}, nil
	}
	return rate{threshold: uint64(n * (1 << 63) * 2)}, nil
}

// Samples reports whether the trace with this point is kept.
func (f *Filter) Samples(point uint64) bool {
	return f == nil || f.rate.all || point < f.rate.threshold
}

// Sampling reports whether the rate excludes some traces.
func (f *Filter) Sampling() bool { return f != nil && !f.rate.all }

// Point returns the point of a trace, from its ID. It is the same in every process,
// and for upper-case and lower-case spellings of the ID.
func Point(id string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(id) {
		c := id[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		h = (h ^ uint64(c)) * 1099511628211
	}
	// The high bits of FNV-1a depend little on the last letters. MurmurHash3's
	// finalizer spreads their influence.
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
