package replay

import (
	"cmp"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/report"
)

// Division says which shard of a run has which step. It follows from the recording alone, so
// that shards which know nothing of each other agree.
//
// Whole sessions go to a shard, with all that they exchange values with or wait for, the
// longest ones first, each to the shard that has the fewest steps. A hash would need no list
// of sessions, but with a few long sessions it leaves some shards with several of them and
// others with none.
type Division struct {
	shards []uint16 // by step
	counts []int    // of steps, by shard
}

// Divide divides the steps of a recording among so many shards.
func Divide(g *carry.Graph, of int) *Division {
	d := &Division{shards: make([]uint16, g.Steps()), counts: make([]int, of)}
	first := g.Components()
	size := map[int]int{}
	var order []int
	for _, f := range first {
		if size[f]++; size[f] == 1 {
			order = append(order, f)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(size[b], size[a]) })
	shard := make(map[int]uint16, len(order))
	for _, f := range order {
		least := slices.Index(d.counts, slices.Min(d.counts))
		shard[f] = uint16(least)
		d.counts[least] += size[f]
	}
	for step, f := range first {
		d.shards[step] = shard[f]
	}
	return d
}

// Has tells whether a step is a shard's.
func (d *Division) Has(shard, step int) bool { return int(d.shards[step]) == shard }

// Steps is how many a shard has.
func (d *Division) Steps(shard int) int {
	if shard >= len(d.counts) {
		return 0
	}
	return d.counts[shard]
}

// part is what one generator sends of a run.
type part struct {
	report.Shard
	// division is of the steps; nil: all are this one's.
	division *Division
	// whole tells that each pass goes through all steps: then virtual users are divided.
	whole bool
	// idle tells that nothing is left for this one.
	idle bool
}

// newPart divides a run. The bounds in its options become those of the part.
func newPart(o *Options) *part {
	p := &part{Shard: o.Shard}
	if p.Of <= 1 {
		return p
	}
	o.MaxInFlight = max(1, p.share(o.MaxInFlight))
	l, among := &o.Load, p.Of
	if l.way() == sessions {
		among = min(among, l.Sessions) // each needs one at a time
	}
	p.division = Divide(o.Graph, among)
	bound := l.Requests
	switch l.way() {
	case users:
		p.whole = true
		most := int(l.atATime())
		p.idle = shareOf(most, p.Index, p.Of) == 0
		l.Requests = p.portion(bound, most, func(shard int) int { return shareOf(most, shard, p.Of) })
	case sessions:
		p.idle = p.division.Steps(p.Index) == 0
		l.Sessions = shareOf(l.Sessions, p.Index, among)
		l.Requests = p.portion(bound, o.Graph.Steps(), p.division.Steps)
	default:
		p.idle = p.division.Steps(p.Index) == 0
	}
	p.idle = p.idle || bound > 0 && l.Requests == 0
	return p
}

// Part tells which steps count as those of the options' shard, and how many there are.
func (o Options) Part() (has func(step int) bool, steps int) {
	o.Load = o.Load.normal()
	p := newPart(&o)
	return p.counts, p.steps(o.Graph.Steps())
}

// share is the part's of a number of things, of which the first parts get one more.
func (p *part) share(n int) int { return shareOf(n, p.Index, p.Of) }

func shareOf(n, index, of int) int {
	share := n / of
	if index < n%of {
		share++
	}
	return share
}

// portion is the part's of a bound, in proportion to a weight of each part, which total is
// the sum of. All portions together are the bound.
func (p *part) portion(bound int64, total int, weight func(shard int) int) int64 {
	before := 0
	for shard := range p.Index {
		before += weight(shard)
	}
	upTo := func(n int) int64 {
		if n >= total {
			return bound
		}
		return int64(float64(bound) * (float64(n) / float64(total)))
	}
	return upTo(before+weight(p.Index)) - upTo(before)
}

// sends tells whether the part sends a step.
func (p *part) sends(step int) bool { return p.whole || p.counts(step) }

// counts tells whether a step is one of the part's, by which its report counts what the
// recording has.
func (p *part) counts(step int) bool { return p.division == nil || p.division.Has(p.Index, step) }

// steps is how many there are that count.
func (p *part) steps(all int) int {
	if p.division == nil {
		return all
	}
	return p.division.Steps(p.Index)
}

// user tells whether a virtual user is the part's.
func (p *part) user(number int) bool { return p.Of <= 1 || number%p.Of == p.Index }

// parted leaves of a source what the part sends. Due times stay as they are, so that all
// parts together send what one generator would, when it would.
type parted struct {
	source
	part *part
}

func (p *parted) next() (int, *pass, time.Duration, bool) {
	for {
		step, of, due, ok := p.source.next()
		if !ok || p.part.sends(step) {
			return step, of, due, ok
		}
	}
}
