package store

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

// servers start each kind of store, and return its address and the form of its
// places.
var servers = map[string]struct {
	start func(t *testing.T) string
	place string
}{
	"s3":     {func(t *testing.T) string { return startS3(t, "recordings") }, "s3://recordings/p?endpoint="},
	"gs":     {func(t *testing.T) string { return startGCS(t, "recordings") }, "gs://recordings/p?endpoint="},
	"azblob": {func(t *testing.T) string { return frontDoor(t, newAzure("recordings").ServeHTTP) }, "azblob://recordings/p?endpoint="},
}

// behind returns a handler that passes requests on to the server.
func behind(t *testing.T, server string) *httputil.ReverseProxy {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.URL.RawPath, r.Out.URL.RawQuery = r.In.URL.RawPath, r.In.URL.RawQuery
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorLog: nil,
	}
}

// The store has the object, but its answer is lost. The library tries again, and gets the answer
// that the key is in use.
func TestAPutWhoseAnswerIsLost(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			upstream := behind(t, server.start(t))
			var mu sync.Mutex
			lost := map[string]bool{}
			door := frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				lose := (r.Method == http.MethodPut || r.Method == http.MethodPost) && !lost[r.RequestURI]
				lost[r.RequestURI] = true
				mu.Unlock()
				if !lose {
					upstream.ServeHTTP(w, r)
					return
				}
				upstream.ServeHTTP(discard{http.Header{}}, r)
				panic(http.ErrAbortHandler)
			})
			s := open(t, server.place+door)
			body := strings.Repeat("segment", 1000)
			if err := s.Put(t.Context(), "a", strings.NewReader(body)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("put: %v", err)
			}
			if err := store.PutOnce(t.Context(), s, "b", strings.NewReader(body)); err != nil {
				t.Errorf("put once: %v", err)
			}
			if got := storetest.Get(t, s, "b"); got != body {
				t.Errorf("stored %d bytes of %d", len(got), len(body))
			}
			if err := store.PutOnce(t.Context(), s, "b", strings.NewReader("another")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("other bytes under the same key: %v", err)
			}
		})
	}
}

// discard is a response writer that discards the answer.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestAReadThatBreaksOffGoesOn(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			upstream := behind(t, server.start(t))
			var mu sync.Mutex
			limit, requests := 0, 0
			door := frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				cut := limit
				if r.Method == http.MethodGet {
					requests++
				}
				mu.Unlock()
				if r.Method != http.MethodGet || cut == 0 {
					upstream.ServeHTTP(w, r)
					return
				}
				upstream.ServeHTTP(&cutter{w, cut}, r)
			})
			s := open(t, server.place+door)
			body := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
			if err := s.Put(t.Context(), "key", strings.NewReader(body)); err != nil {
				t.Fatal(err)
			}

			limit = 300_000
			if got := storetest.Get(t, s, "key"); got != body {
				t.Errorf("read %d bytes of %d, or others", len(got), len(body))
			}
			mu.Lock()
			if requests < 4 {
				t.Errorf("read in %d requests of 300,000 bytes", requests)
			}
			mu.Unlock()

			// The rest of another object under the same key is not used.
			r, err := s.Get(t.Context(), "key")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), "key"); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(t.Context(), "key", strings.NewReader(strings.Repeat("x", len(body)))); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(r); err == nil || len(rest) > 300_000 {
				t.Errorf("after the object was replaced: %d bytes, %v", len(rest), err)
			}
		})
	}
}

// cutter breaks the connection after some bytes of the body.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestAStoreThatIsBusyIsAskedAgain(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			upstream := behind(t, server.start(t))
			var mu sync.Mutex
			asked := map[string]bool{}
			door := frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				again := asked[r.Method+r.RequestURI]
				asked[r.Method+r.RequestURI] = true
				mu.Unlock()
				if !again {
					io.Copy(io.Discard, r.Body)
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				upstream.ServeHTTP(w, r)
			})
			s := open(t, server.place+door)
			body := strings.Repeat("segment", 1000)
			if err := s.Put(t.Context(), "key", strings.NewReader(body)); err != nil {
				t.Fatal(err)
			}
			if got := storetest.Get(t, s, "key"); got != body {
				t.Errorf("read %d bytes of %d", len(got), len(body))
			}
			for o, err := range s.List(t.Context(), "") {
				if err != nil || o.Key != "key" {
					t.Errorf("list: %s, %v", o.Key, err)
				}
			}
			if err := s.Delete(t.Context(), "key"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Readers merge listings, so a wrong order must not pass.
func TestAListingInAnotherOrder(t *testing.T) {
	door := frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `<ListBucketResult><Contents><Key>p/a/b</Key></Contents><Contents><Key>p/a-b</Key></Contents>
			<CommonPrefixes><Prefix>p/a/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/a-b/</Prefix></CommonPrefixes></ListBucketResult>`)
	})
	s := open(t, "s3://recordings/p?endpoint="+door)
	var got []string
	for o, err := range s.List(t.Context(), "") {
		got = append(got, o.Key+message(err))
	}
	for f, err := range s.Folders(t.Context(), "") {
		got = append(got, f+message(err))
	}
	if len(got) != 4 || got[0] != "a/b" || !strings.Contains(got[1], `the store lists "a-b" after "a/b"`) || got[2] != "a/" || !strings.Contains(got[3], `the store lists "a-b/" after "a/"`) {
		t.Errorf("listed %q", got)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Otherwise the first part of the object would replace its rest.
func TestAStoreThatIgnoresRanges(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			upstream := behind(t, server.start(t))
			var mu sync.Mutex
			reads := 0
			door := frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					upstream.ServeHTTP(w, r)
					return
				}
				mu.Lock()
				reads++
				mu.Unlock()
				w.Header().Set("ETag", `"1"`)
				w.Header().Set("X-Goog-Generation", "1")
				w.Header().Set("Content-Length", "2000")
				(&cutter{w, 1000}).Write(make([]byte, 2000))
			})
			r, err := open(t, server.place+door).Get(t.Context(), "key")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if body, err := io.ReadAll(r); err == nil || len(body) != 1000 || !strings.Contains(err.Error(), "the store ignores the range of a request") || reads != 2 {
				t.Errorf("read %d bytes in %d requests, %v", len(body), reads, err)
			}
		})
	}
}
