package index

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
)

// orders are what rows are sorted by, but for their start, which is the order of their numbers.
var orders = [...]struct {
	by     Column
	column column
	named  bool // by the names of its numbers
}{
	{ByDuration, colDuration, false},
	{ByStatus, colStatus, false},
	{ByMethod, colMethod, true},
	{ByHost, colHost, true},
	{ByPath, colPath, false},
	{ByWorkload, colWorkload, true},
	{BySize, colSize, false},
}

// orderOf returns the place of an order; -1 for ByStart.
func orderOf(by Column) (int, error) {
	if by == "" || by == ByStart {
		return -1, nil
	}
	for i, o := range orders {
		if o.by == by {
			return i, nil
		}
	}
	return 0, fmt.Errorf("sort by %.40q: %w: want %s or one of duration, status, method, host, path, workload and size", by, ErrFilter, ByStart)
}

// maxKey is how many bytes of a path it is sorted by.
const maxKey = 128

// writeOrders sorts the rows.
func writeOrders(ctx context.Context, w *writer, rows int, all []names, progress func(done, all int)) error {
	for n, o := range orders {
		progress(n, len(orders))
		var order []uint32
		var err error
		switch {
		case o.by == ByPath:
			order, err = byPath(ctx, w, rows)
		case o.named:
			order, err = byName(ctx, w, rows, o.column, all[o.column].all)
		default:
			order, err = byValue(ctx, w, rows, o.column)
		}
		if err != nil {
			return err
		}
		var data []byte
		for first := 0; first < rows; first += chunkRows {
			data = data[:0]
			for _, row := range order[first:min(rows, first+chunkRows)] {
				data = binary.LittleEndian.AppendUint32(data, row)
			}
			if err := w.add(ctx, kindOrder, n<<20|first/chunkRows, data); err != nil {
				return err
			}
		}
	}
	progress(len(orders), len(orders))
	return nil
}

// byValue sorts rows by a number.
func byValue(ctx context.Context, w *writer, rows int, c column) ([]uint32, error) {
	type pair struct {
		value int64
		row   uint32
	}
	pairs := make([]pair, 0, rows)
	err := parts(w.get).each(ctx, rows, func(first int, values [][]int64) error {
		for i, v := range values[0] {
			pairs = append(pairs, pair{v, uint32(first + i)})
		}
		return nil
	}, c)
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.row, b.row)) })
	order := make([]uint32, len(pairs))
	for i, p := range pairs {
		order[i] = p.row
	}
	return order, err
}

// byName sorts rows by the name that they have the number of.
func byName(ctx context.Context, w *writer, rows int, c column, all []string) ([]uint32, error) {
	of, err := parts(w.get).numbers(ctx, rows, c, max(1, len(all)))
	if err != nil {
		return nil, err
	}
	folded, sorted := make([]string, len(all)), make([]int, len(all))
	for i, s := range all {
		folded[i], sorted[i] = fold(s), i
	}
	slices.SortFunc(sorted, func(a, b int) int { return cmp.Compare(folded[a], folded[b]) })
	rank := make([]uint32, max(1, len(all)))
	for i, n := range sorted {
		if rank[n] = uint32(i); i > 0 && folded[sorted[i-1]] == folded[n] {
			rank[n] = rank[sorted[i-1]]
		}
	}
	at := make([]uint32, len(rank)+1)
	for _, n := range of {
		at[rank[n]+1]++
	}
	for i := range rank {
		at[i+1] += at[i]
	}
	order := make([]uint32, len(of))
	for row, n := range of {
		r := rank[n]
		order[at[r]] = uint32(row)
		at[r]++
	}
	return order, nil
}

// byPath sorts rows by their paths.
func byPath(ctx context.Context, w *writer, rows int) ([]uint32, error) {
	var text []byte
	ends := make([]uint64, 1, rows+1)
	for n := 0; n*pathRows < rows; n++ {
		data, err := w.get(ctx, kindPaths, n)
		if err != nil {
			return nil, err
		}
		p, err := readPaths(data, min(pathRows, rows-n*pathRows))
		if err != nil {
			return nil, err
		}
		for i := range p.rows {
			one := p.of(i)
			text = append(text, one[:min(len(one), maxKey)]...)
			ends = append(ends, uint64(len(text)))
		}
	}
	order := make([]uint32, rows)
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		return cmp.Or(bytes.Compare(text[ends[a]:ends[a+1]], text[ends[b]:ends[b+1]]), cmp.Compare(a, b))
	})
	return order, ctx.Err()
}

// paths are those of some rows, in lower case.
type paths struct {
	rows   int
	starts []byte
	text   []byte
}

func readPaths(data []byte, rows int) (paths, error) {
	head := 4 * (rows + 1)
	if len(data) < head {
		return paths{}, fmt.Errorf("%w: a part of the paths is too short", errDamaged)
	}
	p := paths{rows, data[:head], data[head:]}
	for i := range rows {
		if p.at(i) > p.at(i+1) {
			return paths{}, fmt.Errorf("%w: paths are in no order", errDamaged)
		}
	}
	if p.at(0) != 0 || p.at(rows) != len(p.text) {
		return paths{}, fmt.Errorf("%w: paths do not fill their part", errDamaged)
	}
	return p, nil
}

func (p *paths) at(i int) int    { return int(binary.LittleEndian.Uint32(p.starts[4*i:])) }
func (p *paths) of(i int) []byte { return p.text[p.at(i):p.at(i+1)] }

// contain calls found with the rows whose path contains a text.
func (p *paths) contain(text []byte, found func(i int)) {
	if len(text) == 0 {
		return
	}
	for i, at := 0, 0; ; {
		hit := bytes.Index(p.text[at:], text)
		if hit < 0 {
			return
		}
		at += hit
		// The row in which it begins.
		lo, hi := i, p.rows
		for lo+1 < hi {
			if mid := (lo + hi) / 2; p.at(mid) <= at {
				lo = mid
			} else {
				hi = mid
			}
		}
		i = lo
		if at+len(text) > p.at(i+1) { // it ends in the next one
			at++
			continue
		}
		found(i)
		if at, i = p.at(i+1), i+1; i == p.rows {
			return
		}
	}
}
