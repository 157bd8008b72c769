package recording

import "testing"

// Of one process, the counters that came last count. A process of another namespace is
// another one, even if it has the same UUID, since whoever writes for that namespace chose it.
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
