package replay

import (
	"container/heap"
	"time"

	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/schedule"
)

// source says which step is due next in an open loop.
type source interface {
	// next returns the next request. Due times count from the start, and never decrease. ok is
	// false after the last one.
	next() (step int, of *pass, due time.Duration, ok bool)
}

// bounded ends a source after a time and a number of requests.
type bounded struct {
	source
	length   time.Duration // 0: no limit
	requests int64         // 0: no limit
	sent     int64
}

func (b *bounded) next() (int, *pass, time.Duration, bool) {
	if b.requests > 0 && b.sent == b.requests {
		return 0, nil, 0, false
	}
	step, of, due, ok := b.source.next()
	if !ok || b.length > 0 && due >= b.length {
		return 0, nil, 0, false
	}
	b.sent++
	return step, of, due, true
}

// copies sends several copies of a recording side by side at recorded times.
type copies struct {
	schedule schedule.Recorded
	newPass  func() *pass
	all      []*oneCopy // a heap
}

type oneCopy struct {
	offset time.Duration
	n      int64
	of     *pass
	due    time.Duration
}

func newCopies(p *plan.Plan, l Load, newPass func() *pass) *copies {
	length := p.Length()
	c := &copies{newPass: newPass, schedule: schedule.Recorded{
		At: func(n int) time.Duration { return p.Step(n).At }, Steps: p.Len(), Speed: l.Speed, Passes: l.Passes,
		Length: length + length/time.Duration(p.Len()) + time.Millisecond, // so that passes do not overlap
	}}
	pause := time.Duration(float64(length) / l.Speed / float64(p.Len()) / float64(l.Copies))
	for i := range l.Copies {
		c.all = append(c.all, &oneCopy{offset: time.Duration(i) * pause, due: time.Duration(i) * pause, of: newPass()})
	}
	return c
}

func (c *copies) next() (int, *pass, time.Duration, bool) {
	if len(c.all) == 0 {
		return 0, nil, 0, false
	}
	one := c.all[0]
	step, of, due := int(one.n%int64(c.schedule.Steps)), one.of, one.due
	one.n++
	next, ok := c.schedule.Due(one.n)
	if !ok {
		heap.Pop(c)
		return step, of, due, true
	}
	if one.n%int64(c.schedule.Steps) == 0 {
		one.of = c.newPass()
	}
	one.due = one.offset + next
	heap.Fix(c, 0)
	return step, of, due, true
}

// Len and the methods below implement heap.Interface.
func (c *copies) Len() int           { return len(c.all) }
func (c *copies) Less(i, j int) bool { return c.all[i].due < c.all[j].due }
func (c *copies) Swap(i, j int)      { c.all[i], c.all[j] = c.all[j], c.all[i] }
func (c *copies) Push(x any)         { c.all = append(c.all, x.(*oneCopy)) }
func (c *copies) Pop() any {
	last := c.all[len(c.all)-1]
	c.all = c.all[:len(c.all)-1]
	return last
}

// paced sends steps in recorded order at a rate.
type paced struct {
	schedule schedule.Open
	steps    int
	passes   int // 0: any number
	newPass  func() *pass

	n  int64
	of *pass
}

func (p *paced) next() (int, *pass, time.Duration, bool) {
	step := int(p.n % int64(p.steps))
	if step == 0 {
		if p.passes > 0 && p.n == int64(p.passes)*int64(p.steps) {
			return 0, nil, 0, false
		}
		p.of = p.newPass()
	}
	due, ok := p.schedule.Due(p.n)
	p.n++
	return step, p.of, due, ok
}
