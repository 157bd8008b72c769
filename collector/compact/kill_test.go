package compact

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// killedPlace names the directory that this process is to compact until it is killed.
const killedPlace = "TAPEDECK_TEST_COMPACT"

// killed compacts the directory, if this is such a process.
func killed() bool {
	dir := os.Getenv(killedPlace)
	if dir == "" {
		return false
	}
	fmt.Println("begins")
	if _, err := Run(context.Background(), store.Dir(dir), Options{Now: later, MaxBytes: 20_000}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return true
}

// fill writes a recording into a directory.
func fill(t *testing.T, dir string, seed uint64) *memory {
	m := newMemory()
	write(m, seed, 8, 8)
	for key, body := range m.Objects {
		if err := store.PutOnce(t.Context(), store.Dir(dir), key, bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// Processes that are killed at any instant, and run at the same time, lose nothing and repeat
// nothing.
func TestKilledProcesses(t *testing.T) {
	dir := t.TempDir()
	m := fill(t, dir, 1)
	before := seen(t, m, read.Query{}, read.Options{Order: read.Sorted})
	for i := range 18 {
		if i%3 == 2 { // more to do
			more := fill(t, dir, uint64(i+1))
			for key, body := range more.Objects {
				m.Objects[key] = body
			}
			before = seen(t, m, read.Query{}, read.Options{Order: read.Sorted})
		}
		var group sync.WaitGroup
		for range 2 {
			cmd := exec.Command(os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), killedPlace+"="+dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			out.Read(make([]byte, 1)) // it begins
			after := time.Duration(rand.IntN(40_000)) * time.Microsecond
			group.Go(func() {
				defer time.AfterFunc(after, func() { cmd.Process.Kill() }).Stop()
				cmd.Wait()
			})
		}
		group.Wait()
		if got := seen(t, store.Dir(dir), read.Query{}, read.Options{Order: read.Sorted}); got != before {
			t.Fatalf("after %d: what a reader sees (-want +got):\n%s", i, diff(before, got))
		}
	}
	compactAll(t, store.Dir(dir), Options{})
	if got := seen(t, store.Dir(dir), read.Query{}, read.Options{Order: read.Sorted}); got != before {
		t.Errorf("what a reader sees in the end (-want +got):\n%s", diff(before, got))
	}
	if sum := compactAll(t, store.Dir(dir), Options{}); sum.Compacted > 0 {
		t.Errorf("%+v", sum)
	}
}

// Compaction removes the temporary files of a killed process after a day.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1)
	for name, age := range map[string]time.Duration{".tmp-old": 25 * time.Hour, ".tmp-new": 23 * time.Hour, ".other": 25 * time.Hour} {
		name = filepath.Join(dir, cart.String(), name)
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, later.Add(-age), later.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	compactAll(t, store.Dir(dir), Options{DryRun: true})
	if _, err := os.Stat(filepath.Join(dir, cart.String(), ".tmp-old")); err != nil {
		t.Error("a dry run removes something")
	}
	compactAll(t, store.Dir(dir), Options{})
	found, err := filepath.Glob(filepath.Join(dir, cart.String(), ".*"))
	if err != nil || len(found) != 2 || filepath.Base(found[0]) != ".other" || filepath.Base(found[1]) != ".tmp-new" {
		t.Errorf("%v, %v", found, err)
	}
}
