package spool

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// left is the name of a segment that a killed process left behind.
const left = "cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/20261122T201500.000Z-cart-0-3.jsonl.zst"

// put puts a file into a directory.
func put(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	file := Dir(dir).Path(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A segment that was cut anywhere is adopted with its complete records, in one complete frame. Nothing
// else of it remains.
func TestATornSegmentIsAdopted(t *testing.T) {
	data, flushed := segmentOf(t, 4)
	for cut := len(data); cut >= 0; cut -= 3 {
		dir := t.TempDir()
		put(t, dir, left+recording.PartSuffix, data[:cut])
		sum, err := Dir(dir).Adopt()
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		whole := 0
		for whole < len(flushed) && flushed[whole] <= cut {
			whole++
		}
		if names := files(t, dir); whole == 0 && sum.Empty == 1 {
			if rest, _ := os.ReadDir(dir); len(names) > 0 || len(rest) > 0 {
				t.Fatalf("cut at %d: %q are left", cut, names)
			}
			continue
		} else if sum != (Adopted{Completed: 1}) || !slices.Equal(names, []string{filepath.FromSlash(left)}) {
			t.Fatalf("cut at %d: %+v, %q", cut, sum, names)
		}
		adopted, err := os.ReadFile(Dir(dir).Path(left))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := readAll(adopted); n < whole || err != nil {
			t.Fatalf("cut at %d: %d records of %d, %v", cut, n, whole, err)
		}
	}
}

// Adopt works in steps. If a process is killed after any of them, the next process completes the work.
// The bytes don't change once they are written.
func TestAdoptingGoesOnAfterAKill(t *testing.T) {
	data, _ := segmentOf(t, 4)
	torn := data[:len(data)-10]
	dir := t.TempDir()
	put(t, dir, left+recording.PartSuffix, torn)
	if _, err := Dir(dir).Adopt(); err != nil {
		t.Fatal(err)
	}
	adopted, err := os.ReadFile(Dir(dir).Path(left))
	if err != nil {
		t.Fatal(err)
	}
	hidden := filepath.ToSlash(filepath.Join(filepath.Dir(left), "."+filepath.Base(left)+".adopted"))
	for name, there := range map[string]map[string][]byte{
		"a part of the new file is written":  {left + recording.PartSuffix: torn, hidden: adopted[:20]},
		"all of the new file is written":     {left + recording.PartSuffix: torn, hidden: adopted},
		"it has its name":                    {left + recording.PartSuffix: torn, hidden: adopted, left: adopted},
		"its hidden name is gone":            {left + recording.PartSuffix: torn, left: adopted},
		"the writer itself gave it its name": {left + recording.PartSuffix: data, left: data},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range there {
				put(t, dir, name, data)
			}
			sum, err := Dir(dir).Adopt()
			if err != nil || sum.Aside+sum.Empty > 0 {
				t.Errorf("%+v, %v", sum, err)
			}
			want := adopted
			if given, ok := there[left]; ok {
				want = given
			}
			if got, err := os.ReadFile(Dir(dir).Path(left)); !bytes.Equal(got, want) || err != nil {
				t.Errorf("%d bytes, want %d; %v", len(got), len(want), err)
			}
			if names := files(t, dir); len(names) != 1 {
				t.Errorf("left behind: %q", names)
			}
		})
	}
}

// A segment with a writer is never adopted, however long the writer has been silent.
func TestASegmentWithAWriterIsNotAdopted(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Write(numbered(1))
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(dir, files(t, dir)[0])
	if err := os.Chtimes(part, time.Time{}, time.Now().Add(-24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if sum, err := Dir(dir).Adopt(); sum != (Adopted{}) || err != nil {
		t.Errorf("%+v, %v", sum, err)
	}
	r.Write(numbered(2))
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found, odd := locations(t, dir); len(found) != 2 || len(odd) > 0 {
		t.Errorf("%v, %v", found, odd)
	}
}

// No other process adopts a writer's segment before the writer completes it.
func TestAdoptingDoesNotDisturbAWriter(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, Options{SegmentOptions: SegmentOptions{MaxBytes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			default:
			}
			// A file that was found before its writer locked it is empty. The writer then makes
			// another one.
			if sum, err := Dir(dir).Adopt(); sum.Completed+sum.Aside > 0 || err != nil {
				t.Errorf("%+v, %v", sum, err)
				return
			}
		}
	}()
	const records = 200
	for n := range records {
		r.Write(numbered(n))
		if err := r.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	close(over)
	<-ended
	if s := r.Stats(); s.Stored != records {
		t.Errorf("%+v", s)
	}
	if found, odd := locations(t, dir); len(found) != records || len(odd) > 0 {
		t.Errorf("%d, %v", len(found), odd)
	}
}

// Several processes may adopt and write at the same time. In the end, each record exists exactly once.
func TestManyAdoptAtOnce(t *testing.T) {
	dir := t.TempDir()
	data, _ := segmentOf(t, 4)
	for n := range 20 {
		put(t, dir, strings.Replace(left, "-3.", "-"+string(rune('a'+n))+"-3.", 1)+recording.PartSuffix, data[:len(data)-10])
	}
	type result struct {
		Adopted
		error
	}
	results := make(chan result)
	for range 4 {
		go func() {
			sum, err := Dir(dir).Adopt()
			results <- result{sum, err}
		}()
	}
	sum := 0
	for range 4 {
		r := <-results
		sum += r.Completed
		if r.error != nil {
			t.Error(r.error)
		}
	}
	if names := files(t, dir); sum != 20 || len(names) != 20 {
		t.Errorf("%d were adopted, %q", sum, names)
	}
	if found, odd := locations(t, dir); len(found) != 80 || len(odd) > 0 {
		t.Errorf("%d, %v", len(found), odd)
	}
}

// A segment whose compressed data is damaged is kept for inspection.
func TestADamagedSegmentIsSetAside(t *testing.T) {
	data, flushed := segmentOf(t, 4)
	damaged := append([]byte{}, data...)
	damaged[flushed[1]] = 0xff // a block of a reserved kind
	damaged[flushed[1]+1] = 0xff
	for name, data := range map[string][]byte{"damaged": damaged, "no zstd": []byte("what is this? it is long enough for a head")} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, left+recording.PartSuffix, data)
			sum, err := Dir(dir).Adopt()
			if sum != (Adopted{Aside: 1}) || err != nil {
				t.Errorf("%+v, %v", sum, err)
			}
			want := filepath.FromSlash(left + recording.PartSuffix + AsideSuffix)
			if names := files(t, dir); !slices.Equal(names, []string{want}) {
				t.Errorf("%q", names)
			}
			if kept, err := os.ReadFile(filepath.Join(dir, want)); !bytes.Equal(kept, data) || err != nil {
				t.Errorf("%q, %v", kept, err)
			}
			if found, odd := locations(t, dir); len(found)+len(odd) > 0 {
				t.Errorf("readers find %v, %v", found, odd)
			}
		})
	}
}

