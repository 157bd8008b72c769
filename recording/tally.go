package recording

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// ProcessID tells processes apart. Whoever may write for one namespace may put the UUID of
// another's process into its counters, and must not change what that one's say.
type ProcessID struct {
	Process            UUID
	Cluster, Namespace string
}

// ID returns which process the counters are of.
func (c *Counters) ID() ProcessID { return ProcessID{c.Process, c.Cluster, c.Namespace} }

// Tally sums up the counters of several processes, of each those that came last.
// The zero value is ready to use.
type Tally struct{ last map[ProcessID]Counters }

// Add takes the counters of one segment, in any order.
func (t *Tally) Add(c Counters) {
	if t.last == nil {
		t.last = map[ProcessID]Counters{}
	}
	if known, ok := t.last[c.ID()]; !ok || c.Segment >= known.Segment {
		t.last[c.ID()] = c
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
