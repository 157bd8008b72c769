package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/columns"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// numbered returns an exchange that differs from others in its number.
func numbered(n int) *recording.Exchange {
	return &recording.Exchange{MsgType: recording.MsgType, Direction: recording.In, Location: fmt.Sprintf("/%d", n),
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Body: bytes.Repeat([]byte{byte(n)}, 100)}}}
}

// locations reads a directory, and returns the locations found, and what could not be read.
func locations(t *testing.T, dir string) (found []string, odd []read.Finding) {
	t.Helper()
	r, err := read.Open(t.Context(), read.Query{}, read.Options{}, store.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, e.Location)
	}
	for _, f := range r.Report().Findings() {
		if f.Kind == read.TornPart || read.Kinds()[f.Kind].Severity == read.Damage {
			odd = append(odd, f)
		}
	}
	return found, odd
}

// files lists the files in the directory, except for the columns file.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, name); err == nil && !d.IsDir() && rel != columns.Name {
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestRecordedExchangesAreReadBackInOrder(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, Options{SegmentOptions: SegmentOptions{Namespace: "shop", Workload: "cart", Pod: "cart-0", MaxBytes: 4 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		if err := r.Write(numbered(n)); err != nil {
			t.Fatal(err)
		}
		if n%10 == 0 { // so that segments fill
			if err := r.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, errs := locations(t, dir)
	if len(errs) > 0 || len(found) != 100 || found[0] != "/0" || found[99] != "/99" {
		t.Errorf("found %d: %v, errors %v", len(found), found, errs)
	}
	names := files(t, dir)
	if len(names) < 2 {
		t.Errorf("%d segments, want several: %v", len(names), names)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "cluster=undefined/namespace=shop/workload=cart/date=") || !strings.HasSuffix(name, ".jsonl.zst") {
			t.Errorf("segment is named %s", name)
		}
	}
	if err := r.Write(numbered(0)); err != Closed {
		t.Errorf("write after close: %v, want %v", err, Closed)
	}
	if s := r.Stats(); s.Stored != 100 || s.Accepted != 100 || s.Total() != 1 || s.Dropped[Closed] != 1 {
		t.Errorf("stats %+v", s)
	}
}

// gate is Lines that wait until the gate is opened.
type gate struct {
	open    chan struct{}
	records int
}

func (g *gate) WriteLines(_ []byte, n int) (Fate, error) {
	<-g.open
	g.records += n
	return Fate{Stored: n}, nil
}
func (g *gate) Try() error           { return nil }
func (g *gate) Flush() (Fate, error) { return Fate{}, nil }
func (g *gate) Close() (Fate, error) { return Fate{}, nil }

func TestWriteNeverWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		q := NewQueue(g, 10<<10, time.Second, nil)
		time.Sleep(1500 * time.Millisecond) // bubble time
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for n := range 200 {
					q.Write(numbered(n))
				}
			})
		}
		wg.Wait() // while the store is blocked
		if err := q.Write(&recording.Exchange{Location: strings.Repeat("x", 20<<10)}); err != TooLarge {
			t.Errorf("huge exchange: %v, want %v", err, TooLarge)
		}
		s := q.Stats()
		if s.Accepted == 0 || s.Dropped[QueueFull] == 0 || s.QueueBytes == 0 || s.Accepted+s.Dropped[QueueFull] != 800 || s.Dropped[TooLarge] != 1 {
			t.Errorf("while the store is blocked: %+v", s)
		}
		close(g.open)
		if err := q.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); uint64(g.records) != s.Stored || s.Pending != 0 || s.QueueBytes != 0 || s.Stored != s.Accepted {
			t.Errorf("after close: %d reached the store, %+v", g.records, s)
		}
	})
}

// A queue that grew while the store was blocked takes no memory afterwards.
func TestALongQueueLeavesNothingBehind(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	q := NewQueue(g, 4<<20, time.Hour, nil)
	for n := 0; q.Write(bulky(n)) == nil; n++ {
	}
	close(g.open)
	for n := range 4 { // buffers take turns
		if err := q.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := q.Write(numbered(n)); err != nil {
			t.Fatal(err)
		}
		q.mu.Lock()
		kept := cap(q.batch)
		q.mu.Unlock()
		if kept > keptBytes {
			t.Errorf("a buffer of %d bytes is kept", kept)
		}
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		q := NewQueue(g, 0, time.Second, nil)
		q.Write(numbered(1))
		time.Sleep(2 * time.Second) // the writer now waits in the store
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := q.Close(ctx); !errors.Is(err, ctx.Err()) {
			t.Errorf("close: %v", err)
		}
		close(g.open) // and the bubble ends only if the writer does
	})
}

