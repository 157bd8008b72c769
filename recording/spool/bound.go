package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// abandonedAfter is when a segment that is not complete has no writer any more:
// one that has is written to, or ended, before.
const abandonedAfter = 2 * DefaultSegmentAge

// bounded is [Files] in a directory that stays within a size: before a segment
// begins, the oldest ones make room for it. It touches nothing but segments.
type bounded struct {
	Dir
	max     int64
	reserve int64  // what a segment may grow to
	full    func() // called when the first segment is removed

	segments, bytes atomic.Uint64 // removed
}

// Create implements [Files].
func (b *bounded) Create(key string) (File, error) {
	if err := b.makeRoom(time.Now()); err != nil {
		return nil, fmt.Errorf("stay within %d bytes: %w", b.max, err)
	}
	return b.Dir.Create(key)
}

func (b *bounded) makeRoom(now time.Time) error {
	found, total, err := b.list()
	excess := total + b.reserve - b.max
	switch {
	case err != nil:
		return err
	case excess <= 0:
		return nil
	}
	var failed error
	for _, s := range found {
		if strings.HasSuffix(s.name, recording.PartSuffix) && now.Sub(s.ModTime()) < abandonedAfter {
			continue
		}
		if err := os.Remove(filepath.Join(string(b.Dir), s.name)); err != nil {
			failed = err
			continue
		}
		if b.segments.Add(1) == 1 && b.full != nil {
			b.full()
		}
		b.bytes.Add(uint64(s.Size()))
		for hour := path.Dir(s.name); hour != "."; hour = path.Dir(hour) {
			if os.Remove(filepath.Join(string(b.Dir), hour)) != nil { // not empty
				break
			}
		}
		if excess -= s.Size(); excess <= 0 {
			break
		}
	}
	if excess > 0 {
		return errors.Join(errors.New("what is there can't be removed"), failed)
	}
	return nil
}

type segmentFile struct {
	name string
	fs.FileInfo
}

// list returns all segments, the oldest first, and their size.
func (b *bounded) list() (found []segmentFile, total int64, err error) {
	fsys := os.DirFS(string(b.Dir))
	for _, suffix := range []string{"", recording.PartSuffix} {
		names, err := fs.Glob(fsys, "cluster=*/namespace=*/workload=*/date=*/hour=*/*"+recording.SegmentSuffix+suffix)
		if err != nil {
			return nil, 0, err
		}
		for _, name := range names {
			info, err := fs.Stat(fsys, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // another writer has ended, or removed it
			}
			if err != nil {
				return nil, 0, err
			}
			found = append(found, segmentFile{name, info})
			total += info.Size()
		}
	}
	slices.SortFunc(found, func(a, b segmentFile) int { return strings.Compare(path.Base(a.name), path.Base(b.name)) })
	return found, total, nil
}
