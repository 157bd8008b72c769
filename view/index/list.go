package index

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// MaxLimit is the largest number of rows of a page.
const MaxLimit = 1000

// A cursor has three parts: a byte that says whether the page is after or before a row, the number of
// the row, and a hash of the index, the filter and the order that the cursor belongs to.
const (
	cursorBytes = 1 + 4 + 8
	pageAfter   = 'n'
	pageBefore  = 'p'
)

// cursorHash identifies the index, the filter and the order that a cursor belongs to.
func (x *Index) cursorHash(f Filter, s Sort) uint64 {
	f = f.normal()
	return hash64(fmt.Sprintf("%s %+v %d %d %+v", x.head.State, f, f.From.UnixNano(), f.To.UnixNano(), s))
}

func makeCursor(side byte, row int, hash uint64) string {
	b := binary.LittleEndian.AppendUint32([]byte{side}, uint32(row))
	return base64.RawURLEncoding.EncodeToString(binary.LittleEndian.AppendUint64(b, hash))
}

// readCursor decodes a cursor.
func readCursor(text string, rows int, hash uint64) (side byte, row int, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	bad := err != nil || len(b) != cursorBytes
	if !bad {
		side, row = b[0], int(binary.LittleEndian.Uint32(b[1:]))
		bad = side != pageAfter && side != pageBefore || row >= rows || binary.LittleEndian.Uint64(b[5:]) != hash
	}
	if bad {
		return 0, 0, fmt.Errorf("cursor %.40q: %w: begin with the first page", text, ErrCursor)
	}
	return side, row, nil
}

// List returns a page of the rows that the filter selects, in the order of the sort: the page of
// the cursor, or the first one without a cursor. A page has up to limit rows. limit must be from 1
// to [MaxLimit].
func (x *Index) List(ctx context.Context, f Filter, s Sort, cursor string, limit int) (*Page, error) {
	s, err := s.normal()
	if err != nil {
		return nil, err
	}
	if limit < 1 || limit > MaxLimit {
		return nil, fmt.Errorf("a page of %d rows: %w: want 1 to %d", limit, ErrFilter, MaxLimit)
	}
	hash := x.cursorHash(f, s)
	side, from := byte(pageAfter), -1
	if cursor != "" {
		if side, from, err = readCursor(cursor, x.rows, hash); err != nil {
			return nil, err
		}
	}
	chosen, err := x.selected(ctx, f)
	if err != nil {
		return nil, x.failed(err)
	}
	back := side == pageBefore
	rows, err := x.take(ctx, chosen.set, s.By, s.Descending != back, from, limit+1)
	if back && err == nil && len(rows) <= limit { // return the first page, and fill it
		back, from = false, -1
		rows, err = x.take(ctx, chosen.set, s.By, s.Descending, from, limit+1)
	}
	if err != nil {
		return nil, x.failed(err)
	}
	more := len(rows) > limit
	rows = rows[:min(len(rows), limit)]
	before, after := from >= 0, more
	if back {
		slices.Reverse(rows)
		before, after = more, true
	}
	p := &Page{Total: chosen.total}
	if p.Rows, err = x.rowsOf(ctx, rows); err != nil {
		return nil, err
	}
	if len(rows) > 0 {
		if before {
			p.Previous = makeCursor(pageBefore, rows[0], hash)
		}
		if after {
			p.Next = makeCursor(pageAfter, rows[len(rows)-1], hash)
		}
	}
	return p, nil
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

// hashed keeps the rows that have a wanted hash in one of the columns.
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

// micros converts a duration of a column, within the range of time.Duration.
func micros(us int64) time.Duration {
	return time.Duration(min(max(us, 0), int64(1<<63-1)/int64(time.Microsecond))) * time.Microsecond
}
