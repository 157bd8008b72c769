// Package compact rewrites the many small segments of an hour as few large ones, which are
// faster to list and to query, and take less room.
//
//	partition ──▶ segments that no large one lists ──▶ sort by start ──▶ one zstd frame ──▶ Put, if absent
//	                                                   temporary file    temporary file     of number n + 1
//	                                                                                          │ then
//	                                                                     Delete those that it lists
//
// The first line of a large segment lists its sources ([recording.Sources]). Whoever reads the
// partition leaves out what a list names, and a collector answers "already there" for it
// ([Lists]).
//
// It promises: whoever reads with package read sees each exchange exactly once, at each
// moment, whatever runs at the same time and wherever it is killed. The argument:
//
//   - A large segment is there as a whole or not at all, since Put is atomic. It has every
//     record of each segment that it lists, byte for byte: what can't be read as a whole is
//     not listed, and stays as it is.
//   - Lists never overlap. The large segments of a partition have the numbers 0, 1, 2, … A
//     compactor takes the segments that no list names, and stores its own under the next
//     number. If somebody else has stored one since, that number is in use, Put fails, and the
//     partition is left alone. It lists the large segments twice, before and after it reads
//     their lists: the second list would show one that the first missed because it was stored
//     while the first went on.
//   - Segments are deleted after Put has returned. A crash in between, and a sidecar that
//     sends one again, leave a segment that a list names: no reader reads it, and the next
//     run deletes it.
//   - A reader lists a partition's segments first, and its large ones after that. If a segment
//     is gone meanwhile, the large one that lists it is there. If one is gone when it is to be
//     opened, the reader looks for large segments again, and takes from the new one what it
//     has not read yet: a large segment says of each record which source it is from.
//   - Large segments are never sources again, so what a list names stays named.
//
// Counters are kept, all of them, behind the exchanges: the last ones of a process count what
// it left out, and the others show which of its segments are there.
//
// It imports recording with read and store, internal/scratch, and the standard library with
// klauspost/compress and x/sync.
package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Defaults and limits of [Options].
const (
	DefaultOlderThan = 2 * time.Hour
	DefaultMaxBytes  = 4 << 30
	// maxSource is how much of one segment is read, decompressed: recorders end it at 64 MiB.
	maxSource = 1 << 30
	// maxNames is how many bytes the names of a large segment's sources have.
	maxNames = recording.MaxSources / 2
	// maxFailures is how many partitions may fail before a run gives up: the store is down.
	maxFailures = 10
	// leftoverAge is how old a hidden file is that no running process can be writing.
	leftoverAge = 24 * time.Hour
	// maxLeft is how many segments that can't be read a Summary names.
	maxLeft = 20
)

// Options of [Run]. The zero value is ready to use.
type Options struct {
	// OlderThan is how long ago an hour must have ended; DefaultOlderThan. Negative: it
	// doesn't matter. What arrives later goes into a further large segment.
	OlderThan time.Duration
	// Now is the time by which that is told; the clock's, if it is zero.
	Now time.Time
	// MaxBytes is the size, before compression, at which a large segment ends;
	// DefaultMaxBytes, which is the largest.
	MaxBytes int64
	// DryRun changes nothing and reads no segment.
	DryRun bool
	// Clusters, Namespaces and Workloads select partitions; empty: all.
	Clusters, Namespaces, Workloads []string
	// TempDir is where exchanges are sorted; "" is the system's directory. It takes about
	// three times what a large segment does.
	TempDir string
	// MaxHeld bounds the JSON that is sorted in memory; read.DefaultHeld.
	MaxHeld int64
	// Progress, if not nil, is called with the sum up to now.
	Progress func(Summary)
}

// Summary counts what was done; in a dry run, what would be.
type Summary struct {
	// Partitions were looked at, and Compacted are those of them in which something was done.
	Partitions, Compacted int
	// Sources are the segments that were rewritten, and Large what they became.
	Sources, Large int
	// Exchanges are those in them.
	Exchanges int64
	// Before and After are the bytes of the sources and of the large segments.
	Before, After int64
	// Deleted are segments that were deleted, among them those that an earlier run left.
	Deleted int
	// Busy are partitions that something else changed meanwhile; the next run goes on.
	Busy int
	// Damaged counts segments that can't be read as a whole, and stay; Left names some.
	Damaged int
	Left    []Left
}

// Left is a segment that stays as it is.
type Left struct {
	Key string
	Err error
}

// ErrDamaged is wrapped by the error of [Run] if segments can't be read.
var ErrDamaged = errors.New("segments can't be read as a whole")

