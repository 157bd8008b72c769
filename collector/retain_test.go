package collector_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// placeOf returns a directory with a segment of 100 bytes of each of two workloads for each of the
// hours before now, and with files that are not segments.
func placeOf(t *testing.T, now time.Time, hours int) store.Dir {
	t.Helper()
	dir := store.Dir(t.TempDir())
	put := func(key string) {
		if err := dir.Put(t.Context(), key, strings.NewReader(strings.Repeat("x", 100))); err != nil {
			t.Fatal(err)
		}
	}
	for n := range hours {
		for _, workload := range []string{"cart", "pay"} {
			put(recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: workload}, Began: now.Add(-time.Duration(n) * time.Hour), Pod: "p"}.String())
		}
	}
	for _, key := range []string{
		"snapshots/1/" + recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart"}, Began: now.Add(-1e6 * time.Second), Pod: "p"}.String(),
		"runs/1/report.json", "cluster=c1/namespace=shop/workload=cart/notes.txt",
	} {
		put(key)
	}
	return dir
}

func segmentsOf(t *testing.T, dir store.Dir) (segments, others []string) {
	t.Helper()
	for o, err := range dir.List(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := recording.ParseSegmentKey(o.Key); err == nil {
			segments = append(segments, o.Key)
		} else {
			others = append(others, o.Key)
		}
	}
	return segments, others
}

func TestRetention(t *testing.T) {
	now := hour.Add(30 * time.Minute)
	for name, c := range map[string]struct {
		keep  time.Duration
		bytes int64
		want  int // how many of the 20 segments remain
	}{
		"by age":                 {keep: 3 * time.Hour, want: 8}, // of this hour and of the three before it
		"by size":                {bytes: 600, want: 6},
		"by size, within":        {bytes: 10_000, want: 20},
		"by size, in an hour":    {bytes: 500, want: 5},
		"by both, age decides":   {keep: time.Hour, bytes: 600, want: 4},
		"by both, size decides":  {keep: 5 * time.Hour, bytes: 200, want: 2},
		"by size, all but a bit": {bytes: 1, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := placeOf(t, now, 10)
			_, before := segmentsOf(t, dir)
			r, err := collector.New(collector.Options{Store: dir, Keys: func() [][]byte { return nil }, Keep: c.keep, KeepBytes: c.bytes})
			if err != nil {
				t.Fatal(err)
			}
			s, err := r.Sweep(t.Context(), now)
			if err != nil {
				t.Fatal(err)
			}
			left, others := segmentsOf(t, dir)
			if len(left) != c.want || s.Segments != 20-c.want || s.Bytes != int64(100*(20-c.want)) {
				t.Errorf("%d are left, want %d; %+v", len(left), c.want, s)
			}
			if !slices.Equal(others, before) {
				t.Errorf("other files: %q, before %q", others, before)
			}
			// The newest remain.
			for _, key := range left {
				k, _ := recording.ParseSegmentKey(key)
				if oldest := now.Add(-time.Duration((c.want+1)/2) * time.Hour); k.Began.Before(oldest) {
					t.Errorf("%s is left", key)
				}
			}
			if again, err := r.Sweep(t.Context(), now); err != nil || again.Segments != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// listing is a store whose lists fail after some objects.
type listing struct {
	store.Store
	after int
}

func (l listing) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		n := 0
		for o, err := range l.Store.List(ctx, prefix) {
			if n++; n > l.after {
				yield(store.Object{}, errors.New("down"))
				return
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// If not all segments can be listed, nobody knows which are the oldest.
func TestRetentionBySizeNeedsTheWholeList(t *testing.T) {
	dir := placeOf(t, hour, 10)
	r, err := collector.New(collector.Options{Store: listing{dir, 15}, Keys: func() [][]byte { return nil }, KeepBytes: 600})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := r.Sweep(t.Context(), hour); err == nil || s.Segments > 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// Retention runs at the start and then about once an hour.
func TestRetentionRuns(t *testing.T) {
	dir := store.Dir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		c, err := collector.New(collector.Options{Store: dir, Keys: func() [][]byte { return nil }, Keep: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Serve(ctx, collector.Ports{Write: &pipes{done: make(chan struct{})}}) }()
		for day := range 3 {
			key := recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart"}, Began: time.Now(), Pod: fmt.Sprint("p-", day)}
			if err := dir.Put(ctx, key.String(), strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(24 * time.Hour)
			synctest.Wait()
		}
		// The last segment expires an hour after its day, and the next run is up to 1.1 hours away.
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if left, others := segmentsOf(t, dir); len(left) != 0 || len(others) != 1 {
			t.Errorf("left: %q, %q; want the file with the columns alone", left, others)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// full is a store without room, like a directory on a full disk.
type full struct{ store.Store }

func (full) Put(context.Context, string, io.ReadSeeker) error { return store.ErrFull }

// Retention makes room in a full place, so it must not wait for a write.
func TestRetentionOfAFullPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * time.Minute) // the clock of the bubble starts at a full hour
		dir := placeOf(t, time.Now(), 10)
		c, err := collector.New(collector.Options{Store: full{dir}, Keys: func() [][]byte { return nil }, Keep: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Serve(ctx, collector.Ports{Write: &pipes{done: make(chan struct{})}}) }()
		synctest.Wait()
		if left, _ := segmentsOf(t, dir); len(left) != 4 { // of this hour and the one before
			t.Errorf("left: %q", left)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A writer chooses the hour in a key. An hour in the future neither keeps a segment for ever nor
// makes those of others go first.
func TestRetentionBelievesNoHourThatIsYetToCome(t *testing.T) {
	now := time.Now().UTC()
	dir := placeOf(t, now.Add(-time.Hour), 1)
	forged := recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "evil", Workload: "x"}, Began: now.AddDate(5000, 0, 0), Pod: "p"}.String()
	if err := dir.Put(t.Context(), forged, strings.NewReader(strings.Repeat("x", 100))); err != nil {
		t.Fatal(err)
	}
	c, err := collector.New(collector.Options{Store: dir, Keys: func() [][]byte { return nil }, Keep: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Sweep(t.Context(), now.Add(time.Hour)); err != nil || s.Segments != 0 {
		t.Errorf("deleted %d, %v, want none: all are of this day", s.Segments, err)
	}
	if s, err := c.Sweep(t.Context(), now.Add(48*time.Hour)); err != nil || s.Segments != 3 {
		t.Errorf("deleted %d, %v, want all 3: none is of these days", s.Segments, err)
	}
}
