package tap

import (
	"sync"
	"sync/atomic"
)

// sizes lists the size of each class of buffers. Short messages, and the pages that collect
// them, use the smallest. Bulk data reaches the largest.
var sizes = [...]int{4 << 10, 16 << 10, 64 << 10}

// Classes is the number of buffer sizes.
const Classes = len(sizes)

// Class is an index of a buffer size: 0 is the smallest.
type Class int

// Fit returns the class for the next read, after a read with class c brought n bytes: the
// next larger one if the buffer was full, and the next smaller one if it was mostly empty.
func (c Class) Fit(n int) Class {
	switch {
	case n == sizes[c] && int(c) < len(sizes)-1:
		return c + 1
	case n < sizes[c]/4 && c > 0:
		return c - 1
	}
	return c
}

// Pool is a pool of buffers. The zero value is ready to use and has no bound. A Pool is safe
// for concurrent use and must not be copied.
type Pool struct {
	class [len(sizes)]sync.Pool
	limit int64        // see Bound; 0: none
	held  atomic.Int64 // bytes of the buffers that are held; counted only if there is a limit
}

// Bound sets the number of held bytes from which [Pool.Allow] allows only the smallest
// buffers. It must be called before the pool is used.
func (p *Pool) Bound(limit int64) { p.limit = limit }

// Allow returns the class to read with for a caller that wants class c: c, or the smallest
// once the bound is reached. Data then still moves in smaller steps, and each of a thousand
// stalled peers holds 4 KiB and not 64.
func (p *Pool) Allow(c Class) Class {
	if p.limit > 0 && p.held.Load() >= p.limit {
		return 0
	}
	return c
}

// Get returns a buffer of class c. Only the caller holds it.
func (p *Pool) Get(c Class) *Buffer {
	b, _ := p.class[c].Get().(*Buffer)
	if b == nil {
		b = &Buffer{B: make([]byte, sizes[c]), pool: p, home: &p.class[c]}
	}
	b.refs.Store(1)
	if p.limit > 0 {
		p.held.Add(int64(len(b.B)))
	}
	return b
}

// Buffer is a block of bytes that its holders share. The data path reads into it once,
// writes it to the other side, and keeps it for a decoder without a copy. It returns to its
// pool when the last holder releases it.
type Buffer struct {
	// B is the whole block. Only a sole holder may write to it.
	B      []byte
	refs   atomic.Int32
	pool   *Pool
	home   *sync.Pool
	budget *atomic.Int64 // the budget to which its length is returned; nil: none
}

// Shared reports whether anyone besides the caller holds the buffer.
func (b *Buffer) Shared() bool { return b.refs.Load() > 1 }

// Retain adds a hold. Each hold needs a Release.
func (b *Buffer) Retain() { b.refs.Add(1) }

// Release ends one hold.
func (b *Buffer) Release() {
	if b.refs.Add(-1) == 0 {
		if b.budget != nil {
			b.budget.Add(-int64(len(b.B)))
			b.budget = nil
		}
		if b.pool.limit > 0 {
			b.pool.held.Add(-int64(len(b.B)))
		}
		b.home.Put(b)
	}
}
