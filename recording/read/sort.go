package read

import (
	"bufio"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/internal/scratch"
	"github.com/tapedeck/tapedeck/recording"
)

// sorted reads one segment after another. It sorts as many exchanges as fit into memory, writes them
// to a temporary file as a run, and merges the runs.
func (r *Reader) sorted(out *joiner) error {
	s := Sorter{MaxHeld: r.opts.MaxHeld, TempDir: r.opts.TempDir}
	defer s.Close()
	var light recording.Exchange
	for i := 0; i < len(r.segments); i++ { // compaction may add segments
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if src := r.open(i); src != nil {
			if err := r.take(&s, src, int32(i), &light); err != nil {
				return err
			}
		}
	}
	r.taken(true)
	var decoder recording.Decoder
	return s.merge(r.ctx, func(it *item) error { return r.hand(out, &decoder, it) })
}

// take adds the selected exchanges of a segment, and closes it.
func (r *Reader) take(s *Sorter, src *source, index int32, light *recording.Exchange) error {
	for n := 0; src.next(light); n++ {
		err := error(nil)
		if n%256 == 0 {
			err = r.ctx.Err()
		}
		if err == nil {
			r.taken(false)
			err = s.add(item{key: r.key(light), segment: index, offset: src.offset(), losses: strings.Join(src.losses, "\n")}, src.exchange())
		}
		if err != nil {
			src.close()
			return err
		}
	}
	return nil
}

// taken calls Options.Taken from time to time.
func (r *Reader) taken(last bool) {
	if r.opts.Taken != nil && (last || r.order%takenEvery == 1) {
		r.opts.Taken(int(r.order))
	}
}

// hand passes an item on as a record.
func (r *Reader) hand(out *joiner, decoder *recording.Decoder, it *item) error {
	seg := &r.segments[it.segment]
	rec := r.newRecord()
	*rec = Record{Exchange: rec.Exchange, Store: seg.store, Key: seg.key, Offset: it.offset, Size: int64(len(it.text)), Parts: 1}
	decoder.Light, decoder.Reuse = r.opts.Light, true
	if err := decoder.Decode(it.text, rec.Exchange); err != nil { // impossible: the text was decoded before
		return fmt.Errorf("read %s at %d: %w", rec.Key, rec.Offset, err)
	}
	if it.losses != "" {
		rec.Losses = strings.Split(it.losses, "\n")
		r.report.add(Lossy, fmt.Sprintf("%s: %s", rec.Key, strings.Join(rec.Losses, ", ")))
	}
	return out.add(rec)
}

// item is an exchange that is being sorted.
type item struct {
	key
	segment int32
	offset  int64
	losses  string // one per line
	text    []byte // JSON
	// The position in Sorter.text, until the items are sorted.
	start, end int
}

// Sorter sorts the JSON of exchanges by their start. It uses temporary files if they don't fit into
// memory. The files are deleted when the sorter is closed, or when the process ends. It isn't safe
// for concurrent use.
type Sorter struct {
	// MaxHeld limits the JSON in memory. TempDir is the directory for the rest. See [Options].
	MaxHeld int64
	TempDir string

	order uint64
	text  []byte // of all items, one after the other
	items []item
	runs  [][]*run // by level; maxRuns runs of a level are merged into one run of the next level
	enc   *zstd.Encoder
}

// maxRuns is the largest number of runs of a level: reading a run takes half a megabyte.
const maxRuns = 32

// Add adds an exchange with its JSON and a number, which Each returns. Exchanges with the same
// start keep their order, except that parts of a conversation stay together.
func (s *Sorter) Add(e *recording.Exchange, number int, text []byte) error {
	s.order++
	return s.add(item{key: keyOf(e, s.order), segment: int32(number)}, text)
}

func (s *Sorter) add(it item, text []byte) error {
	if int64(len(s.text)+len(text)+len(s.items)*100) > s.MaxHeld && len(s.items) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	it.start = len(s.text)
	s.text = append(s.text, text...)
	it.end = len(s.text)
	s.items = append(s.items, it)
	return nil
}

// Each calls do with each exchange and its number in order, until an error. do must not keep the
// text. Each can be called once.
func (s *Sorter) Each(ctx context.Context, do func(number int, text []byte) error) error {
	return s.merge(ctx, func(it *item) error { return do(int(it.segment), it.text) })
}

// Close removes the temporary files.
func (s *Sorter) Close() {
	for _, level := range s.runs {
		for _, r := range level {
			r.close()
		}
	}
	s.runs = nil
}

// sort sorts the items in memory.
func (s *Sorter) sort() {
	slices.SortFunc(s.items, func(a, b item) int { return a.compare(b.key) })
	for i := range s.items {
		it := &s.items[i]
		it.text = s.text[it.start:it.end]
	}
}

// spill writes the items in memory as a run.
func (s *Sorter) spill() error {
	s.sort()
	i := 0
	err := s.write(0, func(to *item) error {
		if i == len(s.items) {
			return io.EOF
		}
		*to = s.items[i]
		i++
		return nil
	})
	s.items, s.text = s.items[:0], s.text[:0]
	return err
}

