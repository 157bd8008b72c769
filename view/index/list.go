package index

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// MaxLimit is how many rows a page may have.
const MaxLimit = 1000

// walk goes through a selection in an order.
type walk struct {
	x     *Index
	set   set
	order int // place in orders, -1 for the rows' own
	down  bool
	chunk []byte // of the order
	first int    // place of its first row
}

// row returns the row at a place in the order.
func (w *walk) row(ctx context.Context, at int) (int, error) {
	if w.down {
		at = w.x.rows - 1 - at
	}
	if w.order < 0 {
		return at, nil
	}
	if w.chunk == nil || at < w.first || at >= w.first+chunkRows {
		n := at / chunkRows
		data, err := w.x.file.part(ctx, kindOrder, w.order<<20|n)
		if err != nil {
			return 0, err
		}
		if w.first = n * chunkRows; len(data) != 4*min(chunkRows, w.x.rows-w.first) {
			return 0, fmt.Errorf("%w: an order has %d bytes", errDamaged, len(data))
		}
		w.chunk = data
	}
	row := int(binary.LittleEndian.Uint32(w.chunk[4*(at-w.first):]))
	if row >= w.x.rows {
		return 0, fmt.Errorf("%w: row %d of %d", errDamaged, row, w.x.rows)
	}
	return row, nil
}

// take returns up to n rows of the selection from a place on, going by step, and the places.
func (w *walk) take(ctx context.Context, at, step, n int) (rows, places []int, err error) {
	for ; at >= 0 && at < w.x.rows && len(rows) < n; at += step {
		if at%4096 == 0 && ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if w.order < 0 && at%64 == 0 && step > 0 && !w.down && w.set[at/64] == 0 {
			at += 63 // none of these
			continue
		}
		row, err := w.row(ctx, at)
		if err != nil {
			return nil, nil, err
		}
		if w.set.has(row) {
			rows, places = append(rows, row), append(places, at)
		}
	}
	return rows, places, nil
}

// A cursor is the place of a row in the order, beside which the page lies, after a byte that
// tells on which side, and before a hash of what the cursor is good for.
const (
	cursorBytes = 1 + 4 + 8
	pageAfter   = 'n'
	pageBefore  = 'p'
)

// cursorHash tells cursors of one index, filter and order from those of others.
func (x *Index) cursorHash(f Filter, s Sort) uint64 {
	f = f.normal()
	return hash64(fmt.Sprintf("%s %+v %d %d %+v", x.head.State, f, f.From.UnixNano(), f.To.UnixNano(), s))
}

func makeCursor(side byte, at int, hash uint64) string {
	b := binary.LittleEndian.AppendUint32([]byte{side}, uint32(at))
	return base64.RawURLEncoding.EncodeToString(binary.LittleEndian.AppendUint64(b, hash))
}

// readCursor returns what is in a cursor.
func readCursor(text string, rows int, hash uint64) (side byte, at int, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	bad := err != nil || len(b) != cursorBytes
	if !bad {
		side, at = b[0], int(binary.LittleEndian.Uint32(b[1:]))
		bad = side != pageAfter && side != pageBefore || at >= rows || binary.LittleEndian.Uint64(b[5:]) != hash
	}
	if bad {
		return 0, 0, fmt.Errorf("cursor %.40q: %w: begin with the first page", text, ErrCursor)
	}
	return side, at, nil
}

