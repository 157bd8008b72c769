package spool

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Lines stores encoded exchanges. One goroutine calls its methods, which may block. Each method
// returns what happened to records of this and earlier calls. The error is the store's, or nil
// once the store works again.
type Lines interface {
	// Try reports whether the store would accept lines.
	Try() error
	// WriteLines writes n whole lines, each ending in a newline.
	WriteLines(p []byte, n int) (Fate, error)
	// Flush passes the written lines to the operating system, so that they
	// survive the end of the process. It also checks the time limits.
	Flush() (Fate, error)
	// Close makes everything durable.
	Close() (Fate, error)
}

// Fate counts the records that are now known to be stored or lost. Other written records are still
// undecided.
type Fate struct{ Stored, Lost int }

// Defaults of [NewQueue].
const (
	// DefaultQueueBytes limits the encoded exchanges in memory.
	DefaultQueueBytes = 4 << 20
	// DefaultFlushEvery is the interval between flushes. A killed process loses records of at
	// most this time.
	DefaultFlushEvery = time.Second
)

// wakeBytes is the batch size at which the writer wakes before its next tick. It is large enough for
// good compression, and for one wake-up to serve many records.
const wakeBytes = 64 << 10

// keptBytes is the size of the largest buffer that is reused. A batch that grew while the store was
// blocked may take megabytes, which are not needed later.
const keptBytes = 16 * wakeBytes

// patience is how long a call to the store may take before the store counts as failing, because a
// frozen disk or an unreachable file server returns no error.
const patience = 5 * time.Second

// Queue is a [Sink] that decouples callers, which must not wait, from [Lines], which may. It
// encodes in the caller's goroutine and writes batches in a separate one.
type Queue struct {
	lines    Lines
	max      int
	every    time.Duration
	patience time.Duration
	changed  func(err error, lost uint64)

	scratch sync.Pool // of *scratch

	telling sync.Mutex // held during calls of changed, so that they are in order; locked before mu

	mu      sync.Mutex
	batch   []byte // waiting lines
	records int    // number of lines in batch
	writing int    // size of the batch that is being written
	closed  bool
	stats   Stats
	before  uint64 // records lost before the store began to fail

	wake  chan struct{}
	ask   chan request
	ended chan struct{}
}

// request asks the writer to flush or, with close, to end.
type request struct {
	close bool
	done  chan error
}

// NewQueue starts a queue that writes to lines. It holds at most maxBytes of encoded exchanges, and
// flushes lines at the interval flushEvery. Zero values mean the defaults. changed, which may be
// nil, is [Options.Changed]. Close ends the queue.
func NewQueue(lines Lines, maxBytes int, flushEvery time.Duration, changed func(err error, lost uint64)) *Queue {
	if maxBytes <= 0 {
		maxBytes = DefaultQueueBytes
	}
	if flushEvery <= 0 {
		flushEvery = DefaultFlushEvery
	}
	q := &Queue{
		lines:    lines,
		max:      maxBytes,
		every:    flushEvery,
		patience: patience,
		changed:  changed,
		wake:     make(chan struct{}, 1),
		ask:      make(chan request),
		ended:    make(chan struct{}),
	}
	q.scratch.New = func() any { return new(scratch) }
	go q.run()
	return q
}

// Write implements [Sink].
func (q *Queue) Write(e *recording.Exchange) error {
	s := q.scratch.Get().(*scratch)
	line := append(s.Append(s.line[:0], e), '\n')
	err := q.put(line)
	if cap(line) <= wakeBytes { // don't keep the buffer of a huge exchange
		s.line = line
		q.scratch.Put(s)
	}
	return err
}

// scratch has the buffers for encoding.
type scratch struct {
	recording.Encoder
	line []byte
}

// dropped counts an exchange that is lost.
func (q *Queue) dropped(r Reason) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.Dropped[r]++
	return r
}

