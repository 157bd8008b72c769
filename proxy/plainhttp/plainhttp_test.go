package plainhttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a client and the servers that it may reach through a Handler.
type world struct {
	t       *testing.T
	servers map[string]string // host to address
	via     *url.URL          // what Dial says that it connected to
	client  *net.TCPConn
	near    net.Conn // the Handler's end of client
	handler *Handler
	tunnel  *Target
	err     error
	done    chan struct{}
}

// moved reports whether a loop has taken the connection over.
func (w *world) moved() bool { return errors.Is(w.near.SetWriteDeadline(time.Time{}), net.ErrClosed) }

// starter runs a Handler for one client.
type starter func(t *testing.T, servers map[string]string, via *url.URL) *world

// bothWays runs a test of a Handler that moves bytes by goroutines, and of one
// that has loops where it can.
func bothWays(t *testing.T, test func(t *testing.T, start starter)) {
	t.Run("goroutines", func(t *testing.T) {
		test(t, func(t *testing.T, servers map[string]string, via *url.URL) *world {
			return start(t, &Handler{}, servers, via)
		})
	})
	t.Run("loops", func(t *testing.T) {
		loops := newLoops(t)
		test(t, func(t *testing.T, servers map[string]string, via *url.URL) *world {
			return start(t, &Handler{Loops: loops, eager: true}, servers, via)
		})
	})
}