// write writes the items of next as a run, and merges the runs of the level if it is full.
func (s *Sorter) write(level int, next func(*item) error) error {
	for len(s.runs) <= level {
		s.runs = append(s.runs, nil)
	}
	r, err := s.newRun(next)
	if err != nil {
		return fmt.Errorf("sort exchanges in a temporary file: %w", err)
	}
	s.runs[level] = append(s.runs[level], r)
	if len(s.runs[level]) < maxRuns {
		return nil
	}
	full := s.runs[level]
	s.runs[level] = nil
	defer func() {
		for _, r := range full {
			r.close()
		}
	}()
	m, err := newMerger(full)
	if err != nil {
		return err
	}
	return s.write(level+1, m.next)
}

// merge passes all items on, in order.
func (s *Sorter) merge(ctx context.Context, hand func(*item) error) error {
	s.sort()
	m, err := newMerger(slices.Concat(s.runs...))
	if err != nil {
		return err
	}
	if len(s.items) > 0 {
		m.add(&run{items: s.items})
	}
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var it item
		err := m.next(&it)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = hand(&it)
		}
		if err != nil {
			return err
		}
	}
}

// run is a sorted sequence of items: in a file, or, if it is the last one, in memory.
type run struct {
	items []item
	file  *os.File
	in    *bufio.Reader
	zstd  *zstd.Decoder
	text  []byte

	item item // the next item
}

// newRun writes the items of next into a temporary file that is deleted when the process ends.
func (s *Sorter) newRun(next func(*item) error) (r *run, err error) {
	f, err := scratch.Nameless(s.TempDir, "sorting")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if s.enc == nil {
		if s.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true)); err != nil {
			return nil, err
		}
	}
	s.enc.Reset(f)
	var head []byte
	for {
		var it item
		err := next(&it)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		head = it.appendHead(head[:0])
		if _, err := s.enc.Write(head); err != nil {
			return nil, err
		}
		if _, err := s.enc.Write(it.text); err != nil {
			return nil, err
		}
	}
	return &run{file: f}, s.enc.Close()
}

// appendHead appends an item's header: the header's length, and the fields other than the text.
func (it *item) appendHead(dst []byte) []byte {
	b := binary.AppendVarint(dst, it.ts.Unix())
	b = binary.AppendUvarint(b, uint64(it.ts.Nanosecond()))
	b = append(b, it.group[:]...)
	b = binary.AppendVarint(b, int64(it.part))
	b = binary.AppendUvarint(b, it.order)
	b = binary.AppendUvarint(b, uint64(it.segment))
	b = binary.AppendUvarint(b, uint64(it.offset))
	b = binary.AppendUvarint(b, uint64(len(it.losses)))
	b = append(b, it.losses...)
	return binary.AppendUvarint(b, uint64(len(it.text)))
}

// next reads the next item.
func (r *run) next() error {
	if r.file == nil {
		if len(r.items) == 0 {
			return io.EOF
		}
		r.item, r.items = r.items[0], r.items[1:]
		return nil
	}
	if r.in == nil {
		if _, err := r.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		z, err := zstd.NewReader(r.file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(1<<20))
		if err != nil {
			return err
		}
		r.zstd, r.in = z, bufio.NewReaderSize(z, 64<<10)
	}
	seconds, err := binary.ReadVarint(r.in)
	if err != nil {
		return err // at the end
	}
	var failed error
	uvarint := func() uint64 {
		n, err := binary.ReadUvarint(r.in)
		failed = errors.Join(failed, err)
		return n
	}
	full := func(p []byte) {
		_, err := io.ReadFull(r.in, p)
		failed = errors.Join(failed, err)
	}
	it := &r.item
	it.ts = time.Unix(seconds, int64(uvarint())).UTC()
	full(it.group[:])
	part, err := binary.ReadVarint(r.in)
	failed = errors.Join(failed, err)
	it.part, it.order, it.segment, it.offset = int(part), uvarint(), int32(uvarint()), int64(uvarint())
	losses := make([]byte, uvarint())
	full(losses)
	it.losses = string(losses)
	if n := int(uvarint()); cap(r.text) < n || cap(r.text) > 1<<20 {
		r.text = make([]byte, n)
	} else {
		r.text = r.text[:n]
	}
	full(r.text)
	it.text = r.text
	if failed != nil {
		return fmt.Errorf("read back a temporary file: %w", failed)
	}
	return nil
}

func (r *run) close() {
	if r.zstd != nil {
		r.zstd.Close()
	}
	if r.file != nil {
		r.file.Close()
	}
}

// merger merges runs. The text of an item is valid until the next one.
type merger struct {
	runs heads
	used bool // whether the first run's item was returned
}

func newMerger(runs []*run) (*merger, error) {
	m := &merger{}
	for _, r := range runs {
		if err := m.add(r); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *merger) add(r *run) error {
	err := r.next()
	if err == io.EOF {
		return nil
	}
	if err == nil {
		heap.Push(&m.runs, r)
	}
	return err
}

func (m *merger) next(to *item) error {
	if m.used {
		switch err := m.runs[0].next(); {
		case err == io.EOF:
			heap.Pop(&m.runs)
		case err != nil:
			return err
		default:
			heap.Fix(&m.runs, 0)
		}
	}
	m.used = len(m.runs) > 0
	if !m.used {
		return io.EOF
	}
	*to = m.runs[0].item
	return nil
}

// heads is a heap of runs, by their next items.
type heads []*run

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return h[i].item.compare(h[j].item.key) < 0 }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)        { *h = append(*h, x.(*run)) }
func (h *heads) Pop() any          { return pop((*[]*run)(h)) }
