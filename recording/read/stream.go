package read

import (
	"bytes"
	"cmp"
	"container/heap"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// key is the sort key of exchanges: their start, and then the order in which they were read. Parts
// of one conversation stay together.
type key struct {
	ts    time.Time
	group recording.UUID // of the conversation that the exchange is part of; zero for other exchanges
	part  int
	order uint64
}

func (r *Reader) key(e *recording.Exchange) key {
	r.order++
	return keyOf(e, r.order)
}

func keyOf(e *recording.Exchange, order uint64) key {
	k := key{ts: e.TS, order: order}
	if c := e.Conversation(); c != nil {
		if id, ok := e.ConversationID(); ok {
			k.group, k.part = id, c.Part
		}
	}
	return k
}

func (k key) compare(o key) int {
	return cmp.Or(k.ts.Compare(o.ts), bytes.Compare(k.group[:], o.group[:]), cmp.Compare(k.part, o.part), cmp.Compare(k.order, o.order))
}

// streamed merges the segments. A segment has its exchanges in the order of their ends, and none of
// them ended before the segment began. So every exchange that remains to be read ended after the
// lowest position of the open segments, or after the start of the next segment. If it took no longer
// than the window, it began after the earlier of these times minus the window. All held exchanges
// that began before that can be returned.
func (r *Reader) streamed(out *joiner) error {
	pending := 0 // index in r.segments of the next one to open
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
		for pending < len(r.segments) && len(open) < r.opts.MaxOpen && (len(open) == 0 || !r.segments[pending].began.After(open[0].pos)) {
			if s := r.open(pending); s != nil {
				heap.Push(&open, s)
			}
			pending++
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
			held.push(waiter{r.key(rec.Exchange), rec})
			size += r.cost(rec)
			heap.Fix(&open, 0)
		}
		var safe time.Time // records that began before this time can be returned
		switch {
		case len(open) == 0 && pending == len(r.segments):
		case len(open) == 0 || pending < len(r.segments) && r.segments[pending].began.Before(open[0].pos):
			safe = r.segments[pending].began.Add(-r.opts.Window)
		default:
			safe = open[0].pos.Add(-r.opts.Window)
		}
		for held.len() > 0 && (size > r.opts.MaxHeld || held.first().Before(safe)) {
			rec := held.pop()
			size -= r.cost(rec)
			if err := out.add(rec); err != nil {
				return err
			}
		}
	}
	for held.len() > 0 {
		if err := out.add(held.pop()); err != nil {
			return err
		}
	}
	return nil
}

// cost returns the size of a record that counts towards MaxHeld.
func (r *Reader) cost(rec *Record) int64 {
	const fixed = 1 << 10
	if r.opts.Light {
		return fixed + min(rec.Size, fixed)
	}
	return fixed + rec.Size
}

// sources is a heap of open segments, ordered by the position up to which they have been read.
type sources []*source

func (h sources) Len() int { return len(h) }
func (h sources) Less(i, j int) bool {
	return cmp.Or(h[i].pos.Compare(h[j].pos), h[i].began.Compare(h[j].began), cmp.Compare(h[i].store, h[j].store), cmp.Compare(h[i].number, h[j].number), strings.Compare(h[i].segment.key, h[j].segment.key)) < 0
}
func (h sources) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *sources) Push(x any)   { *h = append(*h, x.(*source)) }
func (h *sources) Pop() any     { return pop((*[]*source)(h)) }

// waiting is a heap of records that wait for their turn. There are many of them, so the heap moves
// indices, which the garbage collector doesn't scan.
type waiting struct {
	heap []place
	all  []waiter
	free []int32 // free indices in all
}

type waiter struct {
	key
	*Record
}

// place is the index of a record in all, and its start.
type place struct {
	seconds int64
	nanos   int32
	at      int32
}

func (w *waiting) len() int { return len(w.heap) }

// first returns the start of the next record.
func (w *waiting) first() time.Time { return w.all[w.heap[0].at].ts }

func (w *waiting) push(r waiter) {
	at := int32(len(w.all))
	if n := len(w.free); n > 0 {
		at, w.free = w.free[n-1], w.free[:n-1]
		w.all[at] = r
	} else {
		w.all = append(w.all, r)
	}
	w.heap = append(w.heap, place{r.ts.Unix(), int32(r.ts.Nanosecond()), at})
	for i := len(w.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !w.less(i, up) {
			break
		}
		w.heap[i], w.heap[up] = w.heap[up], w.heap[i]
		i = up
	}
}

// pop removes the next record.
func (w *waiting) pop() *Record {
	at, n := w.heap[0].at, len(w.heap)-1
	w.heap[0] = w.heap[n]
	w.heap = w.heap[:n]
	for i := 0; ; {
		down := 2*i + 1
		if down+1 < n && w.less(down+1, down) {
			down++
		}
		if down >= n || !w.less(down, i) {
			break
		}
		w.heap[i], w.heap[down] = w.heap[down], w.heap[i]
		i = down
	}
	r := w.all[at].Record
	w.all[at], w.free = waiter{}, append(w.free, at)
	return r
}

func (w *waiting) less(i, j int) bool {
	a, b := w.heap[i], w.heap[j]
	if a.seconds != b.seconds || a.nanos != b.nanos {
		return a.seconds < b.seconds || a.seconds == b.seconds && a.nanos < b.nanos
	}
	return w.all[a.at].compare(w.all[b.at].key) < 0
}

func pop[T any](all *[]T) T {
	n := len(*all) - 1
	var none T
	last := (*all)[n]
	(*all)[n] = none
	*all = (*all)[:n]
	return last
}
