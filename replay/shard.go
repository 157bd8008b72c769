package replay

import (
	"cmp"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/report"
)

// Division divides the steps of a run among shards. It depends only on the recording, so all shards
// compute the same one without talking to each other.
//
// A shard gets whole sessions, with all sessions that they exchange values with or wait for.
// The longest ones are assigned first, each to the shard with the fewest steps. A hash of the
// session would be simpler, but could give several long sessions to one shard and none to
// another.
type Division struct {
	shards []uint16 // by step
	counts []int    // of steps, by shard
}

// Divide divides the steps of a recording among a number of shards.
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

// Has reports whether a step belongs to a shard.
func (d *Division) Has(shard, step int) bool { return int(d.shards[step]) == shard }

// Steps returns the number of steps of a shard.
func (d *Division) Steps(shard int) int {
	if shard >= len(d.counts) {
		return 0
	}
	return d.counts[shard]
}

// part is the part of a run that one generator sends.
type part struct {
	report.Shard
	// division divides the steps. If nil, the part has all steps.
	division *Division
	// whole reports whether virtual users are divided instead of steps. Then each pass has all steps.
	whole bool
	// idle reports whether the part has nothing to send.
	idle bool
}

// newPart returns the part of a run, and reduces the bounds in the options to its share.
func newPart(o *Options) *part {
	p := &part{Shard: o.Shard}
	if p.Of <= 1 {
		return p
	}
	o.MaxInFlight = max(1, p.share(o.MaxInFlight))
	l, among := &o.Load, p.Of
	if l.way() == sessions {
		among = min(among, l.Sessions) // each shard needs at least one session at a time
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

// Part returns the steps that the report of the options' shard counts, and their number.
func (o Options) Part() (has func(step int) bool, steps int) {
	o.Load = o.Load.normal()
	p := newPart(&o)
	return p.counts, p.steps(o.Graph.Steps())
}

// share returns the part's share of n. If n can't be divided evenly, the first parts get one
// more.
func (p *part) share(n int) int { return shareOf(n, p.Index, p.Of) }

func shareOf(n, index, of int) int {
	share := n / of
	if index < n%of {
		share++
	}
	return share
}

// portion returns the part's share of a bound, in proportion to the weights of the parts, whose
// sum is total. The sum of all portions is the bound.
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

// sends reports whether the part sends a step.
func (p *part) sends(step int) bool { return p.whole || p.counts(step) }

// counts reports whether the part's report counts a step as one of the recording's.
func (p *part) counts(step int) bool { return p.division == nil || p.division.Has(p.Index, step) }

// steps returns the number of steps that count, out of all.
func (p *part) steps(all int) int {
	if p.division == nil {
		return all
	}
	return p.division.Steps(p.Index)
}

// user reports whether the part has a virtual user.
func (p *part) user(number int) bool { return p.Of <= 1 || number%p.Of == p.Index }

// parted yields only the steps of a source that the part sends. Due times don't change, so all parts
// together send the same requests at the same times as one generator.
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
