package pull

import (
	"context"
	"path"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// large remembers the large segments of a place while it is listed.
type large struct {
	keys       map[string]bool
	partitions []recording.Partition // those with large segments, in no order
	in         recording.Partition   // the last of them
	names      map[string]bool       // the sources of its large segments; nil: not read yet
}

// met notes a listed key. In the list of a partition, large segments come first, except for segments
// that were begun in the first millisecond of the hour. compacted removes those in the end.
func (l *large) met(key recording.SegmentKey) {
	if !key.IsLarge() || l.keys[key.String()] {
		return
	}
	if l.keys == nil {
		l.keys = map[string]bool{}
	}
	l.keys[key.String()] = true
	if l.in != key.Partition {
		l.partitions = append(l.partitions, key.Partition)
	}
	l.in, l.names = key.Partition, nil
}

// has reports whether this segment is in a large one that was listed.
func (l *large) has(ctx context.Context, s store.Store, key recording.SegmentKey) (bool, error) {
	if len(l.keys) == 0 || key.Partition != l.in || key.IsLarge() {
		return false, nil
	}
	if l.names == nil {
		var err error
		if l.names, err = sources(ctx, s, l.in); err != nil {
			return false, err
		}
	}
	return l.names[path.Base(key.String())], nil
}

// sources returns the names of the segments that are in the large segments of a partition.
func sources(ctx context.Context, s store.Store, p recording.Partition) (map[string]bool, error) {
	names := map[string]bool{}
	all, err := read.ListLarge(ctx, s, p)
	for _, l := range all {
		for _, name := range l.Sources {
			names[name] = true
		}
	}
	return names, err
}

// compacted copies the large segments that were made while the others were listed and copied, because
// they contain segments that have disappeared since. Then it removes from the target the segments that
// are in large ones. An earlier call may have copied them.
func (c *copier) compacted(ctx context.Context, from store.Store, wanted func(recording.SegmentKey) bool) error {
	for o, err := range from.List(ctx, "cluster=") {
		if err != nil {
			return err
		}
		key, err := recording.ParseSegmentKey(o.Key)
		if err != nil || !key.IsLarge() || c.large.keys[o.Key] || wanted != nil && !wanted(key) {
			continue
		}
		c.large.met(key)
		if err := c.fetch(ctx, from, key, o, false); err != nil {
			return err
		}
	}
	for _, p := range c.large.partitions {
		names, err := sources(ctx, c.Store, p)
		if err != nil {
			return err
		}
		for o, err := range c.Store.List(ctx, p.String()+"/") {
			if err == nil && names[path.Base(o.Key)] {
				err = c.Store.Delete(ctx, o.Key)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
