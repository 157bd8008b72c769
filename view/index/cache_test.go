package index_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

// counted counts how many files are read.
type counted struct {
	read.Store
	gets atomic.Int64
}

func (c *counted) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, key)
}

// files returns the names of the files in a directory.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, filepath.Join(dir, e.Name()))
	}
	return all
}

// one returns the only file in a directory.
func one(t *testing.T, dir string) string {
	t.Helper()
	all := files(t, dir)
	if len(all) != 1 {
		t.Fatalf("%s has %q, want one file", dir, all)
	}
	return all[0]
}

func TestAnIndexIsUsedAgainUntilItsRecordingChanges(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	src := place(t, exchange(1, "GET", "/a", 200))
	store := &counted{Store: src.Store}
	src.Store = store
	build := func(q read.Query) (total int64, reads int64) {
		t.Helper()
		before := store.gets.Load()
		x, err := index.Open(ctx, index.Options{Dir: dir}, q, src)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		return list(t, x, index.Filter{}).Total, store.gets.Load() - before
	}
	if total, reads := build(read.Query{}); total != 1 || reads == 0 {
		t.Errorf("the first has %d exchanges of %d files", total, reads)
	}
	first := one(t, dir)
	if info, err := os.Stat(first); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("it is %v, %v; want it for its user alone", info.Mode(), err)
	}
	if total, reads := build(read.Query{}); total != 1 || reads != 0 {
		t.Errorf("the second has %d exchanges, and read %d files; want none read", total, reads)
	}
	if total, _ := build(read.Query{Direction: recording.Out}); total != 0 {
		t.Errorf("another query has %d exchanges", total)
	}
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d indexes of two queries", n)
	}

	write(t, filepath.Join(src.Name, "b.jsonl"), exchange(2, "GET", "/b", 200))
	if total, reads := build(read.Query{}); total != 2 || reads == 0 {
		t.Errorf("with another segment, it has %d exchanges of %d files", total, reads)
	}
	if _, err := os.Stat(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the index that was replaced is still there: %v", err)
	}
	if err := os.Remove(filepath.Join(src.Name, "a.jsonl")); err != nil {
		t.Fatal(err)
	}
	if total, _ := build(read.Query{}); total != 1 {
		t.Errorf("once a segment is erased, it has %d exchanges", total)
	}
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d files for two queries", n)
	}
}

func TestAQueryThatIsAFunctionIsNotKept(t *testing.T) {
	dir := t.TempDir()
	x, err := index.Open(context.Background(), index.Options{Dir: dir}, read.Query{Match: func(e *recording.Exchange) bool { return e.Location == "/b" }},
		place(t, exchange(1, "GET", "/a", 200), exchange(2, "GET", "/b", 200)))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if p := list(t, x, index.Filter{}); p.Total != 1 || len(files(t, dir)) != 0 {
		t.Errorf("%d exchanges, and %q", p.Total, files(t, dir))
	}
}

func TestAForgottenIndexLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	x, err := index.Open(context.Background(), index.Options{Forget: true}, read.Query{}, place(t, exchange(1, "GET", "/a", 200)))
	if err != nil {
		t.Fatal(err)
	}
	if list(t, x, index.Filter{}).Total != 1 {
		t.Error("it is empty")
	}
	if err := x.Close(); err != nil || len(files(t, dir)) != 0 {
		t.Errorf("closed: %v, %q", err, files(t, dir))
	}
}

func TestAFileThatIsNotAsItWasWrittenIsMadeAnew(t *testing.T) {
	ctx := context.Background()
	src := place(t, randomExchanges(400)...)
	spoil := map[string]func(t *testing.T, name string){
		"cut":                func(t *testing.T, name string) { check(t, os.Truncate(name, 20_000)) },
		"empty":              func(t *testing.T, name string) { check(t, os.Truncate(name, 0)) },
		"other":              func(t *testing.T, name string) { check(t, os.WriteFile(name, []byte("not an index"), 0o600)) },
		"readable by others": func(t *testing.T, name string) { check(t, os.Chmod(name, 0o644)) },
		"a link": func(t *testing.T, name string) {
			check(t, os.Rename(name, name+".moved"))
			check(t, os.Symlink(name+".moved", name))
		},
		"zeroed": func(t *testing.T, name string) {
			info, err := os.Stat(name)
			check(t, err)
			check(t, os.WriteFile(name, make([]byte, info.Size()), 0o600))
		},
	}
	for name, spoil := range spoil {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			x, err := index.Open(ctx, index.Options{Dir: dir}, read.Query{}, src)
			check(t, err)
			x.Close()
			spoil(t, one(t, dir))
			x = open(t, index.Options{Dir: dir}, src)
			if p := list(t, x, index.Filter{Text: "order"}); p.Total != 400 {
				t.Errorf("it has %d exchanges", p.Total)
			}
		})
	}
}

