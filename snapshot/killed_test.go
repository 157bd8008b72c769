package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// dying is a store whose process is killed before its nth change, or within it. Later changes have
// no effect. If it is killed within the nth, nobody knows whether that has.
type dying struct {
	store.Store
	left  *atomic.Int64
	after bool // the nth change happens, and its answer is lost
}

var errKilled = errors.New("killed")

func (d dying) change(do func() error) error {
	n := d.left.Add(-1)
	if n >= 0 {
		return do()
	}
	if n == -1 && d.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errKilled
}

func (d dying) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return d.change(func() error { return d.Store.Put(ctx, key, body) })
}

func (d dying) Delete(ctx context.Context, key string) error {
	return d.change(func() error { return d.Store.Delete(ctx, key) })
}

// A snapshot is complete or absent, whenever its maker is killed. Leftover files are named and
// can be removed. The same holds for its deletion.
func TestAMakerThatIsKilledLeavesNoHalfSnapshot(t *testing.T) {
	other := t.TempDir()
	_, m := create(t, store.Dir(other), some(10), Options{FileBytes: 1})
	changes := len(m.Files) + 1
	for n := range changes {
		for _, after := range []bool{false, true} {
			dir := store.Dir(t.TempDir())
			left := new(atomic.Int64)
			left.Store(int64(n))
			_, _, err := Create(t.Context(), dying{dir, left, after}, input(some(10), nil), Options{FileBytes: 1})
			if !errors.Is(err, errKilled) || !strings.Contains(err.Error(), "remove the unfinished snapshot") {
				t.Fatalf("change %d: %v", n, err)
			}
			whole := n == changes-1 && after
			listed, err := List(t.Context(), dir)
			if err != nil || len(listed) != map[bool]int{true: 1}[whole] {
				t.Errorf("change %d: %+v, %v", n, listed, err)
			}
			id := idOf(t, dir)
			if id == "" {
				if n > 0 || after {
					t.Errorf("change %d: nothing is there", n)
				}
				continue
			}
			_, err = Verify(t.Context(), dir, id, "", nil)
			if whole && err != nil || !whole && !errors.Is(err, ErrUnfinished) {
				t.Errorf("change %d: %v", n, err)
			}
			if _, err := Delete(t.Context(), dir, id, ""); err != nil || len(files(t, string(dir))) > 0 {
				t.Errorf("change %d: %v, %v are left", n, err, files(t, string(dir)))
			}
		}
	}
	for n := range changes {
		dir := store.Dir(t.TempDir())
		ref, _ := create(t, dir, some(10), Options{FileBytes: 1})
		left := new(atomic.Int64)
		left.Store(int64(n))
		if _, err := Delete(t.Context(), dying{dir, left, false}, ref.ID, ref.Digest); !errors.Is(err, errKilled) {
			t.Errorf("deletion %d: %v", n, err)
		}
		_, err := Open(t.Context(), dir, ref.ID, ref.Digest)
		if n == 0 && err != nil || n > 0 && !errors.Is(err, ErrUnfinished) {
			t.Errorf("deletion %d: %v", n, err)
		}
		if _, err := Delete(t.Context(), dir, ref.ID, ref.Digest); err != nil || len(files(t, string(dir))) > 0 {
			t.Errorf("deletion %d: %v, %v are left", n, err, files(t, string(dir)))
		}
	}
}

// A process that is killed while it writes a file leaves a hidden file, which has exchanges, too.
func TestWhatIsLeftOfAFileIsNamedAndDeleted(t *testing.T) {
	for _, stored := range []int{0, 1} {
		dir := store.Dir(t.TempDir())
		id := NewID().String()
		folder := keyOf(id, "cluster=c/namespace=n")
		for n := range stored {
			if err := dir.Put(t.Context(), keyOf(id, fmt.Sprint(n)), strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(filepath.Join(string(dir), folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(string(dir), folder, ".tmp-A"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(t.Context(), dir, id, "", nil); !errors.Is(err, ErrUnfinished) || stored == 0 && !strings.Contains(err.Error(), folder+"/.tmp-A") {
			t.Error(err)
		}
		if n, err := Delete(t.Context(), dir, id, ""); err != nil || n != stored+1 {
			t.Errorf("deleted %d files, %v", n, err)
		}
		if entries, err := os.ReadDir(string(dir)); err != nil || len(entries) > 0 {
			t.Errorf("%v are left, %v", entries, err)
		}
	}
}

// A recording that is written as a whole has two marks. So nobody takes a part of one for the
// whole, or writes another one to the same place.
func TestAWriterThatIsKilledLeavesARecordingThatSaysSo(t *testing.T) {
	o := Options{FileBytes: 1, Everything: true, Recording: true}
	_, m := create(t, store.Dir(t.TempDir()), some(10), o)
	changes := len(m.Files) + 2
	for n := range changes {
		for _, after := range []bool{false, true} {
			dir := store.Dir(t.TempDir())
			left := new(atomic.Int64)
			left.Store(int64(n))
			_, _, err := Create(t.Context(), dying{dir, left, after}, input(some(10), nil), o)
			if !errors.Is(err, errKilled) || !strings.Contains(err.Error(), "remove the unfinished recording") {
				t.Fatalf("change %d: %v", n, err)
			}
			r, err := read.Open(t.Context(), read.Query{}, read.Options{}, dir)
			if err != nil {
				t.Fatal(err)
			}
			begun, whole := n > 0 || after, n == changes-1 && after
			if err := r.Report().Damaged(); (err != nil) != (begun && !whole) {
				t.Errorf("change %d: a reader finds %v", n, err)
			}
			_, _, err = Create(t.Context(), dir, input(some(10), nil), o)
			switch {
			case begun && !whole && (err == nil || !strings.Contains(err.Error(), "the place has an unfinished recording")),
				whole && (err == nil || !strings.Contains(err.Error(), "the place has a recording already")),
				!begun && err != nil:
				t.Errorf("change %d: the next writer gets %v", n, err)
			}
		}
	}
}
