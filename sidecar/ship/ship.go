// Package ship sends complete segments from the pod's directory to a collector, which stores
// each exactly once.
//
//	recorder ──▶ spool (x.jsonl.zst) ──PUT──▶ collector ──▶ store
//	                  ▲    │ 201 or 200: removed
//	                  └────┘ anything else: kept, or set aside as x.jsonl.zst.corrupt
//
// It promises:
//
//   - It removes a segment only after the collector has confirmed that it is stored.
//   - The key of a segment follows from its pod, start, number and bytes. It is the same in
//     each attempt of each process, so a retry stores nothing twice.
//   - It works in a separate goroutine, from files, in small buffers. A slow collector never
//     delays anything else.
//   - It keeps the pauses between attempts (backoff), and never gives up on a segment that
//     the collector may accept later.
//   - It does not use the proxy variables, which are the application's, and follows no
//     redirect.
//
// The package imports contract, internal/oneline, recording, recording/spool and the standard
// library. It logs to the logger that it is given.
package ship

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// Options configures [New].
type Options struct {
	// Dir is the spool: the directory in which segments wait.
	Dir spool.Dir
	// Collector is the collector that gets them.
	Collector contract.Place
	// Token returns the namespace's token, or "" if there is none yet. It is called before
	// each attempt. nil: no token.
	Token func() (string, error)
	// Roots returns the roots that verify the collector's certificate. It is called before
	// each connection. nil: the system's roots.
	Roots func() *x509.CertPool
	// Log gets a line when shipping begins to fail and when it works again. nil: no log.
	Log *slog.Logger

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the network
}

const (
	// firstPause is the pause after a failure (backoff). Each further failure doubles it, up
	// to mostPause, or up to keptPause if somebody has to fix something.
	firstPause = time.Second
	mostPause  = time.Minute
	keptPause  = 5 * time.Minute
	// lookEvery is how often the spool is listed while nothing happens, to find segments of
	// other processes.
	lookEvery = time.Minute
	// triesBehind is the number of failures after which a segment is sent after the others,
	// so that a failure of one segment does not delay them.
	triesBehind = 3
	// failingAfter is the number of failures in a row after which shipping counts as failing.
	failingAfter = 3
)

// Shipper ships segments. Call Start once, and then Close once. Wake and Stats may be called at
// any time, from any goroutine.
type Shipper struct {
	o      Options
	log    *slog.Logger
	url    string // the URL to which a key is appended
	client *http.Client

	wake    chan struct{} // there is a new segment
	started bool
	ended   chan struct{}
	work    context.Context // the context of all attempts
	abort   context.CancelFunc
	closing context.Context // ends when Close is called
	close   context.CancelFunc

	// Only the goroutine uses these:
	waiting  []spool.Segment // complete segments, newest first
	stale    bool            // waiting may lack segments
	troubles map[string]trouble
	failures int             // failures of the collector in a row
	stalled  bool            // the collector has not answered while the pod ends
	warned   map[string]bool // reasons that warnOnce has logged

	mu     sync.Mutex
	stats  Stats
	logged string // the reason that was logged for a lasting failure; "" if there is none
}

// trouble says how often sending a segment has failed, and when the next attempt may be made.
type trouble struct {
	failures int       // failures of the collector
	until    time.Time // zero: at any time
}

// New returns a shipper that does nothing yet.
func New(o Options) *Shipper {
	s := &Shipper{
		o: o, log: o.Log,
		url:      strings.TrimSuffix(o.Collector.String(), "/") + contract.SegmentsPath,
		client:   newClient(o),
		wake:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
		stale:    true,
		troubles: map[string]trouble{},
		warned:   map[string]bool{},
		stats:    Stats{Failures: map[string]uint64{}},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.work, s.abort = context.WithCancel(context.Background())
	s.closing, s.close = context.WithCancel(s.work)
	return s
}

// Wake tells the shipper that a segment is complete. It never waits.
func (s *Shipper) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Start begins to ship, in a goroutine that Close ends.
func (s *Shipper) Start() {
	s.started = true
	go s.run()
}

// Close ships the segments that wait, without the usual pauses, and ends the goroutine. If the
// collector does not answer, it makes one attempt. When ctx ends, it aborts. It logs how many
// segments remain.
func (s *Shipper) Close(ctx context.Context) {
	s.close()
	if !s.started {
		s.abort()
		return
	}
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.abort()
	}
	if left := s.Stats(); left.Segments > 0 {
		s.log.Warn("segments stay in the pod's directory: the next process sends them, and they are lost if the pod is deleted",
			"segments", left.Segments, "bytes", left.Bytes, "directory", string(s.o.Dir))
	}
}

func (s *Shipper) run() {
	defer close(s.ended)
	defer s.abort()
	defer s.client.CloseIdleConnections()
	for s.closing.Err() == nil {
		if pause := s.next(); pause > 0 {
			s.wait(pause)
		}
	}
	s.finish()
}

