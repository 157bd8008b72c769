package read

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// pods fills a store with the recordings of many pods over ten minutes. The segments end at some
// age, and each has the exchanges that ended while it was open.
func pods(rnd *rand.Rand, m *memory, count int, longest time.Duration) (all []*recording.Exchange) {
	for n := range count {
		p := newPod(fmt.Sprintf("cart-%d", n))
		var own []*recording.Exchange
		for range 20 + rnd.IntN(60) {
			took := time.Duration(rnd.Int64N(int64(longest))).Truncate(time.Millisecond)
			own = append(own, exchange(len(all)+len(own), at(time.Duration(rnd.Int64N(int64(10*time.Minute)))), took))
		}
		slices.SortFunc(own, func(a, b *recording.Exchange) int { return a.Ended().Compare(b.Ended()) })
		all = append(all, own...)
		for len(own) > 0 {
			began := own[0].Ended().Add(time.Duration(rnd.IntN(2000)-1000) * time.Millisecond / 2) // the segment began before or after its first exchange ended
			till := began.Add(time.Duration(1+rnd.IntN(300)) * time.Second)
			end := slices.IndexFunc(own, func(e *recording.Exchange) bool { return e.Ended().After(till) })
			if end <= 0 {
				end = len(own)
			}
			p.segment(m, began, own[:end]...)
			own = own[end:]
		}
	}
	slices.SortFunc(all, func(a, b *recording.Exchange) int { return a.TS.Compare(b.TS) })
	return all
}

func inOrder(t *testing.T, got []*Record, want []*recording.Exchange) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d exchanges, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].UUID != want[i].UUID || got[i].Late {
			t.Fatalf("exchange %d is %s at %s, late: %v; want %s at %s", i, got[i].Location, got[i].TS, got[i].Late, want[i].Location, want[i].TS)
		}
	}
}

func TestExchangesComeInTheOrderOfTheirStart(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for round := range 20 {
		m := &memory{}
		want := pods(rnd, m, 1+rnd.IntN(20), 28*time.Second)
		got, report := readAll(t, Query{}, Options{}, m)
		inOrder(t, got, want)
		if err := report.Err(); err != nil || report.Read != uint64(len(want)) || report.Records != report.Read {
			t.Errorf("round %d: %v, %+v", round, err, report)
		}
	}
}

