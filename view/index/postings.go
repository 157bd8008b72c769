package index

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/tapedeck/tapedeck/internal/scratch"
)

// The terms of all rows are in blocks, in their order. A block is a list of entries, each with
// varints and bytes:
//
//	shared    length of the prefix that the term shares with the term before
//	length    length of the rest of the term
//	rest      the rest of the term
//	size      length of the rows
//	rows      the rows that have the term
//
// Rows are numbered from 1. Each row is stored as twice its distance from the row before. If
// consecutive rows follow it, that number is odd, and the next number counts them.

const (
	// blockBytes is the size at which a block ends. Its last entry may exceed that.
	blockBytes = 32 << 10
	// maxPairs and maxTerms bound the pairs of term and row, and the terms, in memory.
	maxPairs = 6 << 20
	maxTerms = 400_000
	// firstTerms is the number of blocks whose first terms are in one part.
	firstTerms = 1 << 14
)

// inverter sorts the words of rows by term. It holds some in memory, and writes the others to a
// temporary file, in sorted runs.
type inverter struct {
	tokens tokens
	number map[string]uint32 // of each term
	terms  []string
	last   []uint32 // row of each term, from 1
	pairs  []uint64 // term and row
	arena  []byte
	// fields caches the terms of short texts that occur often, such as headers. seen has a part
	// of the hash of each text that occurred once.
	fields map[string][]uint32
	seen   []uint16

	file *scratch.Writer
	ends []int64 // of the runs in file
	buf  []byte
}

func newInverter(dir string) (*inverter, error) {
	file, err := scratch.Create(dir, "words of a recording", 0)
	if err != nil {
		return nil, err
	}
	return &inverter{number: map[string]uint32{}, fields: map[string][]uint32{}, seen: make([]uint16, 1<<16), file: file}, nil
}

// maxField is the length of the longest text in fields, and maxFields the number of them.
const (
	maxField  = 256
	maxFields = 1 << 14
)

// add adds the words of a row. Rows must come in order.
func (v *inverter) add(row int, text []byte) error {
	for len(text) > 0 {
		field, rest, _ := bytes.Cut(text, []byte{0})
		text = rest
		known, ok := v.fields[string(field)]
		for _, n := range known {
			v.mark(n, row)
		}
		if ok {
			continue
		}
		again := false
		if len(field) <= maxField && len(v.fields) < maxFields {
			h := hash32(field)
			again = v.seen[uint16(h)] == uint16(h>>16)
			v.seen[uint16(h)] = uint16(h >> 16)
		}
		var terms []uint32
		one := func(term []byte) {
			n, ok := v.number[string(term)]
			if !ok {
				n = v.term(term)
			}
			v.mark(n, row)
			if again {
				terms = append(terms, n)
			}
		}
		v.tokens.each(field, one, one)
		if again {
			v.fields[string(field)] = terms
		}
	}
	if len(v.pairs) >= maxPairs || len(v.terms) >= maxTerms {
		return v.flush()
	}
	return nil
}

// mark notes that a row has a term.
func (v *inverter) mark(n uint32, row int) {
	if v.last[n] != uint32(row+1) {
		v.last[n] = uint32(row + 1)
		v.pairs = append(v.pairs, uint64(n)<<32|uint64(row))
	}
}

func (v *inverter) term(term []byte) uint32 {
	if cap(v.arena)-len(v.arena) < len(term) {
		v.arena = make([]byte, 0, 1<<20)
	}
	v.arena = append(v.arena, term...)
	s := string(v.arena[len(v.arena)-len(term):])
	n := uint32(len(v.terms))
	v.terms, v.last = append(v.terms, s), append(v.last, 0)
	v.number[s] = n
	return n
}

