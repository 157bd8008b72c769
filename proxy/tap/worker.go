package tap

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// gather is how long an event waits for others, to be read in one batch. Waking a worker for
// every chunk would cost more than the decoding, and records are not urgent.
const gather = 2 * time.Millisecond

// Config configures a Tap.
type Config struct {
	// Limit bounds the memory of the queues, in bytes: their entries and the buffers that
	// these hold. 0 keeps nothing.
	Limit int64
	// Workers is the number of goroutines that call Readers; 0: GOMAXPROCS.
	Workers int
	// Open opens the Readers.
	Open OpenFunc
	// Tick is the interval of the ticks for Timely Readers; 0: 5 seconds.
	Tick time.Duration
	// Shed, if not nil, reports whether memory is too short to keep any bytes.
	Shed func() bool
	// Buffers bounds the bytes of Pool's buffers that the data path holds in addition to
	// Limit. Beyond it, the data path reads in small steps. 0: no bound.
	Buffers int64
	// Paused, if not nil, pauses the tap while it is true. It is read for every chunk.
	Paused *atomic.Bool
	// Panicked, if not nil, is called on the worker when a Reader has panicked.
	Panicked func(f *Flow, value any, stack []byte)
}

// Tap queues the bytes that the data path writes, and calls the Readers. It is safe for
// concurrent use.
type Tap struct {
	cfg     Config
	pool    Pool
	batches sync.Pool

	used, written, delivered, unwanted, flows atomic.Int64
	dropped                                   [len(reasons)]atomic.Int64
	gaps                                      [len(reasons)]atomic.Int64

	mu       sync.Mutex
	wake     sync.Cond
	page     *Buffer   // collects short chunks until a worker has nothing to do
	fill     int       // bytes of page that are used
	arriving []*Stream // streams with events since the last batch
	due      bool      // arriving may become the next batch
	ready    []*Stream // the current batch, inbound streams first
	head     int       // index in ready of the next stream to be taken
	until    time.Time // when the current batch was made
	inbound  int       // inbound streams that workers are reading
	armed    bool      // timer runs
	timer    *time.Timer
	waiting  []*Stream     // streams that wait for the next tick
	clock    *time.Timer   // for the ticks; it runs while streams wait
	open     int           // streams whose end has not been delivered
	drained  chan struct{} // set by Shutdown, closed when open is 0
	stop     bool
	workers  sync.WaitGroup
}

// New returns a tap and starts its workers. Shutdown ends them.
func New(cfg Config) *Tap {
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	cfg.Tick = cmp.Or(cfg.Tick, 5*time.Second)
	t := &Tap{cfg: cfg}
	if cfg.Buffers > 0 {
		t.pool.Bound(cfg.Buffers + cfg.Limit)
	}
	t.wake.L = &t.mu
	t.timer = time.AfterFunc(time.Hour, t.release)
	t.timer.Stop()
	t.clock = time.AfterFunc(time.Hour, t.tick)
	t.clock.Stop()
	for range cfg.Workers {
		t.workers.Go(t.work)
	}
	return t
}

func (t *Tap) isPaused() bool { return t.cfg.Paused != nil && t.cfg.Paused.Load() }

// Pool returns the pool of the buffers that are passed to Write.
func (t *Tap) Pool() *Pool { return &t.pool }

// Open begins a flow. After Shutdown it returns nil, and the flow is not kept.
func (t *Tap) Open(f *Flow) *Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.drained != nil {
		return nil
	}
	t.open++
	t.flows.Add(1)
	return &Stream{tap: t, flow: f}
}

// Shutdown waits until all streams are closed and the Readers have got the rest, and ends the
// workers. If ctx ends first, it drops and counts the rest, and returns ctx's error. A Reader
// that does not return then keeps its goroutine.
func (t *Tap) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	if t.drained == nil {
		t.drained = make(chan struct{})
		if t.open == 0 {
			close(t.drained)
		}
	}
	t.mu.Unlock()
	t.release()
	var err error
	select {
	case <-t.drained:
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.mu.Lock()
	t.stop = true
	t.timer.Stop()
	t.clock.Stop()
	t.waiting = nil
	t.turn()
	left := append(t.ready[t.head:], t.arriving...)
	t.ready, t.arriving, t.head = nil, nil, 0
	t.wake.Broadcast()
	t.mu.Unlock()
	for _, s := range left {
		t.discard(s.abandon(), dropShutdown)
	}
	if err == nil {
		t.workers.Wait()
	}
	return err
}

// charge takes cost from the budget and reports whether there was enough.
func (t *Tap) charge(cost int64) bool {
	ok, release := t.take(cost)
	if release {
		t.release()
	}
	return ok
}

