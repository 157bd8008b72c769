package recording

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Limits of a reader.
const (
	// MaxLine is how long the JSON of a record may be.
	MaxLine = 64 << 20
	// MaxSegment is how large a segment may be when decompressed: the recorder ends it
	// at 64 MiB, and compaction makes larger ones.
	MaxSegment = 16 << 30
	// maxWindow is the largest zstd window: the size that all decoders should support (RFC
	// 8878, section 3.1.1.1.2), and 64 times the recorder's.
	maxWindow = 8 << 20
	// maxDepth is how deep the JSON of a record may be nested.
	maxDepth = 500
	// readBytes is the size of one read.
	readBytes = 64 << 10
)

var (
	// ErrTorn means that a segment ends in the middle of a record: its writer was
	// killed, or has not finished. All earlier records are complete.
	ErrTorn = errors.New("torn tail")
	// ErrNoExchange means that a record is well-formed JSON, but not an exchange. A [LineError]
	// wraps it.
	ErrNoExchange = errors.New("no exchange")
)

// Reader reads exchanges from one segment: RRPair JSON, plain or compressed with zstd.
// A record may take one line, several lines, or share a line with others; an array of records is
// read too. It isn't safe for concurrent use.
type Reader struct {
	// Decoder decodes the records. If it isn't set before the first Next, the reader makes one.
	// Readers that are not used at the same time may share a decoder and its buffers.
	Decoder *Decoder
	// MaxBytes limits the decompressed size; 0 means [MaxSegment].
	MaxBytes int64
	// Counted, if not nil, is called with each line of counters that is read.
	Counted func(Counters)

	own  canonical // caches the strings of this segment's records
	in   *bufio.Reader
	zstd *zstd.Decoder // nil if plain

	chunk []byte // the unused part of a line
	whole bool   // chunk is the complete line
	ended bool   // chunk is the end of its line
	line  int    // number of chunk's line, from 1
	read  int64  // bytes up to the end of chunk
	cut   bool   // the compressor's input ended too early

	text  []byte // JSON of the last record
	start int64  // offset of text

	counters *Counters // the last counters that were read

	sources   []string // of a large segment
	origins   places   // indexes in sources: of the last record, if hasOrigin, and of the records after it
	spare     places   // former memory of origins, for reuse
	hasOrigin bool
}

// NewReader returns a reader of one segment. Close releases it.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, readBytes)
	magic, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch zstdMagic := []byte{0x28, 0xb5, 0x2f, 0xfd}; {
	case len(magic) > 0 && len(magic) < 4 && bytes.HasPrefix(zstdMagic, magic):
		return &Reader{in: bufio.NewReader(bytes.NewReader(nil)), cut: true}, nil
	case !bytes.Equal(magic, zstdMagic):
		return &Reader{in: in}, nil
	}
	z, err := zstd.NewReader(in,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return &Reader{in: bufio.NewReaderSize(z, readBytes), zstd: z}, nil
}

// Next reads the next exchange into e, overwriting all of it. At the end it returns
// [io.EOF], or [ErrTorn]. After a [LineError], reading can continue. Lines of counters and of
// sources are not exchanges: see [Reader.Counters] and [Reader.Origin].
func (r *Reader) Next(e *Exchange) error {
	if r.Decoder == nil {
		r.Decoder = new(Decoder)
	}
	for {
		if r.hasOrigin {
			r.origins = r.origins[1:]
		}
		r.hasOrigin = len(r.origins) > 0
		err := r.record(e)
		if err == errLeftOut {
			continue
		}
		if err != nil {
			return err
		}
		if e.MsgType == SourcesType {
			r.hasOrigin = false
			if err := r.sourcesLine(); err != nil {
				return &LineError{r.line, fmt.Errorf("can't read the sources: %w", err)}
			}
			continue
		}
		if c, ok := isCounters(e.MsgType, r.text); ok {
			if c == nil {
				return &LineError{r.line, errors.New("can't read the counters")}
			}
			if r.counters = c; r.Counted != nil {
				r.Counted(*c)
			}
			continue
		}
		if e.MsgType != MsgType && (e.MsgType != "" || e.isEmpty()) {
			return &LineError{r.line, fmt.Errorf("%w: msgType is %.40q, want %q", ErrNoExchange, e.MsgType, MsgType)}
		}
		return nil
	}
}

// isEmpty reports whether the exchange has no member that identifies it as one.
func (e *Exchange) isEmpty() bool {
	return e.TS.IsZero() && e.Direction == "" && e.Location == "" && e.L7Protocol == "" && e.HTTP == nil && e.Conversation() == nil
}

// errLeftOut means that the Decoder's Glance skipped the record.
var errLeftOut = errors.New("left out")

// record reads the next JSON object.
func (r *Reader) record(e *Exchange) error {
	for {
		if err := r.fill(); err != nil {
			return err
		}
		if r.line == 1 {
			r.chunk = bytes.TrimPrefix(r.chunk, []byte("\ufeff"))
		}
		// Records may have white space, brackets and commas of an array around them.
		if r.chunk = bytes.TrimLeft(r.chunk, around); len(r.chunk) > 0 {
			break
		}
		r.skipBlank()
	}
	d, line := r.Decoder, r.line
	d.losses = d.losses[:0]
	r.start = r.read - int64(len(r.chunk))
	if r.whole { // most lines are exactly one record
		r.text = bytes.TrimRight(r.chunk, " \t\r\n")
		r.own.glance, r.own.left = d.Glance, false
		if r.own.exchange(r.text, e, d.Light, d.Reuse) {
			r.chunk = nil
			return nil
		}
		if r.own.left {
			r.chunk = nil
			return errLeftOut
		}
	}
	err := r.object()
	if err == nil && bytes.HasPrefix(r.text, sourcesPrefix) { // such a line may be long
		*e = Exchange{MsgType: SourcesType}
		return nil
	}
	if err == nil {
		err = d.Decode(r.text, e)
	} else if _, ok := err.(badJSON); !ok {
		return err
	}
	if err != nil {
		return &LineError{line, err}
	}
	return nil
}

