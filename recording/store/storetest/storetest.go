// Package storetest tests that a [store.Store] keeps the promises of the interface. A store's tests
// call [Main] from TestMain and [Run] from a test:
//
//	func TestMain(m *testing.M) { storetest.Main(m, open) }
//
//	func TestDir(t *testing.T) {
//		storetest.Run(t, storetest.Suite{Open: open, Place: func(t *testing.T) string { return t.TempDir() }})
//	}
package storetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording/store"
)

// Open opens the store of a place. [Main] also calls it in other processes, so everything else that
// it needs must come from the environment.
type Open func(ctx context.Context, place string) (store.Store, error)

// Suite is a store to test.
type Suite struct {
	// Open opens it.
	Open Open
	// Place returns an empty place, a different one for each call.
	Place func(t *testing.T) string
	// BigBytes is the size of a large object; 0 means 64 MiB.
	BigBytes int64
	// Skip has the reason for skipping a test, by the test's name.
	Skip map[string]string
}

// childEnv makes [Main] put an object instead of running tests.
const childEnv = "STORETEST_PLACE"

// Main runs the tests. In a child process, it is one of the writers that race for a key.
func Main(m *testing.M, open Open) {
	place, ok := os.LookupEnv(childEnv)
	if !ok {
		os.Exit(m.Run())
	}
	s, err := open(context.Background(), place)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Each line is a key, which all processes get at the same time.
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		err := s.Put(context.Background(), in.Text(), strings.NewReader(fmt.Sprint(os.Getpid())))
		switch {
		case err == nil:
			fmt.Println("stored")
		case errors.Is(err, fs.ErrExist):
			fmt.Println("in use")
		default:
			fmt.Println(err)
		}
	}
	os.Exit(0)
}

// Run tests the store.
func Run(t *testing.T, suite Suite) {
	for name, test := range map[string]func(t *testing.T, s store.Store, suite Suite){
		"an object is read as it was stored":           roundTrip,
		"a key is taken once":                          taken,
		"of many goroutines one takes the key":         raceGoroutines,
		"PutOnce finds that it was stored before":      putOnce,
		"what is absent":                               absent,
		"keys are listed in order and by prefix":       order,
		"a listing has many pages":                     pages,
		"a listing can be left early":                  early,
		"odd characters stay as they are":              oddKeys,
		"wrong keys are refused":                       wrongKeys,
		"a large object":                               big,
		"a cancelled context ends every call":          cancelled,
		"objects come and go while others are written": comeAndGo,
		"a body that fails leaves nothing":             brokenBody,
	} {
		t.Run(name, func(t *testing.T) {
			if why := suite.Skip[name]; why != "" {
				t.Skip(why)
			}
			s, err := suite.Open(t.Context(), suite.Place(t))
			if err != nil {
				t.Fatal(err)
			}
			test(t, s, suite)
		})
	}
	t.Run("of many processes one takes the key", func(t *testing.T) { raceProcesses(t, suite) })
}

func put(t *testing.T, s store.Store, key, body string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

// Get returns the body of an object.
func Get(t *testing.T, s store.Store, key string) string {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func keys(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	all := []string{}
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Key)
	}
	return all
}

func folders(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	all := []string{}
	for f, err := range s.Folders(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

func roundTrip(t *testing.T, s store.Store, _ Suite) {
	before := time.Now()
	for _, body := range []string{"", "x", "two\r\nlines\n", strings.Repeat("\x00\xff", 1<<16)} {
		key := fmt.Sprintf("a/b/%d", len(body))
		put(t, s, key, body)
		if got := Get(t, s, key); got != body {
			t.Errorf("%s: read %d bytes; stored %d", key, len(got), len(body))
		}
	}
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if o.Key != fmt.Sprintf("a/b/%d", o.Size) {
			t.Errorf("%s is listed with %d bytes", o.Key, o.Size)
		}
		if o.Modified.Before(before.Add(-time.Hour)) || o.Modified.After(time.Now().Add(time.Hour)) {
			t.Errorf("%s is listed as modified at %s", o.Key, o.Modified)
		}
	}
	// Put begins at the start, wherever the body's position is.
	body := strings.NewReader("whole")
	body.Seek(3, io.SeekStart)
	if err := s.Put(t.Context(), "whole", body); err != nil {
		t.Fatal(err)
	}
	if got := Get(t, s, "whole"); got != "whole" {
		t.Errorf("stored %q of a body that was read halfway", got)
	}
}

func taken(t *testing.T, s store.Store, _ Suite) {
	put(t, s, "key", "first")
	err := s.Put(t.Context(), "key", strings.NewReader("second"))
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "key") {
		t.Errorf("the second put: %v", err)
	}
	if got := Get(t, s, "key"); got != "first" {
		t.Errorf("the key has %q", got)
	}
	if err := s.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "key", "third")
	if got := Get(t, s, "key"); got != "third" {
		t.Errorf("the key has %q", got)
	}
}

