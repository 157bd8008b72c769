package place_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m, openBoth) }

// both writes to a directory, and reads it through a collector.
type both struct {
	store.Store
	dir store.Dir
}

func (b both) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	return b.dir.Put(ctx, key, body)
}

func (b both) Delete(ctx context.Context, key string) error { return b.dir.Delete(ctx, key) }

// openBoth opens a place in the form URL DIRECTORY.
func openBoth(ctx context.Context, text string) (store.Store, error) {
	url, dir, _ := strings.Cut(text, " ")
	s, err := place.OpenText(ctx, url)
	return both{s, store.Dir(dir)}, err
}

// reader serves what a collector in front of the store serves to readers.
func reader(t *testing.T, s store.Store) string {
	t.Helper()
	c, err := collector.New(collector.Options{Store: s, Keys: func() [][]byte { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(c.Reader())
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestACollectorIsAStoreToReaders(t *testing.T) {
	storetest.Run(t, storetest.Suite{Open: openBoth, Place: func(t *testing.T) string {
		dir := t.TempDir()
		return reader(t, store.Dir(dir)) + " " + dir
	}})
}

func TestAPlaceMayBeAPartOfACollectors(t *testing.T) {
	dir := store.Dir(t.TempDir())
	for _, key := range []string{"snapshots/1/a", "snapshots/1/b/c", "snapshots/10/x", "other"} {
		if err := dir.Put(t.Context(), key, strings.NewReader(key)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := place.OpenText(t.Context(), reader(t, dir)+"/snapshots/1")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	if !slices.Equal(keys, []string{"a", "b/c"}) {
		t.Errorf("listed %q", keys)
	}
	if got := storetest.Get(t, s, "b/c"); got != "snapshots/1/b/c" {
		t.Errorf("b/c has %q", got)
	}
}

func TestNoCommandWritesToACollector(t *testing.T) {
	s, err := place.OpenText(t.Context(), reader(t, store.Dir(t.TempDir())))
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"put": s.Put(t.Context(), "a", strings.NewReader("x")), "delete": s.Delete(t.Context(), "a")} {
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "name the directory or the bucket") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// An error of the collector's store is reported, and the list continues after it.
func TestErrorsOfTheStoreBehindACollector(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "b")); err != nil {
		t.Skip(err)
	}
	s, err := place.OpenText(t.Context(), reader(t, store.Dir(dir)))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	failed := 0
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			failed++
			continue
		}
		keys = append(keys, o.Key)
	}
	if failed != 1 || !slices.Equal(keys, []string{"a", "c"}) {
		t.Errorf("%d errors, keys %q", failed, keys)
	}
	if _, err := s.Get(t.Context(), "b"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v", err)
	}
}

// brittle cuts every answer after some bytes, like a port-forward that is restarted.
type brittle struct {
	http.Handler
	bytes int
	cuts  atomic.Int64
}

func (b *brittle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.Handler.ServeHTTP(&brittleWriter{ResponseWriter: w, b: b, left: b.bytes}, r)
}

type brittleWriter struct {
	http.ResponseWriter
	b    *brittle
	left int
}

func (w *brittleWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *brittleWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		_, _ = w.ResponseWriter.Write(p[:w.left])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		w.b.cuts.Add(1)
		panic(http.ErrAbortHandler)
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

func TestReadingGoesOnWhereItBroke(t *testing.T) {
	dir := store.Dir(t.TempDir())
	body := strings.Repeat("0123456789", 50_000)
	var want []string
	for i := range 300 {
		key := fmt.Sprintf("folder=%03d/object", i)
		want = append(want, key)
		if err := dir.Put(t.Context(), key, strings.NewReader(body[:i])); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Put(t.Context(), "large", strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	c, err := collector.New(collector.Options{Store: dir, Keys: func() [][]byte { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	b := &brittle{Handler: c.Reader(), bytes: 100_000}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	s, err := place.OpenText(t.Context(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get(t, s, "large"); got != body {
		t.Errorf("read %d bytes of %d, or others", len(got), len(body))
	}
	if b.cuts.Load() < 4 {
		t.Errorf("the answer was cut %d times", b.cuts.Load())
	}
	b.bytes = 5000
	var keys []string
	for o, err := range s.List(t.Context(), "folder=") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	if !slices.Equal(keys, want) {
		t.Errorf("listed %d keys of %d, or others", len(keys), len(want))
	}
	var folders []string
	for f, err := range s.Folders(t.Context(), "folder=") {
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, f+"object")
	}
	if !slices.Equal(folders, want) {
		t.Errorf("listed %d folders of %d, or others", len(folders), len(want))
	}
	// An answer that makes no progress is an error, not an endless loop.
	b.bytes = 10
	for _, err := range s.List(t.Context(), "folder=") {
		if err == nil || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("the list: %v", err)
		}
	}
}

// A server that is not a collector, or that lies, is detected.
func TestAnswersThatAreNoCollectors(t *testing.T) {
	own := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(contract.HeaderContract, "3")
			_, _ = io.WriteString(w, text)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"another server": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "does not come from a collector's read port"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		}, "does not come from a collector's read port"},
		"another prefix":         {own(`{"key":"other"}` + "\n" + `{"end":true}` + "\n"), "was not requested"},
		"no order":               {own(`{"key":"a/2"}` + "\n" + `{"key":"a/1"}` + "\n" + `{"end":true}` + "\n"), "not byte order"},
		"a negative size":        {own(`{"key":"a/2","size":-1}` + "\n" + `{"end":true}` + "\n"), "was not requested"},
		"an endless line":        {own(`{"key":"a/` + strings.Repeat("k", 1<<20)), "too long"},
		"no JSON":                {own("x\n{}\n"), "invalid character"},
		"an object and a folder": {own(`{"key":"a/2","folder":"a/2/"}` + "\n"), "was not requested"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(c.answer)
			defer srv.Close()
			s, err := place.OpenText(t.Context(), srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			var failed error
			for _, err := range s.List(t.Context(), "a/") {
				failed = err
			}
			if failed == nil || !strings.Contains(failed.Error(), c.want) {
				t.Errorf("got %v, want %s", failed, c.want)
			}
		})
	}
	t.Run("no server", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		s, err := place.OpenText(t.Context(), "http://"+l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
			t.Errorf("got %v", err)
		}
	})
}
