// Package pull copies recordings and snapshots, usually to a laptop.
//
//	archive of a pod ──▶ Archive  ┐
//	place            ──▶ Place    ├──▶ store, usually a directory on a laptop
//	snapshot         ──▶ Snapshot ┘
//
// It promises:
//
//   - It may be interrupted and called again: copied objects remain, and are not copied twice. It never
//     overwrites a key with other bytes, except for a segment that was still being written.
//   - The source is not trusted: only segments, snapshots and the columns file are copied, and only under
//     keys that they can have.
//   - A snapshot is verified when it is read, and again after it was written. Its manifest is copied last.
//   - Compaction may rewrite the recording meanwhile, or between two calls: each exchange is copied, and
//     the target has no segment that is also in a large one.
//
// It imports snapshot, recording with its stores and archives, contract, x/sync and the
// standard library.
package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/archive"
	"github.com/tapedeck/tapedeck/recording/columns"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/snapshot"
)

// atOnce is the number of objects that are copied at the same time.
const atOnce = 8

// Summary counts what was copied.
type Summary struct {
	// Segments and Snapshots count what was copied. Bytes is their size, including all files of the snapshots.
	Segments, Snapshots int
	Bytes               int64
	// Known counts segments and snapshots that were already in the target.
	Known int
	// Left counts other objects of the source, which were not copied.
	Left int
}

// To is the target of a copy.
type To struct {
	// Store is the store of the target.
	Store store.Store
	// Progress, if not nil, is called with the counts so far after each change, by one goroutine at a
	// time.
	Progress func(Summary)
}

// Archive copies the segments of an archive that tapedeck-proxy export wrote.
func Archive(ctx context.Context, r io.Reader, to To) (Summary, error) {
	c := &copier{To: to}
	_, err := archive.Read(ctx, r, archive.DefaultLimits(), func(key recording.SegmentKey, size int64, content io.Reader) error {
		if key.IsLarge() { // it could hide the segments of other pods
			return fmt.Errorf("%s: found the name of a compacted segment, but pods don't write such segments", key)
		}
		return c.segment(ctx, key, size, content, true)
	})
	if err == nil {
		err = c.columns(ctx)
	}
	return c.sum, err
}

// Place copies the recording in a place, and its snapshots. If wanted is not nil, it selects segments by
// their keys, and no snapshot is copied.
func Place(ctx context.Context, from store.Store, to To, wanted func(recording.SegmentKey) bool) (Summary, error) {
	c := &copier{To: to}
	err := c.place(ctx, from, wanted)
	if err == nil {
		err = c.columns(ctx)
	}
	return c.sum, err
}

// Snapshot copies the snapshot with the id from the store of its place. If the digest is not "", the
// snapshot must have it. It returns the pinned reference, without a place.
func Snapshot(ctx context.Context, from store.Store, id, digest string, to To) (contract.SnapshotRef, Summary, error) {
	c := &copier{To: to}
	ref, err := c.snapshot(ctx, from, id, digest)
	return ref, c.sum, err
}

type copier struct {
	To
	mu  sync.Mutex
	sum Summary

	large large
}

// count changes the counts, and reports them.
func (c *copier) count(change func(*Summary)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.sum)
	if c.Progress != nil {
		c.Progress(c.sum)
	}
}

func (c *copier) place(ctx context.Context, from store.Store, wanted func(recording.SegmentKey) bool) error {
	if unfinished, err := read.IsUnfinished(ctx, from); err != nil {
		return err
	} else if unfinished {
		return fmt.Errorf("the recording is unfinished: it has %s but no %s; pull the recording that it was made from, or make it again", read.BeginMark, read.EndMark)
	}
	var snapshots []string
	have, stop := iter.Pull2(c.Store.List(ctx, "cluster="))
	defer stop()
	there, err, ok := have()
	if errors.Is(err, fs.ErrNotExist) { // the directory doesn't exist yet
		ok, err = false, nil
	}
	group, copying := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for o, listErr := range from.List(ctx, "") {
		if listErr != nil {
			err = listErr
		}
		if err != nil {
			break
		}
		key, keyErr := recording.ParseSegmentKey(o.Key)
		switch {
		case o.Key == columns.Name, o.Key == read.BeginMark, o.Key == read.EndMark, strings.HasPrefix(o.Key, contract.RunsDir+"/"):
		case strings.HasPrefix(o.Key, contract.SnapshotsDir+"/"):
			if id, isManifest := manifestOf(o.Key); isManifest && wanted == nil {
				snapshots = append(snapshots, id)
			}
		case keyErr != nil:
			c.count(func(s *Summary) { s.Left++ })
		case wanted != nil && !wanted(key):
		default:
			c.large.met(key)
			for ok && err == nil && there.Key < o.Key {
				there, err, ok = have()
			}
			if ok && there.Key == o.Key && there.Size == o.Size {
				c.count(func(s *Summary) { s.Known++ })
				continue
			}
			var inLarge bool
			if inLarge, err = c.large.has(ctx, from, key); inLarge {
				continue
			}
			partThere := ok && there.Key == o.Key+recording.PartSuffix
			group.Go(func() error { return c.fetch(copying, from, key, o, partThere) })
		}
	}
	if err := errors.Join(group.Wait(), err); err != nil {
		return err
	}
	if err := c.compacted(ctx, from, wanted); err != nil {
		return err
	}
	for _, id := range snapshots {
		if _, err := c.snapshot(ctx, from, id, ""); err != nil {
			return err
		}
	}
	return nil
}