func (q *Queue) put(line []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	drop := func(r Reason) error {
		q.stats.Dropped[r]++
		return r
	}
	switch {
	case q.closed:
		return drop(Closed)
	case len(line) > q.max:
		return drop(TooLarge)
	case len(q.batch)+q.writing+len(line) > q.max:
		return drop(QueueFull)
	}
	q.batch = append(q.batch, line...)
	q.records++
	q.stats.Accepted++
	if len(q.batch) >= min(wakeBytes, q.max/2) {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Stats returns the current counts.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Pending = s.Accepted - s.Stored - s.Dropped[StoreFailed]
	s.QueueBytes = len(q.batch) + q.writing
	return s
}

// Flush implements [Sink].
func (q *Queue) Flush(ctx context.Context) error { return q.request(ctx, false) }

// Close implements [Sink]. It returns early if ctx is done. The writer then ends as soon as its
// current call to the store returns.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	return q.request(ctx, true)
}

func (q *Queue) request(ctx context.Context, end bool) error {
	r := request{close: end, done: make(chan error, 1)}
	select {
	case q.ask <- r:
	case <-q.ended:
		return nil
	case <-ctx.Done():
		if end { // the writer is busy, and takes the request later
			go func() {
				select {
				case q.ask <- r:
				case <-q.ended:
				}
			}()
		}
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *Queue) run() {
	defer close(q.ended)
	tick := time.NewTicker(q.every)
	defer tick.Stop()
	q.call(func() (Fate, error) { return Fate{}, q.lines.Try() }) // detects a failing store before records are lost
	var spare []byte
	for {
		select {
		case <-q.wake:
			spare = q.write(spare)
		case <-tick.C:
			spare = q.write(spare)
			q.call(q.lines.Flush)
		case r := <-q.ask:
			spare = q.write(spare)
			if r.close {
				r.done <- q.call(q.lines.Close)
				return
			}
			r.done <- q.call(q.lines.Flush)
		}
	}
}

// write passes the waiting batch to lines, puts spare in its place, and returns the batch's buffer,
// or nil if it is too large to keep.
func (q *Queue) write(spare []byte) []byte {
	q.mu.Lock()
	batch, n := q.batch, q.records
	q.batch, q.records = spare[:0], 0
	q.writing = len(batch)
	q.mu.Unlock()
	if n > 0 {
		q.call(func() (Fate, error) { return q.lines.WriteLines(batch, n) })
	}
	if cap(batch) > keptBytes {
		return nil
	}
	return batch
}

// call calls lines and records the result. A call that takes too long counts as a failure until it
// returns.
func (q *Queue) call(lines func() (Fate, error)) error {
	q.mu.Lock()
	before, over := q.lost(), false
	q.mu.Unlock()
	late := time.AfterFunc(q.patience, func() {
		q.turn(before, func() error {
			if over || q.stats.Err != nil {
				return q.stats.Err
			}
			return fmt.Errorf("the store has not answered for %v", q.patience)
		})
	})
	f, err := lines()
	late.Stop()
	q.turn(before, func() error {
		over = true
		q.writing = 0
		q.stats.Stored += uint64(f.Stored)
		q.stats.Dropped[StoreFailed] += uint64(f.Lost)
		return err
	})
	return err
}

// turn applies a change of the counts, and reports if the store begins to fail or works again.
// before is how many records had been lost when the failure began.
func (q *Queue) turn(before uint64, book func() error) {
	q.telling.Lock()
	defer q.telling.Unlock()
	q.mu.Lock()
	was := q.stats.Err
	err := book()
	q.stats.Err = err
	if was == nil && err != nil {
		q.before = before
	}
	lost := q.lost() - q.before
	q.mu.Unlock()
	if (was == nil) != (err == nil) && q.changed != nil {
		q.changed(err, lost)
	}
}

// lost counts the records that were lost because the store failed or was slow.
func (q *Queue) lost() uint64 { return q.stats.Dropped[StoreFailed] + q.stats.Dropped[QueueFull] }
