package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"
)

// abandonedAfter is the time without changes after which an incomplete segment counts as abandoned.
// A running writer would have written to it or ended it.
const abandonedAfter = 2 * DefaultSegmentAge

// bounded is [Files] in a directory with a limited size and number of files. Before it creates a
// segment, it removes the oldest ones. It removes only segments.
type bounded struct {
	Dir
	maxBytes int64  // 0 means no limit
	maxFiles int    // 0 means no limit
	reserve  int64  // the largest size of a segment
	full     func() // called when the first segment is removed

	bySize, byFiles removed
}

// removed counts the removed segments.
type removed struct{ segments, bytes atomic.Uint64 }

func (r *removed) stats() Removed { return Removed{r.segments.Load(), r.bytes.Load()} }

// Create implements [Files].
func (b *bounded) Create(key string) (File, error) {
	if err := b.makeRoom(time.Now()); err != nil {
		return nil, fmt.Errorf("stay within %d bytes and %d files (0: no limit): %w", b.maxBytes, b.maxFiles, err)
	}
	return b.Dir.Create(key)
}

func (b *bounded) makeRoom(now time.Time) error {
	found, err := b.Segments()
	if err != nil {
		return err
	}
	bytes, files := int64(0), 0 // how much must be removed
	if b.maxBytes > 0 {
		bytes = b.reserve - b.maxBytes
		for _, s := range found {
			bytes += s.Size
		}
	}
	if b.maxFiles > 0 {
		files = len(found) + 1 - b.maxFiles
	}
	var failed error
	for _, s := range found {
		if bytes <= 0 && files <= 0 {
			return nil
		}
		if s.State == Part && now.Sub(s.changed) < abandonedAfter {
			continue
		}
		switch err := b.Remove(s.Name); {
		case errors.Is(err, fs.ErrNotExist): // it was sent in the meantime
		case err != nil:
			failed = err
			continue
		default:
			b.count(s, bytes > 0)
		}
		bytes -= s.Size
		files--
	}
	if bytes > 0 || files > 0 {
		return errors.Join(errors.New("can't remove enough segments"), failed)
	}
	return nil
}

// count counts a segment that was removed.
func (b *bounded) count(s Segment, bySize bool) {
	if b.bySize.segments.Load()+b.byFiles.segments.Load() == 0 && b.full != nil {
		b.full()
	}
	r := &b.byFiles
	if bySize {
		r = &b.bySize
	}
	r.segments.Add(1)
	r.bytes.Add(uint64(s.Size))
}
