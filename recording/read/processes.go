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

// Process is what is known, by the segments that were read, of a process that recorded.
type Process struct {
	// Counters are its last ones. Without their End, nobody knows whether there are more: it
	// still records, or it was killed and what it had is not here.
	recording.Counters
	// Last is when the last of its segments was begun.
	Last time.Time
	// Missing are the numbers of the segments that must be there and are not, as ranges with
	// both ends.
	Missing [][2]int
	// MissingExchanges is how many exchanges those had.
	MissingExchanges uint64
}

// count returns how many numbers there are in the ranges.
func count(ranges [][2]int) (n int) {
	for _, r := range ranges {
		n += r[1] - r[0] + 1
	}
	return n
}

// process collects what its segments say, which come in any order.
type process struct {
	counters recording.Counters // the last ones
	end      bool
	numbers  numbers
	read     uint64    // exchanges in its segments
	first    origin    // of those
	before   uint64    // exchanges in those before the first, which the query doesn't need
	last     time.Time // when the last one was begun
}

// add takes the counters of a segment.
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

// concluded returns what is known in the end. A segment without counters fills the number in
// its name, if it is of the same pod and of the same time: each process of a pod begins with
// number 0.
func (p *process) concluded(uncounted []origin, from time.Time) Process {
	for _, o := range uncounted {
		if p.first.number < o.number && o.number < p.counters.Segment && !o.began.Before(p.first.began) && !o.began.After(p.last) && !p.numbers.has(o.number) {
			p.numbers.add(o.number)
			p.read += o.read
		}
	}
	d := Process{Counters: p.counters, Last: p.last, Missing: p.numbers.missing(), MissingExchanges: less(p.counters.Recorded, p.before+p.read)}
	d.End = p.end
	// What a long process recorded first may have been removed by age. One that began after
	// the time that was asked for must be there from its start.
	if !from.IsZero() && !d.Started.Before(from) && p.first.number > 0 {
		d.Missing = slices.Insert(d.Missing, 0, [2]int{0, p.first.number - 1})
		d.MissingExchanges += p.before
	}
	return d
}

// less returns a - b, or 0 if that is negative.
func less(a, b uint64) uint64 { return a - min(a, b) }

// conclude adds to the report what is known in the end.
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

// numbers are ranges of numbers, sorted, and apart from each other.
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

// missing returns the numbers between the first and the last that are not there.
func (n numbers) missing() (ranges [][2]int) {
	for i := 1; i < len(n); i++ {
		ranges = append(ranges, [2]int{n[i-1][1] + 1, n[i][0] - 1})
	}
	return ranges
}

// Ranges writes ranges of numbers for a person: the first ones, up to limit, and … for the
// rest, as 3-5, 9, ….
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