// flaky is a Files in memory that fails when a test wants it to.
type flaky struct {
	fail     error
	after    int // bytes that are accepted before fail takes effect
	segments []*memory
}

type memory struct {
	store     *flaky
	data      []byte
	committed bool
}

func (f *flaky) Try() error {
	if f.after <= 0 {
		return f.fail
	}
	return nil
}

func (f *flaky) Create(string) (File, error) {
	if f.fail != nil && f.after <= 0 {
		return nil, f.fail
	}
	m := &memory{store: f}
	f.segments = append(f.segments, m)
	return m, nil
}

func (m *memory) Write(p []byte) (int, error) {
	n := len(p)
	if m.store.fail != nil && !bytes.Equal(p, lastBlock(0)) { // the last block takes the room of truncated bytes
		n = min(n, m.store.after)
		m.store.after -= n
	}
	m.data = append(m.data, p[:n]...)
	if n < len(p) {
		return n, m.store.fail
	}
	return n, nil
}
func (m *memory) Truncate(n int64) error { m.data = m.data[:n]; return nil }
func (m *memory) Check() error           { return nil }
func (m *memory) Commit() error          { m.committed = true; return nil }
func (m *memory) Discard() error         { m.committed, m.data = true, nil; return nil }

// count reads the records that the store holds.
func (f *flaky) count(t *testing.T) (n int) {
	t.Helper()
	for _, m := range f.segments {
		if !m.committed {
			t.Error("a segment was left open")
		}
		r, err := recording.NewReader(bytes.NewReader(m.data))
		if err != nil {
			t.Fatal(err)
		}
		for err = nil; err == nil; {
			if err = r.Next(new(recording.Exchange)); err == nil {
				n++
			}
		}
		if err != io.EOF { // even an abandoned segment ends correctly
			t.Error(err)
		}
		r.Close()
	}
	return n
}

// A disk may fill up at any byte. Readers then find the records that are counted as stored, the others
// are counted as dropped, and recording continues when there is room again.
func TestFullDiskLosesExactlyWhatIsCounted(t *testing.T) {
	for room := 0; room < 350; room += 6 { // twenty records take more
		synctest.Test(t, func(t *testing.T) {
			store := &flaky{fail: syscall.ENOSPC, after: room}
			r, err := OpenFiles(store, Options{})
			if err != nil {
				t.Fatal(err)
			}
			write := func(from, to int) {
				for n := from; n < to; n++ {
					if err := r.Write(numbered(n)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(300 * time.Millisecond)
				}
			}
			write(0, 20)
			s := r.Stats()
			if s.Dropped[StoreFailed] == 0 {
				t.Errorf("room for %d bytes: %+v", room, s)
			}
			synctest.Wait()
			store.fail = nil
			time.Sleep(2 * time.Second)
			write(20, 40)
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			s = r.Stats()
			if found := store.count(t); uint64(found) != s.Stored || found < 20 || s.Accepted != 40 {
				t.Errorf("room for %d bytes: %d found, %+v", room, found, s)
			}
		})
	}
}

// fullDisk allows a segment to begin, as a full disk does.
type fullDisk struct{ *flaky }

func (f fullDisk) Create(string) (File, error) {
	m := &memory{store: f.flaky}
	f.segments = append(f.segments, m)
	return m, nil
}

// A queue reports once that the store fails, and once that it works again, along with how much was lost
// in between.
func TestAChangeOfTheStoreIsTold(t *testing.T) {
	for name, full := range map[string]func(*flaky) Files{
		"that can't begin a segment": func(f *flaky) Files { return f },
		"that can't write to it":     func(f *flaky) Files { return fullDisk{f} },
	} {
		t.Run("a store "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &flaky{fail: syscall.ENOSPC}
				var told []string
				r, err := OpenFiles(full(store), Options{Changed: func(err error, lost uint64) {
					told = append(told, fmt.Sprintf("%t %d", errors.Is(err, syscall.ENOSPC), lost))
				}})
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if len(told) != 1 {
					t.Errorf("at the start: %q", told)
				}
				write := func() {
					for n := range 10 {
						r.Write(numbered(n))
						time.Sleep(time.Second)
					}
				}
				write()
				lost := r.Stats().Dropped[StoreFailed]
				synctest.Wait()
				store.fail = nil
				write()
				if err := r.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if s := r.Stats(); s.Stored+s.Dropped[StoreFailed] != 20 || s.Stored == 0 || lost == 0 {
					t.Errorf("%d lost, %+v", lost, s)
				}
				if want := []string{"true 0", fmt.Sprintf("false %d", r.Stats().Dropped[StoreFailed])}; !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
			})
		})
	}
}

