package redact

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// deflated compresses messages as permessage-deflate does with context takeover.
func deflated(t *testing.T, texts ...string) (all [][]byte) {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		io.WriteString(w, text)
		w.Flush()
		all = append(all, bytes.TrimSuffix(bytes.Clone(b.Bytes()), []byte("\x00\x00\xff\xff")))
		b.Reset()
	}
	return all
}

func ws(part int, last bool, messages ...recording.Message) *recording.Exchange {
	return &recording.Exchange{UUID: recording.UUID{byte(part)}, L7Protocol: recording.WebSocket, HTTP: &recording.HTTP{},
		Tags:      recording.Tags{{Name: recording.TagConversation, Value: recording.UUID{1}.String()}},
		WebSocket: &recording.Conversation{Part: part, Last: last, Messages: messages}}
}

func said(e *recording.Exchange) (all []string) {
	for _, m := range e.WebSocket.Messages {
		all = append(all, tokens.ReplaceAllString(string(m.Data), "R"))
	}
	return all
}

// A message that continues in the next part is written there in full, compressed or not.
func TestMessagesOverSeveralParts(t *testing.T) {
	text := `{"token":"hush","text":"` + strings.Repeat("more and more ", 10) + `"}`
	want := strings.Replace(text, "hush", "R", 1)
	packed := deflated(t, text, text)
	for _, c := range []struct {
		compressed bool
		data       []byte
	}{{false, []byte(text)}, {true, packed[0]}} {
		r := New(recording.Discard{}, Options{})
		half := len(c.data) / 2
		first := ws(1, false, recording.Message{From: "client", Type: "text", More: true, Compressed: c.compressed, Data: c.data[:half]})
		second := ws(2, false, recording.Message{From: "server", Type: "ping", Data: []byte("x")},
			recording.Message{From: "client", Type: "continuation", Compressed: c.compressed, Data: c.data[half:]})
		r.Write(first)
		r.Write(second)
		if got := said(first); got[0] != "" || first.WebSocket.Messages[0].Size != int64(half) {
			t.Errorf("compressed %v: the first part has %q, size %d", c.compressed, got, first.WebSocket.Messages[0].Size)
		}
		if got := said(second); got[1] != want || second.WebSocket.Messages[1].Compressed || second.Tags.Get(recording.TagRedacted) != "client.message.token" {
			t.Errorf("compressed %v: %q, %v", c.compressed, got, second.Tags)
		}
		if !c.compressed {
			continue
		}
		third := ws(3, true, recording.Message{From: "client", Type: "text", Compressed: true, Data: packed[1]}) // it repeats the first one
		if r.Write(third); said(third)[0] != want {
			t.Errorf("after it: %q", said(third))
		}
		if len(r.windows.of) > 0 || r.windows.kept != 0 {
			t.Errorf("%d conversations and %d bytes are kept after the end", len(r.windows.of), r.windows.kept)
		}
	}
}

// Messages that can't be read are left out: those that began in a missing part, and those that refer to
// a message that was cut.
func TestMessagesThatCannotBeReadAreLeftOut(t *testing.T) {
	r := New(recording.Discard{}, Options{})
	packed := deflated(t, "hush hush hush hush hush", "hush hush hush hush hush")
	e := ws(2, false, recording.Message{From: "client", Type: "continuation", Data: []byte(`hush"}`)},
		recording.Message{From: "server", Type: "text", Compressed: true, Data: packed[0][:4], Size: 20},
		recording.Message{From: "server", Type: "text", Compressed: true, Data: packed[1]})
	r.Write(e)
	for i, m := range e.WebSocket.Messages {
		if len(m.Data) > 0 || m.Size == 0 {
			t.Errorf("message %d: %q, size %d", i, m.Data, m.Size)
		}
	}
	if e.Tags.Get(recording.TagTruncated) != "true" {
		t.Errorf("tags %v", e.Tags)
	}
}

