package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

func TestADamagedRequestIsNotSent(t *testing.T) {
	c := client(t, bare) // sends nothing
	whole, err := Append(nil, request("1.1", "POST", "/", "hello", "Host: a"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		var r Result
		if err := c.Send(t.Context(), b, &r); r.Fail != Damaged || err == nil {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	var r Result
	if _ = c.Send(t.Context(), nil, &r); r.Fail != Damaged {
		t.Errorf("nothing at all: %q", r.Fail)
	}
}

func TestABodyThatIsStoredDecodedIsCodedAgain(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(z)
		if string(body) != "hello hello hello" || err != nil || r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("got %q, %v, %v", body, err, r.Header)
		}
	}))
	defer s.Close()
	c := client(t, s.URL)
	for _, framing := range []string{"Content-Length: 17", "Transfer-Encoding: chunked"} {
		e := request("1.1", "POST", "/", "hello hello hello", "Content-Encoding: gzip", framing)
		e.Tags.Set(recording.TagDecoded, "request")
		if err := send(t, c, e, new(Result)); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatCannotBeSentSaysWhy(t *testing.T) {
	with := func(e *recording.Exchange, set func(e *recording.Exchange)) *recording.Exchange {
		set(e)
		return e
	}
	get := func(set func(e *recording.Exchange)) *recording.Exchange {
		return with(request("1.1", "GET", "/", ""), set)
	}
	for _, test := range []struct {
		name string
		e    *recording.Exchange
		want error
	}{
		{"a stream", &recording.Exchange{L7Protocol: "tcp", TCP: new(recording.Conversation)}, ErrOpaque},
		{"no request line", get(func(e *recording.Exchange) { e.HTTP.Req.Method = "" }), ErrIncomplete},
		{"lost bytes", get(func(e *recording.Exchange) { e.Tags.Set("incomplete", "bytes_lost") }), ErrIncomplete},
		{"read without bodies", get(func(e *recording.Exchange) { e.HTTP.Req.BodyLeft = 3 }), ErrIncomplete},
		{"a body that was cut", get(func(e *recording.Exchange) { e.Tags.Set("requestBodySize", "9") }), ErrCut},
		{"fields that were left out", get(func(e *recording.Exchange) { e.Tags.Set("truncated", "true") }), ErrCut},
		{"a pushed answer", get(func(e *recording.Exchange) { e.Tags.Set("push", "true") }), ErrUnsupported},
		{"a method with a space", get(func(e *recording.Exchange) { e.HTTP.Req.Method = "G ET" }), ErrMalformed},
		{"a coding that is not known", get(func(e *recording.Exchange) {
			e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Encoding", Value: "x-own"}}
			e.HTTP.Req.Body = []byte("hello")
			e.Tags.Set("decoded", "request")
		}), ErrUnsupported},
		{"a part of a conversation", with(socketOf(say("client", 0, "text", "a")), func(e *recording.Exchange) { e.WebSocket.Part = 2 }), ErrIncomplete},
		{"a conversation that continues", with(socketOf(say("client", 0, "text", "a")), func(e *recording.Exchange) { e.WebSocket.Last = false }), ErrIncomplete},
		{"a message that was cut", with(socketOf(say("client", 0, "text", "a")), func(e *recording.Exchange) {
			e.WebSocket.Messages[0].Size = 9
			e.Tags.Set("truncated", "true")
		}), ErrCut},
		{"messages that were left out", with(socketOf(say("client", 0, "text", "a")), func(e *recording.Exchange) {
			e.WebSocket.ClientBytes = 9
			e.Tags.Set("truncated", "true")
		}), ErrCut},
		{"a frame of nobody knows what", socketOf(say("client", 0, "novel", "a")), ErrMalformed},
		{"a WebSocket over HTTP/2", with(socketOf(say("client", 0, "text", "a")), func(e *recording.Exchange) { e.HTTP.Req.Version = "2.0" }), ErrUnsupported},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := Append([]byte("before"), test.e)
			if !errors.Is(err, test.want) || string(b) != "before" {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}
