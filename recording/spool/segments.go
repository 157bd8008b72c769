// Package spool writes exchanges into a directory. A queue keeps callers from waiting for the disk.
// Segments are compressed, and end at a certain size or age.
//
//	Sink.Write ──▶ redact ──▶ Queue ──lines──▶ Segments ──▶ Dir
//	                          bounded,         zstd         x.jsonl.zst.part,
//	                          counts drops                  x.jsonl.zst once complete
//
//	a killed process's x.jsonl.zst.part ──Dir.Adopt──▶ x.jsonl.zst
//
// It promises:
//
//   - Writing never waits for the disk, and never fails the caller. An exchange that
//     can't be written is dropped and counted, by reason, exactly.
//   - Secrets are replaced before an exchange is encoded, so they reach neither the
//     queue's memory nor the disk.
//   - A process that is killed at any moment loses only the end of the open segment.
//   - A complete segment never replaces another file, and never changes.
//   - A process that ends normally marks its last segment.
//
// It imports contract, recording, recording/columns, recording/redact and
// klauspost/compress, and nothing else from this module.
package spool

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
)

// Files stores segments while they are written. [Dir] implements it.
type Files interface {
	// Try returns an error if no segment could be created.
	Try() error
	// Create creates a segment. If the key is in use, the error wraps [fs.ErrExist].
	Create(key string) (File, error)
}

// File is a segment that is being written.
type File interface {
	io.Writer
	// Truncate discards all but the first n bytes.
	Truncate(n int64) error
	// Check returns an error if the segment no longer exists.
	Check() error
	// Commit makes the segment durable under its key, and closes it.
	Commit() error
	// Discard closes the segment and removes it.
	Discard() error
}

// Defaults of [SegmentOptions].
const (
	DefaultSegmentBytes = 64 << 20
	DefaultSegmentAge   = 5 * time.Minute
)

// countersRoom is the largest size of a line of counters.
const countersRoom = 1 << 10

// retryAfter is the delay before a failed store is tried again.
const retryAfter = time.Second

// window is the compressor's window. The compressor takes about four times as much memory.
const window = 128 << 10

// writeBytes is the size of one write, except for a flush. With fewer system calls, the scheduler's
// monitor thread wakes less often.
const writeBytes = 64 << 10

// SegmentOptions set the names of segments and when they end. Zero values mean the defaults.
type SegmentOptions struct {
	// Cluster, Namespace, Workload and Pod are parts of the key; unknown ones become
	// `undefined`.
	Cluster, Namespace, Workload, Pod string
	// MaxBytes is the uncompressed size at which a segment ends.
	MaxBytes int64
	// MaxAge is the age at which a segment ends. It also ends with the hour.
	MaxAge time.Duration
	// Counters, if not nil, returns the counts of exchanges that were left out. The other counters
	// are filled in at the end of a segment. It must not wait for the writer.
	Counters func() recording.Counters
	// Completed, if not nil, is called when a segment is complete. It must return quickly,
	// because the writer waits for it.
	Completed func()
}

// Segments implements [Lines]. It compresses lines into the segments of [Files]:
//
//	cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/20261122T201500.123Z-cart-7d4b-0.jsonl.zst
//
// Each segment ends with a line of [Counters]. Lines that can't be written are lost, and not tried
// again. The segment is then truncated to its last complete part, and the next one begins when the
// store works again.
type Segments struct {
	files Files
	opts  SegmentOptions
	enc   *zstd.Encoder
	out   *bufio.Writer // buffers the output of enc for the open segment
	seq   int

	process  recording.UUID // of this writer
	started  time.Time
	recorded uint64 // records in completed segments

	closing bool         // the current segment is the last one
	open    *openSegment // nil between segments
	retryAt time.Time
	err     error // why the last segment failed; nil once a segment keeps something
}

type openSegment struct {
	File
	seq     int
	born    time.Time
	raw     int64 // bytes before compression
	written int64 // bytes after compression
	flushed int64 // value of written at the last flush
	records int   // number of records at the last flush
	loose   int   // number of records since the last flush
}

func (s *openSegment) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	s.written += int64(n)
	return n, err
}

// NewSegments returns [Lines] for the store.
func NewSegments(files Files, opts SegmentOptions) (*Segments, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultSegmentBytes
	}
	if opts.MaxAge <= 0 {
		opts.MaxAge = DefaultSegmentAge
	}
	enc, err := newEncoder(nil)
	if err != nil {
		return nil, err
	}
	s := &Segments{files: files, opts: opts, enc: enc, out: bufio.NewWriterSize(nil, writeBytes), started: time.Now().UTC()}
	rand.Read(s.process[:])
	return s, nil
}

// newEncoder returns the compressor of a segment.
func newEncoder(w io.Writer) (*zstd.Encoder, error) {
	enc, err := zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), // so that endFrame can end any frame
		zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(window))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return enc, nil
}

// Try implements [Lines].
func (s *Segments) Try() error {
	if err := s.files.Try(); err != nil {
		s.err = fmt.Errorf("try the store: %w", err)
	}
	return s.err
}

// WriteLines implements [Lines].
func (s *Segments) WriteLines(p []byte, n int) (Fate, error) {
	if s.open == nil {
		if err := s.begin(); err != nil {
			return Fate{Lost: n}, err
		}
	}
	s.open.loose += n
	s.open.raw += int64(len(p))
	if _, err := s.enc.Write(p); err != nil {
		return s.abandon(fmt.Errorf("write segment: %w", err))
	}
	if s.open.raw >= s.opts.MaxBytes {
		return s.end()
	}
	return Fate{}, s.err
}

