package read

import (
	"bytes"
	"cmp"
	"container/heap"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// key is what exchanges are ordered by: their start, and, of those that began at the same
// time, the order in which they were read. Parts of one conversation stay together.
type key struct {
	ts    time.Time
	group recording.UUID // of the conversation that it is a part of; zero if it is none
	part  int
	order uint64
}

func (r *Reader) key(e *recording.Exchange) key {
	r.order++
	k := key{ts: e.TS, order: r.order}
	if id, ok := e.ConversationID(); ok {
		if c := e.Conversation(); c != nil {
			k.group, k.part = id, c.Part
		}
	}
	return k
}

func (k key) compare(o key) int {
	return cmp.Or(k.ts.Compare(o.ts), bytes.Compare(k.group[:], o.group[:]), cmp.Compare(k.part, o.part), cmp.Compare(k.order, o.order))
}

// streamed merges the segments. Exchanges stand in a segment in the order in which they
// ended, and none ended before the segment was begun. So all that is still to come ended
// after the earliest place at which an open segment is read, and after the next one was
// begun; and what took no longer than the window began no earlier than the window before
// that. Up to there, what is held comes out.
func (r *Reader) streamed(out *joiner) error {
	pending := r.segments
	var open sources
	var held waiting
	var size int64
	defer func() {
		for _, s := range open {
			s.close()
		}
	}()
	var light recording.Exchange
	for n := 0; ; n++ {
		if n%256 == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		for len(pending) > 0 && len(open) < r.opts.MaxOpen && (len(open) == 0 || !pending[0].began.After(open[0].pos)) {
			if s := r.open(&pending[0]); s != nil {
				heap.Push(&open, s)
			}
			pending = pending[1:]
		}
		if len(open) == 0 {
			break
		}
		s := open[0]
		if !s.next(&light) {
			heap.Pop(&open)
		} else {
			rec, err := s.record(&light)
			if err != nil {
				return err
			}
			heap.Push(&held, waiter{r.key(rec.Exchange), rec})
			size += r.cost(rec)
			heap.Fix(&open, 0)
		}
		var safe time.Time // what began before can come
		switch {
		case len(open) == 0 && len(pending) == 0:
		case len(open) == 0 || len(pending) > 0 && pending[0].began.Before(open[0].pos):
			safe = pending[0].began.Add(-r.opts.Window)
		default:
			safe = open[0].pos.Add(-r.opts.Window)
		}
		for len(held) > 0 && (size > r.opts.MaxHeld || held[0].ts.Before(safe)) {
			w := heap.Pop(&held).(waiter)
			size -= r.cost(w.Record)
			if err := out.add(w.Record); err != nil {
				return err
			}
		}
	}
	for len(held) > 0 {
		w := heap.Pop(&held).(waiter)
		if err := out.add(w.Record); err != nil {
			return err
		}
	}
	return nil
}

// cost is what a record counts of MaxHeld.
func (r *Reader) cost(rec *Record) int64 {
	const fixed = 1 << 10
	if r.opts.Light {
		return fixed + min(rec.Size, fixed)
	}
	return fixed + rec.Size
}

// sources is a heap of open segments, by the place up to which they were read.
type sources []*source

func (h sources) Len() int { return len(h) }
func (h sources) Less(i, j int) bool {
	return cmp.Or(h[i].pos.Compare(h[j].pos), h[i].began.Compare(h[j].began), cmp.Compare(h[i].store, h[j].store), cmp.Compare(h[i].number, h[j].number), strings.Compare(h[i].segment.key, h[j].segment.key)) < 0
}
func (h sources) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *sources) Push(x any)   { *h = append(*h, x.(*source)) }
func (h *sources) Pop() any     { return pop((*[]*source)(h)) }

// waiting is a heap of records whose turn has not come.
type waiting []waiter

type waiter struct {
	key
	*Record
}

func (h waiting) Len() int           { return len(h) }
func (h waiting) Less(i, j int) bool { return h[i].compare(h[j].key) < 0 }
func (h waiting) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *waiting) Push(x any)        { *h = append(*h, x.(waiter)) }
func (h *waiting) Pop() any          { return pop((*[]waiter)(h)) }

func pop[T any](all *[]T) T {
	n := len(*all) - 1
	var none T
	last := (*all)[n]
	(*all)[n] = none
	*all = (*all)[:n]
	return last
}