// Segments that were set aside are removed by age like any others.
func TestWhatWasSetAsideCountsAndMakesRoom(t *testing.T) {
	dir := t.TempDir()
	const at = "cluster=c/namespace=a/workload=b/date=2026-11-22/hour=20/2026112"
	put(t, dir, at+"1T200000.000Z-c-0.jsonl.zst"+AsideSuffix, make([]byte, 30<<10))
	put(t, dir, at+"2T200000.000Z-c-0.jsonl.zst.part"+AsideSuffix, make([]byte, 30<<10))
	put(t, dir, at+"3T200000.000Z-c-0.jsonl.zst", make([]byte, 1<<10))
	r, err := Open(dir, Options{MaxBytesKept: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	r.Write(numbered(0))
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.RemovedBySize != (Removed{1, 30 << 10}) {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(filepath.Join(dir, at+"1T200000.000Z-c-0.jsonl.zst"+AsideSuffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest still exists: %v", err)
	}
}

// A directory with a limit on files keeps the newest, and counts those that it removes.
func TestABoundOnFilesKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	told := 0
	r, err := Open(dir, Options{SegmentOptions: SegmentOptions{MaxBytes: 1}, MaxFilesKept: 5, Full: func() { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		r.Write(numbered(n))
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if names := files(t, dir); len(names) > 5 {
			t.Fatalf("%q", names)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.RemovedByFiles.Segments != 16 || s.RemovedBySize.Segments > 0 || told != 1 { // one more segment marks the end
		t.Errorf("told %d times, %+v", told, s)
	}
	if found, _ := locations(t, dir); !slices.Equal(found, []string{"/16", "/17", "/18", "/19"}) {
		t.Errorf("%q", found)
	}
}

// A process that ends normally marks its end in its last segment, which may have no records. A process
// that never had a segment marks nothing.
func TestTheLastSegmentMarksTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int // records up to a segment's end, and after it
		segments      int
	}{
		"no records":         {0, 0, 0},
		"an open segment":    {0, 1, 1},
		"a complete segment": {1, 0, 2},
		"both":               {1, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			store := new(flaky)
			s, err := NewSegments(store, SegmentOptions{Pod: "cart-0"})
			if err != nil {
				t.Fatal(err)
			}
			line := append(numbered(1).AppendJSON(nil), '\n')
			if c.before > 0 {
				s.WriteLines(line, 1)
				if _, err := s.end(); err != nil {
					t.Fatal(err)
				}
			}
			if c.after > 0 {
				s.WriteLines(line, 1)
			}
			if _, err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if len(store.segments) != c.segments {
				t.Fatalf("%d segments", len(store.segments))
			}
			for i, segment := range store.segments {
				if _, counters := tail(t, segment.data); counters == nil || counters.End != (i == c.segments-1) || counters.Segment != i {
					t.Errorf("segment %d: %+v", i, counters)
				}
			}
		})
	}
}

// A segment can begin in a folder that another process is just removing because it is empty.
func TestASegmentIsBegunInAFolderThatVanishes(t *testing.T) {
	dir := t.TempDir()
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-over:
				return
			default:
				Dir(dir).Remove("cluster=c/nothing")
				for folder := filepath.Dir(Dir(dir).Path(left)); folder != dir; folder = filepath.Dir(folder) {
					os.Remove(folder)
				}
			}
		}
	}()
	for n := range 200 {
		f, err := Dir(dir).Create(left)
		if err != nil {
			t.Errorf("%d: %v", n, err)
			break
		}
		if err := f.Discard(); err != nil {
			t.Error(err)
		}
	}
	close(over)
	<-gone
}
