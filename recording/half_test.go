package recording

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording/coding"
)

// fields makes headers of "Name: value" lines.
func fields(lines ...string) (h Headers) {
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h = append(h, Header{name, value})
	}
	return h
}

func zipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.Bytes()
}

func TestBodiesAreDecoded(t *testing.T) {
	zip := zipped("hello")
	for _, c := range []struct {
		name    string
		headers Headers
		body    string
		tags    Tags
		want    string
		err     error
		decoded bool
		size    int64
		cut     bool
	}{
		{"without a coding", nil, "hello", nil, "hello", nil, false, 5, false},
		{"identity", fields("Content-Encoding: identity"), "hello", nil, "hello", nil, false, 5, false},
		{"stored as sent", fields("Content-Encoding: gzip"), string(zip), nil, "hello", nil, false, int64(len(zip)), false},
		{"in any case of the name", fields("content-encoding: GZIP"), string(zip), nil, "hello", nil, false, int64(len(zip)), false},
		{"stored decoded, and tagged", fields("Content-Encoding: gzip", "Content-Length: 29"), "hello", Tags{{TagDecoded, "true"}}, "hello", nil, true, 5, false},
		{"of this side", fields("Content-Encoding: gzip"), "hello", Tags{{TagDecoded, "response"}}, "hello", nil, true, 5, false},
		{"tagged, and gzip inside", fields("Content-Encoding: gzip"), string(zip), Tags{{TagDecoded, "true"}}, string(zip), nil, true, int64(len(zip)), false},
		{"tagged only on the other side", fields("Content-Encoding: gzip"), string(zip), Tags{{TagDecoded, "request"}}, "hello", nil, false, int64(len(zip)), false},
		{"stored decoded, and not tagged", fields("Content-Encoding: br", "Content-Length: 9"), `{"a":1}`, nil, `{"a":1}`, nil, true, 7, false},
		{"cut", fields("Content-Encoding: gzip"), string(zip[:len(zip)-6]), Tags{{TagResponseBodySize, "29"}}, "hello", io.ErrUnexpectedEOF, false, 29, true},
		{"cut and decoded", fields("Content-Encoding: gzip"), "hello", Tags{{TagResponseBodySize, "29"}, {TagDecoded, "true"}}, "hello", nil, true, 29, true},
		{"as large as the limit", nil, strings.Repeat("a", 100), nil, strings.Repeat("a", 100), nil, false, 100, false},
		{"cut before it began", nil, "", Tags{{TagResponseBodySize, "0"}}, "", nil, false, 0, true},
		{"larger than the limit", nil, "hello, hello", nil, "hello, hel", coding.ErrTooLarge, false, 12, false},
		{"larger than the limit when decoded", fields("Content-Encoding: gzip"), string(zipped("hello, hello")), nil, "hello, hel", coding.ErrTooLarge, false, int64(len(zipped("hello, hello"))), false},
		{"empty", fields("Content-Encoding: gzip"), "", nil, "", nil, false, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &Exchange{Tags: c.tags, HTTP: &HTTP{Res: HTTPResponse{StatusCode: 200, Headers: c.headers, Body: []byte(c.body)}}}
			h, limit := e.Response(), int64(100)
			if c.err == coding.ErrTooLarge {
				limit = 10
			}
			got, err := h.Decode(nil, nil, limit)
			if string(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("%q, %v; want %q, %v", got, err, c.want, c.err)
			}
			if h.Decoded() != c.decoded || h.Size() != c.size || h.Cut() != c.cut {
				t.Errorf("decoded %v, size %d, cut %v", h.Decoded(), h.Size(), h.Cut())
			}
		})
	}
}

// Light reading leaves out bodies but keeps their sizes.
func TestSizesOfBodiesInLightReading(t *testing.T) {
	e := &Exchange{MsgType: MsgType, HTTP: &HTTP{Req: HTTPRequest{Body: []byte("1234")}, Res: HTTPResponse{Body: []byte("12345")}}}
	for how, text := range map[string][]byte{"as Encoder writes it": e.AppendJSON(nil), "as others do": append(e.AppendJSON(nil), ' ')} {
		var got Exchange
		if err := (&Decoder{Light: true}).Decode(text, &got); err != nil {
			t.Fatal(err)
		}
		if client, server := got.Sizes(); client != 4 || server != 5 || len(got.HTTP.Res.Body) > 0 {
			t.Errorf("%s: %d and %d bytes", how, client, server)
		}
	}
}

