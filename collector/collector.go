package collector

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Defaults of [Options].
const (
	// DefaultConcurrency is how many uploads are checked and stored at once.
	DefaultConcurrency = 32
	// DefaultTempBytes bounds the temporary files of all uploads.
	DefaultTempBytes = 2 << 30
	// DefaultWait is how long an upload waits for its turn.
	DefaultWait = 5 * time.Second
	// DefaultDrain is how long uploads in progress may continue at the end.
	DefaultDrain = 20 * time.Second
)

// Options of a [Collector]. Zero values mean the defaults.
type Options struct {
	// Store is where segments go; required.
	Store store.Store
	// Keys returns the accepted keys; required. One of them must have made an upload's token. It is
	// called for each upload.
	Keys func() [][]byte
	// Clusters are those from which segments are accepted; empty: all.
	Clusters []string
	// Compacted reports whether a larger segment contains the one with this key, which then is not
	// stored again. It is called for segments that arrive after the end of their hour, because by
	// default only those are compacted. nil means that no segment is in a larger one.
	Compacted func(ctx context.Context, key recording.SegmentKey) (bool, error)

	// Concurrency is how many uploads are checked and stored at once. Checking takes up to 20 MiB
	// of memory for each processor, and storing takes what the store needs.
	Concurrency int
	// TempDir is where uploads are kept until they are stored; "": the system's directory for
	// temporary files. The files have no names, and vanish with the process.
	TempDir string
	// TempBytes bounds these files, all together. One namespace gets at most half of it. A segment
	// larger than this half is always refused, so TempBytes should be at least twice
	// contract.MaxSegmentBytes. A small upload counts as TempBytes/maxReceived, so at most
	// maxReceived uploads are received at once.
	TempBytes int64
	// Wait is how long an upload waits for its turn before it is rejected as busy.
	Wait time.Duration
	// Drain is how long uploads may continue after the context of Serve has ended.
	Drain time.Duration

	// Keep is how long segments are kept, counted from the end of their hour; 0: forever.
	Keep time.Duration
	// KeepBytes is how many bytes of segments are kept; 0: any number. The oldest segments are
	// deleted first.
	KeepBytes int64

	// Log gets the messages for an operator; nil: they are discarded.
	Log *slog.Logger
	// Metrics registers the collector's metrics; nil: they are not registered.
	Metrics prometheus.Registerer
}

// Collector accepts segments. It is safe for concurrent use.
type Collector struct {
	o Options
	m *metrics

	room     room
	slots    chan struct{} // has one element for each upload that is being checked and stored
	checkers chan *checker // idle ones
	buffers  sync.Pool     // of *[bodyBuffer]byte, into which bodies are read
	logLimit logLimiter    // of refusals

	draining atomic.Bool // no more uploads are accepted
}

// New returns a collector that does nothing yet. It fails if a required option is missing.
func New(o Options) (*Collector, error) {
	if o.Store == nil || o.Keys == nil {
		return nil, errors.New("collector: Options.Store or Options.Keys is nil; both are required")
	}
	o.Concurrency = cmp.Or(o.Concurrency, DefaultConcurrency)
	o.TempBytes = cmp.Or(o.TempBytes, DefaultTempBytes)
	o.Wait = cmp.Or(o.Wait, DefaultWait)
	o.Drain = cmp.Or(o.Drain, DefaultDrain)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	clusters := make([]string, len(o.Clusters))
	for i, name := range o.Clusters {
		clusters[i] = recording.KeyPart(name)
	}
	o.Clusters = clusters
	c := &Collector{
		o: o, slots: make(chan struct{}, o.Concurrency),
		room:     room{bytes: o.TempBytes, all: semaphore.NewWeighted(o.TempBytes)},
		checkers: make(chan *checker, min(o.Concurrency, runtime.GOMAXPROCS(0))),
		buffers:  sync.Pool{New: func() any { return new([bodyBuffer]byte) }},
	}
	long := make(chan []byte, 1)
	long <- nil
	for range cap(c.checkers) {
		c.checkers <- &checker{long: long, decoder: recording.Decoder{Reuse: true}}
	}
	c.m = newMetrics(o.Metrics)
	return c, nil
}
