package index_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

func TestARowSaysWhatTheExchangeWas(t *testing.T) {
	e := exchange(1, "POST", "/carts/17", 200)
	e.TS = e.TS.Add(7)
	e.Duration = 12
	e.HTTP.Req.URI = "/carts/17?x=1"
	e.HTTP.Req.Body, e.HTTP.Res.Body = []byte("four"), []byte("seven..")
	e.HTTP.Res.ContentType = "Application/JSON; charset=utf-8"
	e.HTTP.Req.Headers = recording.Headers{{Name: "Traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	e.Tags = append(e.Tags, recording.Tag{Name: recording.TagPeer, Value: "10.0.0.7"}, recording.Tag{Name: recording.TagTruncated, Value: "true"},
		recording.Tag{Name: recording.TagIncomplete, Value: recording.CutOff}, recording.Tag{Name: recording.TagResponseStart, Value: "12345"})
	x := open(t, index.Options{}, place(t, e))
	want := index.Row{ID: 1, UUID: e.UUID, Start: e.TS, Duration: 12345 * time.Microsecond, Direction: "IN", Protocol: "http", Cluster: "prod", Namespace: "shop", Workload: "cart",
		Pod: "cart-1", Peer: "10.0.0.7", Method: "POST", Host: "cart.shop.svc", Path: "/carts/17?x=1", Endpoint: "POST /carts/{id}", Status: 200, GRPCStatus: -1,
		ContentType: "application/json", RequestSize: 4, ResponseSize: 7, Incomplete: "cut", Truncated: true, Trace: "0af7651916cd43dd8448eb211c80319c"}
	got, err := x.Row(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, *got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	if found, err := x.Find(context.Background(), e.UUID); err != nil || found.ID != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, id := range []int64{0, -1, 2, 1 << 40} {
		if _, err := x.Row(context.Background(), id); !errors.Is(err, index.ErrNotFound) {
			t.Errorf("row %d: %v", id, err)
		}
	}
	for _, id := range []recording.UUID{{}, uuid(99)} {
		if _, err := x.Find(context.Background(), id); !errors.Is(err, index.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestAnExchangeComesInFullFromWhereItIs(t *testing.T) {
	ctx := context.Background()
	all := randomExchanges(50)
	name := t.TempDir()
	file := filepath.Join(name, "a.jsonl")
	write(t, file, all...)
	text, err := os.ReadFile(file)
	check(t, err)
	enc, err := zstd.NewWriter(nil)
	check(t, err)
	compressed := enc.EncodeAll(text, nil)
	check(t, os.WriteFile(filepath.Join(name, "b.jsonl.zst"), compressed, 0o600))
	check(t, os.Remove(file))
	x := open(t, index.Options{}, source(t, name))
	readAll := func(t *testing.T) {
		t.Helper()
		for i, e := range all {
			got, err := x.Exchange(ctx, int64(i+1))
			if err != nil || !bytes.Equal(got.AppendJSON(nil), e.AppendJSON(nil)) {
				t.Fatalf("exchange %d: %v", i+1, err)
			}
		}
	}
	readAll(t)

	t.Run("moved within its segment", func(t *testing.T) {
		moved := append([]byte("\n\n"), text...)
		check(t, os.WriteFile(filepath.Join(name, "b.jsonl.zst"), enc.EncodeAll(moved, nil), 0o600))
		readAll(t)
	})
	t.Run("moved to another segment", func(t *testing.T) {
		check(t, os.Rename(filepath.Join(name, "b.jsonl.zst"), filepath.Join(name, "c.jsonl.zst")))
		readAll(t)
	})
	t.Run("gone", func(t *testing.T) {
		check(t, os.WriteFile(filepath.Join(name, "c.jsonl.zst"), enc.EncodeAll(all[0].AppendJSON(nil), nil), 0o600))
		if _, err := x.Exchange(ctx, 2); !errors.Is(err, index.ErrGone) || !strings.Contains(err.Error(), all[1].UUID.String()) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAConversationInPartsIsOneRow(t *testing.T) {
	part := func(n int, last bool, from string, data string) *recording.Exchange {
		e := exchange(1, "GET", "/socket", 101)
		e.L7Protocol, e.UUID = recording.WebSocket, uuid(n)
		e.Tags.Set(recording.TagConversation, uuid(1).String())
		e.WebSocket = &recording.Conversation{Part: n, Last: last, ClientBytes: 3, ServerBytes: int64(3 * n), Messages: []recording.Message{{From: from, At: int64(n), Type: "text", Data: []byte(data)}}}
		return e
	}
	name := t.TempDir()
	write(t, filepath.Join(name, "a.jsonl"), part(1, false, recording.Client, "apple"))
	write(t, filepath.Join(name, "b.jsonl"), part(2, true, recording.Server, "banana"))
	x := open(t, index.Options{}, source(t, name))
	for _, word := range []string{"apple", "banana"} {
		p := list(t, x, index.Filter{Text: word})
		if p.Total != 1 || p.Rows[0].Messages != 2 || p.Rows[0].UUID != uuid(1) {
			t.Fatalf("%s: %+v", word, p)
		}
	}
	e, err := x.Exchange(context.Background(), 1)
	if err != nil || len(e.WebSocket.Messages) != 2 || string(e.WebSocket.Messages[1].Data) != "banana" {
		t.Errorf("%+v, %v", e, err)
	}
}

// measured counts the bytes that are read from files.
type measured struct {
	read.Store
	bytes atomic.Int64
}

type measuredFile struct {
	*os.File
	bytes *atomic.Int64
}

func (m *measured) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	f, err := m.Store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return measuredFile{f.(*os.File), &m.bytes}, nil
}

func (f measuredFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.bytes.Add(int64(n))
	return n, err
}

// TestAnExchangeFarIntoAFileIsReadWhereItIs reads from a single file that is not compressed: the bytes
// before the exchange are not read.
func TestAnExchangeFarIntoAFileIsReadWhereItIs(t *testing.T) {
	first, last := exchange(1, "GET", "/a", 200), exchange(2, "GET", "/b", 200)
	first.HTTP.Res.Body = bytes.Repeat([]byte("x"), 8<<20)
	name := filepath.Join(t.TempDir(), "a.jsonl")
	write(t, name, first, last)
	src := source(t, name)
	store := &measured{Store: src.Store}
	src.Store = store
	x := open(t, index.Options{Dir: t.TempDir()}, src)
	before := store.bytes.Load()
	got, err := x.Exchange(t.Context(), 2)
	check(t, err)
	if n := store.bytes.Load() - before; n > 1<<20 || got.UUID != last.UUID {
		t.Errorf("found %s after reading %d bytes, want %s after few", got.UUID, n, last.UUID)
	}
}