func TestFraming(t *testing.T) {
	for _, c := range []struct {
		name       string
		http       HTTP
		req, answe Framing
	}{
		{"no body, until the end", HTTP{Req: HTTPRequest{Version: "1.1"}, Res: HTTPResponse{StatusCode: 200}}, FramingNone, FramingClose},
		{"lengths", HTTP{Req: HTTPRequest{Headers: fields("Content-Length: 1")}, Res: HTTPResponse{StatusCode: 200, Headers: fields("Content-Length: 0")}}, FramingLength, FramingLength},
		{"no length", HTTP{Req: HTTPRequest{Headers: fields("Content-Length: -1")}, Res: HTTPResponse{StatusCode: 200, Headers: fields("Content-Length: x")}}, FramingNone, FramingClose},
		{"chunked", HTTP{Req: HTTPRequest{Headers: fields("Transfer-Encoding: chunked")}, Res: HTTPResponse{StatusCode: 200, Headers: fields("Transfer-Encoding: gzip, Chunked", "Content-Length: 3")}}, FramingChunked, FramingChunked},
		{"coded until the end", HTTP{Res: HTTPResponse{StatusCode: 200, Headers: fields("Transfer-Encoding: gzip", "Content-Length: 3")}}, FramingNone, FramingClose},
		{"no coding named", HTTP{Req: HTTPRequest{Headers: fields("Transfer-Encoding: ,")}, Res: HTTPResponse{StatusCode: 200, Headers: fields("Transfer-Encoding: ")}}, FramingNone, FramingClose},
		{"HEAD", HTTP{Req: HTTPRequest{Method: "HEAD"}, Res: HTTPResponse{StatusCode: 200, Headers: fields("Content-Length: 3")}}, FramingNone, FramingNone},
		{"204", HTTP{Res: HTTPResponse{StatusCode: 204}}, FramingNone, FramingNone},
		{"304", HTTP{Res: HTTPResponse{StatusCode: 304, Headers: fields("Content-Length: 3")}}, FramingNone, FramingNone},
		{"101", HTTP{Res: HTTPResponse{StatusCode: 101}}, FramingNone, FramingNone},
		{"CONNECT", HTTP{Req: HTTPRequest{Method: "CONNECT"}, Res: HTTPResponse{StatusCode: 200}}, FramingNone, FramingNone},
		{"a CONNECT that is redirected", HTTP{Req: HTTPRequest{Method: "CONNECT"}, Res: HTTPResponse{StatusCode: 300}}, FramingNone, FramingClose},
		{"no answer", HTTP{Req: HTTPRequest{Headers: fields("Content-Length: 1")}}, FramingLength, FramingNone},
		{"HTTP/2", HTTP{Req: HTTPRequest{Version: "2.0"}, Res: HTTPResponse{StatusCode: 200, Headers: fields("Content-Length: 3")}}, FramingStream, FramingStream},
	} {
		e := &Exchange{HTTP: &c.http}
		if req, res := e.Request().Framing(), e.Response().Framing(); req != c.req || res != c.answe {
			t.Errorf("%s: %q and %q, want %q and %q", c.name, req, res, c.req, c.answe)
		}
	}
	var none Exchange
	if none.Request().Framing() != FramingNone || none.Response().Framing() != FramingNone || none.Request().Size() != 0 {
		t.Error("an exchange without HTTP has a framing")
	}
}

func TestTrailers(t *testing.T) {
	e := &Exchange{HTTP: &HTTP{Res: HTTPResponse{Headers: fields("Trailer: x-sum, X-Missing", "Trailer: X-Time", "X-Sum: 1", "X-Other: 2", "X-Time: 3", "Grpc-Status: 0")}}}
	if got := strings.Join(e.Response().Trailers(), " "); got != "X-Sum X-Time" {
		t.Error(got)
	}
	e.GRPC = &Conversation{}
	if got := strings.Join(e.Response().Trailers(), " "); got != "X-Sum X-Time Grpc-Status" {
		t.Error(got)
	}
}
