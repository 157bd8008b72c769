package plainhttp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// pieces cuts p anywhere.
func pieces(p []byte, seed uint64) (cut []string) {
	r := rand.New(rand.NewPCG(seed, 1))
	for len(p) > 0 {
		n := 1 + r.IntN(len(p))
		cut = append(cut, string(p[:n]))
		p = p[n:]
	}
	return cut
}

// FuzzChunked passes a chunked body on. The output is the input up to the body's end, however it
// was cut. The standard library finds the same end: a server that found another could be made to
// read a request in a body.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), uint64(1))
	f.Add([]byte("00A ; a=\"b\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"), uint64(2))
	f.Add([]byte("0\r\nContent-Length: 5\r\n\r\nhello"), uint64(3))
	f.Add([]byte("2\nab\r\n0\r\n\r\n"), uint64(4))
	f.Add([]byte("1\r\na\n0\r\n\r\n"), uint64(5))
	f.Add([]byte("ffffffffffffffff1\r\na\r\n"), uint64(6))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		relay := func(cut []string) (string, error) {
			to := &writes{}
			from := &reader{conn: pump.NewConn(&arriving{pieces: cut}, nil), pool: &tap.Pool{}}
			l := &relay{from: from, to: pump.NewConn(to, nil), meter: &pump.Meter{}}
			from.before = l.flush
			b := newBody(framing{chunked: true})
			err := l.body(&b)
			return strings.Join(to.calls, ""), err
		}
		out, err := relay([]string{string(in)})
		cut, cutErr := relay(pieces(in, seed))
		if !strings.HasPrefix(string(in), out) || !strings.HasPrefix(string(in), cut) {
			t.Fatalf("%q became %q, and %q", in, out, cut)
		}
		if (err == nil) != (cutErr == nil) || err == nil && out != cut {
			t.Fatalf("whole: %q, %v; in pieces: %q, %v", out, err, cut, cutErr)
		}
		if err != nil {
			return
		}
		r := bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"), bytes.NewReader(in)))
		q, err := http.ReadRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, q.Body); err != nil {
			return // stricter than we are
		}
		if rest, _ := io.ReadAll(r); string(rest) != string(in[len(out):]) {
			t.Errorf("%q ends before %q for us, before %q for net/http", in, in[len(out):], rest)
		}
	})
}

// FuzzResponseHead reads a response's head. It reads the same, however it was cut. If the standard
// library reads it, too, the body ends in the same place.
func FuzzResponseHead(f *testing.F) {
	for i, head := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: , chunked,\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.0 200\nX: y\n\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n folded\r\n\r\n",
	} {
		f.Add([]byte(head), uint64(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		method := []string{http.MethodGet, http.MethodHead, http.MethodPost}[seed%3]
		read := func(cut []string) (string, *response, error) {
			from := &reader{conn: pump.NewConn(&arriving{pieces: cut}, nil), pool: &tap.Pool{}}
			head, err := from.head(false)
			if err != nil {
				return "", nil, err
			}
			r, err := parseResponse(head, method)
			return string(head), r, err
		}
		head, ours, err := read([]string{string(in)})
		cutHead, _, cutErr := read(pieces(in, seed))
		if !strings.HasPrefix(string(in), head) || head != cutHead || (err == nil) != (cutErr == nil) {
			t.Fatalf("whole: %q, %v; in pieces: %q, %v", head, err, cutHead, cutErr)
		}
		if err != nil {
			return
		}
		std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(ours.head)), &http.Request{Method: method})
		if err != nil || !std.ProtoAtLeast(1, 1) {
			return // stricter than we are; and HTTP/1.0 does not define chunked
		}
		chunked := len(std.TransferEncoding) > 0
		length := ours.body.length
		if ours.body.close || ours.body.chunked {
			length = -1
		}
		bodiless := method == http.MethodHead || std.StatusCode < 200 || std.StatusCode == http.StatusNoContent || std.StatusCode == http.StatusNotModified
		if !bodiless && (chunked != ours.body.chunked || std.ContentLength != length) || bodiless && (ours.body != framing{}) {
			t.Errorf("%q: framed as %+v by us, %v %d by net/http", head, ours.body, std.TransferEncoding, std.ContentLength)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("GET http://h/p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"))
	f.Add([]byte("POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity, chunked\r\n\r\n"))
	f.Add([]byte("POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n"))
	f.Add([]byte("POST http://[::1]:80/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("CONNECT h:1 HTTP/1.1\r\nHost: h\r\nProxy-Connection: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		q, err := parseRequest(in)
		if err != nil {
			var refused *badRequest
			if !errors.As(err, &refused) || refused.status < 400 || refused.status > 505 {
				t.Errorf("error %v", err)
			}
			return
		}
		target, origin, err := q.destination()
		if err != nil {
			return
		}
		// The standard library reads a forwarded request the same way.
		out := q.write(nil, origin)
		std, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(out))))
		if err != nil {
			t.Skip("stricter than we are")
		}
		if chunked := len(std.TransferEncoding) > 0; chunked != q.body.chunked || !chunked && std.ContentLength != q.body.length {
			t.Errorf("%q: framed as %v by us, %v %d by net/http", out, q.body, std.TransferEncoding, std.ContentLength)
		}
		if target.Port < 1 || target.Port > 65535 || target.Host == "" {
			t.Errorf("target %+v", target)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200\nTransfer-Encoding: gzip, chunked\nContent-Length: 3\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := parseResponse(in, "GET")
		if err == nil && (r.body.length < 0 || r.status < 100 || r.status > 999) {
			t.Errorf("%+v", r)
		}
	})
}