// manifestOf returns the id of the snapshot whose manifest has the key.
func manifestOf(key string) (id string, ok bool) {
	id, ok = strings.CutSuffix(strings.TrimPrefix(key, contract.SnapshotsDir+"/"), "/"+snapshot.ManifestName)
	if !ok {
		return "", false
	}
	ref, err := contract.ParseSnapshotRef(id)
	return id, err == nil && ref.ID == id
}

// fetch copies a segment of a place. partThere reports whether the target has an earlier, incomplete
// copy of it.
func (c *copier) fetch(ctx context.Context, from store.Store, key recording.SegmentKey, o store.Object, partThere bool) error {
	r, err := from.Get(ctx, o.Key)
	if key.Part && errors.Is(err, fs.ErrNotExist) { // the segment was completed since it was listed
		key.Part, partThere = false, true
		o.Size = -1
		r, err = from.Get(ctx, key.String())
	}
	if errors.Is(err, fs.ErrNotExist) { // the segment was compacted, or deleted by retention
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return c.segment(ctx, key, o.Size, r, partThere)
}

// segment stores a segment. The size is -1 if it isn't known. A complete segment replaces an incomplete
// copy. It looks for one only if partMayBe is true, because each look costs a request.
func (c *copier) segment(ctx context.Context, key recording.SegmentKey, size int64, content io.Reader, partMayBe bool) error {
	if key.Part {
		known, err := c.hasMore(ctx, key, size)
		if err != nil {
			return err
		}
		if known {
			c.count(func(s *Summary) { s.Known++ })
			return nil
		}
	}
	tmp, err := os.CreateTemp("", "tapedeck-pull-*")
	if err != nil {
		return err
	}
	_ = os.Remove(tmp.Name()) // fails on Windows
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	n, err := io.Copy(tmp, content)
	if err != nil {
		return fmt.Errorf("copy %s: %w", key, err)
	}
	if size >= 0 && n < size || !key.Part && size >= 0 && n != size {
		return fmt.Errorf("copy %s: only %d of %d bytes arrived", key, n, size)
	}
	if key.Part { // a longer part of a segment replaces a shorter one
		if err := c.Store.Delete(ctx, key.String()); err != nil {
			return err
		}
	}
	err = c.Store.Put(ctx, key.String(), tmp)
	known := errors.Is(err, fs.ErrExist)
	if known {
		err = store.PutOnce(ctx, c.Store, key.String(), tmp) // compares the bytes if the key exists
	}
	if err != nil {
		return err
	}
	if !key.Part && partMayBe {
		part := key
		part.Part = true
		if err := c.Store.Delete(ctx, part.String()); err != nil {
			return err
		}
	}
	c.count(func(s *Summary) {
		if known {
			s.Known++
			return
		}
		s.Segments++
		s.Bytes += n
	})
	return nil
}

// hasMore reports whether the store has at least as many bytes of a segment as the source, where it is
// incomplete.
func (c *copier) hasMore(ctx context.Context, key recording.SegmentKey, size int64) (bool, error) {
	whole := key
	whole.Part = false
	for o, err := range c.Store.List(ctx, whole.String()) {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if o.Key == whole.String() || o.Key == key.String() && o.Size >= size {
			return true, nil
		}
	}
	return false, nil
}

// columns stores the columns file at the root, unless it is there.
func (c *copier) columns(ctx context.Context) error {
	err := c.Store.Put(ctx, columns.Name, bytes.NewReader(columns.File()))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (c *copier) snapshot(ctx context.Context, from store.Store, id, digest string) (contract.SnapshotRef, error) {
	s, err := snapshot.Open(ctx, from, id, digest)
	if err != nil {
		return contract.SnapshotRef{}, err
	}
	ref := contract.SnapshotRef{ID: id, Digest: s.Digest}
	if _, err := snapshot.Verify(ctx, c.Store, id, s.Digest, nil); err == nil {
		c.count(func(sum *Summary) { sum.Known++ })
		return ref, nil
	}
	err = s.Copy(ctx, c.Store, func(bytes int64) { c.count(func(sum *Summary) { sum.Bytes += bytes }) })
	if err != nil {
		return contract.SnapshotRef{}, err
	}
	if _, err := snapshot.Verify(ctx, c.Store, id, s.Digest, nil); err != nil {
		return contract.SnapshotRef{}, fmt.Errorf("the copy differs from the source: %w", err)
	}
	c.count(func(sum *Summary) { sum.Snapshots++ })
	return ref, nil
}
