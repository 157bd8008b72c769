package compact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// errBusy means that something else has changed the partition: another compactor, or
// retention.
var errBusy = errors.New("another process changed the partition meanwhile")

// atOnce is how many segments are deleted concurrently.
const atOnce = 8

// partition compacts a partition with these segments. First it deletes the sources that an earlier run
// left.
func (c *compactor) partition(ctx context.Context, p recording.Partition, all []store.Object) error {
	small := slices.IndexFunc(all, func(o store.Object) bool { return !isLarge(o.Key) })
	if len(all) < 2 || small < 0 { // most partitions have been compacted by earlier runs
		return nil
	}
	listed, rest, next, err := c.look(ctx, p, all)
	if err != nil {
		return err
	}
	written, before := 0, c.sum.Deleted
	defer func() {
		if written > 0 || c.sum.Deleted > before {
			c.sum.Compacted++
		}
	}()
	if err := c.delete(ctx, listed); err != nil {
		return err
	}
	if c.opts.DryRun {
		if len(rest) > 1 {
			written = 1
			c.sum.Large++ // or more, which depends on their content
			c.sum.Sources += len(rest)
			c.sum.Before += sizes(rest)
		}
		return nil
	}
	for len(rest) > 1 {
		b := newBatch(c, p)
		rest, err = b.take(ctx, rest)
		if err == nil && len(b.names) > 1 {
			err = b.put(ctx, next)
			next++
		}
		b.close()
		if err != nil {
			return err
		}
		if len(b.names) < 2 { // a single segment is left unchanged
			continue
		}
		written++
		c.sum.Large++
		c.sum.Sources += len(b.objects)
		c.sum.Before += sizes(b.objects)
		c.sum.After += b.bytes
		c.sum.Exchanges += b.exchanges
		if err := c.delete(ctx, b.objects); err != nil {
			return err
		}
	}
	return nil
}

func isLarge(key string) bool {
	k, err := recording.ParseSegmentKey(key)
	return err == nil && k.IsLarge()
}

// look divides the segments of a partition into those that large ones list and the rest, and returns
// the number of the next large one.
func (c *compactor) look(ctx context.Context, p recording.Partition, all []store.Object) (listed, rest []store.Object, next int, err error) {
	// This comes after the listing of segments. If a large segment is stored from here on, Put
	// fails.
	large, err := read.ListLarge(ctx, c.store, p)
	if err != nil {
		return nil, nil, 0, err
	}
	names, known := map[string]bool{}, map[string]bool{}
	for _, l := range large {
		next = max(next, l.Number+1)
		known[l.Key] = true
		for _, name := range l.Sources {
			names[name] = true
		}
	}
	for o, err := range c.store.List(ctx, recording.LargePrefix(p)) {
		if err != nil {
			return nil, nil, 0, err
		}
		if isLarge(o.Key) && !known[o.Key] {
			return nil, nil, 0, errBusy
		}
		delete(known, o.Key)
	}
	if len(known) > 0 { // a large segment was removed by age after it was listed
		return nil, nil, 0, errBusy
	}
	made := map[string]bool{} // large segments, which are never sources
	for _, l := range large {
		made[l.Key] = l.Sources != nil
	}
	for _, o := range all {
		switch {
		case made[o.Key]:
		case names[path.Base(o.Key)]:
			listed = append(listed, o)
		default:
			rest = append(rest, o)
		}
	}
	return listed, rest, next, nil
}

func sizes(all []store.Object) (n int64) {
	for _, o := range all {
		n += o.Size
	}
	return n
}

// delete deletes segments that a large one lists.
func (c *compactor) delete(ctx context.Context, all []store.Object) error {
	if c.opts.DryRun {
		c.sum.Deleted += len(all)
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, o := range all {
		group.Go(func() error { return c.store.Delete(ctx, o.Key) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("delete segments that are in a large one (the next run tries again): %w", err)
	}
	c.sum.Deleted += len(all)
	return nil
}

// busyIfGone returns errBusy if a segment no longer exists, and any other error unchanged.
func busyIfGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errBusy
	}
	return err
}
