package compact

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// maxRemembered bounds how many names Lists remembers; each takes about 40 bytes.
const maxRemembered = 500_000

// Lists tells a collector which segments are in large ones: it need not store them again. It is
// safe for concurrent use.
//
// The answer is as of a moment. A compactor may store a list right behind it: then the segment
// is stored again, no reader reads it, and the next compaction deletes it.
type Lists struct {
	store read.Store

	mu    sync.Mutex
	known map[string]names // by the key of the large segment, whose list never changes
	count int              // of names in all of them
}

// names are those in a list, as hashes: there may be thousands, and no two have the same.
type names map[[16]byte]bool

// NewLists returns the lists of a place.
func NewLists(s read.Store) *Lists { return &Lists{store: s, known: map[string]names{}} }

// Has tells whether a large segment was made of the one with the key. It lists the large
// segments of the partition, which are few, and reads the beginnings of those that it does not
// know.
func (l *Lists) Has(ctx context.Context, key recording.SegmentKey) (bool, error) {
	name := hashOf(path.Base(key.String()))
	for o, err := range l.store.List(ctx, recording.LargePrefix(key.Partition)) {
		if errors.Is(err, fs.ErrNotExist) { // no place yet
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("list large segments: %w", err)
		}
		if !isLarge(o.Key) {
			continue
		}
		names, err := l.of(ctx, o.Key)
		if err != nil || names[name] {
			return err == nil, err
		}
	}
	return false, nil
}

// of returns the names in the list of a large segment.
func (l *Lists) of(ctx context.Context, large string) (names, error) {
	l.mu.Lock()
	known, ok := l.known[large]
	l.mu.Unlock()
	if ok {
		return known, nil
	}
	all, err := read.Sources(ctx, l.store, large)
	if errors.Is(err, fs.ErrNotExist) { // removed by age since it was listed
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	known = make(names, len(all))
	for _, name := range all {
		known[hashOf(name)] = true
	}
	l.remember(large, known)
	return known, nil
}

func (l *Lists) remember(large string, known names) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count+len(known) > maxRemembered {
		l.known, l.count = map[string]names{}, 0
	}
	if l.known[large] == nil {
		l.known[large] = known
		l.count += len(known)
	}
}

func hashOf(name string) (h [16]byte) {
	sum := sha256.Sum256([]byte(name))
	return [16]byte(sum[:16])
}