// Flush implements [Lines].
func (s *Segments) Flush() (Fate, error) {
	o := s.open
	if o == nil {
		return Fate{}, s.err
	}
	if err := o.Check(); err != nil {
		return s.abandon(fmt.Errorf("check segment: %w", err))
	}
	now := time.Now()
	if now.Sub(o.born) >= s.opts.MaxAge || !now.Truncate(time.Hour).Equal(o.born.Truncate(time.Hour)) {
		return s.end()
	}
	if o.loose == 0 {
		return Fate{}, s.err
	}
	if err := s.drain(s.enc.Flush); err != nil {
		return s.abandon(fmt.Errorf("flush segment: %w", err))
	}
	o.settle()
	s.err = nil
	return Fate{}, nil
}

// Close implements [Lines]. It marks the last segment, so that readers know that no more follow. If no
// segment is open, it writes an empty one for the mark, unless there never was a segment.
func (s *Segments) Close() (Fate, error) {
	s.closing = true
	if s.open == nil && s.seq > 0 {
		if err := s.begin(); err != nil {
			return Fate{}, err
		}
	}
	if s.open == nil {
		return Fate{}, s.err
	}
	return s.end()
}

// drain calls the compressor's Flush or Close, and writes its output to the segment.
func (s *Segments) drain(hand func() error) error {
	if err := hand(); err != nil {
		return err
	}
	return s.out.Flush()
}

// settle marks the written part of the segment as complete.
func (o *openSegment) settle() {
	o.flushed = o.written
	o.records += o.loose
	o.loose = 0
}

func (s *Segments) begin() error {
	now := time.Now()
	if now.Before(s.retryAt) {
		return s.err
	}
	seq := s.seq
	seg, err := s.files.Create(s.key(now))
	s.seq++
	if err != nil {
		return s.pause(fmt.Errorf("begin segment: %w", err))
	}
	s.open = &openSegment{File: seg, seq: seq, born: now}
	s.out.Reset(s.open)
	s.enc.Reset(s.out)
	return nil
}

func (s *Segments) end() (Fate, error) {
	o := s.open
	_, err := s.enc.Write(s.countersLine(s.recorded+uint64(o.records+o.loose), o.seq))
	if err == nil {
		err = s.drain(s.enc.Close)
	}
	if err != nil {
		return s.abandon(fmt.Errorf("end segment: %w", err))
	}
	o.settle()
	s.open = nil
	if err := o.Commit(); err != nil {
		return Fate{Lost: o.records}, s.pause(fmt.Errorf("end segment: %w", err))
	}
	s.err = nil
	s.completed(o)
	return Fate{Stored: o.records}, nil
}

// abandon ends a segment after a failed write, and keeps its complete part.
func (s *Segments) abandon(cause error) (Fate, error) {
	o := s.open
	s.open = nil
	s.enc.Reset(nil)
	s.out.Reset(nil)
	kept := false
	switch {
	case o.records == 0:
		o.Discard() // a segment that can't be removed is empty
	case o.Truncate(o.flushed) != nil:
		o.Discard()
	default:
		s.endFrame(o) // if this fails, readers that accept incomplete segments can still read the segment
		kept = o.Commit() == nil
	}
	if kept {
		s.completed(o)
		return Fate{Stored: o.records, Lost: o.loose}, s.pause(cause)
	}
	return Fate{Lost: o.records + o.loose}, s.pause(cause)
}

// completed records that a segment is complete.
func (s *Segments) completed(o *openSegment) {
	s.recorded += uint64(o.records)
	if s.opts.Completed != nil {
		s.opts.Completed()
	}
}

// endFrame ends the frame of a truncated segment with the counters or, if the disk has no room for
// them, with an empty block.
func (s *Segments) endFrame(o *openSegment) {
	line := s.countersLine(s.recorded+uint64(o.records), o.seq)
	if _, err := o.Write(append(lastBlock(len(line)), line...)); err == nil {
		return
	}
	if o.Truncate(o.flushed) == nil {
		o.Write(lastBlock(0))
	}
}

// lastBlock returns the header of a zstd frame's last block, which is raw and has n bytes. It may
// follow any complete block (RFC 8878, section 3.1.1.2).
func lastBlock(n int) []byte {
	head := uint32(n)<<3 | 1
	return []byte{byte(head), byte(head >> 8), byte(head >> 16)}
}

func (s *Segments) pause(err error) error {
	s.retryAt, s.err = time.Now().Add(retryAfter), err
	return err
}

func (s *Segments) key(now time.Time) string {
	return recording.SegmentKey{
		Partition: recording.Partition{Cluster: s.opts.Cluster, Namespace: s.opts.Namespace, Workload: s.opts.Workload},
		Began:     now, Pod: s.opts.Pod, Number: s.seq,
	}.String()
}

// countersLine returns the line of counters for the end of a segment.
func (s *Segments) countersLine(recorded uint64, seq int) []byte {
	var c recording.Counters
	if s.opts.Counters != nil {
		c = s.opts.Counters()
	}
	c.Pod, c.Process, c.Started, c.Segment, c.Recorded, c.End = s.opts.Pod, s.process, s.started, seq, recorded, s.closing
	return c.AppendLine(nil, s.opts.Cluster, s.opts.Namespace, s.opts.Workload)
}
