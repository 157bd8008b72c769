package recording

import "testing"

func TestATallySumsEachCounter(t *testing.T) {
	var tally Tally
	tally.Add(Counters{Process: UUID{1}, Recorded: 1, Dropped: 20, Filtered: 300, SampledOut: 4000, Cut: 50_000, Incomplete: 600_000})
	tally.Add(Counters{Process: UUID{2}, Recorded: 2, Dropped: 30, Filtered: 400, SampledOut: 5000, Cut: 60_000, Incomplete: 700_000})
	want := Counters{Recorded: 3, Dropped: 50, Filtered: 700, SampledOut: 9000, Cut: 110_000, Incomplete: 1_300_000}
	if sum, n := tally.Sum(); n != 2 || sum != want {
		t.Errorf("%d processes: %+v", n, sum)
	}
}

// Only the last counters of a process count. A process in another namespace is a different one even if
// it has the same UUID, because a writer in that namespace can choose it.
func TestATallyKeepsProcessesApart(t *testing.T) {
	var tally Tally
	id := UUID{1}
	tally.Add(Counters{Namespace: "shop", Process: id, Segment: 1, Dropped: 5})
	tally.Add(Counters{Namespace: "shop", Process: id, Segment: 0, Dropped: 3})
	tally.Add(Counters{Namespace: "evil", Process: id, Segment: 9, Dropped: 70})
	tally.Add(Counters{Cluster: "c2", Namespace: "shop", Process: id, Segment: 9, Dropped: 600})
	if sum, n := tally.Sum(); n != 3 || sum.Dropped != 675 {
		t.Errorf("%d processes dropped %d", n, sum.Dropped)
	}
	if last := tally.Last(); len(last) != 3 {
		t.Errorf("%+v", last)
	}
}