func raceGoroutines(t *testing.T, s store.Store, _ Suite) {
	for round := range 10 {
		key, n := fmt.Sprintf("race/%d", round), 16
		errs := make([]error, n)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				<-start
				errs[i] = s.Put(t.Context(), key, strings.NewReader(strings.Repeat(string(rune('a'+i)), 10_000)))
			})
		}
		close(start)
		wg.Wait()
		winner := slices.Index(errs, nil)
		for i, err := range errs {
			if i != winner && !errors.Is(err, fs.ErrExist) {
				t.Errorf("round %d: writer %d: %v; writer %d stored its object", round, i, err, winner)
			}
		}
		if winner < 0 {
			t.Fatal("no writer stored its object")
		}
		if got := Get(t, s, key); got != strings.Repeat(string(rune('a'+winner)), 10_000) {
			t.Errorf("round %d: the object is not the winner's", round)
		}
	}
	if got := len(keys(t, s, "")); got != 10 {
		t.Errorf("%d objects are left of 10", got)
	}
}

func raceProcesses(t *testing.T, suite Suite) {
	place := suite.Place(t)
	s, err := suite.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	type process struct {
		in  io.Writer
		out *bufio.Scanner
		pid int
	}
	var processes []process
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+place)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); cmd.Wait() })
		p := process{in, bufio.NewScanner(out), cmd.Process.Pid}
		if !p.out.Scan() || p.out.Text() != "ready" {
			t.Fatalf("a process says %q", p.out.Text())
		}
		processes = append(processes, p)
	}
	for round := range 20 {
		key := fmt.Sprintf("race/%d", round)
		for _, p := range processes {
			fmt.Fprintln(p.in, key)
		}
		var winners []int
		for _, p := range processes {
			if !p.out.Scan() {
				t.Fatalf("a process ended: %v", p.out.Err())
			}
			switch answer := p.out.Text(); answer {
			case "stored":
				winners = append(winners, p.pid)
			case "in use":
			default:
				t.Errorf("round %d: %s", round, answer)
			}
		}
		if got := Get(t, s, key); len(winners) != 1 || got != fmt.Sprint(winners[0]) {
			t.Errorf("round %d: %v stored the object, which has %s", round, winners, got)
		}
	}
}

func putOnce(t *testing.T, s store.Store, _ Suite) {
	body := strings.Repeat("0123456789", 10_000)
	for range 2 {
		if err := store.PutOnce(t.Context(), s, "key", strings.NewReader(body)); err != nil {
			t.Errorf("the same bytes: %v", err)
		}
	}
	for _, other := range []string{"", body[:len(body)-1], body + "x", "x" + body[1:], body[:len(body)-1] + "x"} {
		if err := store.PutOnce(t.Context(), s, "key", strings.NewReader(other)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("other bytes: %v", err)
		}
	}
	if got := Get(t, s, "key"); got != body {
		t.Error("the object was overwritten")
	}
}

