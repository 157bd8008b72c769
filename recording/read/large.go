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

// Large is a large segment, which compaction made of others.
type Large struct {
	store.Object
	// Number is its number among the large segments of its partition.
	Number int
	// Sources are the names, in the same partition, of those that it was made of. A reader
	// that reads it leaves them out. nil: it only has the name of a large one.
	Sources []string
}

// ListLarge lists the large segments of a partition, and the others that have such a name,
// with what they were made of. It takes a list of few keys, and the beginning of each segment.
// What comes with an error is what could be read nevertheless.
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
	if errors.Is(failed, fs.ErrNotExist) { // no place yet
		failed = nil
	}
	return all, failed
}

// Sources returns the names of what a large segment was made of; nil if the segment is none.
func Sources(ctx context.Context, s Store, key string) ([]string, error) {
	body, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	sources, err := recording.SegmentSources(body)
	if err != nil {
		return nil, fmt.Errorf("read what %s was made of: %w", key, err)
	}
	return sources, nil
}

func (l *Large) segment(store int) segment {
	s := segment{store: store, key: l.Key, size: l.Size, modified: l.Modified, large: true}
	s.began, s.number = parseName(path.Base(l.Key))
	return s
}

// replace finds the large segment that was made of segment i, and perhaps of others, since
// they were listed, and has it read in their place, but for what was read of them already. It
// returns false if there is none.
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

// origin is a segment that was written in a pod, as it is read: from itself, or from the
// large segment that was made of it.
type origin struct {
	pod     string // as in its key
	began   time.Time
	number  int
	left    bool   // out: it was read before, or the query doesn't need it
	read    uint64 // exchanges
	counted bool
}

func (r *Reader) origin(name string) origin {
	o := origin{pod: podOf(name)}
	o.began, o.number = parseName(name)
	o.left = !o.began.IsZero() && !r.query.spans(o.began, time.Hour)
	return o
}

// origin returns where the last record is from; nil if a large segment doesn't say.
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
