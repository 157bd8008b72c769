package index_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin is when the tests' recordings begin.
var begin = time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC)

// exchange returns an HTTP exchange for a test to change.
func exchange(n int, method, path string, status int) *recording.Exchange {
	e := &recording.Exchange{MsgType: recording.MsgType, TS: begin.Add(time.Duration(n) * time.Second), L7Protocol: recording.HTTP1, UUID: uuid(n),
		Direction: recording.In, Cluster: "prod", Namespace: "shop", Service: "cart", Resource: "cart", Command: method, Location: path, Duration: 5,
		Tags: recording.Tags{{Name: recording.TagPodName, Value: "cart-1"}}, HTTP: &recording.HTTP{}}
	e.HTTP.Req = recording.HTTPRequest{URL: path, URI: path, Method: method, Host: "cart.shop.svc", Version: "1.1"}
	e.HTTP.Res = recording.HTTPResponse{StatusCode: status, ContentType: "application/json"}
	return e
}

// uuid returns the n-th of the tests' UUIDs.
func uuid(n int) (u recording.UUID) {
	h := sha256.Sum256(fmt.Append(nil, n))
	copy(u[:], h[:])
	return u
}

// write writes a recording of one file.
func write(t testing.TB, file string, all ...*recording.Exchange) {
	t.Helper()
	var text []byte
	for _, e := range all {
		text = append(e.AppendJSON(text), '\n')
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// place returns a place whose recording has the exchanges.
func place(t testing.TB, all ...*recording.Exchange) index.Source {
	t.Helper()
	name := t.TempDir()
	write(t, filepath.Join(name, "a.jsonl"), all...)
	return source(t, name)
}

func source(t testing.TB, name string) index.Source {
	t.Helper()
	s, err := read.Path(name)
	if err != nil {
		t.Fatal(err)
	}
	return index.Source{Name: name, Store: s}
}

// open opens an index that the test closes.
func open(t testing.TB, o index.Options, sources ...index.Source) *index.Index {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	x, err := index.Open(context.Background(), o, read.Query{}, sources...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// list returns the first page.
func list(t testing.TB, x *index.Index, f index.Filter) *index.Page {
	t.Helper()
	p, err := x.List(context.Background(), f, index.Sort{}, "", index.MaxLimit)
	if err != nil {
		t.Fatalf("list %+v: %v", f, err)
	}
	return p
}

// TestWordsAreFoundAsAPersonReadsThem searches bodies in which words are next to escapes.
func TestWordsAreFoundAsAPersonReadsThem(t *testing.T) {
	for _, c := range []struct{ name, contentType, body, found, other string }{
		{"a line's end in JSON", "application/json", `{"note":"first\nsecond\tthird"}`, "second third", "cond"},
		{"JSON as it was sent", "application/json", `{"note":"first\nsecond"}`, `first\nsecond`, `fst`},
		{"a letter as an escape", "application/json", `{"city":"M\u00fcnchen"}`, "münchen", "nchen"},
		{"two escapes for a letter", "application/json", `["\ud835\udd04x and"]`, "\U0001d504x", "835"},
		{"half of such a letter", "application/json", `["\ud835 rest \u12"]`, "rest", "est"},
		{"a backslash in JSON", "application/json", `{"path":"C:\\new\\table"}`, `"c:\new\table"`, "ew"},
		{"an event of JSON", "text/event-stream", "event: a\ndata: {\"text\":\"one\\ntwo\"}\n\n", "two", "wo"},
		{"a backslash in a text", "text/plain", `C:\new`, "new", "ew"},
		{"a form", "application/x-www-form-urlencoded", "city=M%C3%BCnchen+Nord&note=%20late", `"münchen nord" late`, "chen"},
		{"a form of wrong bytes", "application/x-www-form-urlencoded", "a=%ff%zz+rest%", "rest", "est"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := exchange(1, "POST", "/a", 200)
			e.HTTP.Res.ContentType, e.HTTP.Res.Body = c.contentType, []byte(c.body)
			e.HTTP.Res.Headers = recording.Headers{{Name: "Content-Type", Value: c.contentType}}
			x := open(t, index.Options{Dir: t.TempDir()}, place(t, e))
			for text, want := range map[string]int64{c.found: 1, c.other: 0} {
				p, err := x.List(t.Context(), index.Filter{Text: text}, index.Sort{}, "", 10)
				if err != nil {
					t.Fatal(err)
				}
				if p.Total != want {
					t.Errorf("%q: found %d, want %d", text, p.Total, want)
				}
			}
		})
	}
}
