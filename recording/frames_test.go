package recording

import (
	"bytes"
	"cmp"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestJoinFrames(t *testing.T) {
	// Two messages are compressed with one window: the second one refers to the first.
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	squeeze := func(text string) []byte {
		b.Reset()
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
	}
	long := strings.Repeat("tell me more ", 20)
	one, two := squeeze(long), squeeze(long)
	for _, test := range []struct {
		name   string
		frames []Message
		want   string
		err    string
	}{
		{"messages of one frame remain", []Message{
			{From: Client, At: 1, Type: "text", Data: []byte("a")}, {From: Server, At: 2, Type: "binary", Data: []byte("b")},
		}, "client 1 text a, server 2 binary b", ""},
		{"fragments are joined, whatever comes between", []Message{
			{From: Server, At: 1, Type: "text", More: true, Data: []byte("a")},
			{From: Server, At: 2, Type: "ping"},
			{From: Client, At: 3, Type: "text", Data: []byte("x")},
			{From: Server, At: 4, Type: "continuation", Data: []byte("b")},
		}, "client 3 text x, server 1 text ab", ""},
		{"compression is undone", []Message{
			{From: Server, At: 1, Type: "text", Compressed: true, More: true, Data: one[:5]},
			{From: Server, At: 2, Type: "continuation", Compressed: true, Data: one[5:]},
			{From: Server, At: 3, Type: "text", Compressed: true, Data: two},
		}, "server 1 text " + long + ", server 3 text " + long, ""},
		{"nothing follows a close frame", []Message{
			{From: Server, At: 1, Type: "close", Data: []byte("\x03\xe8")}, {From: Client, At: 2, Type: "close"},
		}, "server 1 close \x03\xe8", ""},
		{"a message without a beginning", []Message{{From: Server, Type: "continuation"}}, "", "frame 1 continues a message that has not begun"},
		{"a compressed message that was cut", []Message{
			{From: Server, Type: "text", Compressed: true, Data: one[:5], Size: int64(len(one))},
		}, "", "frame 1: a part of the compressed message is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			all, err := JoinFrames(test.frames, 1<<20)
			var got []string
			for _, m := range all {
				got = append(got, fmt.Sprintf("%s %d %s %s", m.From, m.At, m.Type, m.Data))
			}
			if text := strings.Join(got, ", "); text != test.want || fmt.Sprint(err) != cmp.Or(test.err, "<nil>") {
				t.Errorf("got %q, %v", text, err)
			}
		})
	}
	if _, err := JoinFrames([]Message{{From: Client, Type: "ping"}, {From: Client, Type: "text", Compressed: true, Data: one}}, 10); err == nil || !strings.HasPrefix(err.Error(), "frame 2: ") {
		t.Errorf("more than the limit: %v", err)
	}
}
