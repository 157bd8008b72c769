package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// canned is a connection on which the answer has already arrived. It keeps what is sent.
type canned struct {
	answer io.Reader
	sent   bytes.Buffer
}

func (c *canned) Read(p []byte) (int, error)     { return c.answer.Read(p) }
func (c *canned) Write(p []byte) (int, error)    { return c.sent.Write(p) }
func (*canned) Close() error                     { return nil }
func (*canned) LocalAddr() net.Addr              { return nil }
func (*canned) RemoteAddr() net.Addr             { return nil }
func (*canned) SetDeadline(time.Time) error      { return nil }
func (*canned) SetReadDeadline(time.Time) error  { return nil }
func (*canned) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswer reads answers. If net/http's client can also read an answer, the results are equal.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.0 200\r\n\r\nall",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2;a=b\r\nok\r\n0\r\nX: 1\r\n\r\n",
		"HTTP/1.1 204 No\nConnection: close\nX: a\n b\n\n",
		"HTTP/1.1 101 Go\r\n\r\n\x81\x02ok\x88\x02\x03\xe8",
	} {
		f.Add([]byte(seed), false)
	}
	c := client(f, bare, func(o *Options) { o.MaxBody = 1 << 10 })
	f.Fuzz(func(t *testing.T, answer []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		var form form
		b, err := Append(nil, request("1.1", method, "/", ""))
		if err == nil {
			err = form.decode(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		cn := c.wrap(&canned{answer: bytes.NewReader(answer)})
		var r Result
		r.reset()
		err = r.finish(t.Context(), cn.exchange(&form, &r))
		if len(r.Live.HTTP.Res.Body) > 1<<10 || len(r.Live.HTTP.Res.Headers) > recording.MaxHeaders {
			t.Fatal("the answer has no bounds")
		}
		var known *Error
		if err != nil && (!errors.As(err, &known) || known.Failure == Canceled) {
			t.Fatalf("an error without a class: %v", err)
		}
		if err != nil || r.Live.Tags.Get(recording.TagInterim) != "" {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), &http.Request{Method: method})
		if err != nil {
			return
		}
		body, err := io.ReadAll(want.Body)
		if err != nil || want.ProtoMinor == 0 && r.Live.HTTP.Res.Headers.Get("Transfer-Encoding") != "" {
			return // net/http ignores chunks in HTTP/1.0; capture does not
		}
		if got := r.Live.HTTP.Res; got.StatusCode != want.StatusCode || got.StatusCode != 101 && !bytes.Equal(got.Body, body[:min(len(body), 1<<10)]) {
			t.Errorf("got %d %q, net/http %d %q", got.StatusCode, got.Body, want.StatusCode, body)
		}
	})
}

// FuzzRequest sends any recorded request. The server reads exactly one request, which has the
// recorded body.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a?b", "1.1", "X-A", "b", "", "")
	f.Add("POST", "http://a/b", "1.1", "Content-Length", "5", "hello", "")
	f.Add("PUT", "*", "1.1", "Transfer-Encoding", "chunked", "hello", "X-Sum")
	f.Add("PUT", "/", "1.0", "Content-Length", "1\r\nX: y", "hello", "")
	f.Add("PUT", "/", "2.0", "Trailer", "Content-Length", "hello", "Content-Length")
	c := client(f, bare)
	f.Fuzz(func(t *testing.T, method, target, version, name, value, body, trailer string) {
		e := request(version, method, target, body, "Host: shop.example")
		e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: name, Value: value}, recording.Header{Name: "X-Sum", Value: "1"})
		e.Tags.Set(recording.TagRequestTrailers, trailer)
		b, err := Append([]byte("before"), e)
		if err != nil {
			if string(b) != "before" {
				t.Fatal("a failure leaves something behind")
			}
			return
		}
		var form form
		if err := form.decode(b[len("before"):]); err != nil {
			t.Fatal(err)
		}
		to := &canned{answer: strings.NewReader("HTTP/1.1 204 No Content\r\n\r\n")}
		cn := c.wrap(to)
		cn.direct = 1 << 20
		var r Result
		r.reset()
		r.asked(&form)
		form.flags &^= expects
		if err := cn.exchange(&form, &r); err != nil {
			t.Fatal(err)
		}
		if r.Live.HTTP.Req.Method != method {
			t.Errorf("the result has the method %q, want %q", r.Live.HTTP.Req.Method, method)
		}
		in := bufio.NewReader(&to.sent)
		got, err := http.ReadRequest(in)
		if err != nil {
			return // what is nonsense stays nonsense
		}
		read, err := io.ReadAll(got.Body)
		if err != nil || string(read) != body {
			t.Errorf("the server reads the body %q, %v; want %q", read, err, body)
		}
		if rest, _ := io.ReadAll(in); len(rest) > 0 {
			t.Errorf("found %q after the request", rest)
		}
	})
}

// FuzzConversation reads any bytes from the server of a conversation.
func FuzzConversation(f *testing.F) {
	f.Add([]byte("\x81\x02ok\x89\x01x\x01\x01a\x80\x01b\x88\x02\x03\xe8"), true)
	f.Add([]byte("\xc1\x7e\x00\x02ab\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01c"), true)
	f.Add([]byte("\x00\x00\x00\x00\x02ok\x01\x00\x00\x00\x01z"), false)
	const kept = 1 << 10
	c := client(f, bare, func(o *Options) { o.MaxBody = kept })
	f.Fuzz(func(t *testing.T, said []byte, frames bool) {
		e := callOf(1, say("client", 0, "", "a"))
		if frames {
			e = socketOf(say("client", 0, "text", "a"), say("client", 1, "close", ""))
		}
		b, err := Append(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		var r Result
		r.reset()
		if err := r.form.decode(b); err != nil {
			t.Fatal(err)
		}
		w := c.watch(t.Context(), &r.form)
		defer w.end()
		k := c.talk(&r.form, &r, w)
		if frames {
			cn := c.wrap(&canned{answer: bytes.NewReader(said)})
			cn.f, cn.into, cn.watch = &r.form, &r, w
			err = (&socketConn{talk: k, cn: cn}).listen()
		} else {
			err = k.listen(bytes.NewReader(said))
		}
		err = r.finish(t.Context(), err)
		var known *Error
		if err != nil && (!errors.As(err, &known) || known.Failure == Canceled) {
			t.Fatalf("an error without a class: %v", err)
		}
		size := 0
		for _, m := range r.talk.Messages {
			size += len(m.Data)
			if m.Size > 0 && m.Size <= int64(len(m.Data)) {
				t.Errorf("a message of %d bytes was cut to %d", m.Size, len(m.Data))
			}
		}
		if size > kept || r.BytesIn > int64(len(said)) {
			t.Errorf("%d bytes are kept, %d counted of %d", size, r.BytesIn, len(said))
		}
	})
}
