package snapshot

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// recorded writes the segments of a process except for some. Each has two exchanges.
func recorded(t *testing.T, s store.Store, pod string, started time.Time, segments int, end bool, lost ...int) {
	t.Helper()
	var process recording.UUID
	copy(process[:], pod)
	gone := map[int]bool{}
	for _, n := range lost {
		gone[n] = true
	}
	for n := range segments {
		at := started.Add(time.Duration(n) * 5 * time.Minute)
		var text []byte
		for i := range 2 {
			e := exchange(n*10+i, func(e *recording.Exchange) {
				e.TS = at.Add(time.Duration(i) * time.Second)
				copy(e.UUID[8:], pod)
			})
			text = append(e.AppendJSON(text), '\n')
		}
		c := recording.Counters{Pod: pod, Process: process, Started: started, Segment: n, Recorded: uint64(2 * (n + 1)), End: end && n == segments-1}
		text = c.AppendLine(text, "c1", "shop", "cart")
		key := recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart"}, Began: at, Pod: pod, Number: n}
		if gone[n] {
			continue
		}
		if err := s.Put(t.Context(), key.String(), bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
}

// A snapshot names the missing segments, with the number of exchanges in them, and the pods whose
// end is unknown.
func TestASnapshotSaysWhatIsMissing(t *testing.T) {
	s := store.Dir(t.TempDir())
	start := began.Truncate(time.Hour)
	recorded(t, s, "whole", start, 4, true)
	recorded(t, s, "running", start, 4, false)
	recorded(t, s, "gap", start, 9, true, 2, 3, 6)
	recorded(t, s, "cut-off", start.Add(time.Minute), 9, false, 0, 1, 4) // the newest came first
	place, err := contract.ParsePlace("/recordings")
	if err != nil {
		t.Fatal(err)
	}
	in, err := Select(t.Context(), place, s, nil, Selection{Query: read.Query{From: start}})
	if err != nil {
		t.Fatal(err)
	}
	dest := store.Dir(t.TempDir())
	ref, m, err := Create(t.Context(), dest, in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Pod{
		{"cut-off", start.Add(time.Minute), start.Add(41 * time.Minute), "0-1, 4", 6, true},
		{"gap", start, start.Add(40 * time.Minute), "2-3, 6", 6, false},
		{"running", start, start.Add(15 * time.Minute), "", 0, true},
	}
	o, err := Open(t.Context(), dest, ref.ID, ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Manifest{m, &o.Manifest} {
		if diff := cmp.Diff(want, m.Pods); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if m.Capture.Missing != 12 || m.Capture.EndUnknown != 2 || m.From.Findings["missing_segment"] != 6 {
			t.Errorf("%+v, %v", m.Capture, m.From.Findings)
		}
	}
	var shown strings.Builder
	if err := Show(&shown, ref, m); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"end unknown  2 processes, which were still recording, continued after the selected time, or were killed before they had sent everything: cut-off, running",
		"warning      the recording had 6 missing segments: numbers 0-1, 4 of pod cut-off, with 6 exchanges; 2-3, 6 of pod gap, with 6 exchanges",
	} {
		if !strings.Contains(shown.String(), line+"\n") {
			t.Errorf("%s\nhas no line\n%s", &shown, line)
		}
	}

	// A snapshot of it says the same.
	place, _ = contract.ParsePlace("/recordings/snapshots/" + ref.ID)
	in, err = Select(t.Context(), place, o.Store(), o, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	_, child, err := Create(t.Context(), dest, in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Pods, child.Pods); diff != "" || child.Capture != m.Capture {
		t.Errorf("(-parent +child)\n%s%+v", diff, child.Capture)
	}
}

// A snapshot of thousands of pods has a short manifest, and correct sums.
func TestManyPodsWithoutAnEnd(t *testing.T) {
	var all []read.Process
	for i := range 5000 {
		all = append(all, read.Process{Counters: recording.Counters{Pod: fmt.Sprint("pod-", i), End: i%2 == 0}, Missing: [][2]int{{1, 1 + i%3}}, MissingExchanges: uint64(i % 7)})
	}
	var f Facts
	f.addPods(all)
	if len(f.Pods) != maxNames || f.Pods[0].MissingExchanges != 6 || f.Capture.EndUnknown != 2500 || f.Capture.Missing != 14995 {
		t.Errorf("%d pods, %+v, %+v", len(f.Pods), f.Pods[0], f.Capture)
	}
}

// A snapshot of a version that did not record gaps can be opened, and reports what it knows.
func TestAnOlderSnapshotOpens(t *testing.T) {
	m := Manifest{From: From{Findings: map[string]uint64{"missing_segment": 2}}}
	if got := m.Warnings(); len(got) != 1 || got[0] != "the recording had 2 missing segments" {
		t.Error(got)
	}
}