// An index with any one wrong byte is refused, or answers as before. A refused index is made
// again.
func TestAWrongByteIsNeverBelieved(t *testing.T) {
	ctx := context.Background()
	src := place(t, randomExchanges(200)...)
	dir := t.TempDir()
	x, err := index.Open(ctx, index.Options{Dir: dir}, read.Query{}, src)
	check(t, err)
	x.Close()
	name := one(t, dir)
	good, err := os.ReadFile(name)
	check(t, err)
	ask := func(x *index.Index) (sum int64, err error) {
		for _, f := range []index.Filter{{}, {Method: "POST"}, {Text: "order 17"}, {Path: "9"}, {Trace: "x"}} {
			for _, by := range columns {
				p, err := x.List(ctx, f, index.Sort{By: by}, "", index.MaxLimit)
				if err != nil {
					return 0, err
				}
				for i, r := range p.Rows {
					sum += int64(i+1) * r.ID
				}
			}
		}
		calls, err := x.Calls(ctx, index.Filter{})
		return sum + int64(len(calls)), err
	}
	x = open(t, index.Options{Dir: dir}, src)
	want, err := ask(x)
	check(t, err)
	wrong := 0
	for at := 0; at < len(good); at += 1 + len(good)/150 {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0x55
		check(t, os.WriteFile(name, bad, 0o600))
		x, err := index.Open(ctx, index.Options{Dir: dir}, read.Query{}, src)
		check(t, err)
		got, err := ask(x)
		x.Close()
		if err == nil && got == want {
			continue
		}
		if wrong++; err == nil {
			t.Fatalf("with byte %d wrong, it answers %d, want %d", at, got, want)
		}
		x, err = index.Open(ctx, index.Options{Dir: dir}, read.Query{}, src)
		check(t, err)
		if got, err := ask(x); err != nil || got != want {
			t.Fatalf("made again after byte %d: %d, %v", at, got, err)
		}
		x.Close()
	}
	if wrong == 0 {
		t.Error("no byte made a difference")
	}
}

func TestAnIndexThatWasNotFinishedIsNotThere(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	src := place(t, randomExchanges(100)...)
	_, err := index.Open(ctx, index.Options{Dir: dir, Progress: func(p index.Progress) {
		if p.Phase != "reading" {
			cancel()
		}
	}}, read.Query{}, src)
	if !errors.Is(err, context.Canceled) || len(files(t, dir)) != 0 {
		t.Errorf("canceled: %v, and it left %q", err, files(t, dir))
	}
}

// TestProgressGoesOnWithinAFile has one file. No row of it can be shown before all are sorted.
func TestProgressGoesOnWithinAFile(t *testing.T) {
	var all []*recording.Exchange
	for i := range 10_000 {
		all = append(all, exchange(i+1, "GET", "/a", 200))
	}
	var said []string
	x, err := index.Open(t.Context(), index.Options{Dir: t.TempDir(), Progress: func(p index.Progress) {
		if text := p.String(); len(said) == 0 || said[len(said)-1] != text {
			said = append(said, text)
		}
	}}, read.Query{}, place(t, all...))
	check(t, err)
	check(t, x.Close())
	text := strings.Join(said, "\n")
	for _, want := range []string{
		"reading, 4097 exchanges", "reading, 1 of 1 segments, 10000 exchanges",
		"indexing, 4096 of 10000 exchanges", "indexing, 8192 of 10000 exchanges", "matching calls, 100%, 10000 exchanges",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}

func TestWhatNobodyNeedsIsRemoved(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"aa-bb.index": 31 * 24 * time.Hour, "cc-dd.index": 29 * 24 * time.Hour, "making-killed": time.Hour, "making-just": 0, "other": 1000 * time.Hour} {
		name = filepath.Join(dir, name)
		check(t, os.WriteFile(name, nil, 0o600))
		check(t, os.Chtimes(name, now.Add(-age), now.Add(-age)))
	}
	open(t, index.Options{Dir: dir}, place(t, exchange(1, "GET", "/a", 200)))
	var left []string
	for _, name := range files(t, dir) {
		if base := filepath.Base(name); len(base) < 20 {
			left = append(left, base)
		}
	}
	if got := strings.Join(left, " "); got != "cc-dd.index making-just other" {
		t.Errorf("left are %s", got)
	}
}

