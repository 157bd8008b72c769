package scratch

import "sync/atomic"

const (
	pageSize = 64 << 10
	// slots is the number of pages that are kept. Page n is kept in slot n modulo slots.
	slots = 32
)

// Ahead reads a file whose records are mostly read in the order in which they were added, by readers that
// may be at different records. It reads a page of 64 KiB at a time and keeps up to 32 pages, so most
// records need no system call. It reads a record alone if the record is larger than a page, or if nothing
// was recently read from its page or the page before. An Ahead is safe for concurrent use.
type Ahead struct {
	file  *File
	pages [slots]atomic.Pointer[page]
}

// page is a page from which something was read.
type page struct {
	number int64
	bytes  []byte // nil if it was not read ahead
}

// NewAhead returns a reader of a file.
func NewAhead(f *File) *Ahead { return &Ahead{file: f} }

// ReadAt implements [io.ReaderAt].
func (a *Ahead) ReadAt(p []byte, offset int64) (n int, err error) {
	if len(p) > pageSize {
		return a.file.ReadAt(p, offset)
	}
	for n < len(p) {
		at := offset + int64(n)
		ahead := a.page(at / pageSize)
		if at%pageSize >= int64(len(ahead)) { // it was not read ahead, or the file ends there
			m, err := a.file.ReadAt(p[n:], at)
			return n + m, err
		}
		n += copy(p[n:], ahead[at%pageSize:])
	}
	return n, nil
}

// page returns a page. It returns nil for one that should not or can't be read ahead.
func (a *Ahead) page(number int64) []byte {
	last := a.last(number)
	if last != nil && last.bytes != nil {
		return last.bytes
	}
	p, at := &page{number: number}, number*pageSize
	if inOrder := last != nil || number == 0 || a.last(number-1) != nil; inOrder && at < a.file.Size {
		p.bytes = make([]byte, min(pageSize, a.file.Size-at))
		if _, err := a.file.ReadAt(p.bytes, at); err != nil {
			p.bytes = nil // reading the record alone returns the error
		}
	}
	a.pages[number%slots].Store(p)
	return p.bytes
}

// last returns a page if it is the last one in its slot.
func (a *Ahead) last(number int64) *page {
	if p := a.pages[number%slots].Load(); p != nil && p.number == number {
		return p
	}
	return nil
}