// List returns a page of the rows that the filter selects, in the order of the sort: the first
// one, or that which the cursor leads to. It has limit rows, of which there must be between 1
// and [MaxLimit].
func (x *Index) List(ctx context.Context, f Filter, s Sort, cursor string, limit int) (*Page, error) {
	order, err := orderOf(s.By)
	if err != nil {
		return nil, err
	}
	if limit < 1 || limit > MaxLimit {
		return nil, fmt.Errorf("a page of %d rows: %w: want 1 to %d", limit, ErrFilter, MaxLimit)
	}
	if s.By == "" {
		s.By = ByStart
	}
	hash := x.cursorHash(f, s)
	side, at := byte(pageAfter), -1
	if cursor != "" {
		if side, at, err = readCursor(cursor, x.rows, hash); err != nil {
			return nil, err
		}
	}
	chosen, err := x.selected(ctx, f)
	if err != nil {
		return nil, x.failed(err)
	}
	w := walk{x: x, set: chosen.set, order: order, down: s.Descending}
	var rows, places []int
	before, after := at >= 0, false
	if side == pageBefore {
		if rows, places, err = w.take(ctx, at-1, -1, limit+1); err != nil {
			return nil, x.failed(err)
		}
		before, after = len(rows) > limit, true
		if len(rows) <= limit { // the first page, which is full
			side, at, before = pageAfter, -1, false
		} else {
			rows, places = reversed(rows[:limit]), reversed(places[:limit])
		}
	}
	if side == pageAfter {
		if rows, places, err = w.take(ctx, at+1, 1, limit+1); err != nil {
			return nil, x.failed(err)
		}
		if after = len(rows) > limit; after {
			rows, places = rows[:limit], places[:limit]
		}
	}
	p := &Page{Total: chosen.total}
	if p.Rows, err = x.rowsOf(ctx, rows); err != nil {
		return nil, err
	}
	if len(rows) > 0 {
		if before {
			p.Previous = makeCursor(pageBefore, places[0], hash)
		}
		if after {
			p.Next = makeCursor(pageAfter, places[len(places)-1], hash)
		}
	}
	return p, nil
}

func reversed(all []int) []int {
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all
}

func (x *Index) rowsOf(ctx context.Context, numbers []int) ([]Row, error) {
	all, err := x.entries(ctx, numbers)
	if err != nil {
		return nil, x.failed(err)
	}
	rows := make([]Row, len(all))
	for i := range all {
		rows[i] = all[i].Row
	}
	return rows, nil
}

// entry returns the entry with an ID.
func (x *Index) entry(ctx context.Context, id int64) (*entry, error) {
	if id < 1 || id > int64(x.rows) {
		return nil, fmt.Errorf("exchange %d: %w: it has %d", id, ErrNotFound, x.rows)
	}
	all, err := x.entries(ctx, []int{int(id - 1)})
	if err != nil {
		return nil, x.failed(err)
	}
	return &all[0], nil
}

// Row returns the row with an ID.
func (x *Index) Row(ctx context.Context, id int64) (*Row, error) {
	e, err := x.entry(ctx, id)
	if err != nil {
		return nil, err
	}
	return &e.Row, nil
}

// Find returns the first row with a UUID.
func (x *Index) Find(ctx context.Context, id recording.UUID) (*Row, error) {
	if id != (recording.UUID{}) {
		s := allOf(x.rows)
		if err := x.hashed(ctx, s, map[int64]bool{hashUUID(id): true}, colUUID); err != nil {
			return nil, x.failed(err)
		}
		for row := range s.rows() {
			if r, err := x.Row(ctx, int64(row+1)); err != nil || r.UUID == id {
				return r, err
			}
		}
	}
	return nil, fmt.Errorf("exchange %s: %w", id, ErrNotFound)
}

// hashed leaves the rows that have one of some hashes in one of some columns.
func (x *Index) hashed(ctx context.Context, s set, want map[int64]bool, columns ...column) error {
	one, single := int64(0), len(want) == 1
	for one = range want {
	}
	return x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
		s.keep(first, len(v[0]), func(i int) bool {
			for _, values := range v {
				if single && values[i] == one || !single && want[values[i]] {
					return true
				}
			}
			return false
		})
		return nil
	}, columns...)
}

// rows iterates over a set.
func (s set) rows() func(yield func(row int) bool) {
	return func(yield func(row int) bool) {
		for n, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(n*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// micros is a duration of a column.
func micros(us int64) time.Duration {
	return time.Duration(min(max(us, 0), int64(1<<63-1)/int64(time.Microsecond))) * time.Microsecond
}
