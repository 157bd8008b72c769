package read

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Process describes a process that recorded, as far as its segments were read.
type Process struct {
	// Counters are the last counters. Without End, there may be more exchanges: the process is still
	// recording, or was killed before it could store everything.
	recording.Counters
	// Last is the start of its last segment.
	Last time.Time
	// Missing has the numbers of the segments that should exist but don't, as ranges that include
	// both ends.
	Missing [][2]int
	// MissingExchanges is how many exchanges those segments had.
	MissingExchanges uint64
}

// count returns how many numbers are in the ranges.
func count(ranges [][2]int) (n int) {
	for _, r := range ranges {
		n += r[1] - r[0] + 1
	}
	return n
}

// process collects facts from a process's segments, which come in any order.
type process struct {
	counters recording.Counters // the last counters
	end      bool
	numbers  numbers
	read     uint64    // exchanges in the segments that were read
	first    origin    // the first of these segments
	before   uint64    // exchanges in earlier segments, which the query doesn't need
	last     time.Time // start of the last segment
}

// add adds the counters of a segment.
func (p *process) add(c recording.Counters, o origin) {
	p.end = p.end || c.End
	if p.numbers.has(c.Segment) {
		return
	}
	if len(p.numbers) == 0 || c.Segment < p.first.number {
		p.first, p.before = o, less(c.Recorded, o.read)
		p.first.number = c.Segment
	}
	if len(p.numbers) == 0 || c.Segment > p.counters.Segment {
		p.counters, p.last = c, o.began
	}
	p.numbers.add(c.Segment)
	p.read += o.read
}

// concluded returns the result for the process. Each process of a pod begins with number 0, so a
// segment without counters counts as the process's segment with this number only if the pod is the
// same and the time matches.
func (p *process) concluded(uncounted []origin, from time.Time) Process {
	for _, o := range uncounted {
		if p.first.number < o.number && o.number < p.counters.Segment && !o.began.Before(p.first.began) && !o.began.After(p.last) && !p.numbers.has(o.number) {
			p.numbers.add(o.number)
			p.read += o.read
		}
	}
	d := Process{Counters: p.counters, Last: p.last, Missing: p.numbers.missing(), MissingExchanges: less(p.counters.Recorded, p.before+p.read)}
	d.End = p.end
	// The first segments of a long-running process may have been removed because of their age. A
	// process that began after the start of the query must have all its segments.
	if !from.IsZero() && !d.Started.Before(from) && p.first.number > 0 {
		d.Missing = slices.Insert(d.Missing, 0, [2]int{0, p.first.number - 1})
		d.MissingExchanges += p.before
	}
	return d
}

// less returns a - b, or 0 if b is larger.
func less(a, b uint64) uint64 { return a - min(a, b) }

// conclude adds the processes to the report.
func (r *Reader) conclude() {
	rep := &r.report
	rep.Processes = nil
	for _, all := range r.uncounted {
		slices.SortFunc(all, func(a, b origin) int {
			return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.number, b.number), cmp.Compare(a.read, b.read))
		})
	}
	for _, p := range r.processes {
		rep.Processes = append(rep.Processes, p.concluded(r.uncounted[recording.KeyPart(p.counters.Pod)], r.query.From))
	}
	slices.SortFunc(rep.Processes, func(a, b Process) int {
		return cmp.Or(a.Started.Compare(b.Started), bytes.Compare(a.Counters.Process[:], b.Counters.Process[:]))
	})
	for _, p := range rep.Processes {
		if n := count(p.Missing); n > 0 {
			first := min(p.Missing[0][0], r.processes[p.Counters.ID()].first.number)
			rep.add(MissingSegment, fmt.Sprintf("pod %s: %d of its segments %d to %d, such as number %d, with %d exchanges", p.Pod, n, first, p.Segment, p.Missing[0][0], p.MissingExchanges))
			rep.found[MissingSegment].Count += uint64(n - 1)
		}
	}
}

// numbers are sorted ranges of numbers that neither overlap nor touch.
type numbers [][2]int

func (n numbers) find(number int) (at int, found bool) {
	return slices.BinarySearchFunc(n, number, func(r [2]int, number int) int {
		switch {
		case r[1] < number:
			return -1
		case r[0] > number:
			return 1
		}
		return 0
	})
}

func (n numbers) has(number int) bool {
	_, found := n.find(number)
	return found
}

func (n *numbers) add(number int) {
	at, found := n.find(number)
	if found {
		return
	}
	r := *n
	joinsLeft := at > 0 && r[at-1][1] == number-1
	joinsRight := at < len(r) && r[at][0] == number+1
	switch {
	case joinsLeft && joinsRight:
		r[at-1][1] = r[at][1]
		*n = slices.Delete(r, at, at+1)
	case joinsLeft:
		r[at-1][1] = number
	case joinsRight:
		r[at][0] = number
	default:
		*n = slices.Insert(r, at, [2]int{number, number})
	}
}

// missing returns the missing numbers between the first and the last one.
func (n numbers) missing() (ranges [][2]int) {
	for i := 1; i < len(n); i++ {
		ranges = append(ranges, [2]int{n[i-1][1] + 1, n[i][0] - 1})
	}
	return ranges
}

// Ranges formats ranges of numbers for people, such as 3-5, 9, …. It shows up to limit ranges, and
// … for the rest.
func Ranges(all [][2]int, limit int) string {
	var words []string
	for i, r := range all {
		switch {
		case i == limit:
			return strings.Join(append(words, "…"), ", ")
		case r[0] == r[1]:
			words = append(words, fmt.Sprint(r[0]))
		default:
			words = append(words, fmt.Sprintf("%d-%d", r[0], r[1]))
		}
	}
	return strings.Join(words, ", ")
}