func newLoops(t *testing.T) *pump.Loops {
	t.Helper()
	loops, err := pump.NewLoops(&tap.Pool{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loops.Close)
	return loops
}

func start(t *testing.T, h *Handler, servers map[string]string, via *url.URL) *world {
	t.Helper()
	w := &world{t: t, servers: servers, via: via, handler: h, done: make(chan struct{})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w.client = c.(*net.TCPConn)
	_ = w.client.SetDeadline(time.Now().Add(10 * time.Second))
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	w.near = in
	h.Dial = func(_ context.Context, host string, port int) (*pump.Conn, *url.URL, error) {
		addr, ok := servers[host]
		if !ok {
			return nil, nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		return pump.NewConn(c, nil), via, nil
	}
	h.Tap, h.Meter, h.Pool = func() *tap.Stream { return nil }, &pump.Meter{}, &tap.Pool{}
	go func() {
		defer close(w.done)
		conn := pump.NewConn(in, nil)
		w.tunnel, w.err = h.Serve(context.Background(), conn)
		if w.tunnel != nil {
			fmt.Fprintf(conn, "tunnel to %v, behind it %q", *w.tunnel, conn.Head())
		}
		conn.Close()
	}()
	t.Cleanup(func() { w.client.Close(); <-w.done })
	return w
}

// answering is a server that, for every connection, takes each of the requests
// and sends the answer that belongs to it, and then half-closes. It returns its
// address and all that it was sent.
func answering(t *testing.T, steps ...string) (addr string, got func() string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all strings.Builder
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				for len(steps) > 0 {
					want, answer, _ := strings.Cut(steps[0], " => ")
					p := make([]byte, len(want))
					n, _ := io.ReadFull(c, p)
					mu.Lock()
					all.Write(p[:n])
					mu.Unlock()
					if n < len(want) {
						return
					}
					steps = steps[1:]
					io.WriteString(c, answer)
				}
				c.(*net.TCPConn).CloseWrite()
				rest, _ := io.ReadAll(c)
				mu.Lock()
				all.Write(rest)
				mu.Unlock()
			})
		}
	})
	closeAll := sync.OnceFunc(func() { ln.Close(); wg.Wait() })
	t.Cleanup(closeAll)
	return ln.Addr().String(), func() string {
		closeAll()
		return all.String()
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestForward(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		for _, c := range []struct {
			name   string
			send   string
			server []string // what it waits for => what it answers
			seen   string   // what it got
			answer string
		}{
			{
				name:   "origin-form, with case, order and spacing kept, hop-by-hop fields gone",
				send:   "GET http://h/p?q HTTP/1.1\r\nX-b:  2 \r\nhOST: h\r\nProxy-Connection: keep-alive\r\nx-A: 1\r\nProxy-Authorization: Basic x\r\n\r\n",
				server: []string{"GET /p?q HTTP/1.1\r\nX-b:  2 \r\nhOST: h\r\nx-A: 1\r\n\r\n => " + ok},
				answer: ok,
			},
			{
				name:   "Host as the client sent it",
				send:   "GET http://h HTTP/1.1\r\nHost: other.svc\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: other.svc\r\n\r\n => " + ok},
				answer: ok,
			},
			{
				name:   "OPTIONS of the server",
				send:   "OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n => " + ok},
				answer: ok,
			},
			{
				name:   "pipelining",
				send:   "GET http://h/1 HTTP/1.1\r\nHost: h\r\n\r\nPOST http://h/2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET http://h/3 HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: h\r\n\r\n => " + ok + ok + ok},
				answer: ok + ok + ok,
			},
			{
				name:   "chunks, extensions and trailers",
				send:   "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
				server: []string{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n => HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"},
				answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
			},
			{
				name:   "HTTP/1.0, and a body that ends with the connection",
				send:   "GET http://h/ HTTP/1.0\r\n\r\n",
				server: []string{"GET / HTTP/1.0\r\nHost: h\r\n\r\n => HTTP/1.0 200 OK\r\n\r\nuntil the end"},
				answer: "HTTP/1.0 200 OK\r\n\r\nuntil the end",
			},
			{
				name:   "a host that stands in the target alone",
				send:   "GET http://h:80/p HTTP/1.0\r\nX: 1\r\n\r\n",
				server: []string{"GET /p HTTP/1.0\r\nHost: h:80\r\nX: 1\r\n\r\n => " + ok},
				answer: ok,
			},
			{
				name:   "an empty Host",
				send:   "GET http://h/p HTTP/1.1\r\nX: 1\r\nHost:\r\n\r\n",
				server: []string{"GET /p HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n => " + ok},
				answer: ok,
			},
			{
				name:   "HEAD and 304 have no body",
				send:   "HEAD http://h/ HTTP/1.1\r\nHost: h\r\n\r\nGET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"},
				answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
			},
			{
				name:   "early hints",
				send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok},
				answer: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok,
			},
			{
				name:   "an early answer to a body that does not come",
				send:   "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123",
				server: []string{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n => HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
				seen:   "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123",
				answer: "HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			},
			{
				name:   "both framing fields in an answer: the chunks count",
				send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
				answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			},
			{
				name:   "one length, said twice in an answer",
				send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi"},
				answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nhi",
			},
			{
				name:   "a coding that looks like chunked: the answer ends with the connection",
				send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, xchunked\r\n\r\nuntil the end"},
				answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, xchunked\r\n\r\nuntil the end",
			},
			{
				name:   "a space before the colon, which some readers take for another field",
				send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nX: y\r\nContent-Length : 2\r\n\r\nhi"},
				answer: "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nhi",
			},
			{
				name:   "fields over several lines, which some readers take for others",
				send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nX: a \r\n\t b\r\n  c\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
				answer: "HTTP/1.1 200 OK\r\nX: a b c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			},
			{
				name:   "an upgrade becomes a tunnel",
				send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\n => HTTP/1.1 101 Switching Protocols\r\nUpgrade: ws\r\n\r\n\x00\x01any\nthing"},
				answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: ws\r\n\r\n\x00\x01any\nthing",
			},
			{
				name:   "a refused upgrade stays HTTP",
				send:   "GET http://h/ HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\nGET http://h/2 HTTP/1.1\r\nHost: h\r\n\r\n",
				server: []string{"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n => " + ok, "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n => " + ok},
				answer: ok + ok,
			},
		} {
			t.Run(c.name, func(t *testing.T) {
				addr, got := answering(t, c.server...)
				w := start(t, map[string]string{"h": addr}, nil)
				io.WriteString(w.client, c.send)
				if strings.Contains(c.name, "ends") || !strings.Contains(c.name, "early answer") {
					w.client.CloseWrite()
				}
				answer, err := io.ReadAll(w.client)
				if string(answer) != c.answer {
					t.Errorf("the client got %q, want %q (%v)", answer, c.answer, err)
				}
				<-w.done
				if w.err != nil {
					t.Errorf("Serve: %v", w.err)
				}
				want := c.seen
				if want == "" {
					for _, s := range c.server {
						request, _, _ := strings.Cut(s, " => ")
						want += request
					}
				}
				if seen := got(); seen != want {
					t.Errorf("the server got %q, want %q", seen, want)
				}
			})
		}
	})
}

