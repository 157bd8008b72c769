package index

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// orders maps each order to the column with its values. ByStart needs none, because rows are
// numbered in the order of their starts.
var orders = map[Column]column{
	ByStart: noColumn, ByDuration: colDuration, ByStatus: colStatus, ByMethod: colMethod, ByHost: colHost, ByPath: colPath, ByWorkload: colWorkload, BySize: colSize,
}

// noColumn means that an order needs no column.
const noColumn column = -1

// normal sets the default of an order, and checks it.
func (s Sort) normal() (Sort, error) {
	s.By = cmp.Or(s.By, ByStart)
	if _, ok := orders[s.By]; !ok {
		return s, fmt.Errorf("sort by %.40q: %w: want %s or one of duration, status, method, host, path, workload and size", s.By, ErrFilter, ByStart)
	}
	return s, nil
}

// maxKey is the number of bytes of a path that count for the order.
const maxKey = 128

// sortKey is the key that a row is sorted by. Equal rows come in the order of their numbers.
type sortKey struct {
	value int64
	text  []byte // decides if the values are equal
	row   int
}

func (k sortKey) compare(o sortKey) int {
	return cmp.Or(cmp.Compare(k.value, o.value), bytes.Compare(k.text, o.text), cmp.Compare(k.row, o.row))
}

// pathKey returns the key of a path in lower case. Most paths differ in their first bytes, so these
// are compared as a number.
func pathKey(path []byte, row int) sortKey {
	var begin [8]byte
	path = path[:min(len(path), maxKey)]
	n := copy(begin[:], path)
	return sortKey{int64(binary.BigEndian.Uint64(begin[:]) ^ 1<<63), path[n:], row}
}

// keys calls do with the key of each row of a set, in the order of their numbers.
func (x *Index) keys(ctx context.Context, s set, by Column, do func(sortKey)) error {
	c := orders[by]
	switch {
	case c == noColumn:
		for row := range s.rows() {
			do(sortKey{row: row})
		}
		return ctx.Err()
	case c == colPath:
		return x.eachPaths(ctx, func(first int, p *paths) {
			for i := range p.rows {
				if s.has(first + i) {
					do(pathKey(p.of(i), first+i))
				}
			}
		})
	}
	value := func(v int64) int64 { return v }
	if c < numNamed {
		ranks := x.ranks(c)
		value = func(v int64) int64 {
			if uint64(v) < uint64(len(ranks)) {
				return ranks[v]
			}
			return math.MaxInt64
		}
	}
	return x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
		for i, one := range v[0] {
			if s.has(first + i) {
				do(sortKey{value: value(one), row: first + i})
			}
		}
		return nil
	}, c)
}

// ranks returns the position of each name of a column among the sorted names. Names that differ in case have
// the same position.
func (x *Index) ranks(c column) []int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ranked[c] != nil {
		return x.ranked[c]
	}
	all := x.names[c]
	folded, sorted := make([]string, len(all)), make([]int, len(all))
	for i, s := range all {
		folded[i], sorted[i] = fold(s), i
	}
	slices.SortFunc(sorted, func(a, b int) int { return cmp.Compare(folded[a], folded[b]) })
	ranks := make([]int64, len(all))
	for i, n := range sorted {
		if ranks[n] = int64(i); i > 0 && folded[sorted[i-1]] == folded[n] {
			ranks[n] = ranks[sorted[i-1]]
		}
	}
	x.ranked[c] = ranks
	return ranks
}

// take returns the first n rows of a set that come after the row from, which need not be in the
// set. If from is -1, it begins with the first row. down reverses the order.
func (x *Index) take(ctx context.Context, s set, by Column, down bool, from, n int) ([]int, error) {
	compare := sortKey.compare
	if down {
		compare = func(a, b sortKey) int { return b.compare(a) }
	}
	after := func(sortKey) bool { return true }
	if from >= 0 {
		one := newSet(x.rows)
		one.add(from)
		var last sortKey
		if err := x.keys(ctx, one, by, func(k sortKey) { last = k }); err != nil {
			return nil, err
		}
		after = func(k sortKey) bool { return compare(k, last) > 0 }
	}
	// Once full, best[:n] has the first n rows so far, and the rows after it are unsorted.
	var best []sortKey
	full := false
	shorten := func() {
		slices.SortFunc(best, compare)
		best, full = best[:min(n, len(best))], len(best) >= n
	}
	err := x.keys(ctx, s, by, func(k sortKey) {
		if full && compare(k, best[n-1]) > 0 || !after(k) {
			return
		}
		if best = append(best, k); len(best) >= 4*n {
			shorten()
		}
	})
	shorten()
	rows := make([]int, len(best))
	for i, k := range best {
		rows[i] = k.row
	}
	return rows, err
}

// paths has the paths of some rows, in lower case.
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
			return paths{}, fmt.Errorf("%w: the ends of paths are not in order", errDamaged)
		}
	}
	if p.at(0) != 0 || p.at(rows) != len(p.text) {
		return paths{}, fmt.Errorf("%w: the paths don't fill their part", errDamaged)
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
		// Find the row in which the match begins.
		lo, hi := i, p.rows
		for lo+1 < hi {
			if mid := (lo + hi) / 2; p.at(mid) <= at {
				lo = mid
			} else {
				hi = mid
			}
		}
		i = lo
		if at+len(text) > p.at(i+1) { // the match ends in the next row
			at++
			continue
		}
		found(i)
		if at, i = p.at(i+1), i+1; i == p.rows {
			return
		}
	}
}
