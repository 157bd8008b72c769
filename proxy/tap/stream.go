package tap

import (
	"slices"
	"sync"
	"time"
	"unsafe"
)

// A chunk is copied into the page that all flows share, and its buffer is not kept, if it has
// at most copyMax bytes, or takes at most one in copyPart of the bytes of its buffer.
const (
	copyMax  = 1 << 10
	copyPart = 4
)

// eventCost is the memory of a queued event without its bytes.
const eventCost = int64(unsafe.Sizeof(event{}))

type eventKind uint8

const (
	data eventKind = iota
	gap
	end
	tick
	pause // the Reader ends, and the flow continues without one
)

type event struct {
	at   time.Time
	buf  *Buffer // data only
	n    int64
	cost int64 // returned to the tap's budget when the event is finished
	off  int32
	side Side
	kind eventKind
}

// batch is a list of events on its way from a stream to a worker.
type batch struct{ list []event }

// Stream is the data path's end of one flow. Bytes that are written to it reach the flow's
// Reader, unless the tap is full. No method waits for a Reader. A nil *Stream accepts
// everything and keeps nothing. Both sides of a flow may write at the same time, but bytes
// must be written after the bytes that caused them.
type Stream struct {
	tap    *Tap
	flow   *Flow
	reader Reader // used by the worker; nil until the first event is delivered
	opened bool   // used by the worker
	waits  bool   // the Reader waits for a tick; used by the worker

	mu     sync.Mutex
	events *batch    // nil while nothing waits
	gaps   [2]int64  // bytes dropped since the last event, by side
	lost   time.Time // when the last of them were sent
	first  Side      // the side of the first of them
	queued bool      // a worker has the stream or will get it
	paused bool      // the tap was paused at the last write
	closed bool
	fate   fate
}

// fate is the state of the flow's Reader.
type fate uint8

const (
	wanted   fate = iota
	unwanted      // OpenFunc returned nil
	panicked
)

// Flow returns the flow's description.
func (s *Stream) Flow() *Flow { return s.flow }

// Write queues the first n bytes of b, which side sent. The caller must not change the bytes
// afterwards, unless b.Shared returns false. The caller keeps its hold on b.
func (s *Stream) Write(side Side, at time.Time, b *Buffer, n int) {
	if s == nil || n == 0 {
		return
	}
	if n <= max(copyMax, len(b.B)/copyPart) {
		s.Copy(side, at, b.B[:n])
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cost := int64(len(b.B)) + eventCost; s.admit(side, at, n, cost) {
		b.Retain()
		s.push(event{at: at, buf: b, n: int64(n), cost: cost, side: side})
	}
}

// Copy queues a copy of p, which side sent.
func (s *Stream) Copy(side Side, at time.Time, p []byte) {
	if s == nil || len(p) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		n := min(len(p), sizes[0])
		if s.admit(side, at, n, eventCost) {
			if page, off := s.tap.place(p[:n]); page != nil {
				s.push(event{at: at, buf: page, off: int32(off), n: int64(n), cost: eventCost, side: side})
			} else {
				s.tap.used.Add(-eventCost)
				s.lose(side, at, n, dropFull)
			}
		}
		p = p[n:]
	}
}

// Close ends the flow. Nothing may be written afterwards.
func (s *Stream) Close(at time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.paused { // the Reader is closed, so it needs no gap
		s.gaps = [2]int64{}
	}
	s.flushGaps()
	s.push(event{at: at, kind: end})
}

// tick queues a tick, unless the stream is closed or has no Reader.
func (s *Stream) tick(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.fate == wanted {
		s.push(event{at: now, kind: tick})
	}
}

// admit takes cost from the tap's budget for n bytes and returns true, or counts the bytes
// as dropped or unwanted and returns false.
func (s *Stream) admit(side Side, at time.Time, n int, cost int64) bool {
	s.tap.written.Add(int64(n))
	switch {
	case s.fate == unwanted:
		s.tap.unwanted.Add(int64(n))
		return false
	case s.fate == panicked:
		s.tap.drop(dropPanic, int64(n))
		return false
	case s.closed:
		s.tap.drop(dropShutdown, int64(n))
		return false
	case s.tap.isPaused():
		s.pause(side, at, n)
		return false
	case s.tap.cfg.Shed != nil && s.tap.cfg.Shed():
		s.lose(side, at, n, dropShed)
		return false
	case !s.tap.charge(cost):
		s.lose(side, at, n, dropFull)
		return false
	}
	s.paused = false
	s.flushGaps()
	return true
}

// pause counts n bytes that were written while the tap was paused, and closes the Reader,
// which frees all that it holds.
func (s *Stream) pause(side Side, at time.Time, n int) {
	s.tap.unwanted.Add(int64(n))
	if !s.paused {
		s.flushGaps()
		s.paused = true
		s.push(event{at: at, kind: pause})
	}
	s.gap(side, at, n)
}

// lose counts n bytes that were dropped, for example because the tap was full.
func (s *Stream) lose(side Side, at time.Time, n int, why reason) {
	s.gap(side, at, n)
	s.tap.drop(why, int64(n))
}

// gap records that n bytes are missing.
func (s *Stream) gap(side Side, at time.Time, n int) {
	if s.gaps == [2]int64{} {
		s.first = side
	}
	s.gaps[side] += int64(n)
	s.lost = at
}

// flushGaps queues the gaps of both sides before the next event, so that the Reader gets them
// at the place of the loss. Gaps of one side are added up until then, which bounds their
// number.
func (s *Stream) flushGaps() {
	for _, side := range [...]Side{s.first, 1 - s.first} {
		if n := s.gaps[side]; n > 0 {
			s.gaps[side] = 0
			s.push(event{at: s.lost, n: n, side: side, kind: gap})
		}
	}
}

func (s *Stream) push(e event) {
	if s.events == nil {
		s.events = s.tap.batch()
	}
	s.events.list = append(s.events.list, e)
	if !s.queued {
		s.queued = s.tap.schedule(s)
	}
	if !s.queued { // the tap has stopped
		s.tap.discard(s.events.list, dropShutdown)
		s.events = nil
	}
}

// take returns the queued events for a worker, or nil if there are none. Of an outbound
// stream it takes only the events up to until.
func (s *Stream) take(until time.Time) *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.events
	s.events = nil
	if b == nil || s.flow.Direction == In {
		return b
	}
	n := slices.IndexFunc(b.list, func(e event) bool { return e.at.After(until) })
	switch {
	case n < 0:
		return b
	case n == 0:
		s.events = b
		return nil
	}
	s.events = s.tap.batch()
	s.events.list = append(s.events.list, b.list[n:]...)
	clear(b.list[n:])
	b.list = b.list[:n]
	return b
}

// done reports whether events came while the worker was busy, and when the first of them
// came. If there are none, the next push schedules the stream again.
func (s *Stream) done() (more bool, first time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued = s.events != nil; s.queued {
		first = s.events.list[0].at
	}
	return s.queued, first
}

// abandon returns the queued events of a stream that no worker will take.
func (s *Stream) abandon() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued = false
	if s.events == nil {
		return nil
	}
	list := s.events.list
	s.events = nil
	return list
}

// gone reports whether the stream's Reader panicked.
func (s *Stream) gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fate == panicked
}

func (s *Stream) setFate(f fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fate = f
}
