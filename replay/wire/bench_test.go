package wire

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// BenchmarkGet sends a browser's request and reads a small answer: with Send, and with net/http's
// client for comparison. The server is as small as possible.
func BenchmarkGet(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go parrot(conn)
		}
	}()
	e := request("1.1", "GET", "/api/products/OLJCESPC7Z?currencyCode=USD", "",
		"Host: shop.example", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "Accept: application/json",
		"Accept-Encoding: gzip, deflate", "Accept-Language: en-US,en;q=0.9", "Cookie: session=6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		"X-Request-Id: 7b3d4f6e-9dad-11d1-80b4-00c04fd430c8")
	target := "http://" + l.Addr().String()
	b.Run("wire", func(b *testing.B) {
		c := client(b, target, func(o *Options) { o.Run = "run-1" })
		encoded, err := Append(nil, e)
		if err != nil {
			b.Fatal(err)
		}
		var r Result
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Send(b.Context(), encoded, &r); err != nil {
				b.Fatal(err)
			}
		}
		if string(r.Live.HTTP.Res.Body) != "{\"id\":1}" {
			b.Fatalf("got %q", r.Live.HTTP.Res.Body)
		}
	})
	b.Run("net-http", func(b *testing.B) {
		c := &http.Transport{DisableCompression: true}
		defer c.CloseIdleConnections()
		var body bytes.Buffer
		b.ReportAllocs()
		for b.Loop() {
			req, err := http.NewRequestWithContext(b.Context(), "GET", target+e.HTTP.Req.URI, nil)
			if err != nil {
				b.Fatal(err)
			}
			for _, h := range e.HTTP.Req.Headers {
				req.Header.Add(h.Name, h.Value)
			}
			resp, err := c.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			body.Reset()
			if _, err := io.Copy(&body, resp.Body); err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	})
}

// parrot gives every request that arrives in one piece the same answer.
func parrot(conn net.Conn) {
	defer conn.Close()
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sun, 29 Nov 2026 01:00:00 GMT\r\nServer: envoy\r\nContent-Length: 8\r\n\r\n{\"id\":1}")
	buf := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
}

// BenchmarkAppend encodes a request with a body of 1 KiB.
func BenchmarkAppend(b *testing.B) {
	e := request("1.1", "POST", "/cart", string(make([]byte, 1<<10)), "Host: shop.example", "Content-Type: application/json", "Content-Length: 1024", "Accept: */*")
	e.Tags = recording.Tags{{Name: recording.TagRequestEnd, Value: "100"}, {Name: recording.TagResponseStart, Value: "900"}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = Append(buf[:0], e); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSendAllocatesLittle fails if a request allocates memory again.
func TestSendAllocatesLittle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			parrot(conn)
		}
	}()
	c := client(t, "http://"+l.Addr().String())
	encoded, err := Append(nil, request("1.1", "GET", "/", "", "Host: shop.example"))
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	// The two are the request line and the answer's head, which all strings share.
	if n := testing.AllocsPerRun(100, func() {
		if err := c.Send(t.Context(), encoded, &r); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("a request allocates %v times", n)
	}
	c.Close()
	_ = l.Close()
	<-done
}
