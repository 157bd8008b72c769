package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Limits on what a reader believes.
const (
	maxLine   = 64 << 20
	maxWindow = 32 << 20
)

// ErrTorn tells that a segment ends in the middle of a record: its writer was
// killed, or hasn't finished. All records before are good.
var ErrTorn = errors.New("torn tail")

// Reader reads exchanges from one segment: RRPair JSON lines, plain or
// compressed with zstd. It isn't safe for concurrent use.
type Reader struct {
	in   *bufio.Reader
	zstd *zstd.Decoder // nil if plain
	buf  []byte
	line int

	counters *Counters // the last that were read
}

// NewReader returns a reader of one segment. Close releases it.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return &Reader{in: in}, nil
	}
	z, err := zstd.NewReader(in,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return &Reader{in: bufio.NewReaderSize(z, 64<<10), zstd: z}, nil
}

// Next reads the next exchange into e, overwriting all of it. At the end it returns
// [io.EOF], or [ErrTorn]. After a [LineError] reading can go on. Lines of counters
// are no exchanges: see [Reader.Counters].
func (r *Reader) Next(e *Exchange) error {
	for {
		line, err := r.readLine()
		switch {
		case errors.Is(err, errLineTooLong):
			return &LineError{r.line, err}
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if len(line) > 0 || !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return ErrTorn
			}
			return io.EOF
		case err != nil:
			return err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		*e = Exchange{}
		if err := json.Unmarshal(line, e); err != nil {
			return &LineError{r.line, err}
		}
		if c, ok := isCounters(e.MsgType, line); ok {
			if c == nil {
				return &LineError{r.line, errors.New("counters that can't be read")}
			}
			r.counters = c
			continue
		}
		return nil
	}
}

// Counters returns the counters that end the segment, once they were read; nil if
// they weren't, as in one whose writer was killed.
func (r *Reader) Counters() *Counters { return r.counters }

// Close releases the reader, not what it reads from.
func (r *Reader) Close() {
	if r.zstd != nil {
		r.zstd.Close()
	}
}

// LineError is a line that isn't an exchange.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

var errLineTooLong = fmt.Errorf("longer than %d MiB", maxLine>>20)

// readLine returns the next line. At the end of the input it returns the error
// together with what there was of a line.
func (r *Reader) readLine() ([]byte, error) {
	r.line++
	r.buf = r.buf[:0]
	long := false
	for {
		part, err := r.in.ReadSlice('\n')
		if long = long || len(r.buf)+len(part) > maxLine; !long {
			r.buf = append(r.buf, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
		case err == nil && long:
			return nil, errLineTooLong
		default:
			return r.buf, err
		}
	}
}

// All reads the segment that root names in fsys, or every segment below that
// directory in the order of their keys, which within one pod is the order of time.
// It yields an exchange or an error, never both; the error says where it was met,
// and is followed by what else can be read. A yielded exchange is the consumer's to
// keep.
func All(fsys fs.FS, root string) iter.Seq2[*Exchange, error] {
	return AllCounted(fsys, root, func(Counters) {})
}

// AllCounted is All that gives the counters which end a segment to count.
func AllCounted(fsys fs.FS, root string, count func(Counters)) iter.Seq2[*Exchange, error] {
	return func(yield func(*Exchange, error) bool) {
		fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
			if err == nil && (d.IsDir() || name != root && !isSegment(name)) {
				return nil
			}
			if err != nil {
				err = fmt.Errorf("read %s: %w", name, err)
				if !yield(nil, err) {
					return fs.SkipAll
				}
				return nil
			}
			for e, err := range segment(fsys, name, count) {
				if err != nil {
					e, err = nil, fmt.Errorf("read segment %s: %w", name, err)
				}
				if !yield(e, err) {
					return fs.SkipAll
				}
			}
			return nil
		})
	}
}

func segment(fsys fs.FS, name string, count func(Counters)) iter.Seq2[*Exchange, error] {
	return func(yield func(*Exchange, error) bool) {
		f, err := fsys.Open(name)
		if whole, part := strings.CutSuffix(name, PartSuffix); part && errors.Is(err, fs.ErrNotExist) {
			f, err = fsys.Open(whole) // it was completed since it was listed
		}
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		r, err := NewReader(f)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.Close()
		for {
			e := new(Exchange)
			err := r.Next(e)
			var bad *LineError
			switch {
			case err == io.EOF:
				if c := r.Counters(); c != nil {
					count(*c)
				}
				return
			case err == nil || errors.As(err, &bad):
				if !yield(e, err) {
					return
				}
			default:
				yield(nil, err)
				return
			}
		}
	}
}

// isSegment tells segments from other files by their names.
func isSegment(name string) bool {
	name = strings.TrimSuffix(name, PartSuffix)
	return strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, SegmentSuffix)
}
