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

// exchange makes an exchange of HTTP for a test to change.
func exchange(n int, method, path string, status int) *recording.Exchange {
	e := &recording.Exchange{MsgType: recording.MsgType, TS: begin.Add(time.Duration(n) * time.Second), L7Protocol: recording.HTTP1, UUID: uuid(n),
		Direction: recording.In, Cluster: "prod", Namespace: "shop", Service: "cart", Resource: "cart", Command: method, Location: path, Duration: 5,
		Tags: recording.Tags{{Name: recording.TagPodName, Value: "cart-1"}}, HTTP: &recording.HTTP{}}
	e.HTTP.Req = recording.HTTPRequest{URL: path, URI: path, Method: method, Host: "cart.shop.svc", Version: "1.1"}
	e.HTTP.Res = recording.HTTPResponse{StatusCode: status, ContentType: "application/json"}
	return e
}

// uuid is the n-th of the tests' UUIDs.
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

// place is a place whose recording has the exchanges.
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
