package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/archive"
	"github.com/tapedeck/tapedeck/recording/columns"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/snapshot"
)

const (
	folder = "cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/"
	first  = folder + "20261122T200000.000Z-cart-0-0.jsonl.zst"
	second = folder + "20261122T200500.000Z-cart-0-1.jsonl.zst"
	third  = folder + "20261122T201000.000Z-cart-0-2.jsonl.zst"
	part   = recording.PartSuffix
)

// files are the files of a directory, including hidden ones.
type files map[string]string

func (want files) write(t *testing.T, dir string) {
	t.Helper()
	for name, content := range want {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func filesOf(t *testing.T, dir store.Dir) files {
	t.Helper()
	found := files{}
	err := filepath.WalkDir(string(dir), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		name, _ = filepath.Rel(string(dir), name)
		found[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// exported returns the archive of a pod with the files.
func exported(t *testing.T, in files) *bytes.Buffer {
	t.Helper()
	dir := t.TempDir()
	in.write(t, dir)
	var b bytes.Buffer
	if _, err := archive.Write(t.Context(), &b, dir, "v1"); err != nil {
		t.Fatal(err)
	}
	return &b
}

var columnsFile = string(columns.File())

// A pod may be pulled from several times while it records.
func TestArchivesAreAddedUp(t *testing.T) {
	dir := store.Dir(filepath.Join(t.TempDir(), "new"))
	for i, step := range []struct {
		pod  files
		want files
		sum  Summary
	}{
		{files{first: "one", second + part: "tw"}, files{first: "one", second + part: "tw"}, Summary{Segments: 2, Bytes: 5}},
		{files{first: "one", second + part: "tw"}, files{first: "one", second + part: "tw"}, Summary{Known: 2}},
		{files{first: "one", second + part: "two"}, files{first: "one", second + part: "two"}, Summary{Segments: 1, Bytes: 3, Known: 1}},
		{files{second + part: "t"}, files{first: "one", second + part: "two"}, Summary{Known: 1}},
		{files{second: "two!", third + part: ""}, files{first: "one", second: "two!", third + part: ""}, Summary{Segments: 2, Bytes: 4}},
		{files{second + part: "two"}, files{first: "one", second: "two!", third + part: ""}, Summary{Known: 1}},
		{files{}, files{first: "one", second: "two!", third + part: ""}, Summary{}},
	} {
		var last Summary
		sum, err := Archive(t.Context(), exported(t, step.pod), To{Store: dir, Progress: func(s Summary) { last = s }})
		if err != nil || sum != step.sum || last != sum {
			t.Errorf("step %d: %+v, %+v, %v; want %+v", i, sum, last, err, step.sum)
		}
		step.want[columns.Name] = columnsFile
		if diff := cmp.Diff(step.want, filesOf(t, dir)); diff != "" {
			t.Errorf("step %d (-want +got)\n%s", i, diff)
		}
	}
}

// Two pods never have segments with the same name, unless one of them lies.
func TestNoArchiveReplacesASegment(t *testing.T) {
	dir := store.Dir(t.TempDir())
	if _, err := Archive(t.Context(), exported(t, files{first: "one"}), To{Store: dir}); err != nil {
		t.Fatal(err)
	}
	_, err := Archive(t.Context(), exported(t, files{first: "eno"}), To{Store: dir})
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), first) || filesOf(t, dir)[first] != "one" {
		t.Errorf("%v, %v", err, filesOf(t, dir))
	}
}

func TestAnArchiveThatEndsEarlyLeavesWholeSegments(t *testing.T) {
	b := exported(t, files{first: strings.Repeat("1", 3000), second: strings.Repeat("2", 3000), third: "3"})
	for n := range b.Len() / 512 {
		dir := store.Dir(t.TempDir())
		_, err := Archive(t.Context(), bytes.NewReader(b.Bytes()[:n*512+100]), To{Store: dir})
		found := filesOf(t, dir)
		if err == nil && len(found) != 4 {
			t.Errorf("%d blocks: %v", n, found)
		}
		for name, text := range found {
			if name == first && text != strings.Repeat("1", 3000) || name == second && text != strings.Repeat("2", 3000) {
				t.Errorf("%d blocks: %s has %d bytes", n, name, len(text))
			}
		}
	}
}

// snap makes a snapshot of n exchanges.
func snap(t *testing.T, s store.Store, n int) contract.SnapshotRef {
	t.Helper()
	in := snapshot.Input{Exchanges: func(yield func(*recording.Exchange, error) bool) {
		for i := range n {
			if !yield(&recording.Exchange{MsgType: recording.MsgType, TS: time.Unix(int64(i*1800), 0), Location: fmt.Sprint("/", i)}, nil) {
				return
			}
		}
	}}
	ref, _, err := snapshot.Create(t.Context(), s, in, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestAPlaceIsCopiedWithItsSnapshots(t *testing.T) {
	from, dir := store.Dir(t.TempDir()), store.Dir(filepath.Join(t.TempDir(), "new"))
	files{first: "one", second: "two", third + part: "thr", columns.Name: "older", "notes/a.txt": "x", "snapshots/x": "", "runs/job/uid/report.json": "{}"}.write(t, string(from))
	ref := snap(t, from, 10)
	files{"snapshots/" + strings.Replace(ref.ID, ref.ID[:8], "00000000", 1) + "/cluster=x": "unfinished"}.write(t, string(from))

	sum, err := Place(t.Context(), from, To{Store: dir}, func(k recording.SegmentKey) bool { return k.Number == 1 })
	if err != nil || sum != (Summary{Segments: 1, Bytes: 3, Left: 1}) {
		t.Errorf("chosen: %+v, %v", sum, err)
	}
	sum, err = Place(t.Context(), from, To{Store: dir}, nil)
	if err != nil || sum.Segments != 2 || sum.Snapshots != 1 || sum.Known != 1 || sum.Left != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	want := filesOf(t, from)
	want[columns.Name] = columnsFile
	for name := range want {
		if strings.HasPrefix(name, "snapshots/0000") || name == "snapshots/x" || name == "notes/a.txt" || strings.HasPrefix(name, "runs/") {
			delete(want, name)
		}
	}
	if diff := cmp.Diff(want, filesOf(t, dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	sum, err = Place(t.Context(), from, To{Store: dir}, nil)
	if err != nil || sum != (Summary{Known: 4, Left: 1}) {
		t.Errorf("again: %+v, %v", sum, err)
	}

	// The segment that was being written has grown, and was then completed.
	files{third + part: "three"}.write(t, string(from))
	if sum, err = Place(t.Context(), from, To{Store: dir}, nil); err != nil || sum.Segments != 1 || filesOf(t, dir)[third+part] != "three" {
		t.Errorf("%+v, %v", sum, err)
	}
	os.Remove(filepath.Join(string(from), third+part))
	files{third: "three!"}.write(t, string(from))
	if sum, err = Place(t.Context(), from, To{Store: dir}, nil); err != nil || sum.Segments != 1 || filesOf(t, dir)[third] != "three!" || filesOf(t, dir)[third+part] != "" {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestAPlaceThatIsMissingIsAnError(t *testing.T) {
	if _, err := Place(t.Context(), store.Dir(filepath.Join(t.TempDir(), "nowhere")), To{Store: store.Dir(t.TempDir())}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// flaky fails a Get or a Put after a number of them.
type flaky struct {
	store.Store
	left *atomic.Int64
}

var errGone = errors.New("connection reset")

func (f flaky) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if f.left.Add(-1) < 0 {
		return nil, errGone
	}
	return f.Store.Get(ctx, key)
}

func (f flaky) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	if f.left.Add(-1) < 0 {
		return errGone
	}
	return f.Store.Put(ctx, key, body)
}

// An interrupted copy is not a snapshot, and the next attempt continues it.
func TestACopyThatWasInterruptedGoesOn(t *testing.T) {
	from := store.Dir(t.TempDir())
	ref := snap(t, from, 10)
	dir := store.Dir(t.TempDir())
	attempts := 0
	for n := int64(1); ; n++ {
		attempts++
		left := new(atomic.Int64)
		left.Store(n)
		got, sum, err := Snapshot(t.Context(), flaky{from, left}, ref.ID, ref.Digest, To{Store: dir})
		if err == nil {
			if got != ref || sum.Snapshots != 1 {
				t.Errorf("%v, %+v", got, sum)
			}
			break
		}
		if listed, _ := snapshot.List(t.Context(), dir); !errors.Is(err, errGone) || len(listed) > 0 {
			t.Fatalf("%v, %v", listed, err)
		}
	}
	if attempts < 5 {
		t.Errorf("%d attempts", attempts)
	}
	if diff := cmp.Diff(filesOf(t, from), filesOf(t, dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, sum, err := Snapshot(t.Context(), from, ref.ID, ref.Digest, To{Store: dir}); err != nil || sum != (Summary{Known: 1}) {
		t.Errorf("again: %+v, %v", sum, err)
	}
}

func TestASnapshotIsVerifiedOnItsWay(t *testing.T) {
	from, dir := store.Dir(t.TempDir()), store.Dir(t.TempDir())
	ref := snap(t, from, 3)
	if _, _, err := Snapshot(t.Context(), from, ref.ID, strings.Repeat("0", 64), To{Store: dir}); !errors.Is(err, snapshot.ErrTampered) {
		t.Errorf("another pin: %v", err)
	}
	for name, text := range filesOf(t, from) {
		if strings.HasSuffix(name, ".zst") {
			files{name: strings.Replace(text, text[10:11], "~", 1)}.write(t, string(from))
		}
	}
	if _, _, err := Snapshot(t.Context(), from, ref.ID, "", To{Store: dir}); !errors.Is(err, snapshot.ErrTampered) {
		t.Error(err)
	}
	if _, err := Place(t.Context(), from, To{Store: dir}, nil); !errors.Is(err, snapshot.ErrTampered) {
		t.Error(err)
	}
}

// If the destination already has a file of the snapshot with other content, the error names it.
func TestADamagedCopyIsNamed(t *testing.T) {
	from, dir := store.Dir(t.TempDir()), store.Dir(t.TempDir())
	ref := snap(t, from, 3)
	if _, _, err := Snapshot(t.Context(), from, ref.ID, "", To{Store: dir}); err != nil {
		t.Fatal(err)
	}
	for name, text := range filesOf(t, dir) {
		if strings.HasSuffix(name, ".zst") {
			files{name: "x"}.write(t, string(dir))
			_, _, err := Snapshot(t.Context(), from, ref.ID, "", To{Store: dir})
			if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), name) {
				t.Error(err)
			}
			files{name: text}.write(t, string(dir))
		}
	}
}
