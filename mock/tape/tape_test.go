package tape

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tapedeck/tapedeck/internal/scratch"
	"github.com/tapedeck/tapedeck/recording"
)

var start = time.Date(2026, 11, 22, 20, 15, 0, 123456789, time.UTC)

// exchange returns an HTTP exchange whose answer has these fields: names and values.
func exchange(status int, body string, headers ...string) *recording.Exchange {
	e := &recording.Exchange{TS: start, UUID: recording.UUID{1, 2}, Duration: 1100, HTTP: &recording.HTTP{
		Req: recording.HTTPRequest{Method: "GET", Version: "1.1"},
		Res: recording.HTTPResponse{StatusCode: status, Body: []byte(body)},
	}}
	for i := 0; i+1 < len(headers); i += 2 {
		e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, recording.Header{Name: headers[i], Value: headers[i+1]})
	}
	return e
}

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// onTape writes an answer and reads it.
func onTape(t *testing.T, answers ...*Answer) (*Tape, []int64) {
	t.Helper()
	w, err := Create(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var offsets []int64
	for _, a := range answers {
		var r Record
		r.SetAnswer(a)
		r.SetRequest(func(dst []byte) []byte { return append(dst, "the request"...) })
		offset, err := w.Add(&r)
		if err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, offset)
	}
	tape, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tape.Close() })
	return tape, offsets
}

func TestWhatIsReadIsWhatWasAdded(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 100_000)
	full := &Answer{
		Kind: HTTP, Status: 201, Interim: 103, Header: recording.Headers{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}, {Name: "B"}},
		Trailer: recording.Headers{{Name: "T", Value: "x"}}, Framing: recording.FramingChunked, Length: -1, Codings: []string{"gzip", "br"}, Negotiated: true,
		Wait: time.Millisecond, Took: time.Second, Pace: []recording.Moment{{Offset: 3, At: time.Millisecond}}, Lacks: "why", Echoes: recording.Headers{{Name: "E", Value: "value"}},
		TS: start, UUID: recording.UUID{9}, Body: []byte("body"),
	}
	answers := []*Answer{
		full,
		{Status: 200, Length: 12345, TS: start},
		{Status: 200, Length: -1, TS: start, Body: large},
		{Status: 200, Length: -1, TS: start, Body: large[:8<<10]},
		{Kind: GRPC, Status: 200, Length: -1, TS: start, Messages: []recording.Message{
			{From: recording.Client, At: 1, Data: []byte("ask")}, {From: recording.Server, At: 2, Compressed: true, Data: []byte("say")}, {From: recording.Server, At: 3, Size: 7}}},
		{Kind: WebSocket, Status: 101, Length: -1, TS: start, Messages: []recording.Message{{From: recording.Server, Type: "text", More: true, Data: large}}},
	}
	tape, offsets := onTape(t, answers...)
	var b Buffer
	for _, order := range [][]int{{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}} { // reusing the buffer
		for _, i := range order {
			got, err := tape.Read(offsets[i], &b)
			if err != nil {
				t.Fatal(err)
			}
			body, err := got.All()
			if err != nil {
				t.Fatal(err)
			}
			read, err := io.ReadAll(got.Reader())
			if !bytes.Equal(read, body) || err != nil {
				t.Errorf("answer %d: Reader has %d bytes, %v, and All %d", i, len(read), err, len(body))
			}
			if answers[i].Kind != HTTP {
				if err := got.Conversation(); err != nil {
					t.Fatal(err)
				}
			}
			opts := cmp.Options{cmp.FilterValues(func(a, b []byte) bool { return len(a)+len(b) > 0 }, cmp.Comparer(bytes.Equal)), cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(Answer{}), cmpopts.IgnoreFields(Answer{}, "Size", "Body")}
			if diff := cmp.Diff(answers[i], got, opts); diff != "" {
				t.Errorf("answer %d (-added +read):\n%s", i, diff)
			}
			if answers[i].Kind == HTTP && !bytes.Equal(body, answers[i].Body) {
				t.Errorf("answer %d: the body differs", i)
			}
		}
	}
	if text, err := tape.Request(offsets[2]); string(text) != "the request" || err != nil {
		t.Errorf("the request: %q, %v", text, err)
	}
	if _, err := tape.Read(tape.Size(), &b); !errors.Is(err, errOffset) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := tape.Read(offsets[2]+1, &b); err == nil {
		t.Error("there is an answer where none begins")
	}
}

func TestTapeIsBoundedAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abandon()
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) > 0 {
		t.Errorf("it has a name: %v", names)
	}
	var r Record
	r.SetAnswer(&Answer{Body: make([]byte, 400)})
	for range 3 {
		_, err = w.Add(&r)
	}
	if !errors.Is(err, scratch.ErrFull) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Finish(); !errors.Is(err, scratch.ErrFull) {
		t.Errorf("got %v", err)
	}
	if _, err := Create(filepath.Join(dir, "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNotSaidAgain(t *testing.T) {
	a := Of(exchange(200, "body", "Server", "nginx", "Connection", "close", "Keep-Alive", "timeout=5", "Transfer-Encoding", "chunked", "Content-Length", "9",
		"Alt-Svc", `h3=":443"`, "Trailer", "X-Sum", "Set-Cookie", "a=1", "Set-Cookie", "b=2", ":unknown", "", "X-Sum", "17"))
	if diff := cmp.Diff(recording.Headers{{Name: "Server", Value: "nginx"}, {Name: "Set-Cookie", Value: "a=1"}, {Name: "Set-Cookie", Value: "b=2"}}, a.Header); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(recording.Headers{{Name: "X-Sum", Value: "17"}}, a.Trailer); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
	if a.Framing != recording.FramingChunked || a.Length != -1 {
		t.Errorf("framing %s, length %d", a.Framing, a.Length)
	}
}

// The body has the encoding that Content-Encoding states.
func TestContentEncodingIsNotStale(t *testing.T) {
	for name, c := range map[string]struct {
		e          *recording.Exchange
		accept     string
		coded      bool
		negotiated bool
		says       bool
	}{
		"as it was sent":                {exchange(200, zipped("x"), "Content-Encoding", "gzip"), "br, gzip", true, true, true},
		"as it was sent, unasked":       {exchange(200, zipped("x"), "Content-Encoding", "gzip"), "", true, false, true},
		"decoded, under its old header": {exchange(200, "plain", "Content-Encoding", "gzip", "Content-Length", "25"), "gzip", false, false, false},
		"none":                          {exchange(200, "plain"), "gzip", false, false, false},
		"empty":                         {exchange(200, "", "Content-Encoding", "gzip"), "gzip", false, false, true},
	} {
		c.e.HTTP.Req.Headers = recording.Headers{{Name: "Accept-Encoding", Value: c.accept}}
		a := Of(c.e)
		if len(a.Codings) > 0 != c.coded || a.Negotiated != c.negotiated || (a.Header.Get("Content-Encoding") != "") != c.says {
			t.Errorf("%s: codings %v, negotiated %t, header %q", name, a.Codings, a.Negotiated, a.Header.Get("Content-Encoding"))
		}
	}
}

func TestLengthWithoutABody(t *testing.T) {
	head := exchange(200, "", "Content-Length", "1234")
	head.HTTP.Req.Method = "HEAD"
	for name, c := range map[string]struct {
		e    *recording.Exchange
		want int64
	}{
		"HEAD":        {head, 1234},
		"304":         {exchange(304, "", "Content-Length", "1234"), 1234},
		"204":         {exchange(204, "", "Content-Length", "0"), -1},
		"with a body": {exchange(200, "abc", "Content-Length", "3"), -1},
		"nonsense":    {exchange(304, "", "Content-Length", "-4"), -1},
	} {
		if got := Of(c.e).Length; got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestAnswersThatAreNotWhole(t *testing.T) {
	tagged := func(e *recording.Exchange, name, value string) *recording.Exchange {
		e.Tags.Set(name, value)
		return e
	}
	stream := func(m ...recording.Message) *recording.Exchange {
		return &recording.Exchange{TCP: &recording.Conversation{Part: 1, Last: true, Messages: m}}
	}
	for name, e := range map[string]*recording.Exchange{
		"no answer":       tagged(exchange(0, ""), recording.TagIncomplete, "no_answer"),
		"cut body":        tagged(exchange(200, "ab"), recording.TagResponseBodySize, "5"),
		"lost bytes":      tagged(exchange(200, "ab"), recording.TagIncomplete, "bytes_lost"),
		"not decoded":     tagged(exchange(200, "ab"), recording.TagUndecoded, "http1: large"),
		"sizes alone":     stream(recording.Message{From: recording.Server, Size: 7}),
		"a cut message":   stream(recording.Message{From: recording.Server, Data: []byte("a"), Size: 7}),
		"parts missing":   {WebSocket: &recording.Conversation{Part: 2, Last: true}},
		"no end":          {GRPC: &recording.Conversation{Part: 1}},
		"a cut stream":    {TCP: &recording.Conversation{Part: 1, Last: true, ServerBytes: 9}},
		"an early ending": tagged(exchange(200, "ab"), recording.TagIncomplete, "cut"),
	} {
		if Of(e).Lacks == "" {
			t.Errorf("%s: the answer is taken for whole", name)
		}
	}
	whole := stream(recording.Message{From: recording.Client, Size: 7}, recording.Message{From: recording.Server, Data: []byte("a")})
	whole.TCP.ServerBytes = 1
	for name, e := range map[string]*recording.Exchange{
		"a whole answer":     exchange(200, "ab"),
		"a cut request":      tagged(tagged(exchange(200, "ab"), recording.TagRequestBodySize, "5"), recording.TagTruncated, "true"),
		"an answer's stream": whole,
	} {
		if why := Of(e).Lacks; why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

func TestEchoes(t *testing.T) {
	e := exchange(200, `{"id":"req-12345678"}`, "X-Correlation-Id", "corr-1234")
	e.HTTP.Req.Headers = recording.Headers{{Name: "X-Request-Id", Value: "req-12345678"}, {Name: "X-Correlation-Id", Value: "corr-1234"},
		{Name: "X-Other", Value: "not in it"}, {Name: "X-Short", Value: "id"}, {Name: "Accept", Value: "application/json"}}
	if diff := cmp.Diff(e.HTTP.Req.Headers[:2], Of(e).Echoes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// gRPC answers without messages have one list of fields, which are trailers.
func TestTrailersOfGRPC(t *testing.T) {
	e := exchange(200, "", "Content-Type", "application/grpc", "X-Trace", "1", "Grpc-Status", "5", "Grpc-Message", "none")
	e.HTTP.Req.Version, e.GRPC = "2.0", &recording.Conversation{Part: 1, Last: true, Messages: []recording.Message{{From: recording.Client}}}
	a := Of(e)
	if len(a.Header) != 1 || len(a.Trailer) != 3 || a.Kind != GRPC {
		t.Errorf("fields %v, trailers %v", a.Header, a.Trailer)
	}
	e.GRPC.Messages = append(e.GRPC.Messages, recording.Message{From: recording.Server})
	if a := Of(e); len(a.Header) != 2 || len(a.Trailer) != 2 {
		t.Errorf("fields %v, trailers %v", a.Header, a.Trailer)
	}
}

// Binary metadata is redacted as a whole. Clients decode it, so the token is encoded.
func TestRedactedBinaryMetadata(t *testing.T) {
	e := exchange(200, "", "Content-Type", "application/grpc", "X-Raw-Bin", "REDACTED-0123456789abcdef", "X-Other-Bin", "AP8", "Grpc-Status", "0")
	e.GRPC = &recording.Conversation{Part: 1, Last: true, Messages: []recording.Message{{From: recording.Server}}}
	a := Of(e)
	if got := a.Header.Get("X-Raw-Bin"); got != "UkVEQUNURUQtMDEyMzQ1Njc4OWFiY2RlZg" || a.Header.Get("X-Other-Bin") != "AP8" {
		t.Errorf("%q, %v", got, a.Header)
	}
}

func TestTimes(t *testing.T) {
	e := exchange(200, "ab")
	e.Tags = recording.Tags{{Name: recording.TagRequestEnd, Value: "1000"}, {Name: recording.TagResponseStart, Value: "101000"}, {Name: recording.TagPace, Value: "1:601000"}}
	a := Of(e)
	if a.Wait != 100*time.Millisecond || a.Took != 999*time.Millisecond || len(a.Pace) != 1 || a.Pace[0].At != 500*time.Millisecond {
		t.Errorf("waits %v, takes %v, pace %v", a.Wait, a.Took, a.Pace)
	}
}

func BenchmarkRead(b *testing.B) {
	w, _ := Create(b.TempDir(), 0)
	var h recording.Headers
	for _, name := range []string{"Content-Type", "Date", "Server", "X-Request-Id", "Cache-Control", "Vary"} {
		h = append(h, recording.Header{Name: name, Value: "a value of some length"})
	}
	var r Record
	r.SetAnswer(&Answer{Status: 200, Header: h, Body: make([]byte, 1024)})
	r.SetRequest(func(dst []byte) []byte { return append(dst, make([]byte, 500)...) })
	w.Add(&r)
	tape, err := w.Finish()
	if err != nil {
		b.Fatal(err)
	}
	var buf Buffer
	b.ReportAllocs()
	for b.Loop() {
		tape.Read(0, &buf)
	}
}