// flush writes the terms in memory to the file, as a sorted run.
func (v *inverter) flush() error {
	type ordered struct {
		begin uint64 // first bytes of the term, in which most terms differ
		n     uint32
	}
	order := make([]ordered, len(v.terms))
	starts := make([]uint32, len(v.terms)+1)
	for i, term := range v.terms {
		var begin [8]byte
		copy(begin[:], term)
		order[i] = ordered{binary.BigEndian.Uint64(begin[:]), uint32(i)}
	}
	slices.SortFunc(order, func(a, b ordered) int {
		if a.begin != b.begin {
			return cmp.Compare(a.begin, b.begin)
		}
		return cmp.Compare(v.terms[a.n], v.terms[b.n])
	})
	for _, p := range v.pairs {
		starts[p>>32+1]++
	}
	for i := range v.terms {
		starts[i+1] += starts[i]
	}
	rows, at := make([]uint32, len(v.pairs)), slices.Clone(starts)
	for _, p := range v.pairs {
		rows[at[p>>32]] = uint32(p)
		at[p>>32]++
	}
	var end int64
	var record []byte
	for _, o := range order {
		n := o.n
		of := rows[starts[n]:starts[n+1]]
		v.buf = appendRows(v.buf[:0], of)
		record = binary.AppendUvarint(record[:0], uint64(len(v.terms[n])))
		record = append(record, v.terms[n]...)
		record = binary.AppendUvarint(record, uint64(of[len(of)-1])+1)
		record = binary.AppendUvarint(record, uint64(len(v.buf)))
		record = append(record, v.buf...)
		offset, err := v.file.Add(record)
		if err != nil {
			return err
		}
		end = offset + int64(len(record))
	}
	v.ends = append(v.ends, end)
	clear(v.number)
	clear(v.fields)
	v.terms, v.last, v.pairs, v.arena = v.terms[:0], v.last[:0], v.pairs[:0], nil
	return nil
}

// appendRows encodes rows, which must be in order.
func appendRows(dst []byte, rows []uint32) []byte {
	last := uint64(0)
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && rows[i+n] == rows[i]+uint32(n) {
			n++
		}
		row := uint64(rows[i]) + 1
		if n == 1 {
			dst = binary.AppendUvarint(dst, (row-last)<<1)
		} else {
			dst = binary.AppendUvarint(dst, (row-last)<<1|1)
			dst = binary.AppendUvarint(dst, uint64(n-1))
		}
		last = row + uint64(n-1)
		i += n
	}
	return dst
}

// addRows adds the rows of an entry to a set.
func addRows(s set, data []byte, rows int) error {
	r := bytesReader{data: data}
	last := uint64(0)
	for len(r.data) > 0 {
		gap, n := r.uvarint(), uint64(0)
		if gap&1 != 0 {
			n = r.uvarint()
		}
		from := last + gap>>1
		if to := from + n; r.bad || gap>>1 == 0 || from > uint64(rows) || n > uint64(rows) || to > uint64(rows) {
			return fmt.Errorf("%w: a word has a row that does not exist", errDamaged)
		} else if last = to; n == 0 {
			s.add(int(from - 1))
		} else {
			s.addRange(int(from-1), int(to))
		}
	}
	return nil
}

// run reads a run, entry by entry.
type run struct {
	in      *bufio.Reader
	number  int
	term    []byte
	lastRow uint64
	rows    []byte
}

func (r *run) next() error {
	n, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err
	}
	if r.term, err = r.read(r.term, n); err != nil {
		return err
	}
	if r.lastRow, err = binary.ReadUvarint(r.in); err != nil {
		return err
	}
	if n, err = binary.ReadUvarint(r.in); err != nil {
		return err
	}
	r.rows, err = r.read(r.rows, n)
	return err
}

func (r *run) read(into []byte, n uint64) ([]byte, error) {
	into = slices.Grow(into[:0], int(n))[:n]
	_, err := io.ReadFull(r.in, into)
	return into, err
}

type runs []*run