func TestVanishedDirectoryIsMadeAnew(t *testing.T) {
	root := filepath.Join(t.TempDir(), "recordings")
	r, err := Open(root, Options{FlushEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	r.Write(numbered(1))
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	r.Write(numbered(2))
	if err := r.Flush(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("flush into a removed directory: %v", err)
	}
	if s := r.Stats(); s.Dropped[StoreFailed] != 2 || s.Stored != 0 {
		t.Errorf("stats %+v", s)
	}
	for n := 3; r.Stats().Err != nil; n++ { // until the pause is over
		r.Write(numbered(n))
		r.Flush(t.Context())
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found, errs := locations(t, root); len(found) != int(r.Stats().Stored) || len(errs) > 0 {
		t.Errorf("found %v, errors %v, %+v", found, errs, r.Stats())
	}
}

func TestSegmentsEndWithAgeAndHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, err := Open(dir, Options{SegmentOptions: SegmentOptions{MaxAge: 20 * time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		// The bubble begins at midnight: 0:50 to 1:00 by the hour, then by age.
		time.Sleep(50*time.Minute + time.Second/2)
		for range 40 {
			r.Write(numbered(0))
			time.Sleep(time.Minute)
		}
		r.Close(t.Context())
		var hours []string
		for _, name := range files(t, dir) {
			_, base, _ := strings.Cut(name, "/hour=")
			hours = append(hours, base[:2])
		}
		if got := strings.Join(hours, " "); got != "00 01 01" {
			t.Errorf("segments in hours %s, want 00 01 01", got)
		}
	})
}

// The names of a pod come from outside, but are used as parts of a path.
func TestNamesAreFitForAPath(t *testing.T) {
	for name, want := range map[string]string{
		"cart-7d4b9": "cart-7d4b9", "": recording.Undefined, ".": recording.Undefined, "..": recording.Undefined, "../../etc": "-..-etc", ".hidden": "hidden",
		"a/b": "a-b", "a\x00b": "a-b", "käse": "k-se", "v1.2_x": "v1.2_x",
	} {
		if got := recording.KeyPart(name); got != want {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
	}
}

// Only the writer may read recordings, because they hold bodies as they were sent.
func TestRecordingsAreTheWritersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	r, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Write(numbered(1))
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		return nil
	})
}

func TestFirstSegmentBringsTheColumns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	name := filepath.Join(dir, columns.Name)
	record := func(n int) {
		t.Helper()
		r, err := Open(dir, Options{MaxBytesKept: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		r.Write(numbered(n))
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found, errs := locations(t, dir); len(found) == 0 || len(errs) > 0 {
			t.Errorf("found %v, errors %v", found, errs)
		}
	}
	want := func(content string) {
		t.Helper()
		if have, err := os.ReadFile(name); err != nil || string(have) != content {
			t.Errorf("the columns are %q, %v", have, err)
		}
	}
	record(1)
	want(string(columns.File()))

	// An existing file is kept, because it may be from another version.
	if err := os.WriteFile(name, []byte("-- mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	record(2)
	want("-- mine")

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	record(3)
	want(string(columns.File()))
	if rest, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(rest) > 0 {
		t.Errorf("left behind: %v, %v", rest, err)
	}
}

// A record counts as stored only once its segment is complete. Until then it may still be lost,
// and a counter must not fall.
func TestStoredIsWhatStaysStored(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, Options{FlushEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	for n := range 20 {
		r.Write(numbered(n))
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Stored != 0 || s.Pending != 20 {
		t.Errorf("in an open segment: %+v", s)
	}
	if err := os.Remove(filepath.Join(dir, files(t, dir)[0])); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("flush into a removed segment: %v", err)
	}
	if s := r.Stats(); s.Stored != 0 || s.Pending != 0 || s.Dropped[StoreFailed] != 20 {
		t.Errorf("after it was removed: %+v", s)
	}
}
