package tap

import (
	"sync"
	"sync/atomic"
)

// sizes are the classes of buffers. Short messages and the pages into which
// they are gathered take the first; a stream of bulk data climbs to the last.
var sizes = [...]int{4 << 10, 16 << 10, 64 << 10}

// Classes is how many sizes of buffers there are.
const Classes = len(sizes)

// Class is an index of a buffer size: 0 is the smallest.
type Class int

// Fit says which class to read with next, after a read of class c brought n
// bytes: one up when the buffer was filled, one down when it was mostly empty.
func (c Class) Fit(n int) Class {
	switch {
	case n == sizes[c] && int(c) < len(sizes)-1:
		return c + 1
	case n < sizes[c]/4 && c > 0:
		return c - 1
	}
	return c
}

// Pool hands out buffers and takes them back. The zero value is ready and has no
// bound; it is safe for concurrent use and must not be copied.
type Pool struct {
	class [len(sizes)]sync.Pool
	limit int64        // see Bound; 0: none
	held  atomic.Int64 // bytes of the buffers that somebody holds; counted if there is a limit
}

// Bound sets how many bytes of buffers may be held before [Pool.Allow] allows
// small ones only. It must be called before the pool is used.
func (p *Pool) Bound(limit int64) { p.limit = limit }

// Allow returns the class to read with for somebody who wants class c: the
// smallest once the bound is reached. Data then still moves, in smaller steps,
// so a thousand peers that stall hold 4 KiB each and not 64.
func (p *Pool) Allow(c Class) Class {
	if p.limit > 0 && p.held.Load() >= p.limit {
		return 0
	}
	return c
}

// Get returns a buffer of class c that the caller alone holds.
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

// Buffer is a block of bytes that its holders share: read into once, written to
// the other side and kept for a decoder without being copied. It goes back to
// its pool when the last holder releases it.
type Buffer struct {
	// B is the whole block; only the sole holder may write to it.
	B      []byte
	refs   atomic.Int32
	pool   *Pool
	home   *sync.Pool
	budget *atomic.Int64 // what its length was taken from, nil if from nothing
}

// Shared reports whether someone besides the caller holds the buffer.
func (b *Buffer) Shared() bool { return b.refs.Load() > 1 }

// Retain adds a hold, for which Release must be called once more.
func (b *Buffer) Retain() { b.refs.Add(1) }

// Release gives up the caller's hold.
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