func (h runs) Len() int { return len(h) }
func (h runs) Less(i, j int) bool {
	if c := bytes.Compare(h[i].term, h[j].term); c != 0 {
		return c < 0
	}
	return h[i].number < h[j].number
}
func (h runs) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *runs) Push(r any)   { *h = append(*h, r.(*run)) }
func (h *runs) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// finish merges the runs and writes the blocks.
func (v *inverter) finish(ctx context.Context, w *writer, progress func(done, all int)) (blocks int, err error) {
	if len(v.pairs) > 0 {
		if err := v.flush(); err != nil {
			return 0, err
		}
	}
	ends := v.ends
	file, err := v.file.Finish()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	*v = inverter{}
	var h runs
	begin := int64(0)
	for i, end := range ends {
		r := &run{in: bufio.NewReaderSize(io.NewSectionReader(file, begin, end-begin), 128<<10), number: i}
		if begin = end; r.next() != nil {
			return 0, fmt.Errorf("read back words: run %d of %d is empty", i, len(ends))
		}
		h = append(h, r)
	}
	heap.Init(&h)
	b := blockWriter{ctx: ctx, w: w}
	var term, rows []byte
	for read := int64(0); len(h) > 0; {
		term = append(term[:0], h[0].term...)
		rows = rows[:0]
		last := uint64(0)
		for len(h) > 0 && bytes.Equal(h[0].term, term) {
			r := h[0]
			// The first gap of a run counts from 0. The other gaps stay the same.
			gap, n := binary.Uvarint(r.rows)
			rows = binary.AppendUvarint(rows, (gap>>1-last)<<1|gap&1)
			rows = append(rows, r.rows[n:]...)
			last = r.lastRow
			read += int64(len(r.term) + len(r.rows) + 4)
			switch err := r.next(); {
			case errors.Is(err, io.EOF):
				heap.Pop(&h)
			case err != nil:
				return 0, fmt.Errorf("read back words: %w", err)
			default:
				heap.Fix(&h, 0)
			}
		}
		if err := b.add(term, rows); err != nil {
			return 0, err
		}
		if b.begun {
			b.begun = false
			progress(int(read>>10), int(file.Size>>10))
		}
	}
	if err := b.finish(); err != nil {
		return 0, err
	}
	return b.blocks, nil
}

// blockWriter writes blocks.
type blockWriter struct {
	ctx    context.Context
	w      *writer
	block  []byte
	term   []byte   // the last one added
	firsts []string // first terms of blocks
	blocks int
	begun  bool // a block was written since finish last cleared this
}

func (b *blockWriter) add(term, rows []byte) error {
	shared := 0
	if len(b.block) == 0 {
		b.firsts = append(b.firsts, string(term))
	} else {
		for shared < min(len(term), len(b.term)) && term[shared] == b.term[shared] {
			shared++
		}
	}
	b.block = binary.AppendUvarint(b.block, uint64(shared))
	b.block = binary.AppendUvarint(b.block, uint64(len(term)-shared))
	b.block = append(b.block, term[shared:]...)
	b.block = binary.AppendUvarint(b.block, uint64(len(rows)))
	b.block = append(b.block, rows...)
	b.term = append(b.term[:0], term...)
	if len(b.block) >= blockBytes {
		return b.flush()
	}
	return nil
}

func (b *blockWriter) flush() error {
	if err := b.w.add(b.ctx, kindWords, b.blocks, b.block); err != nil {
		return err
	}
	b.block, b.begun = b.block[:0], true
	if b.blocks++; len(b.firsts) == firstTerms {
		return b.flushFirsts()
	}
	return nil
}

func (b *blockWriter) flushFirsts() error {
	err := b.w.add(b.ctx, kindFirst, (b.blocks-1)/firstTerms, appendTexts(nil, b.firsts))
	b.firsts = b.firsts[:0]
	return err
}

func (b *blockWriter) finish() error {
	if len(b.block) > 0 {
		if err := b.flush(); err != nil {
			return err
		}
	}
	if len(b.firsts) > 0 {
		return b.flushFirsts()
	}
	return nil
}

// term adds the rows that have a term to a set. With prefix, it adds those with any term that
// begins with it.
func (x *Index) term(ctx context.Context, s set, term string, prefix bool) error {
	n := sort.Search(len(x.firsts), func(i int) bool { return x.firsts[i] > term })
	for n = max(0, n-1); n < len(x.firsts); n++ {
		if x.firsts[n] > term && (!prefix || len(x.firsts[n]) < len(term) || x.firsts[n][:len(term)] != term) {
			return nil
		}
		data, err := x.file.part(ctx, kindWords, n)
		if err != nil {
			return err
		}
		r := bytesReader{data: data}
		var at []byte
		for len(r.data) > 0 {
			shared := r.uvarint()
			rest := r.take(r.uvarint())
			rows := r.take(r.uvarint())
			if r.bad || shared > uint64(len(at)) {
				return fmt.Errorf("%w: a block of words can't be read", errDamaged)
			}
			at = append(at[:shared], rest...)
			c := bytes.Compare(at, []byte(term))
			switch {
			case c < 0:
				continue
			case c == 0, prefix && len(at) > len(term) && string(at[:len(term)]) == term:
				if err := addRows(s, rows, x.rows); err != nil {
					return err
				}
			default:
				return nil
			}
			if !prefix {
				return nil
			}
		}
	}
	return nil
}
