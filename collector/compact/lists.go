package compact

import (
	"context"
	"crypto/sha256"
	"path"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

const (
	// remembered is how long Lists remembers a partition, and maxRemembered how many names.
	remembered    = time.Minute
	maxRemembered = 500_000
)

// Lists tells a collector which segments large ones have: it need not store them again. It is
// safe for concurrent use.
//
// It may answer "no" too often, at the worst: what it remembers is up to a minute old, and a
// compactor may be about to store a list. Then the segment is stored again, no reader reads it,
// and the next compaction deletes it.
type Lists struct {
	store read.Store
	now   func() time.Time

	mu    sync.Mutex
	known map[string]*lists // by partition
	names int               // in all of them
}

// lists are those of a partition. A name is its hash: there may be many thousands of them, and
// no two have the same 16 bytes.
type lists struct {
	read  chan struct{} // closed once the rest is set
	until time.Time
	names map[[16]byte]bool
	err   error
}

// NewLists returns the lists of a place.
func NewLists(s read.Store) *Lists {
	return &Lists{store: s, now: time.Now, known: map[string]*lists{}}
}

// Has tells whether a large segment was made of this one, among others. It lists the large
// segments of the partition and reads their beginnings.
func (l *Lists) Has(ctx context.Context, key recording.SegmentKey) (bool, error) {
	for {
		known, mine := l.of(key.Partition)
		if mine {
			l.look(ctx, known, key.Partition)
		}
		select {
		case <-known.read:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if known.err != nil && !mine && ctx.Err() == nil { // another caller's, who may have gone
			continue
		}
		return known.names[hashOf(path.Base(key.String()))], known.err
	}
}

// of returns what is known of a partition, or is just being read. If it is neither, it is the
// caller's to read.
func (l *Lists) of(p recording.Partition) (known *lists, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := p.String()
	if known := l.known[id]; known != nil && l.now().Before(known.until) {
		return known, false
	}
	l.forget(id)
	if l.names > maxRemembered || len(l.known) > maxRemembered {
		l.known, l.names = map[string]*lists{}, 0
	}
	known = &lists{read: make(chan struct{}), until: l.now().Add(remembered), names: map[[16]byte]bool{}}
	l.known[id] = known
	return known, true
}

// look reads the lists of a partition.
func (l *Lists) look(ctx context.Context, known *lists, p recording.Partition) {
	defer close(known.read)
	all, err := read.ListLarge(ctx, l.store, p)
	for _, large := range all {
		for _, name := range large.Sources {
			known.names[hashOf(name)] = true
		}
	}
	known.err = err
	l.mu.Lock()
	defer l.mu.Unlock()
	switch id := p.String(); {
	case l.known[id] != known:
	case err != nil:
		delete(l.known, id)
	default:
		l.names += len(known.names)
	}
}

// forget drops what is known of a partition.
func (l *Lists) forget(id string) {
	if known := l.known[id]; known != nil {
		select {
		case <-known.read:
			l.names -= len(known.names)
		default:
		}
		delete(l.known, id)
	}
}

func hashOf(name string) (h [16]byte) {
	sum := sha256.Sum256([]byte(name))
	return [16]byte(sum[:16])
}