// Requests that two parsers could read in two ways are refused, and nothing of
// them reaches a server; what came before is answered.
func TestRefused(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		get := "GET http://h/ HTTP/1.1\r\n"
		for _, c := range []struct {
			name, send string
			status     int
		}{
			{"both framing fields", get + "Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
			{"two lengths", get + "Host: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
			{"the same length twice", get + "Host: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
			{"a list of lengths", get + "Host: h\r\nContent-Length: 5, 5\r\n\r\n", 400},
			{"a length with a sign", get + "Host: h\r\nContent-Length: +5\r\n\r\n", 400},
			{"two codings", get + "Host: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
			{"a coding that looks like chunked", get + "Host: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
			{"chunks in HTTP/1.0", "POST http://h/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
			{"a folded field", get + "Host: h\r\nX: a\r\n b\r\n\r\n", 400},
			{"a space before the colon", get + "Host: h\r\nContent-Length : 5\r\n\r\n", 400},
			{"a field without a colon", get + "Host: h\r\nnothing\r\n\r\n", 400},
			{"a bare LF", get + "Host: h\nX: a\r\n\r\n", 400},
			{"a bare CR", get + "Host: h\r\nX: a\rb\r\n\r\n", 400},
			{"a zero byte", get + "Host: h\r\nX: a\x00b\r\n\r\n", 400},
			{"two Hosts", get + "Host: h\r\nHost: i\r\n\r\n", 400},
			{"no Host", get + "\r\n", 400},
			{"a Host that is a list", get + "Host: h, i\r\n\r\n", 400},
			{"two spaces", "GET  http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
			{"a tab", "GET\thttp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
			{"HTTP/0.9", "GET http://h/\r\n\r\n", 400},
			{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
			{"origin-form", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
			{"https in the request line", "GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 501},
			{"a user in the target", "GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
			{"a port that is none", "GET http://h:99999/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
			{"CONNECT without a port", "CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", 400},
			{"a long target", "GET http://h/" + strings.Repeat("a", maxTarget) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
			{"a long head", get + "Host: h\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", 431},
			{"many fields", get + "Host: h\r\n" + strings.Repeat("X: a\r\n", maxFields) + "\r\n", 431},
			{"a host that is not there", "GET http://nowhere/ HTTP/1.1\r\nHost: h\r\n\r\n", 502},
		} {
			t.Run(c.name, func(t *testing.T) {
				first := "GET http://h/first HTTP/1.1\r\nHost: h\r\n\r\n"
				addr, got := answering(t, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n => "+ok, strings.Repeat("more", 1000)+" => ")
				w := start(t, map[string]string{"h": addr}, nil)
				go io.WriteString(w.client, first+c.send)
				r := bufio.NewReader(w.client)
				if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
					t.Fatalf("the request before: %v, %v", resp, err)
				} else {
					io.Copy(io.Discard, resp.Body)
				}
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != c.status || !strings.HasPrefix(string(body), "tapedeck: ") {
					t.Errorf("%d %s, want %d", resp.StatusCode, body, c.status)
				}
				w.client.Close()
				<-w.done
				if seen := got(); seen != "GET /first HTTP/1.1\r\nHost: h\r\n\r\n" {
					t.Errorf("the server got %q", seen)
				}
			})
		}
	})
}

// A body that turns out malformed ends the server's connection, so that the
// server does not take it for a whole, and is refused.
func TestMalformedBody(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		for name, body := range map[string]string{
			"a size that is no number":   "x\r\n",
			"a size with a prefix":       "0x3\r\nabc\r\n0\r\n\r\n",
			"a bare LF":                  "3\nabc\r\n0\r\n\r\n",
			"more than the size":         "3\r\nabcd\r\n0\r\n\r\n",
			"a length in the trailer":    "0\r\nContent-Length: 5\r\n\r\n",
			"a size that is too large":   "ffffffffffffffffff\r\n",
			"a folded trailer":           "0\r\nX: a\r\n b\r\n\r\n",
			"a control in the extension": "3;a=\x01\r\nabc\r\n0\r\n\r\n",
			"an endless line":            strings.Repeat("0", maxChunkLine+1<<10),
		} {
			t.Run(name, func(t *testing.T) {
				head := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
				addr, got := answering(t, head+strings.Repeat(" ", 1<<20))
				w := start(t, map[string]string{"h": addr}, nil)
				io.WriteString(w.client, strings.Replace(head, "/", "http://h/", 1)+body)
				resp, err := http.ReadResponse(bufio.NewReader(w.client), nil)
				if name == "an endless line" {
					if err == nil && resp.StatusCode == 200 {
						t.Error("accepted")
					}
				} else if err != nil || resp.StatusCode != 400 {
					t.Errorf("%v, %v", resp, err)
				}
				w.client.Close()
				<-w.done
				if w.err == nil {
					t.Error("no error")
				}
				if strings.HasSuffix(got(), "0\r\n\r\n") {
					t.Errorf("the server got the end of a body: %q", got())
				}
			})
		}
	})
}

// Some clients send an empty line behind a body, with which no request begins
// (RFC 9112 section 2.2): the client is idle, and ends when the server does.
func TestAnEmptyLineBeginsNoRequest(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		addr, _ := answering(t, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody => "+ok)
		w := start(t, map[string]string{"h": addr}, nil)
		io.WriteString(w.client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody\r\n")
		if answer, err := io.ReadAll(w.client); string(answer) != ok || err != nil {
			t.Errorf("%q, %v", answer, err)
		}
	})
}

func TestContinue(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		addr, got := answering(t, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n => HTTP/1.1 100 Continue\r\n\r\n", "body => "+ok)
		w := start(t, map[string]string{"h": addr}, nil)
		io.WriteString(w.client, "POST http://h/ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		go100 := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
		if _, err := io.ReadFull(w.client, go100); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w.client, "body")
		if answer, err := io.ReadAll(w.client); string(answer) != ok {
			t.Errorf("%q, %v", answer, err)
		}
		if !strings.HasSuffix(got(), "\r\n\r\nbody") {
			t.Errorf("%q", got())
		}
	})
}

// After an upgrade each side may end before the other.
func TestHalfCloseOfAnUpgrade(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		addr, got := answering(t, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n => HTTP/1.1 101 S\r\n\r\nserver is done")
		w := start(t, map[string]string{"h": addr}, nil)
		io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\n\r\n")
		if answer, err := io.ReadAll(w.client); string(answer) != "HTTP/1.1 101 S\r\n\r\nserver is done" {
			t.Errorf("%q, %v", answer, err)
		}
		io.WriteString(w.client, "client goes on")
		w.client.CloseWrite()
		<-w.done
		if !strings.HasSuffix(got(), "client goes on") {
			t.Errorf("%q", got())
		}
	})
}

// One client's connection may go to one host after the other.
func TestSeveralHosts(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		a, gotA := answering(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n => "+ok)
		b, gotB := answering(t, "GET / HTTP/1.1\r\nHost: b\r\n\r\n => HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb")
		w := start(t, map[string]string{"a": a, "b": b}, nil)
		io.WriteString(w.client, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nGET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n")
		w.client.CloseWrite()
		if answer, err := io.ReadAll(w.client); string(answer) != ok+"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb" {
			t.Errorf("%q, %v", answer, err)
		}
		if gotA() == "" || gotB() == "" {
			t.Error("one was not asked")
		}
	})
}

// A server that closes owing an answer ends the client's connection (RFC 9112
// section 9.3.2): whatever came next would be taken for that answer.
func TestAServerThatClosesOwingAnAnswer(t *testing.T) {
	get := func(host, path string) string {
		return "GET http://" + host + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	}
	const asked = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
	last := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
	bothWays(t, func(t *testing.T, start starter) {
		for _, c := range []struct {
			name   string
			send   string
			server string // what it waits for => what it answers
			answer string
		}{
			{"nothing else was asked", get("h", "/1"), asked + " => ", ""},
			{"another host was asked", get("h", "/1") + get("other", "/2"), asked + " => ", ""},
			{"a tunnel was asked for", get("h", "/1") + "CONNECT other:80 HTTP/1.1\r\nHost: x\r\n\r\n", asked + " => ", ""},
			{"it is being asked on", get("h", "/1") + get("h", "/2")[:10], asked + " => ", ""},
			{"something that is refused was asked", get("h", "/1") + "hello\r\n\r\n", asked + " => ", ""},
			{"it said that it would close, and was asked on", get("h", "/1") + get("h", "/2") + get("h", "/3")[:10],
				asked + strings.Replace(asked, "1", "2", 1) + " => " + last, last},
			{"the answer ends with the connection, and another host was asked", get("h", "/1") + get("other", "/2"),
				asked + " => HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\nok"},
			{"the answer ends with the connection, and a tunnel was asked for", get("h", "/1") + "CONNECT other:80 HTTP/1.1\r\nHost: x\r\n\r\n",
				asked + " => HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\nok"},
		} {
			t.Run(c.name, func(t *testing.T) {
				h, _ := answering(t, c.server)
				other, got := answering(t, "GET /2 HTTP/1.1\r\nHost: other\r\n\r\n => "+ok)
				w := start(t, map[string]string{"h": h, "other": other}, nil)
				io.WriteString(w.client, c.send)
				if answer, err := io.ReadAll(w.client); string(answer) != c.answer || err != nil {
					t.Errorf("the client got %q, want %q (%v)", answer, c.answer, err)
				}
				w.client.Close()
				<-w.done
				final := strings.Contains(c.name, "ends with the connection")
				if (w.err == nil) != final || w.err != nil && !errors.Is(w.err, errUnanswered) {
					t.Errorf("Serve: %v", w.err)
				}
				if seen := got(); seen != "" {
					t.Errorf("the other host was asked %q", seen)
				}
			})
		}
	})
}

func TestConnectLeavesWhatFollows(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		addr, _ := answering(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n => "+ok)
		w := start(t, map[string]string{"h": addr}, nil)
		io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\nCONNECT [::1]:5432 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03")
		if answer, err := io.ReadAll(w.client); string(answer) != ok+`tunnel to {::1 5432}, behind it "\x16\x03"` {
			t.Errorf("%q, %v", answer, err)
		}
	})
}

// A proxy behind this one gets the whole target and its own credentials.
func TestChained(t *testing.T) {
	addr, got := answering(t, "GET http://h/p HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic dTpw\r\n\r\n => "+ok)
	w := start(t, &Handler{}, map[string]string{"h": addr}, &url.URL{Scheme: "http", Host: "corp:3128", User: url.UserPassword("u", "p")})
	io.WriteString(w.client, "GET http://h/p HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic YTpi\r\n\r\n")
	w.client.CloseWrite()
	if answer, err := io.ReadAll(w.client); string(answer) != ok {
		t.Errorf("%q, %v; the proxy got %q", answer, err, got())
	}
}

// An answer that breaks off must not look whole.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		addr, _ := answering(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n => HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		w := start(t, map[string]string{"h": addr}, nil)
		io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n")
		if answer, err := io.ReadAll(w.client); err == nil {
			t.Errorf("an orderly end after %q", answer)
		}
		<-w.done
		if !errors.Is(w.err, io.ErrUnexpectedEOF) {
			t.Errorf("Serve: %v", w.err)
		}
	})
}

// idle waits until all is answered, as far as the Handler knows.
func (w *world) idle() {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !w.handler.Idle(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("not idle, though all is answered")
		}
	}
}

// A drain hangs up on a client that waits for nothing.
func TestIdleIsWhenAllIsAnswered(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		const half = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
		addr, _ := answering(t, toldHost+" => "+half, toldHost+" => half"+ok, toldHost+" => "+ok)
		w := start(t, map[string]string{"h": addr}, nil)
		get := func(want string) {
			t.Helper()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(w.client, got); err != nil || string(got) != want {
				t.Fatalf("%q, %v; want %q", got, err, want)
			}
		}
		w.idle()
		io.WriteString(w.client, askHost)
		get(half)
		if w.handler.Idle() {
			t.Error("idle in the middle of an answer")
		}
		io.WriteString(w.client, askHost)
		get("half" + ok)
		w.idle()
		io.WriteString(w.client, askHost)
		get(ok)
		w.idle()
	})
}

// crashing is a connection that panics when it is read.
type crashing struct{ net.Conn }

func (crashing) Read([]byte) (int, error) { panic("crashing") }

// A panic, on whichever way, is the error of one connection.
func TestAPanicIsAnError(t *testing.T) {
	for name, dial := range map[string]func(net.Conn) *pump.Conn{
		"on the way to the server": func(net.Conn) *pump.Conn { panic("crashing") },
		"on the way back":          func(c net.Conn) *pump.Conn { return pump.NewConn(crashing{c}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := answering(t, toldHost+" => "+ok)
			client, end := net.Pipe()
			defer client.Close()
			h := Handler{
				Dial: func(context.Context, string, int) (*pump.Conn, *url.URL, error) {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { c.Close() })
					return dial(c), nil, nil
				},
				Tap:   func() *tap.Stream { return nil },
				Meter: &pump.Meter{}, Pool: &tap.Pool{},
			}
			go io.WriteString(client, askHost)
			var crash *pump.Panic
			if _, err := h.Serve(t.Context(), pump.NewConn(end, nil)); !errors.As(err, &crash) || crash.Value != "crashing" {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

// What answers HEAD has no body, also when the proxy answers.
func TestARefusedHEAD(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		addr, _ := answering(t, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n => 220 ready\r\n\r\n")
		for name, url := range map[string]string{"by the proxy": "http://nowhere/", "for what the server says": "http://h/", "for its target": "/"} {
			t.Run(name, func(t *testing.T) {
				w := start(t, map[string]string{"h": addr}, nil)
				io.WriteString(w.client, "HEAD "+url+" HTTP/1.1\r\nHost: h\r\n\r\n")
				answer, err := io.ReadAll(w.client)
				if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 ") || !strings.HasSuffix(string(answer), "\r\n\r\n") {
					t.Errorf("%q, %v", answer, err)
				}
			})
		}
	})
}

func TestAServerThatDoesNotSpeakHTTP(t *testing.T) {
	bothWays(t, func(t *testing.T, start starter) {
		addr, _ := answering(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n => 220 ready\r\n\r\n")
		w := start(t, map[string]string{"h": addr}, nil)
		io.WriteString(w.client, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(w.client), nil)
		if err != nil || resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%v, %v", resp, err)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("GET http://h/p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"))
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
		// What is forwarded is read the same by the standard library.
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
