// Package compact rewrites the many small segments of an hour as a few large ones, which are faster
// to list and to query, and take less space.
//
//	partition ──▶ segments that no large one lists ──▶ sort by start ──▶ one zstd frame ──▶ Put, if absent
//	                                                   temporary file    temporary file     of number n + 1
//	                                                                                          │ then
//	                                                                     Delete those that it lists
//
// The first line of a large segment lists its sources ([recording.Sources]). Readers of the
// partition ignore the listed segments, and a collector doesn't store them again ([Lists]).
//
// It promises that package read returns each exchange exactly once at any time, even if other
// programs run concurrently or are killed. The reasons:
//
//   - A large segment is complete or absent, because Put is atomic. It has every record of each
//     segment that it lists, byte for byte. Segments that can't be read completely are not
//     listed, and remain unchanged.
//   - Lists never overlap. The large segments of a partition have the numbers 0, 1, 2, … A
//     compactor takes the segments that no list names, and stores its own under the next
//     number. If another compactor has stored one meanwhile, the number is in use, Put fails, and this
//     compactor skips the partition. It lists the large segments twice, before and after it reads
//     their lists: the second list would show one that the first missed because it was stored
//     while the first was running.
//   - Segments are deleted after Put has returned. A crash in between, and a sidecar that
//     sends one again, leave a segment that a list names: no reader reads it, and the next
//     run deletes it.
//   - A reader lists a partition's segments first, and then its large ones. If a segment was
//     deleted in between, the large segment that lists it exists. If a segment is gone when the
//     reader opens it, the reader lists large segments again, and reads the missing records from
//     the new one, which gives the source of each record.
//   - Large segments are never sources themselves, so a listed segment stays listed.
//
// All counters are kept, after the exchanges. The last counters of a process count the exchanges
// that it left out, and the others show which of its segments exist.
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
	// maxSource bounds the decompressed size of one segment. Recorders end segments at 64 MiB.
	maxSource = 1 << 30
	// maxNames bounds the bytes of the names of a large segment's sources.
	maxNames = recording.MaxSources / 2
	// maxFailures is how many partitions may fail before a run gives up, because the store is
	// probably down.
	maxFailures = 10
	// leftoverAge is the age from which no running process can be writing a hidden file.
	leftoverAge = 24 * time.Hour
	// maxLeft is how many unreadable segments a Summary names.
	maxLeft = 20
)

// Options of [Run]. The zero value is ready to use.
type Options struct {
	// OlderThan is how long ago an hour must have ended; 0 means DefaultOlderThan. A negative value
	// includes the current hour. Segments that arrive later go into another large segment.
	OlderThan time.Duration
	// Now is the current time; if it is zero, the clock's time is used.
	Now time.Time
	// MaxBytes is the size, before compression, at which a large segment ends; 0 means
	// DefaultMaxBytes, which is also the largest allowed value.
	MaxBytes int64
	// DryRun changes nothing and reads no segment.
	DryRun bool
	// Clusters, Namespaces and Workloads select partitions; empty: all.
	Clusters, Namespaces, Workloads []string
	// TempDir is the directory for sorting; "" is the system's. It needs about three times the size
	// of a large segment.
	TempDir string
	// MaxHeld bounds the JSON that is sorted in memory; 0 means read.DefaultHeld.
	MaxHeld int64
	// Progress, if not nil, is called with the current summary.
	Progress func(Summary)
}

// Summary counts what was done or, in a dry run, what would be done.
type Summary struct {
	// Partitions counts the examined partitions, and Compacted those in which something changed.
	Partitions, Compacted int
	// Sources counts the segments that were rewritten, and Large the segments that they became.
	Sources, Large int
	// Exchanges counts the exchanges in them.
	Exchanges int64
	// Before and After are the bytes of the sources and of the large segments.
	Before, After int64
	// Deleted counts the deleted segments, including those that an earlier run left behind.
	Deleted int
	// Busy counts the partitions that changed during the run. The next run compacts them.
	Busy int
	// Damaged counts segments that can't be read completely and therefore stay. Left names some of
	// them.
	Damaged int
	Left    []Left
}

// Left is a segment that is left unchanged.
type Left struct {
	Key string
	Err error
}

// ErrDamaged is wrapped by the error of [Run] if segments can't be read.
var ErrDamaged = errors.New("some segments can't be read completely")

// Run compacts the partitions of a place once. It continues after a partition that fails. If the
// only problem is unreadable segments, the error wraps ErrDamaged.
func Run(ctx context.Context, s store.Store, o Options) (Summary, error) {
	if o.MaxBytes < 0 || o.MaxBytes > DefaultMaxBytes {
		return Summary{}, fmt.Errorf("the size of a large segment is %d bytes; at most %d are allowed", o.MaxBytes, int64(DefaultMaxBytes))
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
		err = fmt.Errorf("%w: %d were left unchanged, such as %s: %w", ErrDamaged, c.sum.Damaged, c.sum.Left[0].Key, c.sum.Left[0].Err)
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

// checkPlace rejects a recording that a command such as tapedeck redact wrote, because its
// description lists the files.
func (c *compactor) checkPlace(ctx context.Context) error {
	for o, err := range c.store.List(ctx, "_redact") {
		if err != nil {
			return err
		}
		if o.Key == read.BeginMark || o.Key == read.EndMark {
			return fmt.Errorf("found %s: tapedeck redact wrote this recording as a whole, and it can't be compacted", o.Key)
		}
	}
	return nil
}

// levels are the folders that lead to the days of a workload.
var levels = []string{"cluster=", "namespace=", "workload=", "date="}

// walk compacts the partitions in a folder. It returns an error if it can't continue.
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

// selects reports whether the options select a folder of a level.
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

// clean removes the temporary files of killed processes from a directory. They are hidden, so no
// other command would find them.
func (c *compactor) clean(ctx context.Context, folder string) error {
	dir, ok := c.store.(interface {
		RemoveLeftovers(ctx context.Context, folder string, since time.Time) (int, error)
	})
	if !ok || c.opts.DryRun {
		return nil
	}
	if _, err := dir.RemoveLeftovers(ctx, strings.TrimSuffix(folder, "/"), c.opts.Now.Add(-leftoverAge)); err != nil {
		return c.fail(ctx, fmt.Errorf("remove the files of a killed process: %w", err))
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

// fail records an error, and returns one if the run can't continue.
func (c *compactor) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.failed = append(c.failed, err)
	if len(c.failed) == maxFailures {
		return errors.New("too many failures; the next run continues with the rest")
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
