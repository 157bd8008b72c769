package tap

import "runtime/debug"

// deliver gives a batch to the stream's Reader and returns its cost to the budget.
func (t *Tap) deliver(s *Stream, events []event) {
	at := 0
	defer func() {
		if v := recover(); v != nil {
			s.reader = nil
			s.setFate(panicked)
			t.discard(events[at:], dropPanic)
			if t.cfg.Panicked != nil {
				t.cfg.Panicked(s.flow, v, debug.Stack())
			}
			if events[len(events)-1].kind == end {
				t.ended()
			}
		}
	}()
	for ; at < len(events); at++ {
		e := &events[at]
		t.give(s, e)
		t.finish(e)
		if e.kind == end {
			t.ended()
		}
	}
	if r, ok := s.reader.(Timely); ok && !s.waits && r.Waits() {
		s.waits = true
		t.await(s)
	}
}

// openReader opens the stream's Reader.
func (t *Tap) openReader(s *Stream) {
	s.opened = true
	if t.cfg.Open != nil {
		s.reader = t.cfg.Open(s.flow)
	}
	if s.reader == nil {
		s.setFate(unwanted)
	}
}

// give calls the Reader for one event.
func (t *Tap) give(s *Stream, e *event) {
	switch {
	case e.kind == tick:
		s.waits = false
	case e.kind != end && e.kind != pause && !s.opened:
		t.openReader(s)
	}
	switch {
	case s.reader == nil:
		if e.kind == data {
			if s.gone() {
				t.drop(dropPanic, e.n)
			} else {
				t.unwanted.Add(e.n)
			}
		}
	case e.kind == data:
		s.reader.Data(e.side, e.at, e.buf.B[e.off:int64(e.off)+e.n])
		t.delivered.Add(e.n)
	case e.kind == gap:
		s.reader.Gap(e.side, e.at, e.n)
	case e.kind == tick:
		if r, ok := s.reader.(Timely); ok {
			r.Tick(e.at)
		}
	case e.kind == pause:
		s.reader.Close(e.at)
		s.reader, s.opened = nil, false
	default:
		s.reader.Close(e.at)
		s.reader = nil
	}
}

// finish releases an event's buffer and returns its cost to the budget.
func (t *Tap) finish(e *event) {
	if e.buf != nil {
		e.buf.Release()
	}
	t.used.Add(-e.cost)
}

// discard counts and finishes events that no Reader will get.
func (t *Tap) discard(events []event, r reason) {
	for i := range events {
		if events[i].kind == data {
			t.drop(r, events[i].n)
		}
		t.finish(&events[i])
	}
}

// ended counts the end of a stream.
func (t *Tap) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	if t.open == 0 && t.drained != nil {
		close(t.drained)
	}
}