// The memory for windows is bounded, however many conversations there are.
func TestWindowsAreBounded(t *testing.T) {
	r := New(recording.Discard{}, Options{MaxBody: 1 << 10})
	for i := range 500 {
		e := ws(1, false, recording.Message{From: "client", Type: "text", More: true, Data: make([]byte, 100)})
		e.Tags = recording.Tags{{Name: recording.TagConversation, Value: recording.UUID{1, byte(i), byte(i >> 8)}.String()}}
		r.Write(e)
	}
	if len(r.windows.of) > maxWindows || r.windows.kept > 4<<10 || r.windows.kept < 0 {
		t.Errorf("%d conversations, %d bytes", len(r.windows.of), r.windows.kept)
	}
}

// The reason in a close frame follows the code, and a control frame remains short enough to be sent
// again.
func TestControlFrames(t *testing.T) {
	e := ws(1, true,
		recording.Message{From: "client", Type: "ping", Data: []byte(`{"token":"hush"}`)},
		recording.Message{From: "client", Type: "close", Data: []byte("\x03\xe8token=hush")},
		recording.Message{From: "server", Type: "close", Data: []byte("\x03\xe8" + strings.Repeat("token=hush\n", 11))},
		recording.Message{From: "server", Type: "close", Data: []byte{3}})
	New(recording.Discard{}, Options{}).Write(e)
	got := said(e)
	for i, want := range []string{`{"token":"R"}`, "\x03\xe8token=R"} {
		if got[i] != want {
			t.Errorf("%q, want %q", got[i], want)
		}
	}
	if long := string(e.WebSocket.Messages[2].Data); len(long) != maxControl || strings.Contains(long, "hush") || !strings.HasPrefix(long, "\x03\xe8token=REDACTED-") {
		t.Errorf("%q", long)
	}
	if got[3] != "\x03" {
		t.Errorf("%q", got[3])
	}
}

// gRPC messages keep their sizes. With an option, only the sizes are kept.
func TestMessagesOfGRPC(t *testing.T) {
	for _, message := range []string{"\x0aDghp_hushhushhushhushhushhushhushhushhushhushhushhushhushhushhushhush", "\x0aAAKIAHUSHHUSHHUSHHUSH\x12"} { // D and A are sizes
		e := &recording.Exchange{HTTP: &recording.HTTP{}, GRPC: &recording.Conversation{Messages: []recording.Message{{From: "client", Data: []byte(message)}}}}
		New(recording.Discard{}, Options{}).Write(e)
		if m := e.GRPC.Messages[0]; len(m.Data) != len(message) || strings.Contains(strings.ToLower(string(m.Data)), "hush") {
			t.Errorf("%q", m.Data)
		}
	}
	const secret = "\x0a\x30eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hushhushhush\x10\x01"
	for _, drop := range []bool{false, true} {
		e := &recording.Exchange{HTTP: &recording.HTTP{}, GRPC: &recording.Conversation{Messages: []recording.Message{{From: "client", Data: []byte(secret)}}}}
		New(recording.Discard{}, Options{Redaction: contract.Redaction{DropGRPC: drop}}).Write(e)
		m := e.GRPC.Messages[0]
		switch {
		case drop && (len(m.Data) > 0 || m.Size != int64(len(secret)) || e.Tags.Get(recording.TagTruncated) == ""):
			t.Errorf("%q, size %d", m.Data, m.Size)
		case !drop && (len(m.Data) != len(secret) || strings.Contains(string(m.Data), "hush") || !strings.HasSuffix(string(m.Data), "-\x10\x01")):
			t.Errorf("%q", m.Data)
		}
	}
}

func ExampleTokens() {
	key := []byte("sixteen bytes and more")
	live := NewTokens(key)
	e := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{URI: "/a?token=a%2Fb", Body: []byte(`{"token":"a\/b","pin":1234}`)}}}
	New(recording.Discard{}, Options{Key: key}).Write(e)
	fmt.Println(strings.Contains(e.HTTP.Req.URI, live.Of("a/b")), strings.Contains(string(e.HTTP.Req.Body), live.Of("a/b")), strings.Contains(string(e.HTTP.Req.Body), live.OfNumber("1234")))
	fmt.Println(e.Tags.Get(recording.TagRedacted))
	// Output:
	// true true true
	// req.body.pin,req.body.token,req.query.token
}
