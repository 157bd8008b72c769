package collector

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// maxReceived is the largest number of uploads that are received at once. Each takes a buffer of 32
// KiB, and up to 64 KiB more with HTTP/2.
const maxReceived = 512

// room limits the size of temporary files. One namespace gets at most half of it, so that pods which
// send slowly, or announce large bodies, leave room for other namespaces.
type room struct {
	bytes int64
	all   *semaphore.Weighted

	mu         sync.Mutex
	namespaces map[string]*semaphore.Weighted // only namespaces with a token have an entry, so there are few
}

// largest is the size of the largest possible upload.
func (r *room) largest() int64 { return r.bytes / 2 }

// enter waits for room for an upload. It returns false if ctx ends first.
func (r *room) enter(ctx context.Context, namespace string, size int64) (leave func(), ok bool) {
	r.mu.Lock()
	own := r.namespaces[namespace]
	if own == nil {
		if r.namespaces == nil {
			r.namespaces = map[string]*semaphore.Weighted{}
		}
		own = semaphore.NewWeighted(r.largest())
		r.namespaces[namespace] = own
	}
	r.mu.Unlock()
	share := max(size, r.bytes/maxReceived)
	if own.Acquire(ctx, share) != nil {
		return nil, false
	}
	if r.all.Acquire(ctx, share) != nil {
		own.Release(share)
		return nil, false
	}
	return func() {
		r.all.Release(share)
		own.Release(share)
	}, true
}
