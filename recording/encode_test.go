package recording

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// full has every field set, with values that are hard to write.
func full() *Exchange {
	ts := time.Date(2026, 11, 22, 20, 15, 0, 123456789, time.UTC)
	messages := []Message{
		{From: Client, At: 12, Type: "text", More: true, Compressed: true, Size: 99, Data: []byte("hello")},
		{From: Server, At: 34},
	}
	return &Exchange{
		MsgType: MsgType, Resource: "cart", TS: ts, IsTLS: true, L7Protocol: HTTPS, Duration: 17, ALPN: "h2",
		Tags: Tags{{"proxyType", "dual"}, {"odd \"name\"\n", "\x00\x1f\x7f</script>&\u2028\u2029é\xff"}},
		UUID: UUID{1, 2, 3, 0xff}, Direction: In, Cluster: "c", Namespace: "n", Service: "cart", Tech: "JSON",
		NetworkAddress: "127.0.0.1:8080", Command: "POST", Location: "/a", Status: "200",
		HTTP: &HTTP{
			Req: HTTPRequest{URL: "/a", URI: "/a?b=<c>&d", Version: "1.1", Method: "POST", Host: "h",
				Headers: Headers{{"Accept", "*/*"}, {"X-A", "1"}, {"Via", ""}, {"X-A", "2\t\b\f\r\\"}}, Body: []byte("{}")},
			Res: HTTPResponse{ContentType: "application/json", StatusCode: 200, StatusMessage: "200 OK",
				Headers: Headers{{"Set-Cookie", "a=b"}, {"Set-Cookie", "c=d"}}, Body: []byte{0, 255}},
		},
		GRPC:      &Conversation{Part: 1, Last: true, ClientBytes: math.MaxInt64, ServerBytes: 1, Messages: messages},
		WebSocket: &Conversation{Part: 2, Messages: messages[:1]},
		TCP:       &Conversation{},
		Signature: map[string][]byte{"http:url": []byte("/a"), "http:host": {}, "b": nil},
		NetInfo: &NetInfo{ID: "7", StartTime: ts,
			Downstream: Endpoint{Established: ts, IPAddress: "::1", Port: 5, BytesSent: 443},
			Upstream:   Endpoint{Hostname: "db"}},
	}
}

// marshal returns the exchange as encoding/json writes it.
func marshal(t testing.TB, e *Exchange) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func TestAppendJSONEqualsEncodingJSON(t *testing.T) {
	for name, e := range map[string]*Exchange{"full": full(), "empty": {}, "nested empties": {
		HTTP: &HTTP{}, NetInfo: &NetInfo{}, WebSocket: &Conversation{Messages: []Message{{}}}, Tags: Tags{}, Signature: map[string][]byte{},
	}} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(marshal(t, e), string(e.AppendJSON(nil))); diff != "" {
				t.Errorf("encoding/json (-) AppendJSON (+):\n%s", diff)
			}
		})
	}
}

// An Encoder remembers a bounded part of one exchange. This doesn't change how it writes the next one.
func TestAnEncoderWritesAsIfItRememberedNothing(t *testing.T) {
	long := strings.Repeat("x", maxRemembered)
	var m Encoder
	for i, tags := range []Tags{
		{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}},
		{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "other"}},
		{{"a", "1"}, {"b", "2"}},
		{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"}},
		{{"a", "other"}, {"b", "2"}, {"c", "3"}, {"d", "4"}}, // remembered instead of the first one
		{{"a", "other"}, {"b", "2"}, {"c", "3"}, {"other", "4"}},
		{},
		{{"a", "1"}},
		{{"long", long}, {"b", "2"}, {"c", "3"}},
		{{"b", "2"}, {"long", long}, {"c", "3"}},
		{{"b", "2"}, {"long", long}, {"c", "4"}},
		{{"\"", "{"}, {"{", "\""}},
		{{"\"", "{"}, {"{", "other"}},
	} {
		e := &Exchange{Tags: tags}
		if got, want := string(m.Append(nil, e)), marshal(t, e); got != want {
			t.Errorf("exchange %d is written as\n%s, want\n%s", i, got, want)
		}
		if len(m.text) > maxRemembered {
			t.Errorf("after exchange %d, %d bytes are remembered", i, len(m.text))
		}
	}
}

func TestAPreparedConnectionIsWrittenAsBefore(t *testing.T) {
	for name, n := range map[string]*NetInfo{"full": full().NetInfo, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			n.Prepare()
			for _, sent := range []int64{0, 1, math.MaxInt64} {
				n.Downstream.BytesSent, n.Upstream.BytesSent = sent, sent/2
				e := &Exchange{NetInfo: n}
				if got, want := string(e.AppendJSON(nil)), marshal(t, e); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
}

// DuckDB's TIMESTAMP ignores the zone.
func TestTimesAreWrittenInUTC(t *testing.T) {
	e := &Exchange{TS: time.Date(2026, 11, 22, 21, 15, 0, 5, time.FixedZone("", 3600))}
	if got, want := string(e.AppendJSON(nil)), `"ts":"2026-11-22T20:15:00.000000005Z"`; !strings.Contains(got, want) {
		t.Errorf("%s lacks %s", got, want)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	want := full()
	want.Tags[1].Value = "\x00\x1f\x7f</script>&\u2028\u2029é\ufffd" // only what is not UTF-8 is lost
	want.HTTP.Req.Headers = Headers{{"Accept", "*/*"}, {"X-A", "1"}, {"X-A", "2\t\b\f\r\\"}, {"Via", ""}}
	var got Exchange
	if err := json.Unmarshal(full().AppendJSON(nil), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, cmpopts.IgnoreUnexported(NetInfo{})); diff != "" {
		t.Errorf("want (-) got (+):\n%s", diff)
	}
}

// The lists and objects that the package writes itself mean the same to any JSON reader.
func TestHeadersAreAnObjectOfLists(t *testing.T) {
	var got map[string][]string
	if err := json.Unmarshal(appendHeaders(nil, full().HTTP.Req.Headers), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"Accept": {"*/*"}, "X-A": {"1", "2\t\b\f\r\\"}, "Via": {""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-) got (+):\n%s", diff)
	}
}

func TestAppendJSONAllocatesNothing(t *testing.T) {
	e, buf := full(), make([]byte, 0, 8<<10)
	e.Signature = nil // capture doesn't write it
	if n := testing.AllocsPerRun(100, func() { e.AppendJSON(buf) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\"\\\u2028\xff\xe2\x80")
	f.Fuzz(func(t *testing.T, s string) {
		e := &Exchange{Location: s, Tags: Tags{{s, s}}}
		want := marshal(t, e)
		var m Encoder
		for range 2 { // the second time from the cache
			if got := string(m.Append(nil, e)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	e := full()
	e.Signature, e.GRPC, e.WebSocket, e.TCP = nil, nil, nil, nil
	buf := e.AppendJSON(nil)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}
