package compact

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Lists caches the large segments of up to maxListed partitions for listedFor. After an outage,
// thousands of segments of one hour arrive, and the time to list a directory grows with its files.
const (
	listedFor = 30 * time.Second
	maxListed = 1000
)

// maxRemembered bounds how many names Lists remembers; each takes about 40 bytes.
const maxRemembered = 500_000

// Lists reports to a collector which segments are part of large ones and need not be stored again.
// It is safe for concurrent use.
//
// The answer may be half a minute old. If a compactor has stored a list since, the collector stores
// the segment again, readers ignore it, and the next compaction deletes it.
type Lists struct {
	store read.Store
	fresh time.Duration // how long a listing stays valid

	asking singleflight.Group // by partition
	mu     sync.Mutex
	listed map[string]listing // by partition
	known  map[string]names   // by the key of the large segment, whose list never changes
	count  int                // of names in all of known
}

// listing has the keys of a partition's large segments, and its age.
type listing struct {
	keys  []string
	until time.Time
}

// names are the hashes of the names in a list, which may be thousands.
type names map[[16]byte]bool

// NewLists returns the lists of a place.
func NewLists(s read.Store) *Lists {
	return &Lists{store: s, fresh: listedFor, listed: map[string]listing{}, known: map[string]names{}}
}

// Has reports whether a large segment contains the segment with the key. It lists the few large
// segments of the partition, and reads the beginnings of those that are not cached.
func (l *Lists) Has(ctx context.Context, key recording.SegmentKey) (bool, error) {
	large, err := l.large(ctx, key.Partition)
	if err != nil {
		return false, err
	}
	name := hashOf(path.Base(key.String()))
	for _, key := range large {
		names, err := l.of(ctx, key)
		if err != nil || names[name] {
			return err == nil, err
		}
	}
	return false, nil
}

// large returns the keys of the partition's large segments.
func (l *Lists) large(ctx context.Context, p recording.Partition) ([]string, error) {
	l.mu.Lock()
	last, ok := l.listed[p.String()]
	l.mu.Unlock()
	if ok && time.Now().Before(last.until) {
		return last.keys, nil
	}
	keys, err, _ := l.asking.Do(p.String(), func() (any, error) { return l.list(ctx, p) })
	if err != nil {
		return nil, err
	}
	return keys.([]string), nil
}

func (l *Lists) list(ctx context.Context, p recording.Partition) (keys []string, err error) {
	for o, err := range l.store.List(ctx, recording.LargePrefix(p)) {
		if errors.Is(err, fs.ErrNotExist) { // the place does not exist yet
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list large segments: %w", err)
		}
		if isLarge(o.Key) {
			keys = append(keys, o.Key)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.listed) >= maxListed {
		clear(l.listed)
	}
	l.listed[p.String()] = listing{keys, time.Now().Add(l.fresh)}
	return keys, nil
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