// Processes that make the same index, or another one, at the same time don't disturb each other.
func TestSeveralMakeAnIndexAtOnce(t *testing.T) {
	dir := t.TempDir()
	src := place(t, randomExchanges(300)...)
	old := time.Now().Add(-time.Hour)
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			x, err := index.Open(context.Background(), index.Options{Dir: dir, Progress: func(index.Progress) {
				names, _ := filepath.Glob(filepath.Join(dir, "making-*"))
				for _, name := range names {
					// The index seems to take long. A file that is empty is not locked yet.
					if info, err := os.Stat(name); err == nil && info.Size() > 0 {
						os.Chtimes(name, old, old)
					}
				}
			}}, read.Query{}, src)
			if err != nil {
				return err
			}
			defer x.Close()
			p, err := x.List(context.Background(), index.Filter{Text: "order"}, index.Sort{}, "", 1)
			if err == nil && p.Total != 300 {
				err = errors.New("rows are missing")
			}
			return err
		})
	}
	check(t, group.Wait())
	one(t, dir)
}

// The test runs itself again in a process that can't write files larger than a few kilobytes.
func TestADiskThatIsFullIsAnErrorAndLeavesNothing(t *testing.T) {
	if dir := os.Getenv("FULL_DISK"); dir != "" {
		_, err := index.Open(context.Background(), index.Options{Dir: filepath.Join(dir, "cache")}, read.Query{}, source(t, filepath.Join(dir, "recording")))
		if err == nil || !strings.Contains(err.Error(), "there is not enough space") {
			t.Errorf("error %v", err)
		}
		return
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell to set a limit")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "recording", "a.jsonl"), randomExchanges(2000)...)
	cmd := exec.Command(shell, "-c", `ulimit -f 100 && exec "$0" -test.run "$1"`, os.Args[0], "^TestADiskThatIsFull")
	cmd.Env = append(os.Environ(), "FULL_DISK="+dir)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	if left := files(t, filepath.Join(dir, "cache")); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
}

// failing fails to open files until the test ends that.
type failing struct {
	read.Store
	fails atomic.Bool
}

func (f *failing) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if f.fails.Load() {
		return nil, errors.New("connection reset")
	}
	return f.Store.Get(ctx, key)
}

// TestWhatCouldNotBeReadIsReadTheNextTime has a connection that breaks while the index is made.
func TestWhatCouldNotBeReadIsReadTheNextTime(t *testing.T) {
	src, dir := place(t, exchange(1, "GET", "/a", 200)), t.TempDir()
	store := &failing{Store: src.Store}
	src.Store = store
	for _, c := range []struct {
		fails bool
		want  int64
	}{{true, 0}, {false, 1}} {
		store.fails.Store(c.fails)
		x, err := index.Open(t.Context(), index.Options{Dir: dir}, read.Query{}, src)
		check(t, err)
		if total := list(t, x, index.Filter{}).Total; total != c.want {
			t.Errorf("fails %t: found %d exchanges, want %d", c.fails, total, c.want)
		}
		check(t, x.Close())
	}
}

func TestADirectoryThatCannotBeMadeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	_, err := index.Open(context.Background(), index.Options{Dir: filepath.Join(file, "below")}, read.Query{}, place(t, exchange(1, "GET", "/a", 200)))
	if !errors.Is(err, index.ErrDir) {
		t.Errorf("error %v", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// randomExchanges makes exchanges with different content.
func randomExchanges(n int) (all []*recording.Exchange) {
	for i := range n {
		e := exchange(i, []string{"GET", "POST"}[i%2], "/orders/"+uuid(i).String(), 200+i%3)
		e.HTTP.Res.Body = []byte("order " + uuid(i+7).String())
		all = append(all, e)
	}
	return all
}
