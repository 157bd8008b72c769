package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// bulky is an exchange that hardly compresses.
func bulky(n int) *recording.Exchange {
	e := numbered(n)
	e.HTTP.Req.Body = make([]byte, 4<<10)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(e.HTTP.Req.Body)
	return e
}

// size returns the bytes that the files in a directory take.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	for _, name := range files(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// A directory with a limit never grows beyond it: the oldest segments are removed, and the newest
// records remain. Each record still exists, or was counted as stored.
func TestABoundedDirectoryKeepsTheNewest(t *testing.T) {
	const bound = 256 << 10
	dir := t.TempDir()
	told := 0
	r, err := Open(dir, Options{MaxBytesKept: bound, Full: func() { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	const records = 300 // four times what there is room for
	for n := range records {
		if err := r.Write(bulky(n)); err != nil {
			t.Fatal(err)
		}
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := size(t, dir); took > bound {
			t.Fatalf("after %d records it takes %d bytes", n+1, took)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, errs := locations(t, dir)
	if len(found) < 20 || len(errs) > 0 || found[len(found)-1] != "/299" {
		t.Errorf("%d are found, up to %v; %v", len(found), found[max(0, len(found)-1):], errs)
	}
	if s := r.Stats(); s.Stored != records || s.RemovedBySize.Segments == 0 || s.RemovedBySize.Bytes < bound || told != 1 {
		t.Errorf("told %d times, %+v", told, s)
	}
}

// Only segments are removed, the oldest first, but neither other files nor segments that are still
// being written.
func TestABoundTouchesNothingButOldSegments(t *testing.T) {
	const bound = 64 << 10
	dir := t.TempDir()
	put := func(name string, size int, age time.Duration) string {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const at = "cluster=c/namespace=a/workload=b/date=2026-11-22/hour=2"
	stays := []string{
		put("notes.txt", bound, time.Hour),
		put("mine.jsonl.zst", bound, time.Hour),
		put(at+"3/20261122T230000.000Z-c-0.jsonl.zst", 10<<10, time.Hour),
		put(at+"2/20261122T220000.000Z-other-0.jsonl.zst.part", 10<<10, time.Minute),
	}
	goes := []string{
		put(at+"0/20261122T200000.000Z-c-0.jsonl.zst", 30<<10, time.Hour),
		put(at+"1/20261122T210000.000Z-killed-0.jsonl.zst.part", 30<<10, time.Hour),
	}
	r, err := Open(dir, Options{MaxBytesKept: bound})
	if err != nil {
		t.Fatal(err)
	}
	r.Write(numbered(0))
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range stays {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range goes {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s still exists", name)
		}
		if _, err := os.Stat(filepath.Dir(filepath.Join(dir, name))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory of %s still exists", name)
		}
	}
	if s := r.Stats(); s.RemovedBySize != (Removed{2, 60 << 10}) || s.Stored != 1 {
		t.Errorf("%+v", s)
	}
}

// If it is impossible to stay within the limit, nothing is recorded.
func TestABoundThatCantBeKeptIsAFailure(t *testing.T) {
	dir := t.TempDir()
	part := filepath.Join(dir, "cluster=c/namespace=a/workload=b/date=2026-11-22/hour=20/x.jsonl.zst.part")
	if err := os.MkdirAll(filepath.Dir(part), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir, Options{MaxBytesKept: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	r.Write(numbered(0))
	if err := r.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "stay within 65536 bytes and 0 files (0: no limit)") {
		t.Errorf("%v", err)
	}
	if s := r.Stats(); s.Dropped[StoreFailed] != 1 {
		t.Errorf("%+v", s)
	}
}
