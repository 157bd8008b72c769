package filter

import (
	"errors"
	"strconv"
	"strings"
)

// rate is a part of all traces. A trace's point is spread evenly over all 64-bit
// numbers; those below the threshold are kept, so a higher rate keeps what a
// lower one does, as OpenTelemetry's consistent sampling has it.
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

// Samples tells whether the trace with this point is kept.
func (f *Filter) Samples(point uint64) bool {
	return f == nil || f.rate.all || point < f.rate.threshold
}

// Sampling tells whether there is a rate by which some traces are left out.
func (f *Filter) Sampling() bool { return f != nil && !f.rate.all }

// Point places a trace by its ID. Every process gives the same ID the same
// point, in any case of its letters.
func Point(id string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(id) {
		c := id[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		h = (h ^ uint64(c)) * 1099511628211
	}
	// Its high bits depend little on the last letters: MurmurHash3's finalizer
	// spreads them.
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
