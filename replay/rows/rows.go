// Package rows keeps the rows of a long table on disk, and a few pages of them in memory, so
// that the memory of a replay does not grow with its recording.
//
//	row ─▶ Writer.Add ─▶ page ─▶ file            Table.At(n) ─▶ page in memory, or one read
//
// It promises:
//
//   - A table of up to 32,768 rows stays in memory, and needs no file.
//   - A longer one takes the memory of 128 pages of 256 rows, however long it is.
//   - The file comes from package scratch: it disappears with the process, and only its owner
//     can read it.
//
// It imports internal/scratch and the standard library.
package rows

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/tapedeck/tapedeck/internal/scratch"
)

const (
	// pageRows is how many rows are read at a time, because a replay reads a table in order.
	pageRows = 256
	// slots is how many pages are kept in memory. Page n is kept in slot n modulo slots, so
	// that copies of a recording, which read different rows, seldom evict each other's pages.
	slots = 128
	// inMemory is the largest number of rows of a table that has no file.
	inMemory = 1 << 15
)

// Writer writes a table of rows. Rows must not contain pointers. It isn't safe for concurrent use.
type Writer[T any] struct {
	dir, what string
	limit     int64
	rows      []T // rows that are not in the file yet
	written   int
	file      *scratch.Writer
}

// Table is a finished table. It is safe for concurrent use.
type Table[T any] struct {
	n      int
	rows   []T // all rows, if there is no file
	file   *scratch.File
	cached [slots]atomic.Pointer[page[T]]
	err    atomic.Pointer[error]
}

type page[T any] struct {
	number int
	rows   []T
}

// NewWriter returns a writer of an empty table. If it needs a file, the file is in dir, or in the
// system's directory for temporary files if dir is "". The file has up to limit bytes; 0 means no
// limit. Errors call the rows what, such as `recorded steps`.
func NewWriter[T any](dir, what string, limit int64) *Writer[T] {
	if t := reflect.TypeFor[T](); hasPointers(t) {
		panic(fmt.Sprintf("rows of %s have pointers", t))
	}
	return &Writer[T]{dir: dir, what: what, limit: limit}
}

// hasPointers reports whether values of a type contain pointers.
func hasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Array:
		return hasPointers(t.Elem())
	}
	return t.Kind() > reflect.Complex128 || t.Kind() == reflect.Uintptr
}

// Len returns the number of rows that were added.
func (w *Writer[T]) Len() int { return w.written + len(w.rows) }

// Add appends a row. After an error, no more rows can be added.
func (w *Writer[T]) Add(row T) (err error) {
	w.rows = append(w.rows, row)
	switch {
	case w.file == nil && len(w.rows) < inMemory, w.file != nil && len(w.rows) < pageRows:
		return nil
	case w.file == nil:
		if w.file, err = scratch.Create(w.dir, w.what, w.limit); err != nil {
			return err
		}
	}
	return w.flush()
}

// flush moves the rows into the file.
func (w *Writer[T]) flush() error {
	_, err := w.file.Add(bytesOf(w.rows))
	w.written += len(w.rows)
	if w.rows = w.rows[:0]; cap(w.rows) > pageRows {
		w.rows = make([]T, 0, pageRows)
	}
	return err
}

// Finish returns the table. The writer can't be used afterwards.
func (w *Writer[T]) Finish() (*Table[T], error) {
	t := &Table[T]{n: w.Len()}
	if w.file == nil {
		t.rows = w.rows
		return t, nil
	}
	err := w.flush()
	if err != nil {
		w.file.Abandon()
		return nil, err
	}
	if t.file, err = w.file.Finish(); err != nil {
		return nil, err
	}
	return t, nil
}

// Abandon removes the file.
func (w *Writer[T]) Abandon() {
	if w.file != nil {
		w.file.Abandon()
	}
}

// Keep returns a table of all. The rows stay in memory if there are few, or if they can't be written
// to disk.
func Keep[T any](dir, what string, limit int64, all []T) *Table[T] {
	w := NewWriter[T](dir, what, limit)
	if len(all) >= inMemory {
		for _, row := range all {
			if err := w.Add(row); err != nil {
				w.Abandon()
				return &Table[T]{n: len(all), rows: all}
			}
		}
		if t, err := w.Finish(); err == nil {
			return t
		}
	}
	return &Table[T]{n: len(all), rows: all}
}

// Len returns the number of rows.
func (t *Table[T]) Len() int { return t.n }

// At returns row n, which must exist. If the file can't be read, the row is zero, and [Table.Err]
// returns the error.
func (t *Table[T]) At(n int) T {
	if t.file == nil {
		return t.rows[n]
	}
	return t.onDisk(n)
}

func (t *Table[T]) onDisk(n int) (row T) {
	if p := t.page(n / pageRows); p != nil {
		return p.rows[n%pageRows]
	}
	return row
}

// Range returns the rows from from up to, but not including, to. The caller must not change them.
func (t *Table[T]) Range(from, to int) []T {
	if from == to {
		return nil
	}
	if t.file == nil {
		return t.rows[from:to:to]
	}
	if p := t.page(from / pageRows); p != nil && from/pageRows == (to-1)/pageRows {
		first := from % pageRows
		return p.rows[first : first+to-from : first+to-from]
	}
	all := make([]T, 0, to-from)
	for n := from; n < to; n++ {
		all = append(all, t.At(n))
	}
	return all
}

// Err returns the first error of reading the file.
func (t *Table[T]) Err() error {
	if err := t.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Close removes the file.
func (t *Table[T]) Close() error {
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}

// page returns a page, or nil if it can't be read.
func (t *Table[T]) page(number int) *page[T] {
	slot := &t.cached[number%slots]
	if p := slot.Load(); p != nil && p.number == number {
		return p
	}
	first := number * pageRows
	p := &page[T]{number, make([]T, min(pageRows, t.n-first))}
	b := bytesOf(p.rows)
	if _, err := t.file.ReadAt(b, int64(first)*int64(unsafe.Sizeof(p.rows[0]))); err != nil {
		err = fmt.Errorf("read rows from row %d: %w", first, err)
		t.err.CompareAndSwap(nil, &err)
		return nil
	}
	slot.Store(p)
	return p
}

// bytesOf returns the memory of rows. The process that reads them is the one that wrote them, so
// the layout is the same.
func bytesOf[T any](rows []T) []byte {
	if len(rows) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&rows[0])), len(rows)*int(unsafe.Sizeof(rows[0])))
}
