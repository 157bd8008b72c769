package read

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// The numbers of a process's segments, and their counters, show what is missing.
func TestWhatIsMissingOfAProcess(t *testing.T) {
	type seg struct {
		number, exchanges int
		uncounted         bool          // its writer was killed
		began             time.Duration // after begin; number × 5 minutes, unless it is set
	}
	for _, c := range []struct {
		name    string
		from    time.Duration // of the query, after begin; 0 means none
		lost    string        // numbers
		all     []seg
		missing string
		count   uint64
	}{
		{name: "all is there", all: []seg{{0, 3, false, 0}, {1, 2, false, 0}, {2, 1, false, 0}}},
		{name: "one in the middle", lost: "1", all: []seg{{0, 3, false, 0}, {1, 2, false, 0}, {2, 1, false, 0}}, missing: "1", count: 2},
		{name: "several", lost: "1 2 4", all: []seg{{0, 3, false, 0}, {1, 2, false, 0}, {2, 7, false, 0}, {3, 1, false, 0}, {4, 1, false, 0}, {5, 1, false, 0}}, missing: "1-2, 4", count: 10},
		{name: "one without counters is there", all: []seg{{0, 3, false, 0}, {1, 2, true, 0}, {2, 1, false, 0}}},
		{name: "one without counters, beside one that is missing", lost: "2", all: []seg{{0, 3, false, 0}, {1, 2, true, 0}, {2, 4, false, 0}, {3, 1, false, 0}}, missing: "2", count: 4},
		{name: "one without counters of another time", lost: "1", all: []seg{{0, 3, false, 0}, {1, 2, false, 0}, {2, 1, false, 0}, {1, 9, true, 30 * time.Minute}}, missing: "1", count: 2},
		{name: "the first ones, which may have been removed by age", lost: "0 1", all: []seg{{0, 3, false, 0}, {1, 2, false, 0}, {2, 1, false, 0}}},
		{name: "the first ones, of a process that began in the time", from: -time.Minute, lost: "0 1 3", all: []seg{{0, 3, false, 0}, {1, 2, false, 0}, {2, 1, false, 0}, {3, 8, false, 0}, {4, 1, false, 0}}, missing: "0-1, 3", count: 13},
		{name: "the first ones, of a process that began before the time", from: time.Minute, lost: "0 1", all: []seg{{0, 3, false, 0}, {1, 2, false, 0}, {2, 1, false, 0}}},
		{name: "only the newest came", from: -time.Minute, lost: "0 1", all: []seg{{0, 3, false, 0}, {1, 2, false, 0}, {2, 0, false, 0}}, missing: "0-1", count: 5},
	} {
		for _, order := range []Order{Streamed, Sorted} {
			m, p := &memory{}, newPod("cart-0")
			n := 0
			for _, s := range c.all {
				began := at(time.Duration(s.number) * 5 * time.Minute)
				if s.began != 0 {
					began = at(s.began)
				}
				var all []*recording.Exchange
				for range s.exchanges {
					n++
					all = append(all, exchange(n, began, 0))
				}
				key := recording.SegmentKey{Partition: p.partition, Began: began, Pod: p.name, Number: s.number}.String()
				text := lines(all...)
				p.recorded += len(all)
				if !s.uncounted {
					text = recording.Counters{Pod: p.name, Process: p.process, Started: begin, Segment: s.number, Recorded: uint64(p.recorded)}.AppendLine(text, "c1", "shop", "cart")
				}
				if !strings.Contains(" "+c.lost+" ", fmt.Sprintf(" %d ", s.number)) || s.uncounted {
					m.put(key, zip(text))
				}
			}
			q := Query{}
			if c.from != 0 {
				q.From = at(c.from)
			}
			_, report := readAll(t, q, Options{Order: order}, m)
			if len(report.Processes) != 1 {
				t.Fatalf("%s: %+v", c.name, report.Processes)
			}
			got := report.Processes[0]
			if Ranges(got.Missing, 9) != c.missing || got.MissingExchanges != c.count || got.End || int(report.Count(MissingSegment)) != count(got.Missing) {
				t.Errorf("%s: %s are missing with %d exchanges, want %s with %d; %s", c.name, Ranges(got.Missing, 9), got.MissingExchanges, c.missing, c.count, findings(report))
			}
		}
	}
}

func TestRangesForAPerson(t *testing.T) {
	all := [][2]int{{0, 0}, {2, 3}, {5, 9}}
	for most, want := range []string{"…", "0, …", "0, 2-3, …", "0, 2-3, 5-9"} {
		if got := Ranges(all, most); got != want {
			t.Errorf("%d: %s, want %s", most, got, want)
		}
	}
}
