package traffic

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// web answers in the ways in which HTTP/1 can frame an answer.
func web(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/echo":
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Length", fmt.Sprint(len(body)))
		w.Write(body)
	case "/chunks":
		w.Header().Set("Trailer", "X-Sum")
		for i := range 3 {
			fmt.Fprintf(w, "chunk %d;", i)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("X-Sum", "3")
	case "/hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "hinted")
	case "/early": // answers before the body, and ignores it
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		io.WriteString(w, "too much")
	case "/none":
		w.WriteHeader(http.StatusNoContent)
	}
}

// requests are curl's requests, with its expected output and the expected records.
var requests = []struct {
	name   string
	args   string
	path   string
	stdin  string
	prints string
	// Fields of the record:
	method, version, status string
	interim                 string
	trailer                 string
}{
	{name: "HTTP/1.0", args: "--http1.0", path: "/chunks", prints: "chunk 0;chunk 1;chunk 2;", method: "GET", version: "1.0", status: "200"},
	{name: "HTTP/1.1, in chunks, with a trailer", path: "/chunks", prints: "chunk 0;chunk 1;chunk 2;", method: "GET", version: "1.1", status: "200", trailer: "3"},
	{name: "HEAD", args: "--head -o /dev/null", path: "/echo", method: "HEAD", version: "1.1", status: "200"},
	{name: "DELETE, no content", args: "-X DELETE", path: "/none", method: "DELETE", version: "1.1", status: "204"},
	{name: "POST", args: "--data-binary @-", path: "/echo", stdin: "a=b&c", prints: "a=b&c", method: "POST", version: "1.1", status: "200"},
	{name: "upload in chunks", args: "-T -", path: "/echo", stdin: lengthy, prints: lengthy, method: "PUT", version: "1.1", status: "200", interim: "100"},
	{name: "upload that waits for 100 Continue", args: "-H Expect:100-continue --expect100-timeout 20 --data-binary @-", path: "/echo", stdin: lengthy, prints: lengthy, method: "POST", version: "1.1", status: "200", interim: "100"},
	{name: "early hints", path: "/hints", prints: "hinted", method: "GET", version: "1.1", status: "200", interim: "103"},
	{name: "an answer before the body", args: "-H Expect:100-continue --expect100-timeout 20 --data-binary @-", path: "/early", stdin: lengthy, prints: "too much", method: "POST", version: "1.1", status: "413"},
}

// curl works over HTTP/1 on every way through the sidecar, and its requests are recorded.
func TestHTTP1(t *testing.T) {
	curl := program(t, "curl", "curl")
	app := httptest.NewServer(http.HandlerFunc(web))
	defer app.Close()
	server := app.Listener.Addr().String()
	for _, way := range []struct {
		via, direction, args string
	}{
		{"tcp", recording.In, ""},
		{"http", recording.Out, "-x http://" + outTee},
		{"connect", recording.Out, "--proxytunnel -x http://" + outTee},
		{"socks4", recording.Out, "-x socks4a://" + outTee},
		{"socks5", recording.Out, "-x socks5h://" + outTee},
	} {
		t.Run("via "+way.via, func(t *testing.T) {
			s := start(t, server)
			s.understood = way.via == "http"
			target := s.reverse()
			if way.direction == recording.Out {
				target = s.to(server)
			}
			for i, r := range requests {
				url := fmt.Sprintf("http://%s%s?request=%d", target, r.path, i)
				args := append(strings.Fields("-sS -m 20 "+way.args+" "+r.args), "-A", "curl of "+r.name, url)
				cmd := exec.CommandContext(t.Context(), curl, args...)
				cmd.Stdin = strings.NewReader(r.stdin)
				if out, err := cmd.CombinedOutput(); string(out) != r.prints || err != nil {
					t.Errorf("%s: %.100q, %v, want %.100q", r.name, out, err, r.prints)
				}
			}
			recorded := map[string]*recording.Exchange{}
			for _, e := range s.stop() {
				if e.HTTP != nil && e.Command != http.MethodConnect {
					recorded[e.HTTP.Req.Headers.Get("User-Agent")] = e
				}
			}
			if len(recorded) != len(requests) {
				t.Errorf("%d requests are recorded", len(recorded))
			}
			for i, r := range requests {
				e := recorded["curl of "+r.name]
				if e == nil {
					t.Errorf("%s is not recorded", r.name)
					continue
				}
				sent := r.stdin
				if r.path == "/early" {
					sent = ""
				}
				if e.Direction != way.direction || e.Tags.Get(recording.TagVia) != way.via || e.Command != r.method || e.Location != r.path ||
					e.HTTP.Req.Version != r.version || e.Status != r.status || e.Tags.Get(recording.TagInterim) != r.interim ||
					!strings.HasSuffix(e.HTTP.Req.URI, fmt.Sprintf("%s?request=%d", r.path, i)) || e.HTTP.Res.Headers.Get("X-Sum") != r.trailer ||
					string(e.HTTP.Req.Body) != sent || string(e.HTTP.Res.Body) != r.prints {
					t.Errorf("%s: %s %s %s HTTP/%s, %s: %.40q, %.40q, tags %v", r.name, e.Direction, e.Command, e.HTTP.Req.URI, e.HTTP.Req.Version, e.Status, e.HTTP.Req.Body, e.HTTP.Res.Body, e.Tags)
				}
			}
		})
	}
}

// Requests that no client library would send pass byte for byte, too: pipelined requests, names in
// any case, spaces, both framing headers, and a half-close.
func TestHTTP1AsItComes(t *testing.T) {
	got := make(chan string, 1)
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	const answers = "HTTP/1.1 200 fine\r\nX-odd-CASE:  two  spaces\r\ncontent-LENGTH: 1\r\n\r\n1" +
		"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1;note=\"x\"\r\n2\r\n0\r\nX-Sum: 1\r\n\r\n" +
		"HTTP/1.0 200 OK\r\n\r\nuntil the end"
	go func() {
		c, err := app.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b, _ := io.ReadAll(c)
		got <- string(b)
		io.WriteString(c, answers)
	}()
	s := start(t, app.Addr().String())
	// The request with two framings comes last: what follows one may be a part of
	// it or a request, so nothing after it is recorded (proxy/decode/testdata).
	const asked = "GET /1 HTTP/1.1\r\nhOST: a\r\nX-b:1\r\nx-A: 2\r\nX-B:\t3\r\n\r\n" +
		"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n" +
		"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nx\r\n0\r\nX-Late: yes\r\n\r\n"
	c, err := net.Dial("tcp", s.reverse())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, asked)
	_ = c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); string(b) != answers || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if b := <-got; b != asked {
		t.Errorf("%q", b)
	}
	recorded := s.stop()
	if len(recorded) != 3 {
		t.Errorf("%d exchanges are recorded", len(recorded))
	}
	for i, e := range recorded {
		if want := fmt.Sprintf("/%d", i+1); e.HTTP == nil || e.Location != want || e.Status != "200" {
			t.Errorf("exchange %d: %s, status %s", i, e.Location, e.Status)
		}
	}
	if got := recorded[len(recorded)-1].Tags.Get(recording.TagFraming); got != "both" {
		t.Errorf("the request with two framings is tagged %q", got)
	}
}
