package sidecar

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/proxy/metric"
)

const (
	// logBytes bounds the lines that wait for the reader of the log: a few thousand
	// connections that end at once.
	logBytes = 1 << 20
	// logBufferKept is how large a buffer may be that is kept for the next lines.
	logBufferKept = 64 << 10
	// logTime bounds how long the last lines may take when the sidecar stops. With
	// the proxy's and the recording's time it stays below the 5 s by which a pod's
	// grace period is longer than the drain.
	logTime = 250 * time.Millisecond
)

var descLogDropped = metric.Desc("log_lines_dropped_total", "Log lines that were dropped, because they were not read fast enough or could not be written.")

// logQueue takes the lines of the log and never waits for who reads them:
//
//	slog ──line──▶ logQueue (bounded) ──one goroutine──▶ stderr ──▶ kubelet, a terminal
//
// A line that does not fit is dropped and counted. When the reader goes on, a line
// says how many there were. It implements io.Writer, one call a line, and
// prometheus.Collector.
type logQueue struct {
	metric.Unchecked
	w io.Writer

	mu      sync.Mutex
	waiting []byte // lines
	writing int    // bytes of the lines that are being written
	dropped int
	told    int // of dropped, how many the log tells of
	closed  bool

	wake  chan struct{}
	ended chan struct{}
}

// newLogQueue starts a queue in front of w. close ends it.
func newLogQueue(w io.Writer) *logQueue {
	q := &logQueue{w: w, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go q.run()
	return q
}

// Write implements io.Writer. It keeps a copy of the line, and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if q.closed || len(q.waiting)+q.writing+len(line) > logBytes {
		q.dropped++
	} else {
		q.waiting = append(q.waiting, line...)
	}
	q.mu.Unlock()
	q.nudge()
	return len(line), nil
}

func (q *logQueue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *logQueue) run() {
	defer close(q.ended)
	var batch []byte
	for last := false; !last; {
		<-q.wake
		for failed := false; !failed; {
			var dropped int
			batch, dropped, last = q.take(batch)
			if len(batch) == 0 {
				break
			}
			n, err := q.w.Write(batch)
			q.wrote(batch[n:], dropped, err)
			if cap(batch) > logBufferKept {
				batch = nil
			}
			failed = err != nil // until there is more to say
		}
	}
}

// take returns the lines that wait, with spare in their place, and how many
// dropped ones they tell of. last says that no more will come.
func (q *logQueue) take(spare []byte) (batch []byte, dropped int, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, q.waiting = q.waiting, spare[:0]
	if dropped = q.dropped - q.told; dropped > 0 {
		b := bytes.NewBuffer(batch)
		slog.New(slog.NewJSONHandler(b, nil)).Warn("log lines were dropped: they were not read in time", "lines", dropped)
		batch = b.Bytes()
	}
	q.writing = len(batch)
	return batch, dropped, q.closed
}

// wrote books what a write came to, and left.
func (q *logQueue) wrote(left []byte, dropped int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = 0
	if err == nil {
		q.told += dropped
		return
	}
	lost := bytes.Count(left, []byte("\n"))
	if dropped > 0 {
		lost-- // the line that tells of the others is not one of the log's
	}
	q.dropped += lost
}

// close writes what waits and drops what comes. Once ctx is done it returns, and
// the writer ends by itself if the reader lets it.
func (q *logQueue) close(ctx context.Context) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.nudge()
	select {
	case <-q.ended:
	case <-ctx.Done():
	}
}

// Collect implements prometheus.Collector.
func (q *logQueue) Collect(ch chan<- prometheus.Metric) {
	q.mu.Lock()
	defer q.mu.Unlock()
	metric.Counter(ch, descLogDropped, q.dropped)
}