// wait waits until the pause has passed, there is a new segment, or Close is called. After a
// failure of the collector, a new segment does not end the pause.
func (s *Shipper) wait(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-s.wake:
			s.stale = true
			if s.failures == 0 {
				return
			}
		case <-timer.C:
			return
		case <-s.closing.Done():
			return
		}
	}
}

// next tries to send one segment, and returns how long to wait before the next; 0: no wait.
func (s *Shipper) next() time.Duration {
	select {
	case <-s.wake:
		s.stale = true
	default:
	}
	if s.stale || len(s.waiting) == 0 {
		if v := s.look(); v.err != nil {
			return s.book(spool.Segment{}, v)
		}
	}
	seg, ok := s.choose(time.Now())
	if !ok {
		s.stale = true
		return lookEvery
	}
	v := s.try(seg, patience)
	s.stalled = v.reason == reasonSlow && s.closing.Err() != nil
	return s.book(seg, v)
}

// finish ships the segments that wait, as long as that works, because the pod ends. It makes one
// attempt if the collector was failing before, or does not answer. Otherwise it gives up after
// three failures in a row.
func (s *Shipper) finish() {
	tries := 3
	if s.logged != "" {
		tries = 1
	}
	s.look()
	for failed := 0; s.work.Err() == nil && !s.stalled; {
		seg, ok := s.choose(time.Now())
		if !ok {
			return
		}
		v := s.try(seg, lastPatience)
		if s.book(seg, v) == 0 {
			failed = 0
			continue
		}
		if failed++; failed == tries || v.fate == fateKept || v.reason == reasonSlow {
			return
		}
		select {
		case <-time.After(pause(failed, firstPause) / 4):
		case <-s.work.Done():
		}
	}
}

// book handles a segment according to its verdict, and returns the pause before the next attempt.
func (s *Shipper) book(seg spool.Segment, v verdict) time.Duration {
	answered := v.fate == fateStored || v.reason != reasonSpool && (v.fate == fateHeld || v.fate == fateSetAside)
	v = s.settle(seg, v)
	s.count(seg, v)
	switch v.fate {
	case fateRetried, fateKept:
		return s.leaveAlone(seg, v)
	case fateHeld:
		s.troubles[seg.Name] = trouble{until: time.Now().Add(jittered(keptPause))}
		s.warnOnce(v.reason, "a segment was not accepted: it stays in the pod's directory and is sent again", v.err)
	case fateSetAside:
		s.warnOnce(v.reason, "a segment will never be accepted: it stays in the pod's directory under the name "+path.Base(seg.Name)+spool.AsideSuffix, v.err)
	}
	if answered {
		s.collectorWorks()
	}
	return 0
}

// settle removes the file of a segment, or sets it aside, according to its verdict. If that fails,
// it returns the verdict that the segment is kept and sent again.
func (s *Shipper) settle(seg spool.Segment, v verdict) verdict {
	var err error
	switch v.fate {
	case fateStored:
		err = s.o.Dir.Remove(seg.Name)
	case fateSetAside:
		err = s.o.Dir.SetAside(seg.Name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return verdict{fate: fateHeld, reason: reasonSpool, err: errors.Join(v.err, err)}
	}
	return v
}

// count counts a verdict, and drops a segment that no longer waits.
func (s *Shipper) count(seg spool.Segment, v verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch v.fate {
	case fateStored:
		s.stats.Shipped++
		s.stats.ShippedBytes += uint64(seg.Size)
		s.stats.Last = time.Now()
	case fateSetAside:
		s.stats.SetAside++
	}
	if v.reason != "" {
		s.stats.Failures[v.reason]++
		s.stats.LastFailure = Failure{time.Now(), v.reason, v.err}
	}
	if v.fate != fateStored && v.fate != fateSetAside && v.fate != fateGone {
		return
	}
	delete(s.troubles, seg.Name)
	if i := slices.IndexFunc(s.waiting, func(w spool.Segment) bool { return w.Name == seg.Name }); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
}

// leaveAlone records a failure of the collector and returns the pause: longer with each failure in
// a row, or as long as the collector asks for.
func (s *Shipper) leaveAlone(seg spool.Segment, v verdict) time.Duration {
	if seg.Name != "" { // it is "" if the directory could not be listed
		t := s.troubles[seg.Name]
		t.failures++
		s.troubles[seg.Name] = t
	}
	s.failures++
	s.collectorFailed(v)
	most := mostPause
	if v.fate == fateKept {
		most = keptPause
	}
	return max(pause(s.failures, most), min(v.after, most))
}

// pause returns how long to wait after n failures in a row, n > 0.
func pause(n int, most time.Duration) time.Duration {
	return jittered(min(most, firstPause<<min(n-1, 16)))
}

// jittered returns a random time between half of d and d, so that the pods of a cluster don't
// retry at the same time.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }
