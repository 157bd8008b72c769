package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
	"github.com/tapedeck/tapedeck/recording/spool"
)

const (
	// written is how many exchanges a turn of writing takes.
	written = 100_000

	// window and batchBytes are the recorder's, for zstd alone.
	window     = 128 << 10
	batchBytes = 64 << 10
	// waiting is how many exchanges may wait for the recorder's writer. The recorder drops
	// further ones, but this program waits.
	waiting = 500
)

// writeZstd compresses and writes the lines of the exchanges that writeEncoded writes.
func writeZstd(_ context.Context, w *watch, in input) (int, error) {
	_, lines, err := captured(distinct)
	if err != nil {
		return 0, err
	}
	w.begin()
	f, err := os.Create(filepath.Join(in.dir, "lines.zst"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	enc, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(window))
	if err != nil {
		return 0, err
	}
	for range in.n / distinct {
		for rest := lines; len(rest) > 0; {
			n := min(batchBytes, len(rest))
			if _, err := enc.Write(rest[:n]); err != nil {
				return 0, err
			}
			rest = rest[n:]
			w.bytes += int64(n)
		}
	}
	return in.n, errors.Join(enc.Close(), f.Sync())
}

// writeEncoded encodes exchanges and writes them through the recorder's queue, and
// writeRedacted redacts them before.
func writeEncoded(ctx context.Context, w *watch, in input) (int, error) {
	return write(ctx, w, in, func(s recording.Sink) recording.Sink { return s })
}

func writeRedacted(ctx context.Context, w *watch, in input) (int, error) {
	return write(ctx, w, in, redacted)
}

func write(ctx context.Context, w *watch, in input, front func(recording.Sink) recording.Sink) (int, error) {
	exchanges, lines, err := captured(distinct)
	if err != nil {
		return 0, err
	}
	w.begin()
	rec, err := newRecorder(in.dir, "orders", "orders-7d4b9-x2x", front)
	if err != nil {
		return 0, err
	}
	var l loan
	for range in.n / distinct {
		for i := range exchanges {
			rec.one()
			if err := rec.Write(l.of(&exchanges[i])); err != nil {
				return 0, err
			}
		}
		w.bytes += int64(len(lines))
	}
	return in.n, rec.Close(ctx)
}

// loan is a copy of an exchange that a sink may change.
type loan struct {
	e    recording.Exchange
	http recording.HTTP
}

func (l *loan) of(e *recording.Exchange) *recording.Exchange {
	old, tags := l.http, l.e.Tags
	l.e, l.http = *e, *e.HTTP
	l.e.HTTP = &l.http
	l.e.Tags = append(tags[:0], e.Tags...)
	l.http.Req.Headers = append(old.Req.Headers[:0], e.HTTP.Req.Headers...)
	l.http.Res.Headers = append(old.Res.Headers[:0], e.HTTP.Res.Headers...)
	l.http.Req.Body = append(old.Req.Body[:0], e.HTTP.Req.Body...)
	l.http.Res.Body = append(old.Res.Body[:0], e.HTTP.Res.Body...)
	return &l.e
}

// recorder is like the recorder of [spool.Open], but callers wait for its writer.
type recorder struct {
	recording.Sink
	queue *spool.Queue
	lines *slowLines
}

func newRecorder(dir, workload, pod string, front func(recording.Sink) recording.Sink) (*recorder, error) {
	segments, err := spool.NewSegments(spool.Dir(dir), spool.SegmentOptions{Cluster: "prod", Namespace: "shop", Workload: workload, Pod: pod})
	if err != nil {
		return nil, err
	}
	lines := &slowLines{Segments: segments, taken: sync.NewCond(new(sync.Mutex))}
	// The queue flushes after a time, which a slow machine would reach more often.
	queue := spool.NewQueue(lines, 64<<20, time.Hour, nil)
	return &recorder{front(queue), queue, lines}, nil
}

// one waits until there is room for an exchange.
func (r *recorder) one() {
	l := r.lines
	l.taken.L.Lock()
	for l.given-l.done >= waiting {
		l.taken.Wait()
	}
	l.given++
	l.taken.L.Unlock()
}

// Close returns an error if anything was dropped.
func (r *recorder) Close(ctx context.Context) error {
	err := r.Sink.Close(ctx)
	if s := r.queue.Stats(); err == nil && (s.Total() > 0 || s.Stored != uint64(r.lines.given)) {
		err = fmt.Errorf("%d exchanges were stored of %d: %+v", s.Stored, r.lines.given, s)
	}
	return err
}

// slowLines counts the lines that were written.
type slowLines struct {
	*spool.Segments
	taken       *sync.Cond
	given, done int
}

func (l *slowLines) WriteLines(p []byte, n int) (spool.Fate, error) {
	fate, err := l.Segments.WriteLines(p, n)
	l.taken.L.Lock()
	l.done += n
	l.taken.L.Unlock()
	l.taken.Signal()
	return fate, err
}

// record writes a recording of n exchanges of several pods, as sidecars do, and prints
// how far it is.
func record(ctx context.Context, dir string, n int, progress io.Writer) error {
	all, start := talks(recorded), time.Now()
	var pods []*pod
	var recorders []*recorder
	for _, workload := range []string{"orders", "cart", "payment", "stock"} {
		for _, suffix := range []string{"-7d4b9-x2x", "-7d4b9-q8w"} {
			r, err := newRecorder(dir, workload, workload+suffix, func(s recording.Sink) recording.Sink {
				return redact.New(s, redact.Options{Key: []byte("a key of 32 bytes for the bench.")})
			})
			if err != nil {
				return err
			}
			recorders = append(recorders, r)
			pods = append(pods, newPod(workload, workload+suffix, start, r))
		}
	}
	for i := range n {
		if i%10_000 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			fmt.Fprintf(progress, "\rwriting a recording: %d of %d", i, n)
		}
		at := i % len(pods)
		recorders[at].one()
		pods[at].play(i/len(pods), &all[i*7%len(all)], time.Now())
	}
	fmt.Fprint(progress, "\r\x1b[K")
	var errs []error
	for _, r := range recorders {
		errs = append(errs, r.Close(ctx))
	}
	return errors.Join(errs...)
}
