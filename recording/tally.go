package recording

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// Tally sums up the counters of several processes, of each those that came last.
// The zero value is ready to use.
type Tally struct{ last map[UUID]Counters }

// Add takes the counters of one segment, in any order.
func (t *Tally) Add(c Counters) {
	if t.last == nil {
		t.last = map[UUID]Counters{}
	}
	if known, ok := t.last[c.Process]; !ok || c.Segment >= known.Segment {
		t.last[c.Process] = c
	}
}

// Last returns the last counters of each process, in the order of their starts.
func (t *Tally) Last() []Counters {
	return slices.SortedFunc(maps.Values(t.last), func(a, b Counters) int {
		return cmp.Or(a.Started.Compare(b.Started), bytes.Compare(a.Process[:], b.Process[:]))
	})
}

// Sum returns the sum, and of how many processes it is.
func (t *Tally) Sum() (sum Counters, processes int) {
	for _, c := range t.last {
		sum.Recorded += c.Recorded
		sum.Dropped += c.Dropped
		sum.Filtered += c.Filtered
		sum.SampledOut += c.SampledOut
		sum.Cut += c.Cut
		sum.Incomplete += c.Incomplete
	}
	return sum, len(t.last)
}