func absent(t *testing.T, s store.Store, _ Suite) {
	put(t, s, "a/b", "x")
	for _, key := range []string{"b", "a", "a/c", "a/b/c", "b/c/d"} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), key) {
			t.Errorf("get %s: %v", key, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	for _, prefix := range []string{"b", "a/c", "a/b/", "b/c/", "A"} {
		if got := keys(t, s, prefix); len(got) != 0 {
			t.Errorf("%s: %v", prefix, got)
		}
		if got := folders(t, s, prefix); len(got) != 0 {
			t.Errorf("folders of %s: %v", prefix, got)
		}
	}
	if got := Get(t, s, "a/b"); got != "x" {
		t.Errorf("a/b has %q", got)
	}
}

func order(t *testing.T, s store.Store, _ Suite) {
	// No two keys differ only by case, because some file systems ignore it.
	all := []string{"B", "Z/1", "a!b", "a-b", "a.b/1", "a.c", "a/b", "a/b-c/1", "a/b.c", "a/c/1", "a/c0", "a0", "a=b/1", "ab", "é", "日本"}
	if !slices.IsSorted(all) {
		t.Fatal("the test's own keys are not in order")
	}
	for _, i := range []int{7, 3, 15, 0, 9, 12, 1, 5, 11, 14, 2, 8, 4, 13, 6, 10} {
		put(t, s, all[i], "x")
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b-", "a.", "a=b/", "Z", "é", "x"} {
		want := slices.DeleteFunc(slices.Clone(all), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		if got := keys(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("list %q: got %q; want %q", prefix, got, want)
		}
	}
	for prefix, want := range map[string][]string{
		"":       {"Z/", "a.b/", "a/", "a=b/"},
		"a":      {"a.b/", "a/", "a=b/"},
		"a/":     {"a/b-c/", "a/c/"},
		"a/b":    {"a/b-c/"},
		"a/b-c/": {},
	} {
		if got := folders(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("folders %q: got %q; want %q", prefix, got, want)
		}
	}
}

// pages lists more keys, and more folders, than the 1000 that stores return at once.
func pages(t *testing.T, s store.Store, _ Suite) {
	var all []string
	for i := range 1010 {
		all = append(all, fmt.Sprintf("a/%04d/x", i))
	}
	all = append(all, "b/1", "b/2")
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; i < len(all); i += 16 {
				if err := s.Put(t.Context(), all[i], strings.NewReader("x")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := keys(t, s, ""); !slices.Equal(got, all) {
		t.Errorf("%d keys are listed of %d, or in another order", len(got), len(all))
	}
	if got := folders(t, s, "a/"); len(got) != 1010 || !slices.IsSorted(got) {
		t.Errorf("%d folders are listed of 1010, or in another order", len(got))
	}
	if got := keys(t, s, "a/01"); len(got) != 100 {
		t.Errorf("%d keys are listed of 100", len(got))
	}
}

func early(t *testing.T, s store.Store, _ Suite) {
	for _, key := range []string{"a/1", "b/1", "c/1"} {
		put(t, s, key, "x")
	}
	for o := range s.List(t.Context(), "") {
		if o.Key != "a/1" {
			t.Errorf("the first key is %s", o.Key)
		}
		break
	}
	for f := range s.Folders(t.Context(), "") {
		if f != "a/" {
			t.Errorf("the first folder is %s", f)
		}
		break
	}
	// Each iteration starts from the beginning.
	list := s.List(t.Context(), "b")
	for range 2 {
		for o, err := range list {
			if err != nil || o.Key != "b/1" {
				t.Errorf("%s, %v", o.Key, err)
			}
		}
	}
}

func oddKeys(t *testing.T, s store.Store, _ Suite) {
	all := []string{
		"cluster=arn%3Aaws%3Aeks/namespace=a b/x.jsonl.zst", "100%", "%2F", "%", "a%2Fb/c", "a+b", "a b", " a", "a ", "a&b=c;d?e#f", `"'<>|*^{}[]` + "`", "a:b/c", "~a", "$a", "-", "--flag", "@", "a@sha256:b",
		"Ä", "日本語/😀", "a..b", "a.b.c", strings.Repeat("k", 255), strings.Repeat("long/", 150) + "x",
	}
	for i, key := range all {
		put(t, s, key, fmt.Sprint(i))
	}
	for i, key := range all {
		if got := Get(t, s, key); got != fmt.Sprint(i) {
			t.Errorf("%q has %q; want %d", key, got, i)
		}
		if got := keys(t, s, key); !slices.Contains(got, key) {
			t.Errorf("prefix %q: got %q", key, got)
		}
	}
	want := slices.Sorted(slices.Values(all))
	if got := keys(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, key := range all {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

func wrongKeys(t *testing.T, s store.Store, _ Suite) {
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", ".tmp-x", "a/.b", "a.", `a\b`, "a\nb", "a\x00", "a\xff", "a\u2028", strings.Repeat("k", 256), strings.Repeat("long/", 250) + "x"} {
		if err := s.Put(t.Context(), key, strings.NewReader("x")); err == nil {
			t.Errorf("put %q passed", key)
		}
		if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("get %q: %v", key, err)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("delete %q passed", key)
		}
	}
	for _, prefix := range []string{"/", "../", "a//", "a/../", ".", "a\n"} {
		for o, err := range s.List(t.Context(), prefix) {
			if err == nil {
				t.Errorf("list %q: %s", prefix, o.Key)
			}
		}
		for f, err := range s.Folders(t.Context(), prefix) {
			if err == nil {
				t.Errorf("folders %q: %s", prefix, f)
			}
		}
	}
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("stored: %q", got)
	}
}

// pattern is a body of any size that takes no memory. All parts of it are different.
type pattern struct{ size, at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at >= p.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.size-p.at))
	for i := range n {
		at := p.at + int64(i)
		b[i] = byte(at ^ at>>8 ^ at>>16)
	}
	p.at += int64(n)
	return n, nil
}

func (p *pattern) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	p.at = offset
	return offset, nil
}

func big(t *testing.T, s store.Store, suite Suite) {
	body := &pattern{size: suite.BigBytes}
	if body.size == 0 {
		body.size = 64 << 20
	}
	if err := s.Put(t.Context(), "big", body); err != nil {
		t.Fatal(err)
	}
	want, got := sha256.New(), sha256.New()
	body.at = 0
	io.Copy(want, body)
	r, err := s.Get(t.Context(), "big")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(got, r); err != nil || n != body.size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("read %d bytes of %d, %v, or others", n, body.size, err)
	}
	if err := s.Put(t.Context(), "too big", &pattern{size: store.MaxBytes + 1}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a body that is too large: %v", err)
	}
}

