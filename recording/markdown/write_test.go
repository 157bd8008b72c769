package markdown_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/markdown"
)

func written() *recording.Exchange {
	e := &recording.Exchange{MsgType: recording.MsgType, UUID: recording.UUID{1}, TS: time.Date(2026, 11, 22, 20, 15, 0, 5, time.UTC), Duration: 51, Direction: recording.In,
		L7Protocol: recording.HTTP1, Command: "POST", Location: "/a", Status: "200", NetworkAddress: "shop:80",
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{URL: "/a", URI: "/a?b=c", Method: "POST", Host: "shop", Version: "1.1", Headers: recording.Headers{{Name: "Accept", Value: "a, b\\"}, {Name: "Accept", Value: ""}}, Body: []byte(`{"a": 1}`)},
			Res: recording.HTTPResponse{StatusCode: 200, StatusMessage: "200 OK", ContentType: "text/plain", Headers: recording.Headers{{Name: "Content-Type", Value: "text/plain"}, {Name: "Content-Length", Value: "2"}}, Body: []byte("hi")},
		}}
	e.Tags.Set("via", "tcp, or=so")
	return e
}

// Append writes any exchange so that it can be read back unchanged, and shows it as text where that is
// possible.
func TestAppend(t *testing.T) {
	for name, c := range map[string]struct {
		change func(e *recording.Exchange)
		shown  string // a line that must be there
	}{
		"a plain one":       {func(*recording.Exchange) {}, "POST http://shop/a?b=c HTTP/1.1"},
		"a list in a field": {func(*recording.Exchange) {}, `Accept: a\, b\\, `},
		"a binary body":     {func(e *recording.Exchange) { e.HTTP.Res.Body = []byte{0, 255} }, "HTTP/1.1 200 OK"},
		"lines and fences":  {func(e *recording.Exchange) { e.HTTP.Res.Body = []byte("a\n```\n\nb\r\n\n") }, "```"},
		"a body that is a section": {func(e *recording.Exchange) {
			e.HTTP.Res.Body = []byte("a\n```\n\n### METADATA ###\n```\ndirection: OUT")
		}, "### INTERNAL - DO NOT MODIFY ###"},
		"a field with a line": {func(e *recording.Exchange) { e.HTTP.Req.Headers[0].Value = "a\nX-B: c" }, "### INTERNAL - DO NOT MODIFY ###"},
		"a tag with a line":   {func(e *recording.Exchange) { e.Tags.Set("x", "a\ndirection: OUT") }, "### INTERNAL - DO NOT MODIFY ###"},
		"a bad URL":           {func(e *recording.Exchange) { e.HTTP.Req.URI = "/%zz" }, "### INTERNAL - DO NOT MODIFY ###"},
		"no answer":           {func(e *recording.Exchange) { e.HTTP.Res = recording.HTTPResponse{} }, "POST http://shop/a?b=c HTTP/1.1"},
		"no HTTP":             {func(e *recording.Exchange) { e.HTTP, e.TCP = nil, &recording.Conversation{Part: 1} }, "direction: IN"},
		"a signature": {func(e *recording.Exchange) {
			e.Signature = map[string][]byte{"http:url": []byte("/a"), "http:queryparams": {}}
		}, "http:queryparams is -NONE-"},
		"a signature that is binary": {func(e *recording.Exchange) { e.Signature = map[string][]byte{"a:b": {0, 255, '\n'}} }, "### INTERNAL - DO NOT MODIFY ###"},
		"another protocol":           {func(e *recording.Exchange) { e.Extra = []recording.Member{{Name: "postgres", Value: []byte(`{}`)}} }, "POST http://shop/a?b=c HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			e := written()
			c.change(e)
			same(t, e)
			if text := string(markdown.Append(nil, e)); !strings.Contains(text, c.shown+"\n") {
				t.Errorf("%s\nhas no line %q", text, c.shown)
			}
		})
	}
}

func same(t *testing.T, e *recording.Exchange) {
	t.Helper()
	text := markdown.Append([]byte("x"), e)[1:]
	got, losses, err := markdown.Parse(bytes.NewReader(text))
	if err != nil || len(losses) > 0 {
		t.Fatalf("%s: %v, %v", text, losses, err)
	}
	if want := e.AppendJSON(nil); !bytes.Equal(got.AppendJSON(nil), want) {
		t.Errorf("%s\nbecame\n%s\nby\n%s", want, got.AppendJSON(nil), text)
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("/a", "v", "body", "tag")
	f.Add("/%", "a, b\\", "```\n\n### X ###", "\n")
	f.Fuzz(func(t *testing.T, target, value, body, tag string) {
		e := written()
		e.HTTP.Req.URI, e.HTTP.Req.Headers[0].Value, e.HTTP.Req.Body = target, value, []byte(body)
		e.Tags.Set("x", tag)
		var kept recording.Exchange // as encoded in JSON
		var d recording.Decoder
		if d.Decode(e.AppendJSON(nil), &kept) == nil {
			same(t, &kept)
		}
	})
}