// take takes cost from the budget. ok reports whether there was enough. release reports
// whether the budget is now more than half used, so that the workers should read immediately.
func (t *Tap) take(cost int64) (ok, release bool) {
	used := t.used.Add(cost)
	if used > t.cfg.Limit {
		t.used.Add(-cost)
		return false, false
	}
	half := t.cfg.Limit / 2
	return true, used > half && used-cost <= half
}

// schedule puts a stream into the next batch. It returns false if the tap has stopped.
func (t *Tap) schedule(s *Stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.scheduleLocked(s)
}

func (t *Tap) scheduleLocked(s *Stream) bool {
	if t.stop {
		return false
	}
	t.arriving = append(t.arriving, s)
	switch {
	case t.drained != nil:
		t.releaseLocked()
	case !t.armed:
		t.armed = true
		t.timer.Reset(gather)
	}
	return true
}

// release lets the workers read the streams that have arrived.
func (t *Tap) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.releaseLocked()
}

func (t *Tap) releaseLocked() {
	t.armed = false
	if len(t.arriving) == 0 {
		return
	}
	t.due = true
	t.wake.Broadcast()
}

// load makes a batch of the streams that have arrived. Inbound streams come first, and
// outbound ones wait for them. Outbound streams are read only up to the time of the batch.
// So an inbound request is read before the calls that it causes, because it was written
// before them.
func (t *Tap) load() {
	t.ready, t.head, t.due, t.until = t.ready[:0], 0, false, time.Now()
	for _, d := range []Direction{In, Out} {
		for _, s := range t.arriving {
			if s.flow.Direction == d {
				t.ready = append(t.ready, s)
			}
		}
	}
	clear(t.arriving)
	t.arriving = t.arriving[:0]
}

// again schedules a stream that a worker has read and that has more events, the first of
// them at since. If the stream is inbound and since is before the batch was made, the
// stream belongs to the current batch. again returns false if the tap has stopped.
func (t *Tap) again(s *Stream, since time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.flow.Direction == Out || since.After(t.until) || t.stop {
		return t.scheduleLocked(s)
	}
	t.ready = slices.Insert(t.ready, t.head, s)
	return true
}

// next waits for a stream with events. It returns the stream and the time up to which the
// worker must read it, or nil if the tap has stopped. done is the stream that the worker has
// read; nil at first.
func (t *Tap) next(done *Stream) (s *Stream, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if done != nil && done.flow.Direction == In {
		if t.inbound--; t.inbound == 0 {
			t.wake.Broadcast()
		}
	}
	for {
		if t.head == len(t.ready) && t.due {
			t.load()
		}
		switch {
		case t.head == len(t.ready):
			if t.stop {
				return nil, t.until
			}
		case t.ready[t.head].flow.Direction == In || t.inbound == 0:
			s := t.ready[t.head]
			t.ready[t.head] = nil
			t.head++
			if s.flow.Direction == In {
				t.inbound++
			}
			return s, t.until
		}
		t.turn()
		t.wake.Wait()
	}
}

// await schedules the next tick for the stream's Reader.
func (t *Tap) await(s *Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop {
		return
	}
	if len(t.waiting) == 0 {
		t.clock.Reset(t.cfg.Tick)
	}
	t.waiting = append(t.waiting, s)
}

// tick queues a tick for each stream that waits for one.
func (t *Tap) tick() {
	t.mu.Lock()
	waiting := t.waiting
	t.waiting = nil
	t.mu.Unlock()
	now := time.Now()
	for _, s := range waiting {
		s.tick(now)
	}
}

// place copies p, which fits into a page, into the current page or a new one. It returns the
// page and the offset, or nil if there is no room for another page.
func (t *Tap) place(p []byte) (page *Buffer, off int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.page == nil || len(t.page.B)-t.fill < len(p) {
		ok, release := t.take(int64(sizes[0]))
		if !ok {
			return nil, 0
		}
		if release {
			t.releaseLocked()
		}
		t.turn()
		t.page = t.pool.Get(0)
		t.page.budget = &t.used
	}
	off = t.fill
	t.fill += copy(t.page.B[off:], p)
	t.page.Retain()
	return t.page, off
}

// turn ends the current page: only its readers hold it from now on.
func (t *Tap) turn() {
	if t.page != nil {
		t.page.Release()
		t.page, t.fill = nil, 0
	}
}

func (t *Tap) work() {
	for s, until := t.next(nil); s != nil; s, until = t.next(s) {
		if b := s.take(until); b != nil {
			t.deliver(s, b.list)
			t.recycle(b)
		}
		if more, since := s.done(); more && !t.again(s, since) {
			t.discard(s.abandon(), dropShutdown)
		}
	}
}

func (t *Tap) batch() *batch {
	if b, ok := t.batches.Get().(*batch); ok {
		return b
	}
	return &batch{list: make([]event, 0, 8)}
}

func (t *Tap) recycle(b *batch) {
	if cap(b.list) > 1024 {
		return
	}
	clear(b.list)
	b.list = b.list[:0]
	t.batches.Put(b)
}