// around are the characters between records.
const around = " \t\r\n[],"

// skipBlank skips all buffered lines without a record in one step, because a small compressed file
// may have any number of them.
func (r *Reader) skipBlank() {
	if !r.ended {
		return
	}
	ahead, _ := r.in.Peek(r.in.Buffered())
	n := len(ahead) - len(bytes.TrimLeft(ahead, around))
	blank := ahead[:bytes.LastIndexByte(ahead[:n], '\n')+1]
	r.line += bytes.Count(blank, []byte("\n"))
	r.read += int64(len(blank))
	_, _ = r.in.Discard(len(blank)) // these bytes are buffered
}

// badJSON is a syntax error of JSON. Reading can continue after it.
type badJSON struct{ error }

func (e badJSON) Unwrap() error { return e.error }

// object reads the next JSON object into text.
func (r *Reader) object() error {
	var s splitter
	d, line, long := r.Decoder, r.line, false
	if d.long = d.long[:0]; cap(d.long) > 1<<20 {
		d.long = nil
	}
	for {
		n, state := s.scan(r.chunk)
		if state == jsonBad {
			return r.leave(line, n, &s)
		}
		if state == jsonEnds && len(d.long) == 0 && !long {
			r.text, r.chunk = r.chunk[:n], r.chunk[n:]
			return nil
		}
		if long = long || len(d.long)+n > MaxLine; long {
			d.long = nil
		} else {
			d.long = append(d.long, r.chunk[:n]...)
		}
		r.chunk = r.chunk[n:]
		if state == jsonEnds {
			if r.text = d.long; long {
				return badJSON{errLong}
			}
			return nil
		}
		if err := r.fill(); err == io.EOF {
			return ErrTorn
		} else if err != nil {
			return err
		}
	}
}

// leave skips a record that began on the given line and has a wrong byte at chunk[n]. Reading
// continues with the next line, or with this one if the record began on an earlier line.
func (r *Reader) leave(line, n int, s *splitter) error {
	if r.line > line && r.whole && r.chunk[n] != '\n' {
		return badJSON{fmt.Errorf("%s on line %d, within an object", s.wrong(r.chunk[n]), r.line)}
	}
	bad := badJSON{errors.New(s.wrong(r.chunk[n]))}
	if r.line == line && r.whole { // encoding/json has a better message
		if err := json.Unmarshal(r.chunk, new(json.RawMessage)); err != nil {
			bad = badJSON{err}
		}
	}
	for !r.ended {
		r.chunk = nil
		if err := r.fill(); err != nil {
			break // the next chunk has the error
		}
	}
	r.chunk = nil
	return bad
}

// fill reads the next chunk if there is none: a line, or a part of a long one.
func (r *Reader) fill() error {
	if len(r.chunk) > 0 {
		return nil
	}
	if r.ended || r.line == 0 {
		r.line++
		r.whole = true
	} else {
		r.whole = false
	}
	var err error
	r.chunk, err = r.in.ReadSlice('\n')
	r.read += int64(len(r.chunk))
	r.ended = err == nil
	r.whole = r.whole && err != bufio.ErrBufferFull
	if most := cmp.Or(r.MaxBytes, MaxSegment); r.read > most {
		r.chunk = nil
		return fmt.Errorf("more than %d bytes when decompressed", most)
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.cut = true
	case err != nil && err != io.EOF && err != bufio.ErrBufferFull:
		r.chunk = nil
		return err
	}
	switch {
	case len(r.chunk) > 0:
		return nil
	case r.cut:
		return ErrTorn
	}
	return io.EOF
}

// Text returns the JSON of the last exchange. It is valid until a reader with the same Decoder
// reads the next record.
func (r *Reader) Text() []byte { return r.text }

// Whole decodes the last exchange again, with the parts that [Decoder.Light] left out.
func (r *Reader) Whole(e *Exchange) error {
	r.own.glance = nil
	if r.own.exchange(r.text, e, false, r.Decoder.Reuse) {
		return nil
	}
	d := r.Decoder
	light := d.Light
	defer func() { d.Light = light }()
	d.Light = false
	return d.Decode(r.text, e)
}

// Offset returns the position of the last exchange's JSON in the decompressed segment, in bytes.
func (r *Reader) Offset() int64 { return r.start }

// Counters returns the counters at the segment's end, once they have been read. It returns nil
// before that, and if there are none, as in a segment whose writer was killed.
func (r *Reader) Counters() *Counters { return r.counters }

// Close releases the reader, but does not close the underlying one.
func (r *Reader) Close() {
	if r.zstd != nil {
		r.zstd.Close()
	}
}

// LineError reports a record that can't be read.
type LineError struct {
	Line int // the line on which the record begins, from 1; 0 in formats without lines
	Err  error
}

func (e *LineError) Error() string {
	if e.Line == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("line %d: %v", e.Line, e.Err)
}

func (e *LineError) Unwrap() error { return e.Err }

var errLong = fmt.Errorf("longer than %d MiB", MaxLine>>20)
