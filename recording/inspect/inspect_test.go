package inspect

import (
	"bytes"
	"compress/gzip"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

var update = flag.Bool("update", false, "rewrite the wanted text in testdata")

func zip(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.Bytes()
}

// sample has one exchange of each kind, and values that are hard to show.
func sample() []*recording.Exchange {
	ts := time.Date(2026, 11, 22, 20, 15, 0, 123456789, time.UTC)
	return []*recording.Exchange{
		{MsgType: recording.MsgType, TS: ts, UUID: recording.UUID{0xaa}, Direction: recording.In, L7Protocol: recording.HTTP1,
			Duration: 12, Command: "POST", Location: "/cart", Status: "200", NetworkAddress: "localhost:8080",
			Tags: recording.Tags{{Name: "peer", Value: "spiffe://cluster.local/ns/shop/sa/frontend"}, {Name: "responseBodySize", Value: "9000"}, {Name: "truncated", Value: "true"}},
			HTTP: &recording.HTTP{
				Req: recording.HTTPRequest{Method: "POST", URI: "/cart?a=\x1b[31m", Version: "1.1", Host: "shop.example", Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}}, Body: []byte(`{"a":[1,2]}`)},
				Res: recording.HTTPResponse{StatusCode: 200, StatusMessage: "200 OK", Headers: recording.Headers{{Name: "Content-Encoding", Value: "gzip"}}, Body: zip("<html>\r\n\x1b[2J</html>")[:30]},
			}},
		{TS: ts.Add(time.Second), UUID: recording.UUID{0xab}, Cluster: "c1", Namespace: "shop", Service: "cart", Direction: recording.Out, L7Protocol: recording.GRPC, Command: "POST",
			Location: "/shop.Cart/Watch", Status: "0", HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: "POST", URI: "/shop.Cart/Watch", Version: "2.0", Host: "cart:50051"}, Res: recording.HTTPResponse{StatusMessage: "200 OK"}},
			GRPC: &recording.Conversation{Part: 1, Last: true, ClientBytes: 2, ServerBytes: 900, Messages: []recording.Message{
				{From: recording.Client, Data: []byte{8, 1}},
				{From: recording.Server, At: 1500, Compressed: true, Size: 900, Data: []byte{0x1f, 0x8b}},
			}}},
		{TS: ts.Add(2 * time.Second), UUID: recording.UUID{0xbb}, Direction: recording.In, L7Protocol: recording.WebSocket, Command: "GET", Location: "/chat",
			Status: "101", Tags: recording.Tags{{Name: "conversation", Value: "bb000000-0000-0000-0000-000000000000"}, {Name: "incomplete", Value: "cut"}},
			WebSocket: &recording.Conversation{Part: 2, Messages: []recording.Message{{From: recording.Server, Type: "text", More: true, Data: []byte("hello")}}}},
		{TS: ts.Add(3 * time.Second), UUID: recording.UUID{0xbc}, Cluster: "c2", Direction: recording.Out, L7Protocol: recording.TCP, NetworkAddress: "db:3306", TCP: &recording.Conversation{Part: 1, Last: true}},
	}
}

func lines(all ...*recording.Exchange) (text []byte) {
	for _, e := range all {
		text = append(e.AppendJSON(text), '\n')
	}
	return text
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = "testdata/" + name
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("want (-) got (+):\n%s", diff)
	}
	if strings.ContainsAny(got, "\x1b\r") {
		t.Error("control characters reach the terminal")
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	table := NewTable(&b)
	for _, e := range sample() {
		table.Add(e)
	}
	table.Close()
	golden(t, "table.txt", b.String())
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	for _, e := range sample() {
		if err := Plain(&b, e); err != nil {
			t.Fatal(err)
		}
		b.WriteString("----\n")
	}
	golden(t, "plain.txt", b.String())
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		filter Filter
		want   string // first bytes of the UUIDs
	}{
		{Filter{}, "aa ab bb bc"},
		{Filter{Direction: "out"}, "ab bc"},
		{Filter{Clusters: "c1, c2"}, "ab bc"},
		{Filter{Namespaces: "shop", Workloads: "cart"}, "ab"},
		{Filter{Workloads: "undefined"}, "aa bb bc"},
		{Filter{From: "2026-11-22T20:15:01.2Z"}, "bb bc"},
		{Filter{To: "2026-11-22T20:15:01", From: "2026-11-22"}, "aa"},
		{Filter{Host: "cart"}, "ab"},
		{Filter{Host: "3306"}, "bc"},
		{Filter{Status: "2xx"}, "aa"},
		{Filter{Status: "101"}, "bb"},
		{Filter{Status: "0"}, "ab"},
		{Filter{Protocol: "TCP"}, "bc"},
		{Filter{Path: "/ca"}, "aa"},
		{Filter{Path: "/ca", Direction: "Out"}, ""},
	} {
		var got []string
		file := filepath.Join(t.TempDir(), "s.jsonl")
		if err := os.WriteFile(file, lines(sample()...), 0o600); err != nil {
			t.Fatal(err)
		}
		from, err := read.Path(file)
		if err != nil {
			t.Fatal(err)
		}
		q, err := c.filter.Query(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, err := read.Open(t.Context(), q, read.Options{}, from)
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range r.Records() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.UUID.String()[:2])
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.filter, got, c.want)
		}
	}
}

// A filter that can't select anything is an error, because an empty table would not explain it.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, ""},
		{Filter{Direction: "In", Status: "5XX", Protocol: "gRPC"}, ""},
		{Filter{Status: "0"}, ""},
		{Filter{Status: "404", Host: "anything", Path: "anything"}, ""},
		{Filter{From: "yesterday"}, `from: time "yesterday": want one such as 2026-11-22T20:15:00Z, 2026-11-22T20:15 or 2026-11-22, which are UTC, or how long ago, such as 90m`},
		{Filter{To: "-1h"}, `to: time "-1h": want one such as 2026-11-22T20:15:00Z, 2026-11-22T20:15 or 2026-11-22, which are UTC, or how long ago, such as 90m`},
		{Filter{Namespaces: " , "}, `namespace " , ": want names, separated by commas`},
		{Filter{Direction: "sideways"}, `direction "sideways": want in, out`},
		{Filter{Status: "5x"}, `status "5x": want a code, or 1xx, 2xx, 3xx, 4xx, 5xx`},
		{Filter{Status: "9xx"}, `status "9xx": want a code, or 1xx, 2xx, 3xx, 4xx, 5xx`},
		{Filter{Status: "-1"}, `status "-1": want a code, or 1xx, 2xx, 3xx, 4xx, 5xx`},
		{Filter{Protocol: "htp"}, `protocol "htp": want http, https, grpc, websocket, tcp`},
	} {
		got := ""
		if _, err := c.filter.Query(time.Now()); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.filter, got, c.want)
		}
	}
}

// A table of any length holds only the lines from which it computes the widths. It writes the others as
// they come.
func TestATableIsNotHeldInMemory(t *testing.T) {
	var b bytes.Buffer
	table := NewTable(&b)
	e := sample()[0]
	for range 10 * lookAhead {
		if err := table.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if len(table.rows) > lookAhead || b.Len() == 0 {
		t.Errorf("%d lines are held, %d bytes are written", len(table.rows), b.Len())
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 10*lookAhead+2 || lines[1] != lines[10*lookAhead] {
		t.Errorf("%d lines, the first %q, the last %q", len(lines), lines[1], lines[len(lines)-2])
	}
}
