package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// column identifies a column: one value of all rows.
type column int

const (
	colDirection column = iota
	colProtocol
	colCluster
	colNamespace
	colWorkload
	colPod
	colPeer
	colMethod
	colHost
	colEndpoint
	colStatus
	colGRPC
	colFlags
	colStart    // microseconds since 1970
	colDuration // microseconds
	colSize     // of the answer
	colUUID     // hashes
	colParent
	colTrace
	colPath  // of the request's target
	colGroup // index in head.Groups: an endpoint of a workload or host
	colOther // the row of a call's other side, 0 for none
	colCall  // index in head.Calls
	numColumns

	numNamed = colEndpoint + 1 // the columns before it have numbers of names
)

// Flags of a row.
const (
	flagFailed = 1 << iota
	flagIncomplete
	flagAnswered
)

// maxRows is the largest number of rows of an index.
const maxRows = 1 << 31

// chunkRows is the number of rows in a part of a column.
const chunkRows = 1 << 16

// appendValues encodes a chunk of a column: the number of bytes for each value, the least value,
// and the difference of each value from that.
func appendValues(dst []byte, values []int64) []byte {
	least, most := slices.Min(values), slices.Max(values)
	width := 8
	switch span := uint64(most) - uint64(least); {
	case span == 0:
		width = 0
	case bits.Len64(span) <= 8:
		width = 1
	case bits.Len64(span) <= 16:
		width = 2
	case bits.Len64(span) <= 32:
		width = 4
	}
	dst = binary.LittleEndian.AppendUint64(append(dst, byte(width)), uint64(least))
	for _, v := range values {
		d := uint64(v) - uint64(least)
		switch width {
		case 1:
			dst = append(dst, byte(d))
		case 2:
			dst = binary.LittleEndian.AppendUint16(dst, uint16(d))
		case 4:
			dst = binary.LittleEndian.AppendUint32(dst, uint32(d))
		case 8:
			dst = binary.LittleEndian.AppendUint64(dst, d)
		}
	}
	return dst
}

// valuesHead is the length of the part before the values.
const valuesHead = 9

// chunk is a stored part of a column. Each value is least plus a number of width bytes.
type chunk struct {
	width int
	least int64
	data  []byte
}

// readChunk checks a part of n values.
func readChunk(data []byte, n int) (chunk, error) {
	if len(data) < valuesHead {
		return chunk{}, fmt.Errorf("%w: a column's part has %d bytes", errDamaged, len(data))
	}
	c := chunk{int(data[0]), int64(binary.LittleEndian.Uint64(data[1:])), data[valuesHead:]}
	switch c.width {
	case 0, 1, 2, 4, 8:
	default:
		return chunk{}, fmt.Errorf("%w: a column's values have %d bytes", errDamaged, c.width)
	}
	if len(c.data) != c.width*n {
		return chunk{}, fmt.Errorf("%w: a column's part has %d bytes for %d values", errDamaged, len(data), n)
	}
	return c, nil
}

// valueAt returns one value of a part of n.
func valueAt(data []byte, n, i int) (int64, error) {
	c, err := readChunk(data, n)
	if err != nil {
		return 0, err
	}
	var one [1]int64
	c.data = c.data[c.width*i : c.width*(i+1)]
	c.read(one[:])
	return one[0], nil
}

// read fills dst with values.
func (c chunk) read(dst []int64) {
	switch c.width {
	case 0:
		for i := range dst {
			dst[i] = c.least
		}
	case 1:
		for i := range dst {
			dst[i] = c.least + int64(c.data[i])
		}
	case 2:
		for i := range dst {
			dst[i] = c.least + int64(binary.LittleEndian.Uint16(c.data[2*i:]))
		}
	case 4:
		for i := range dst {
			dst[i] = c.least + int64(binary.LittleEndian.Uint32(c.data[4*i:]))
		}
	case 8:
		for i := range dst {
			dst[i] = c.least + int64(binary.LittleEndian.Uint64(c.data[8*i:]))
		}
	}
}

// readValues reads a part of n values into dst, which has room for them.
func readValues(dst []int64, data []byte, n int) ([]int64, error) {
	c, err := readChunk(data, n)
	if err != nil {
		return nil, err
	}
	c.read(dst[:n])
	return dst[:n], nil
}

// parts reads parts of an index, finished or not.
type parts func(ctx context.Context, k kind, n int) ([]byte, error)

