package plainhttp

import (
	"context"
	"fmt"
	"io"
	"net"
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
	via     *url.URL          // the proxy that Dial returns
	client  *net.TCPConn
	near    net.Conn // the Handler's end of client
	handler *Handler
	tunnel  *Target
	err     error
	done    chan struct{}
}

// start has a Handler serve one client. Its Dial finds the hosts in servers.
func start(t *testing.T, servers map[string]string, via *url.URL) *world {
	t.Helper()
	h := &Handler{}
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
	h.Dial = func(_ context.Context, to Target) (*pump.Conn, *url.URL, error) {
		host := to.Host
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
			fmt.Fprintf(conn, "tunnel to {%s %d}, behind it %q", w.tunnel.Host, w.tunnel.Port, conn.Head())
		}
		conn.Close()
	}()
	t.Cleanup(func() { w.client.Close(); <-w.done })
	return w
}

// answering is a server that reads each of the requests on every connection, sends the answer that
// belongs to it, and then half-closes. It returns its address and a function for all bytes that it
// got.
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
				next := func() (step string, ok bool) {
					mu.Lock()
					defer mu.Unlock()
					if ok = len(steps) > 0; ok {
						step = steps[0]
					}
					return step, ok
				}
				for step, ok := next(); ok; step, ok = next() {
					want, answer, _ := strings.Cut(step, " => ")
					p := make([]byte, len(want))
					n, _ := io.ReadFull(c, p)
					mu.Lock()
					all.Write(p[:n])
					if n == len(want) {
						steps = steps[1:]
					}
					mu.Unlock()
					if n < len(want) {
						return
					}
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

// listenOnce is a server that returns its first connection.
func listenOnce(t *testing.T) (addr string, accepted <-chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan net.Conn, 1)
	go func() {
		if c, err := ln.Accept(); err == nil {
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			t.Cleanup(func() { c.Close() })
			ch <- c
		}
	}()
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String(), ch
}

// readString reads the bytes that have to come next.
func readString(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); string(got[:n]) != want {
		t.Fatalf("%q, %v; want %q", got[:n], err, want)
	}
}

// The constants are a request, the same request as the server gets it, and an answer.
const (
	askHost  = "GET http://h/p HTTP/1.1\r\nHost: h\r\n\r\n"
	toldHost = "GET /p HTTP/1.1\r\nHost: h\r\n\r\n"
	ok       = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

// idle waits until everything is answered, as far as the Handler knows.
func (w *world) idle() {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !w.handler.Idle(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("not idle, although all is answered")
		}
	}
}
