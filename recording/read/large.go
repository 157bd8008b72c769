package read

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Large is a large segment, which compaction made from other segments.
type Large struct {
	store.Object
	// Number counts the large segments of a partition.
	Number int
	// Sources are the names of its sources in the same partition, which readers ignore. It is
	// nil for a segment that only has the name of a large one.
	Sources []string
}

// ListLarge lists the large segments of a partition with their sources, and other segments with
// such a name. It makes one short listing, and reads the beginning of each segment. Along with an
// error, it returns the segments that it could read.
func ListLarge(ctx context.Context, s Store, p recording.Partition) (all []Large, failed error) {
	for o, err := range s.List(ctx, recording.LargePrefix(p)) {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		key, err := recording.ParseSegmentKey(o.Key)
		if err != nil || !key.IsLarge() {
			continue
		}
		sources, err := Sources(ctx, s, o.Key)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
		all = append(all, Large{o, key.Number, sources})
	}
	if errors.Is(failed, fs.ErrNotExist) { // the place does not exist yet
		failed = nil
	}
	return all, failed
}

// Sources returns the sources of a large segment, or nil for other segments.
func Sources(ctx context.Context, s Store, key string) ([]string, error) {
	body, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	sources, err := recording.SegmentSources(body)
	if err != nil {
		return nil, fmt.Errorf("read the sources of %s: %w", key, err)
	}
	return sources, nil
}

func (l *Large) segment(store int) segment {
	s := segment{store: store, key: l.Key, size: l.Size, modified: l.Modified, large: true}
	s.began, s.number = parseName(path.Base(l.Key))
	return s
}

// replace looks for a large segment that was made from segment i, and perhaps others, since the
// listing. It adds the large segment, without the exchanges that were already read, to the segments.
// It returns false if there is none.
func (r *Reader) replace(i int) bool {
	gone := &r.segments[i]
	folder, name := path.Split(gone.key)
	p, err := recording.ParsePartition(folder)
	if err != nil {
		return false
	}
	all, _ := ListLarge(r.ctx, r.stores[gone.store], p)
	at := slices.IndexFunc(all, func(l Large) bool { return slices.Contains(l.Sources, name) })
	if at < 0 {
		return false
	}
	large := all[at].segment(gone.store)
	large.taken = map[string]bool{}
	sources := map[string]bool{}
	for _, name := range all[at].Sources {
		sources[name] = true
	}
	for j := range r.segments {
		s := &r.segments[j]
		in, name := path.Split(s.key)
		switch {
		case s.store != gone.store || in != folder || !sources[name] || j == i:
		case j < i:
			large.taken[name] = true
		default:
			s.moved = true
		}
	}
	r.segments = slices.Insert(r.segments, i+1, large)
	r.report.Segments++
	return true
}

// origin is a segment that a pod wrote. It is read from its own file, or from the large segment that
// contains it.
type origin struct {
	pod     string // as in the key
	began   time.Time
	number  int
	left    bool   // it is not read, because it was read before, or the query doesn't need it
	read    uint64 // exchanges
	counted bool
}

func (r *Reader) origin(name string) origin {
	o := origin{pod: podOf(name)}
	o.began, o.number = parseName(name)
	o.left = !o.began.IsZero() && !r.query.spans(o.began, time.Hour)
	return o
}

// origin returns the segment of the last record, or nil if a large segment doesn't name it.
func (s *source) origin() *origin {
	if !s.large || s.json == nil {
		return &s.origins[0]
	}
	if names := s.json.Sources(); len(s.origins) != len(names) {
		s.origins = make([]origin, len(names))
		for i, name := range names {
			s.origins[i] = s.r.origin(name)
			s.origins[i].left = s.origins[i].left || s.taken[name]
		}
	}
	if at := s.json.Origin(); at >= 0 {
		return &s.origins[at]
	}
	return nil
}
