package traffic

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// asked is a request in absolute-form, without the beginning of its URL and its unique
// number, and the body of the answer.
type asked struct {
	name   string
	method string
	path   string
	fields string // each with its line end
	body   string // with its framing
	answer string
	cut    bool // sent as single bytes
}

func (a asked) write(host string, number int) string {
	return fmt.Sprintf("%s http://%s%s HTTP/1.1\r\nHost: %s\r\nX-Number: %d\r\n%s\r\n%s", a.method, host, a.path, host, number, a.fields, a.body)
}

var (
	ordinary = asked{name: "ordinary", method: "GET", path: "/echo"}
	chunked  = "Transfer-Encoding: chunked\r\n"
	// unusual are requests that not every proxy, and no event loop, passes unchanged.
	unusual = []asked{
		{name: "a head in pieces", method: "GET", path: "/echo", cut: true},
		{name: "a body", method: "POST", path: "/echo", fields: "Content-Length: 4\r\n", body: "body", answer: "body"},
		{name: "all in pieces", method: "POST", path: "/echo", fields: "Content-Length: 4\r\n", body: "body", answer: "body", cut: true},
		{name: "chunks and a trailer", method: "PUT", path: "/echo", fields: chunked, body: "2;a=b\r\nch\r\n003\r\nunk\r\n0\r\nX-Sum: 5\r\n\r\n", answer: "chunk"},
		{name: "chunks in pieces", method: "PUT", path: "/echo", fields: chunked, body: "2\r\nch\r\n3\r\nunk\r\n0\r\n\r\n", answer: "chunk", cut: true},
		{name: "an answer in chunks", method: "GET", path: "/chunks", answer: "chunk 0;chunk 1;chunk 2;"},
		{name: "an answer to HEAD", method: "HEAD", path: "/chunks"},
		{name: "an answer without content", method: "DELETE", path: "/none"},
		{name: "early hints", method: "GET", path: "/hints", answer: "hinted"},
		{name: "100 Continue without a waiting client", method: "POST", path: "/echo", fields: "Expect: 100-continue\r\nContent-Length: 4\r\n", body: "body", answer: "body"},
		{name: "much, both ways at once", method: "POST", path: "/mirror", fields: fmt.Sprintf("Content-Length: %d\r\n", len(much)), body: much, answer: much},
	}
	much = strings.Repeat("much ", 2<<20)
)

// After this many ordinary exchanges, an event loop moves the bytes; see proxy/plainhttp.
const enough = 40

// mirror answers like web, and sends a request's body back while it is still arriving.
func mirror(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/mirror" {
		web(w, r)
		return
	}
	_ = http.NewResponseController(w).EnableFullDuplex()
	_, _ = io.Copy(w, r.Body)
}

// asker is a client of the forward half that writes its requests itself.
type asker struct {
	t      *testing.T
	conn   *net.TCPConn
	in     *bufio.Reader
	number int
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	c, err := net.Dial("tcp", outTee)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	return &asker{t: t, conn: c.(*net.TCPConn), in: bufio.NewReader(c)}
}

// ask sends a request.
func (c *asker) ask(a asked, host string) {
	request := a.write(host, c.number)
	c.number++
	if !a.cut {
		io.WriteString(c.conn, request)
		return
	}
	for i := range request {
		io.WriteString(c.conn, request[i:i+1])
	}
}

// answered reads the answer to a request.
func (c *asker) answered(a asked) {
	c.t.Helper()
	q := &http.Request{Method: a.method}
	resp, err := http.ReadResponse(c.in, q)
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(c.in, q)
	}
	if err != nil {
		c.t.Fatalf("%s: %v", a.name, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 || string(body) != a.answer {
		c.t.Fatalf("%s: %s, %d bytes %.60q, %v; want %d bytes %.60q", a.name, resp.Status, len(body), body, err, len(a.answer), a.answer)
	}
}

// exchange sends a request, and reads its answer at the same time.
func (c *asker) exchange(a asked, host string) {
	c.t.Helper()
	done := make(chan struct{})
	go func() { c.ask(a, host); close(done) }()
	c.answered(a)
	<-done
}

// exchanges makes n ordinary exchanges.
func (c *asker) exchanges(n int, hosts ...string) {
	c.t.Helper()
	for i := range n {
		c.exchange(ordinary, hosts[i%len(hosts)])
	}
}

// ends checks that nothing but the end of the connection follows the last answer.
func (c *asker) ends() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.in); len(rest) > 0 || err != nil {
		c.t.Errorf("at the end %q, %v", rest, err)
	}
	c.conn.Close()
}

