package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/columns"
	"github.com/tapedeck/tapedeck/recording/store"
)

// sweepEvery is how often retention runs.
const sweepEvery = time.Hour

// describePlace writes the columns file for query engines to the place's root. It retries until that
// works or ctx ends. Retention does not wait for it, because a full place needs retention.
func (c *Collector) describePlace(ctx context.Context) {
	for {
		err := c.o.Store.Put(ctx, columns.Name, bytes.NewReader(columns.File()))
		if err == nil || errors.Is(err, fs.ErrExist) || ctx.Err() != nil {
			return
		}
		c.o.Log.Error("can't write the file with the columns for DuckDB; trying again every minute", slog.String("key", columns.Name), slog.String("error", bounded(err.Error())))
		if !sleep(ctx, jittered(time.Minute)) {
			return
		}
	}
}

// retain deletes old segments, at once and then every hour, until ctx ends. Several collectors may
// do this at the same time.
func (c *Collector) retain(ctx context.Context) {
	if c.o.Keep == 0 && c.o.KeepBytes == 0 {
		return
	}
	for {
		c.sweepOnce(ctx)
		if !sleep(ctx, jittered(sweepEvery)) {
			return
		}
	}
}

// jittered varies a duration a little, so that collectors that started together don't list the place
// at the same time.
func jittered(d time.Duration) time.Duration {
	return d + rand.N(d/5) - d/10
}

// sleep returns false if ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (c *Collector) sweepOnce(ctx context.Context) {
	s, err := c.Sweep(ctx, time.Now())
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.m.sweepFailed.Inc()
		c.o.Log.Error("retention failed", slog.String("error", bounded(err.Error())), slog.Int("deleted", s.Segments))
	default:
		c.m.swept.SetToCurrentTime()
		if s.Segments > 0 {
			c.o.Log.Info("retention", slog.Int("deleted", s.Segments), slog.Int64("bytes", s.Bytes))
		}
	}
}

// Swept counts the deleted segments.
type Swept struct {
	Segments int
	Bytes    int64
}

// Sweep deletes the segments that are older than Options.Keep, and the oldest ones beyond
// Options.KeepBytes. The age is that of the hour in the key, or, if that hour is in the future, that
// of the object: otherwise a client could choose a key that outlasts those of others. It deletes
// only segments, and no snapshots, runs or other files. It lists the place once, twice with
// KeepBytes.
func (c *Collector) Sweep(ctx context.Context, now time.Time) (s Swept, err error) {
	var failed []error
	expired := func(k recording.SegmentKey) bool {
		return c.o.Keep > 0 && k.Hour.Add(time.Hour+c.o.Keep).Before(now)
	}
	oldest, excess := time.Time{}, int64(0) // the first hour to keep, and how many of its bytes to delete
	if c.o.KeepBytes > 0 {
		hours, total := map[time.Time]int64{}, int64(0)
		for o, err := range c.segments(ctx, now) {
			if err != nil {
				return s, err // a partial listing does not show which segments are the oldest
			}
			if !expired(o.key) {
				hours[o.key.Hour] += o.Size
				total += o.Size
			}
		}
		excess = total - c.o.KeepBytes
		for _, hour := range slices.SortedFunc(maps.Keys(hours), time.Time.Compare) {
			if oldest = hour; excess < hours[hour] {
				break
			}
			excess -= hours[hour]
		}
	}
	for o, err := range c.segments(ctx, now) {
		if err != nil {
			failed = append(failed, err)
			if len(failed) > maxFailures {
				break
			}
			continue
		}
		ofOldest := excess > 0 && o.key.Hour.Equal(oldest)
		if !expired(o.key) && !o.key.Hour.Before(oldest) && !ofOldest {
			continue
		}
		if err := c.o.Store.Delete(ctx, o.Key); err != nil {
			if failed = append(failed, fmt.Errorf("delete old segments: %w", err)); len(failed) > maxFailures {
				break
			}
			continue
		}
		if ofOldest && !expired(o.key) {
			excess -= o.Size
		}
		s.Segments++
		s.Bytes += o.Size
		c.m.removed.Inc()
		c.m.removedBytes.Add(float64(o.Size))
	}
	return s, errors.Join(failed...)
}

// maxFailures is the number of failures after which a sweep stops until the next one.
const maxFailures = 10

type keyed struct {
	store.Object
	key recording.SegmentKey
}

// segments lists the segments of the place, and corrects hours in the future.
func (c *Collector) segments(ctx context.Context, now time.Time) iter.Seq2[keyed, error] {
	return func(yield func(keyed, error) bool) {
		for o, err := range c.o.Store.List(ctx, "cluster=") {
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return // nothing was ever stored
				}
				if !yield(keyed{}, err) {
					return
				}
				continue
			}
			k, bad := recording.ParseSegmentKey(o.Key)
			if bad != nil {
				continue
			}
			if k.Hour.After(now) {
				k.Hour = o.Modified.UTC().Truncate(time.Hour)
			}
			if !yield(keyed{o, k}, nil) {
				return
			}
		}
	}
}
