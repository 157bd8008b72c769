package index

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// errMoved means that an exchange is no longer where the index found it.
var errMoved = errors.New("the exchange is no longer at this place")

// Exchange returns the exchange of a row in full, and a conversation with all its parts. It reads
// the exchange at the recorded offset, and decompresses the segment up to there. If the exchange
// is no longer there, for example after compaction, it searches the whole recording. The error is
// [ErrGone] if the recording no longer has the exchange.
func (x *Index) Exchange(ctx context.Context, id int64) (*recording.Exchange, error) {
	e, err := x.entry(ctx, id)
	if err != nil {
		return nil, err
	}
	if e.parts == 1 && e.store >= 0 && e.store < len(x.stores) {
		if found, err := x.at(ctx, e); err == nil || ctx.Err() != nil {
			return found, err
		}
	}
	return x.search(ctx, e)
}

// zstdMagic begins a compressed segment.
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// maxWindow bounds the window of zstd, as in recording/read.
const maxWindow = 8 << 20

// at reads the exchange at its recorded offset.
func (x *Index) at(ctx context.Context, e *entry) (*recording.Exchange, error) {
	f, err := x.stores[e.store].Get(ctx, e.key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	magic, _ := in.Peek(len(zstdMagic))
	plain := io.Reader(in)
	if bytes.Equal(magic, zstdMagic) {
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		plain = z
	}
	if e.offset > recording.MaxSegment {
		return nil, errMoved
	}
	// An uncompressed segment needn't be read up to the offset.
	if file, ok := f.(io.Seeker); ok && plain == io.Reader(in) {
		if _, err := file.Seek(e.offset, io.SeekStart); err != nil {
			return nil, err
		}
		in.Reset(f)
	} else if _, err := io.CopyN(io.Discard, contextReader{ctx, plain}, e.offset); err != nil {
		return nil, err
	}
	r, err := recording.NewReader(plain)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	found := new(recording.Exchange)
	if err := r.Next(found); err != nil {
		return nil, err
	}
	if r.Offset() != 0 || !e.is(found) {
		return nil, errMoved
	}
	return found, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// is reports whether the exchange is that of the entry.
func (e *entry) is(other *recording.Exchange) bool {
	return other.UUID == e.UUID && other.TS.Equal(e.Start) && text(other.Direction) == e.Direction && known(other.Pod()) == e.Pod && text(other.Host()) == e.Host
}

// search finds the exchange among those of the recording that began at its time.
func (x *Index) search(ctx context.Context, e *entry) (*recording.Exchange, error) {
	q := x.query
	match := q.Match
	q.From, q.To = e.Start, e.Start.Add(time.Nanosecond)
	q.Match = func(other *recording.Exchange) bool { return e.is(other) && (match == nil || match(other)) }
	if q.Longest == 0 {
		q.Longest = max(read.DefaultLongest, e.Duration)
	}
	gone := fmt.Errorf("exchange %s, which began at %s, is %w: retention may have deleted it, or somebody erased it", e.UUID, e.Start.Format(time.RFC3339Nano), ErrGone)
	in, err := read.Open(ctx, q, read.Options{Order: read.Sorted, Foreign: x.options.Foreign}, x.stores...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", gone, err)
	}
	if err != nil {
		return nil, fmt.Errorf("search for exchange %s: %w", e.UUID, err)
	}
	for found, err := range in.Exchanges() {
		if err != nil {
			err = fmt.Errorf("read exchange %s: %w", e.UUID, err)
		}
		return found, err
	}
	return nil, gone
}
