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
	// logBytes bounds the lines that wait to be written. A few thousand connections that
	// end at the same time fit.
	logBytes = 1 << 20
	// logBufferKept is the maximum size of a buffer that is kept for the next lines.
	logBufferKept = 64 << 10
	// logTime bounds the time for the last lines when the sidecar stops. Together with the
	// time of the proxy and the recording, it is less than the 5 s by which a pod's grace
	// period is longer than the drain.
	logTime = 250 * time.Millisecond
)

var descLogDropped = metric.Desc("log_lines_dropped_total", "Log lines that were dropped, because they were not read fast enough or could not be written.")

// logQueue queues the lines of the log. Write never waits for the reader of the log:
//
//	slog ──line──▶ logQueue (bounded) ──one goroutine──▶ stderr ──▶ kubelet, a terminal
//
// It drops and counts lines that do not fit. When it can write again, it writes a line with
// their number. It implements io.Writer, with one call for each line, and prometheus.Collector.
type logQueue struct {
	metric.Unchecked
	w io.Writer

	mu      sync.Mutex
	waiting []byte // lines that wait
	writing int    // bytes of the lines that are being written
	dropped int    // number of dropped lines
	told    int    // dropped lines that the log has reported
	closed  bool

	wake  chan struct{}
	ended chan struct{}
}

// newLogQueue starts a queue that writes to w. close ends it.
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
			failed = err != nil // if so, the next line starts another attempt
		}
	}
}

// take returns the lines that wait, and how many dropped lines they report. It uses spare as the
// buffer for the next lines. last says that no more will come.
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

// wrote records the result of a write. left has the lines that were not written.
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
		lost-- // the line that reports dropped ones does not count
	}
	q.dropped += lost
}

// close writes the lines that wait, and drops new ones. It returns when all are written or ctx
// ends. Then the goroutine ends once its write returns.
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