// Run compacts the partitions of a place, once. It goes on behind a partition that fails.
// The error of segments that can't be read wraps ErrDamaged and has no other reason.
func Run(ctx context.Context, s store.Store, o Options) (Summary, error) {
	if o.MaxBytes < 0 || o.MaxBytes > DefaultMaxBytes {
		return Summary{}, fmt.Errorf("%d bytes: want up to %d for a large segment", o.MaxBytes, int64(DefaultMaxBytes))
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.MaxHeld = cmp.Or(o.MaxHeld, read.DefaultHeld)
	o.OlderThan = cmp.Or(o.OlderThan, DefaultOlderThan)
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	c := &compactor{store: s, opts: o}
	if err := c.checkPlace(ctx); err != nil {
		return c.sum, err
	}
	err := c.walk(ctx, "")
	if err = errors.Join(append(c.failed, err)...); err == nil && c.sum.Damaged > 0 {
		err = fmt.Errorf("%w: %d stay as they are, such as %s: %w", ErrDamaged, c.sum.Damaged, c.sum.Left[0].Key, c.sum.Left[0].Err)
	}
	return c.sum, err
}

type compactor struct {
	store  store.Store
	opts   Options
	enc    *zstd.Encoder // once something is written
	sum    Summary
	failed []error
}

// checkPlace refuses a recording that was written as a whole: its description names its files.
func (c *compactor) checkPlace(ctx context.Context) error {
	for o, err := range c.store.List(ctx, "_redact") {
		if err != nil {
			return err
		}
		if o.Key == read.BeginMark || o.Key == read.EndMark {
			return fmt.Errorf("%s is there: the recording was written as a whole, by tapedeck redact, and stays as it is", o.Key)
		}
	}
	return nil
}

// levels are the folders that lead to the days of a workload.
var levels = []string{"cluster=", "namespace=", "workload=", "date="}

// walk compacts the partitions in a folder. It returns an error if there is no use in going on.
func (c *compactor) walk(ctx context.Context, folder string) error {
	level := strings.Count(folder, "/")
	if level == len(levels) {
		return c.day(ctx, folder)
	}
	var folders []string // all of them first: compaction changes what is in them
	for f, err := range c.store.Folders(ctx, folder) {
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(f, folder), "/")
		if value, ok := strings.CutPrefix(name, levels[level]); ok && c.selects(level, value) {
			folders = append(folders, f)
		}
	}
	for _, f := range folders {
		if err := c.walk(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// selects reports whether a folder of a level is asked for.
func (c *compactor) selects(level int, value string) bool {
	names := [...][]string{c.opts.Clusters, c.opts.Namespaces, c.opts.Workloads, nil}[level]
	return len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return recording.KeyPart(name) == value })
}

// day compacts the partitions of a day. One list has them all: most have been compacted by
// earlier runs, and a list costs money.
func (c *compactor) day(ctx context.Context, folder string) error {
	var current string // the folder of an hour
	var all []store.Object
	for o, err := range c.store.List(ctx, folder) {
		if err != nil {
			if err := c.fail(ctx, fmt.Errorf("compact %s: %w", folder, err)); err != nil {
				return err
			}
			continue
		}
		if dir, _ := path.Split(o.Key); dir != current {
			if err := c.hour(ctx, current, all); err != nil {
				return err
			}
			current, all = dir, nil
		}
		if key, err := recording.ParseSegmentKey(o.Key); err == nil && !key.Part {
			all = append(all, o)
		}
	}
	if err := c.hour(ctx, current, all); err != nil {
		return err
	}
	return c.clean(ctx, folder)
}

// clean removes what processes that were killed while they stored something left in a
// directory: it has no name, so nothing else would ever find it.
func (c *compactor) clean(ctx context.Context, folder string) error {
	dir, ok := c.store.(interface {
		RemoveLeftovers(ctx context.Context, folder string, since time.Time) (int, error)
	})
	if !ok || c.opts.DryRun {
		return nil
	}
	if _, err := dir.RemoveLeftovers(ctx, strings.TrimSuffix(folder, "/"), c.opts.Now.Add(-leftoverAge)); err != nil {
		return c.fail(ctx, fmt.Errorf("remove what a killed process left: %w", err))
	}
	return nil
}

// hour compacts the partition in a folder, if it is old enough.
func (c *compactor) hour(ctx context.Context, folder string, all []store.Object) error {
	p, err := recording.ParsePartition(folder)
	if err != nil || c.opts.OlderThan > 0 && c.opts.Now.Before(p.Hour.Add(time.Hour+c.opts.OlderThan)) {
		return nil
	}
	c.sum.Partitions++
	c.progress()
	if err = c.partition(ctx, p, all); errors.Is(err, errBusy) {
		c.sum.Busy++
		return nil
	}
	if err != nil {
		return c.fail(ctx, fmt.Errorf("compact %s: %w", p, err))
	}
	return nil
}

// fail notes an error, and returns one if there is no use in going on.
func (c *compactor) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.failed = append(c.failed, err)
	if len(c.failed) == maxFailures {
		return errors.New("so much failed that the rest is left for the next run")
	}
	return nil
}

func (c *compactor) progress() {
	if c.opts.Progress != nil {
		c.opts.Progress(c.sum)
	}
}

func (c *compactor) left(key string, err error) {
	c.sum.Damaged++
	if len(c.sum.Left) < maxLeft {
		c.sum.Left = append(c.sum.Left, Left{key, err})
	}
}