// Sorted returns exchanges in order, however long they took, even if almost nothing fits into memory.
func TestSortedComesInOrderWhateverTheExchangesTook(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 2))
	for _, held := range []int64{0, 1, 4 << 10, 64 << 10} {
		m, dir := &memory{}, t.TempDir()
		want := pods(rnd, m, 10, time.Hour)
		got, report := readAll(t, Query{}, Options{Order: Sorted, MaxHeld: held, TempDir: dir}, m)
		inOrder(t, got, want)
		if err := report.Err(); err != nil || m.most != 1 || m.open != 0 {
			t.Errorf("%v, %d segments were open at a time, %d still are", err, m.most, m.open)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
}

// Exchanges that began at the same time keep the order in which they were read.
func TestEqualStartsComeAsTheyWereRead(t *testing.T) {
	m := &memory{}
	a, b := newPod("cart-0"), newPod("cart-1")
	a.segment(m, begin, exchange(5, begin, 0), exchange(3, begin, 0), exchange(4, begin, 0))
	a.segment(m, at(time.Minute), exchange(1, begin, time.Second), exchange(9, at(time.Minute), 0))
	b.segment(m, at(time.Second), exchange(2, begin, time.Second), exchange(5, begin, 0))
	for _, o := range []Options{{}, {Order: Sorted}, {Order: Sorted, MaxHeld: 1, TempDir: t.TempDir()}} {
		got, report := readAll(t, Query{}, o, m)
		if text := locations(got); text != "/5 /3 /4 /2 /1 /9" || report.Count(Duplicate) != 1 {
			t.Errorf("%+v: %s; %s", o, text, findings(report))
		}
	}
}

// An exchange that took longer than the window comes late, and is marked as late.
func TestStreamedTellsWhatComesLate(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	m := &memory{}
	want := pods(rnd, m, 10, 3*time.Minute)
	got, report := readAll(t, Query{}, Options{}, m)
	late := 0
	var newest time.Time
	for _, r := range got {
		if r.Late != r.TS.Before(newest) {
			t.Fatalf("%s at %s, after %s: late %v", r.Location, r.TS, newest, r.Late)
		}
		if r.Late {
			late++
			if took := r.End(); took <= DefaultWindow-2*time.Second {
				t.Errorf("%s is late, and took %s", r.Location, took)
			}
		} else {
			newest = r.TS
		}
	}
	if len(got) != len(want) || late == 0 || report.Count(Late) != uint64(late) || report.Err() != nil {
		t.Errorf("%d of %d exchanges, %d late; %s", len(got), len(want), late, findings(report))
	}
	slices.SortFunc(got, func(a, b *Record) int { return cmp.Compare(a.TS.UnixNano(), b.TS.UnixNano()) })
	for i := range want {
		if got[i].UUID != want[i].UUID {
			t.Fatalf("%s is missing", want[i].Location)
		}
	}
}

// Few segments are open at a time, however many pods and segments there are, and all are read.
func TestFewSegmentsAreOpenAtATime(t *testing.T) {
	m := &memory{}
	const pods, segments = 100, 12
	for n := range pods {
		p := newPod(fmt.Sprintf("cart-%d", n))
		for s := range segments {
			began := at(time.Duration(s)*5*time.Minute + time.Duration(n)*time.Second)
			p.segment(m, began, exchange(n*segments+s, began.Add(time.Second), time.Millisecond))
		}
	}
	got, report := readAll(t, Query{}, Options{MaxOpen: 7}, m)
	if len(got) != pods*segments || m.most > 7 || m.open != 0 || report.Err() != nil {
		t.Errorf("%d exchanges, %d open at a time, %d in the end; %s", len(got), m.most, m.open, findings(report))
	}
	// Pods that follow each other need one open segment, and two while the next one begins.
	one := &memory{}
	p := newPod("cart-0")
	for s := range 50 {
		began := at(time.Duration(s) * time.Minute)
		p.segment(one, began, exchange(s, began.Add(time.Second), time.Millisecond), exchange(100+s, began.Add(50*time.Second), time.Millisecond))
	}
	if got, _ := readAll(t, Query{}, Options{}, one); len(got) != 100 || one.most > 2 {
		t.Errorf("%d exchanges, %d open at a time", len(got), one.most)
	}
}

// The memory for waiting records is bounded. A record that does not fit comes early, and one that
// should have come before it is late.
func TestWhatWaitsIsBounded(t *testing.T) {
	m := &memory{}
	p := newPod("cart-0")
	var all []*recording.Exchange
	for n := range 1000 { // all within a window, the last one began first
		all = append(all, exchange(n, at(time.Duration(1000-n)*time.Millisecond), time.Duration(2*n)*time.Millisecond))
	}
	p.segment(m, begin, all...)
	got, report := readAll(t, Query{}, Options{MaxHeld: 100 << 10}, m)
	if len(got) != 1000 || report.Count(Late) < 500 {
		t.Errorf("%d exchanges; %s", len(got), findings(report))
	}
	if got, report = readAll(t, Query{}, Options{}, m); report.Count(Late) > 0 || locations(got[:2]) != "/999 /998" {
		t.Errorf("with room for all: %s; %s", locations(got[:2]), findings(report))
	}
}

// An exchange with a wrong time doesn't delay those around it.
func TestAWrongTimeDisturbsOneExchange(t *testing.T) {
	m := &memory{}
	for _, name := range []string{"cart-0", "cart-1"} {
		p := newPod(name)
		var all []*recording.Exchange
		for n := range 100 {
			all = append(all, exchange(p.number*1000+int(name[5])*100+n, at(time.Duration(n)*time.Second), time.Millisecond))
		}
		all[20].TS = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		all[30].TS = time.Time{}
		all[40].Duration = 1 << 60
		all[50].Duration = -1 << 60
		p.segment(m, begin, all...)
	}
	got, report := readAll(t, Query{}, Options{}, m)
	if late := report.Count(Late); len(got) != 200 || late > 4 {
		t.Errorf("%d exchanges; %s", len(got), findings(report))
	}
}
