package recording

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// ProcessID identifies a process. It includes the namespace, because a writer in one namespace can
// put the UUID of another namespace's process into its counters, and must not affect the totals of
// that process.
type ProcessID struct {
	Process            UUID
	Cluster, Namespace string
}

// ID returns the process that wrote the counters.
func (c *Counters) ID() ProcessID { return ProcessID{c.Process, c.Cluster, c.Namespace} }

// Tally sums up the last counters of several processes. The zero value is ready to use.
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

// Sum returns the sum of the last counters, and the number of processes.
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
