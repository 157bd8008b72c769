package compact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/internal/scratch"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// batch builds one large segment.
type batch struct {
	*compactor
	part   recording.Partition
	sorter read.Sorter
	light  recording.Decoder

	tried   int            // segments examined so far, which are numbered from 0
	place   map[int]int32  // index in names of each segment that is taken
	names   []string       // of the segments that are taken
	objects []store.Object // those segments

	namesBytes int
	taken      int64 // bytes of JSON
	exchanges  int64
	bytes      int64 // of the large segment
}

// countersTime is the time under which lines of counters are sorted, so that they follow all
// exchanges.
var countersTime = time.Unix(1<<40, 0)

func newBatch(c *compactor, p recording.Partition) *batch {
	return &batch{
		compactor: c, part: p,
		sorter: read.Sorter{MaxHeld: c.opts.MaxHeld, TempDir: c.opts.TempDir},
		light:  recording.Decoder{Light: true, Reuse: true},
		place:  map[int]int32{},
	}
}

func (b *batch) close() { b.sorter.Close() }

// take adds segments until the batch is large enough, and returns the rest.
func (b *batch) take(ctx context.Context, from []store.Object) (rest []store.Object, err error) {
	for i, o := range from {
		if b.taken >= b.opts.MaxBytes || b.namesBytes >= maxNames {
			return from[i:], nil
		}
		exchanges, size, err := b.segment(ctx, o)
		var bad *damage
		switch {
		case errors.As(err, &bad):
			b.left(o.Key, bad.error)
		case err != nil:
			return nil, err
		default:
			name := path.Base(o.Key)
			b.place[b.tried] = int32(len(b.names))
			b.names = append(b.names, name)
			b.objects = append(b.objects, o)
			b.namesBytes += len(name) + 3
			b.taken += size
			b.exchanges += exchanges
		}
		b.tried++
		b.progress()
	}
	return nil, nil
}

// damage means that a segment can't be rewritten.
type damage struct{ error }

// segment reads a segment into the sorter.
func (b *batch) segment(ctx context.Context, o store.Object) (exchanges, size int64, err error) {
	if o.Size == 0 {
		return 0, 0, &damage{errors.New("it is empty")}
	}
	body, err := b.store.Get(ctx, o.Key)
	if err != nil {
		return 0, 0, busyIfGone(err)
	}
	defer body.Close()
	in := &storeReader{Reader: body}
	r, err := recording.NewReader(in)
	if err != nil {
		return 0, 0, in.blame(err)
	}
	defer r.Close()
	r.Decoder, r.MaxBytes = &b.light, maxSource
	add := func(e *recording.Exchange) error {
		text := r.Text()
		if bytes.IndexByte(text, '\n') >= 0 {
			return &damage{errors.New("a record spans several lines")}
		}
		size += int64(len(text)) + 1
		return b.sorter.Add(e, b.tried, text)
	}
	var failed error
	r.Counted = func(recording.Counters) {
		if failed == nil {
			failed = add(&recording.Exchange{TS: countersTime})
		}
	}
	var e recording.Exchange
	for n := 0; ; n++ {
		err := r.Next(&e)
		switch {
		case failed != nil:
			return 0, 0, failed
		case err == io.EOF && r.Sources() != nil:
			return 0, 0, &damage{errors.New("it is a large segment, but has the name of another one")}
		case err == io.EOF:
			return exchanges, size, nil
		case err != nil:
			return 0, 0, in.blame(err)
		case n%256 == 0 && ctx.Err() != nil:
			return 0, 0, ctx.Err()
		}
		if err := add(&e); err != nil {
			return 0, 0, err
		}
		exchanges++
	}
}

// storeReader reads from a store and keeps its error, which does not mean that the segment is
// damaged.
type storeReader struct {
	io.Reader
	err error
}

func (w *storeReader) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// blame returns the store's error if there is one, and otherwise says that the segment is damaged.
func (w *storeReader) blame(err error) error {
	if w.err != nil {
		return busyIfGone(w.err)
	}
	return &damage{err}
}

// put stores the large segment under the number, unless that is in use.
func (b *batch) put(ctx context.Context, number int) error {
	f, err := scratch.Nameless(b.opts.TempDir, "a large segment")
	if err != nil {
		return err
	}
	defer f.Close()
	sum, err := b.write(ctx, f)
	if err == nil {
		b.bytes, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		err = check(f, sum)
	}
	if err != nil {
		return fmt.Errorf("write a large segment into a temporary file: %w", err)
	}
	// If the object has the same bytes, an earlier attempt stored it and its answer was lost, or
	// another compactor took the same segments. In both cases, the sources may be deleted.
	err = store.PutOnce(ctx, b.store, recording.LargeKey(b.part, number).String(), f)
	if errors.Is(err, fs.ErrExist) {
		return errBusy
	}
	return err
}

const (
	// level and window were measured with BenchmarkCompact. The next higher level takes twice the
	// time for 4% less; a larger window saves nothing, and costs readers as much memory.
	level  = zstd.SpeedDefault
	window = 1 << 20
	// blockRecords and blockBytes limit the records that follow a line of sources.
	blockRecords = 1024
	blockBytes   = 1 << 20
)

// write writes the large segment, and returns the hash of its decompressed content.
func (b *batch) write(ctx context.Context, f *os.File) ([]byte, error) {
	if b.enc == nil {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		b.enc = enc
	}
	b.enc.Reset(f)
	w := &blocks{part: b.part, sum: sha256.New()}
	w.out = io.MultiWriter(b.enc, w.sum)
	if _, err := w.out.Write(recording.Sources{Names: b.names}.AppendLine(nil, b.part)); err != nil {
		return nil, err
	}
	err := b.sorter.Each(ctx, func(number int, text []byte) error {
		place, ok := b.place[number]
		if !ok { // the segment is damaged
			return nil
		}
		return w.add(place, text)
	})
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = b.enc.Close()
	}
	return w.sum.Sum(nil), err
}

// blocks writes records in blocks, and before each block a line with the sources of its records.
type blocks struct {
	part recording.Partition
	out  io.Writer
	sum  hash.Hash
	text []byte
	of   []int32
	line []byte
}

func (w *blocks) add(place int32, text []byte) error {
	w.of = append(w.of, place)
	w.text = append(append(w.text, text...), '\n')
	if len(w.of) < blockRecords && len(w.text) < blockBytes {
		return nil
	}
	return w.flush()
}

func (w *blocks) flush() error {
	if len(w.of) == 0 {
		return nil
	}
	w.line = recording.Sources{Of: w.of}.AppendLine(w.line[:0], w.part)
	for _, p := range [][]byte{w.line, w.text} {
		if _, err := w.out.Write(p); err != nil {
			return err
		}
	}
	w.of, w.text = w.of[:0], w.text[:0]
	return nil
}

// check decompresses the file and compares it, because its sources will be deleted.
func check(f *os.File, want []byte) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	dec, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer dec.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, dec); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return errors.New("its content differs from the segments that were written into it")
	}
	return nil
}
