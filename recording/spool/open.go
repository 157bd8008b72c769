package spool

import (
	"cmp"
	"crypto/rand"
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// Options of [Open]. Zero values mean the defaults.
type Options struct {
	// SegmentOptions set the names and the limits of segments.
	SegmentOptions
	// QueueBytes limits the exchanges that wait in memory; by default DefaultQueueBytes.
	QueueBytes int
	// FlushEvery is the interval between flushes; by default DefaultFlushEvery. A killed
	// process loses exchanges of at most this time.
	FlushEvery time.Duration
	// MaxBytesKept limits the size of the directory: the oldest segments, of any writer,
	// are removed to make room for new ones. 0 means no limit.
	MaxBytesKept int64
	// MaxFilesKept limits the number of segments in the same way. 0 means no limit.
	MaxFilesKept int
	// Full, if not nil, is called when the first segment is removed for this reason.
	Full func()
	// Redact configures redaction and its key. Segments have the key's ID.
	Redact redact.Options
	// Changed, if not nil, is called with the error when the store begins to fail, and with
	// nil when it works again. lost is how many records were lost since it began to fail.
	// Changed must return quickly, because the writer waits for it.
	Changed func(err error, lost uint64)
}

// Recorder is a [Sink] that stores exchanges. It has one goroutine, which Close ends.
type Recorder struct {
	recording.Sink
	queue *Queue
	bound *bounded // nil if there is no limit
}

// Write implements [recording.Sink].
func (r *Recorder) Write(e *recording.Exchange) error {
	err := r.Sink.Write(e)
	if errors.Is(err, redact.ErrPanic) {
		return r.queue.dropped(RedactPanic)
	}
	return err
}

// Stats returns the current counts.
func (r *Recorder) Stats() Stats {
	s := r.queue.Stats()
	if r.bound != nil {
		s.RemovedBySize, s.RemovedByFiles = r.bound.bySize.stats(), r.bound.byFiles.stats()
	}
	return s
}

// Open returns a recorder for a directory. The recorder creates the directory if it doesn't
// exist or vanishes later. Open succeeds even if the directory can't be written to, because
// that may change. Options.Changed reports it.
func Open(dir string, o Options) (*Recorder, error) {
	if o.MaxBytesKept <= 0 && o.MaxFilesKept <= 0 {
		return OpenFiles(Dir(dir), o)
	}
	bound := &bounded{Dir: Dir(dir), maxBytes: o.MaxBytesKept, maxFiles: o.MaxFilesKept, full: o.Full}
	if o.MaxBytesKept > 0 { // a segment includes the whole batch that fills it, so both get a share of the limit
		share := max(1, o.MaxBytesKept/4)
		o.MaxBytes = min(cmp.Or(o.MaxBytes, DefaultSegmentBytes), share)
		o.QueueBytes = int(min(int64(cmp.Or(o.QueueBytes, DefaultQueueBytes)), share))
		bound.reserve = o.MaxBytes + int64(o.QueueBytes) + countersRoom
	}
	r, err := OpenFiles(bound, o)
	if err != nil {
		return nil, err
	}
	r.bound = bound
	return r, nil
}

// OpenFiles is Open for any implementation of Files.
func OpenFiles(files Files, o Options) (*Recorder, error) {
	if len(o.Redact.Key) == 0 {
		o.Redact.Key = make([]byte, 32)
		rand.Read(o.Redact.Key)
	}
	key := contract.RedactKeyID(o.Redact.Key)
	var q *Queue
	leftOut := o.Counters
	o.Counters = func() (c recording.Counters) {
		if leftOut != nil {
			c = leftOut()
		}
		s := q.Stats()
		c.Dropped += s.Total()
		c.RedactKey = key
		return c
	}
	segments, err := NewSegments(files, o.SegmentOptions)
	if err != nil {
		return nil, err
	}
	q = NewQueue(segments, o.QueueBytes, o.FlushEvery, o.Changed)
	return &Recorder{Sink: redact.NewLazy(q, o.Redact), queue: q}, nil
}