func cancelled(t *testing.T, s store.Store, _ Suite) {
	put(t, s, "a", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "b", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if err := s.Delete(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("list: %v", err)
		}
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"a"}) {
		t.Errorf("left: %q", got)
	}

	// Cancel in the middle of a body, in either direction.
	ctx, cancel = context.WithCancel(t.Context())
	body := &pattern{size: 32 << 20}
	err := s.Put(ctx, "c", cancelling{body, cancel})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Get(t.Context(), "c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of an object was stored: %v", err)
	}
	body.at = 0
	if err := s.Put(t.Context(), "c", body); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	r, err := s.Get(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	io.CopyN(io.Discard, r, 1<<20)
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
}

// cancelling is a body that cancels the call halfway through.
type cancelling struct {
	*pattern
	cancel func()
}

func (c cancelling) Read(b []byte) (int, error) {
	if c.at > c.size/2 {
		c.cancel()
	}
	return c.pattern.Read(b)
}

// broken is a body whose second half cannot be read.
type broken struct{ *pattern }

var errBroken = errors.New("the disk is broken")

func (b broken) Read(p []byte) (int, error) {
	if b.at > b.size/2 {
		return 0, errBroken
	}
	return b.pattern.Read(p)
}

func brokenBody(t *testing.T, s store.Store, _ Suite) {
	if err := s.Put(t.Context(), "a/b", broken{&pattern{size: 1 << 20}}); !errors.Is(err, errBroken) {
		t.Errorf("put: %v", err)
	}
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("stored: %q", got)
	}
	put(t, s, "a/b", "x")
}

// comeAndGo runs Put and Delete in one folder, which appears and vanishes with its objects.
func comeAndGo(t *testing.T, s store.Store, _ Suite) {
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 25 {
				key := fmt.Sprintf("a/b/%d-%d", worker, i)
				if err := s.Put(t.Context(), key, strings.NewReader("x")); err != nil {
					t.Error(err)
				}
				for o, err := range s.List(t.Context(), "a/") {
					if err != nil || !strings.HasPrefix(o.Key, "a/b/") {
						t.Errorf("list: %s, %v", o.Key, err)
					}
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}