// each calls do with each chunk of some columns, and the number of its first row. The values are
// valid only during the call.
func (p parts) each(ctx context.Context, rows int, do func(first int, values [][]int64) error, columns ...column) error {
	chunks, values := make([][]int64, len(columns)), make([][]int64, len(columns))
	for i := range chunks {
		chunks[i] = make([]int64, min(rows, chunkRows))
	}
	for first := 0; first < rows; first += chunkRows {
		for i, c := range columns {
			data, err := p(ctx, kindValue+kind(c), first/chunkRows)
			if err == nil {
				values[i], err = readValues(chunks[i], data, min(chunkRows, rows-first))
			}
			if err != nil {
				return err
			}
		}
		if err := do(first, values); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// numbers reads all of a column that has numbers from 0, each less than limit.
func (p parts) numbers(ctx context.Context, rows int, c column, limit int) ([]uint32, error) {
	all := make([]uint32, rows)
	err := p.each(ctx, rows, func(first int, values [][]int64) error {
		for i, v := range values[0] {
			if v < 0 || v >= int64(limit) {
				return fmt.Errorf("%w: column %d has the number %d, want less than %d", errDamaged, c, v, limit)
			}
			all[first+i] = uint32(v)
		}
		return nil
	}, c)
	return all, err
}

// set is a set of rows, by their numbers from 0.
type set []uint64

func newSet(rows int) set { return make(set, (rows+63)/64) }

// allOf returns the set of all rows.
func allOf(rows int) set {
	s := newSet(rows)
	for i := range s {
		s[i] = ^uint64(0)
	}
	if rest := rows % 64; rest > 0 {
		s[len(s)-1] = 1<<rest - 1
	}
	return s
}

func (s set) has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }
func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }

// and removes the rows that are not in o, and or adds those in o.
func (s set) and(o set) {
	for i := range s {
		s[i] &= o[i]
	}
}

func (s set) or(o set) {
	for i := range s {
		s[i] |= o[i]
	}
}

// addRange adds the rows from from, up to but not including to.
func (s set) addRange(from, to int) {
	for ; from < to && from%64 != 0; from++ {
		s.add(from)
	}
	for ; from+64 <= to; from += 64 {
		s[from/64] = ^uint64(0)
	}
	for ; from < to; from++ {
		s.add(from)
	}
}

func (s set) count() (n int64) {
	for _, w := range s {
		n += int64(bits.OnesCount64(w))
	}
	return n
}

// keep removes those of the rows from first to before first+n for which keep returns false.
func (s set) keep(first, n int, keep func(i int) bool) {
	for at := first; at < first+n; at += 64 { // first is a multiple of 64
		for w := s[at/64]; w != 0; w &= w - 1 {
			i := at + bits.TrailingZeros64(w)
			if !keep(i - first) {
				s[at/64] &^= 1 << (i % 64)
			}
		}
	}
}

// names are the different texts of a column, by their numbers.
type names struct {
	all    []string
	number map[string]uint32
}

// Bounds of the names of all columns together. Later names all become others.
const (
	maxNames     = 1 << 20
	maxNameBytes = 64 << 20
	others       = "…"
)

// dictionary gives numbers to names.
type dictionary struct {
	columns     [numNamed]names
	count, size int
}

func (d *dictionary) number(c column, name string) uint32 {
	n := &d.columns[c]
	if i, ok := n.number[name]; ok {
		return i
	}
	if n.number == nil {
		n.number = map[string]uint32{others: 0}
		n.all = []string{others}
		if name == others {
			return 0
		}
	}
	if d.count >= maxNames || d.size+len(name) > maxNameBytes {
		return 0
	}
	d.count, d.size = d.count+1, d.size+len(name)
	i := uint32(len(n.all))
	name = strings.Clone(name)
	n.all = append(n.all, name)
	n.number[name] = i
	return i
}

func appendTexts(dst []byte, all []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(all)))
	for _, s := range all {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return dst
}

func readTexts(data []byte) ([]string, error) {
	r := bytesReader{data: data}
	n := r.uvarint()
	if n > uint64(len(data)) {
		return nil, fmt.Errorf("%w: %d texts in %d bytes", errDamaged, n, len(data))
	}
	all := make([]string, 0, n)
	for range n {
		all = append(all, r.text())
	}
	return all, r.end()
}

// bytesReader reads numbers and texts. After an error it returns zero values.
type bytesReader struct {
	data []byte
	bad  bool
}

func (r *bytesReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *bytesReader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// take returns the next n bytes.
func (r *bytesReader) take(n uint64) []byte {
	if n > uint64(len(r.data)) {
		r.bad, r.data = true, nil
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *bytesReader) text() string { return string(r.take(r.uvarint())) }

// end returns an error if reading failed or bytes are left.
func (r *bytesReader) end() error {
	if r.bad || len(r.data) > 0 {
		return fmt.Errorf("%w: a part is too short or too long", errDamaged)
	}
	return nil
}
