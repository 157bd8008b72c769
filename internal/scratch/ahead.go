package scratch

import "sync/atomic"

const (
	pageSize = 64 << 10
	// slots is how many pages are kept. Page n is kept in slot n modulo slots.
	slots = 32
)

// Ahead reads a file whose records are mostly read in the order in which they were added. Several
// readers may be at different records. It reads a page of 64 KiB at a time and keeps up to 32 pages, so
// that few records need a system call. A record away from any such order is read alone. An Ahead is
// safe for concurrent use.
type Ahead struct {
	file  *File
	pages [slots]atomic.Pointer[page]
}

type page struct {
	number int64
	bytes  []byte
}

// NewAhead returns a reader of a file.
func NewAhead(f *File) *Ahead { return &Ahead{file: f} }

// ReadAt implements [io.ReaderAt].
func (a *Ahead) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		at := offset + int64(n)
		page := a.page(at / pageSize)
		if at%pageSize >= int64(len(page)) { // it is not read ahead, or the file ends there
			m, err := a.file.ReadAt(p[n:], at)
			return n + m, err
		}
		n += copy(p[n:], page[at%pageSize:])
	}
	return n, nil
}

// page returns a page. It returns nil for one that should not or can't be read ahead.
func (a *Ahead) page(number int64) []byte {
	if p := a.kept(number); p != nil {
		return p.bytes
	}
	at := number * pageSize
	if number > 0 && a.kept(number-1) == nil || at >= a.file.Size {
		return nil
	}
	p := &page{number, make([]byte, min(pageSize, a.file.Size-at))}
	if _, err := a.file.ReadAt(p.bytes, at); err != nil {
		return nil // reading the record alone returns the error
	}
	a.pages[number%slots].Store(p)
	return p.bytes
}

func (a *Ahead) kept(number int64) *page {
	if p := a.pages[number%slots].Load(); p != nil && p.number == number {
		return p
	}
	return nil
}