// sameRequests checks that one connection before the sidecar was one after it, with the same bytes,
// except that requests name no host.
func sameRequests(t *testing.T, s *sidecar, host string) {
	t.Helper()
	front, behind := s.out.conns, s.beyond[0].conns
	if len(front) != 1 || len(behind) != 1 {
		t.Fatalf("%d connections in front of the sidecar, %d behind it", len(front), len(behind))
	}
	asked := bytes.ReplaceAll(front[0].client.Bytes(), []byte(" http://"+host), []byte(" "))
	if !bytes.Equal(asked, behind[0].client.Bytes()) {
		t.Errorf("the client's %d bytes differ after the sidecar, where they are %d", len(asked), behind[0].client.Len())
	}
	if !bytes.Equal(front[0].server.Bytes(), behind[0].server.Bytes()) {
		t.Errorf("the server's %d bytes differ before the sidecar, where they are %d", behind[0].server.Len(), front[0].server.Len())
	}
}

// allRecorded checks that each request of an asker is recorded, and how many of
// them as incomplete.
func allRecorded(t *testing.T, exchanges []*recording.Exchange, c *asker, incomplete int) {
	t.Helper()
	numbers := map[string]bool{}
	for _, e := range exchanges {
		numbers[e.HTTP.Req.Headers.Get("X-Number")] = true
		if e.Tags.Get(recording.TagIncomplete) != "" {
			incomplete--
		}
	}
	if len(numbers) != c.number || len(exchanges) != c.number {
		t.Errorf("of %d exchanges %d are recorded, %d times", c.number, len(numbers), len(exchanges))
	}
	if incomplete != 0 {
		t.Errorf("%d more are recorded as incomplete than are", -incomplete)
	}
}

// Ordinary and unusual exchanges follow each other on one connection. They pass unchanged except
// for the targets, and all are recorded.
func TestForwardPort(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(mirror))
	defer app.Close()
	for _, a := range unusual {
		t.Run(a.name, func(t *testing.T) {
			s := start(t, "")
			s.understood, s.lossy = true, len(a.body) == len(much)
			host := s.to(app.Listener.Addr().String())
			c := newAsker(t)
			for _, n := range []int{0, enough, 1, enough} {
				c.exchanges(n, host)
				c.exchange(a, host)
			}
			for range 3 { // in a row, without waiting for the answers
				done := make(chan struct{})
				go func() { c.ask(ordinary, host); c.ask(a, host); close(done) }()
				c.answered(ordinary)
				c.answered(a)
				<-done
			}
			c.conn.CloseWrite()
			c.ends()
			recorded := s.stop()
			sameRequests(t, s, host)
			if !s.lossy {
				allRecorded(t, recorded, c, 0)
			}
		})
	}
}

// Both ends see how a connection of ordinary exchanges ends.
func TestForwardPortEnds(t *testing.T) {
	for name, end := range map[string]struct {
		last       string // the last request, or its head
		status     string
		body       string
		incomplete int
		do         func(c *asker, app *httptest.Server)
	}{
		"by the client": {do: func(c *asker, _ *httptest.Server) { c.conn.CloseWrite() }},
		"by the client, before the answer": {last: "GET http://HOST/chunks HTTP/1.1", status: "200 OK", body: "chunk 0;chunk 1;chunk 2;",
			do: func(c *asker, _ *httptest.Server) { c.conn.CloseWrite() }},
		"by the server":                  {do: func(_ *asker, app *httptest.Server) { app.CloseClientConnections() }},
		"by the server, of HTTP/1.0":     {last: "GET http://HOST/chunks HTTP/1.0", status: "200 OK", body: "chunk 0;chunk 1;chunk 2;"},
		"by the server, before the body": {last: "POST http://HOST/early HTTP/1.1\r\nContent-Length: 1000000", status: "413 Request Entity Too Large", body: "too much", incomplete: 1},
	} {
		t.Run(name, func(t *testing.T) {
			app := httptest.NewServer(http.HandlerFunc(web))
			defer app.Close()
			s := start(t, "")
			s.understood = true
			host := s.to(app.Listener.Addr().String())
			c := newAsker(t)
			c.exchanges(enough, host)
			if end.last != "" {
				fmt.Fprintf(c.conn, "%s\r\nHost: %s\r\nX-Number: %d\r\n\r\n", strings.Replace(end.last, "HOST", host, 1), host, c.number)
				c.number++
			}
			if end.do != nil {
				end.do(c, app)
			}
			if end.last != "" {
				resp, err := http.ReadResponse(c.in, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if resp.Status != end.status || string(body) != end.body || err != nil {
					t.Errorf("%s: %q, %v", resp.Status, body, err)
				}
			}
			c.ends()
			recorded := s.stop()
			sameRequests(t, s, host)
			allRecorded(t, recorded, c, end.incomplete)
		})
	}
}

// One connection may send requests to several hosts, one after the other.
func TestForwardPortToSeveralHosts(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(web))
	defer app.Close()
	s := start(t, "")
	s.understood = true
	a, b := s.to(app.Listener.Addr().String()), s.to(app.Listener.Addr().String())
	c := newAsker(t)
	c.exchanges(enough, a)
	c.exchanges(5, b, a)
	c.exchanges(enough, b)
	c.conn.CloseWrite()
	c.ends()
	allRecorded(t, s.stop(), c, 0)
	if of := len(s.beyond[0].conns); of != 3 {
		t.Errorf("%d connections to the first host, want one for each new series of requests to it", of)
	}
}
