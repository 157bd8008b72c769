package compare

import (
	"maps"
	"math"
	"slices"
)

// spread holds the positions of a group's live numbers, relative to the range of the recording's
// repeats: counted from its lower end, in widths of the range. Some numbers follow the load, such as
// the number of requests in progress. Under a higher load than the recorded one they are far beyond
// the range, but the replay then also has numbers in between.
type spread map[int64]bool

const (
	// maxSpread bounds the positions that are kept for a group. Numbers at further positions count
	// as isolated.
	maxSpread = 1000
	// isolated is the position of a value that nothing can link to the range.
	isolated = math.MaxInt64
	// farthest is the last position that is counted.
	farthest = 1 << 40
)

// placeOf returns the position of a live value.
func (v *numbers) placeOf(live string) int64 {
	y, ok := number(live)
	at := math.Floor((y - v.min) / (v.max - v.min))
	if !ok || math.IsNaN(at) || math.Abs(at) > farthest {
		return isolated
	}
	return int64(at)
}

func (s spread) add(at int64) {
	if at < -farthest || at > farthest || !s[at] && len(s) >= maxSpread {
		at = isolated
	}
	s[at] = true
}

// linked reports whether no number is isolated. Each number that is at most recordedWidths away
// widens the range for the others.
func (s spread) linked() bool {
	if s[isolated] {
		return false
	}
	at := slices.Sorted(maps.Keys(s))
	next, _ := slices.BinarySearch(at, 0)
	before := next - 1
	from, to := int64(0), int64(0)
	for {
		reach := (to - from + 1) * recordedWidths
		switch {
		case next < len(at) && at[next] <= to+reach:
			to = at[next]
			next++
		case before >= 0 && at[before] >= from-reach:
			from = at[before]
			before--
		default:
			return next == len(at) && before < 0
		}
	}
}
