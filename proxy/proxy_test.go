package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c); _ = c.CloseWrite() }

func TestReversePassesHTTP(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.URL, body)
	}))
	defer app.Close()
	s := run(t, app.Listener.Addr(), nil)
	resp, err := http.Post(s.in()+"/path?q=1", "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := readAll(t, resp.Body), "POST "+s.InAddr().String()+" /path?q=1 body"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	s.stop()
	flows := s.tape.find(tap.In)
	if len(flows) != 1 || !flows[0].closed || !strings.HasPrefix(flows[0].side[0].String(), "POST /path?q=1 HTTP/1.1\r\n") || !strings.HasSuffix(flows[0].side[1].String(), "body") {
		t.Errorf("the tap saw %+v", flows)
	}
	if !strings.Contains(s.logs.String(), "msg=connection id=1 direction=IN via=tcp") {
		t.Error("no canonical log line")
	}
}

// entries are the ways through the proxy to a TCP server: each returns a
// connection on which the server is reached.
var entries = map[string]func(t testing.TB, s *sidecar, target string) *net.TCPConn{
	"reverse": func(t testing.TB, s *sidecar, _ string) *net.TCPConn { return dial(t, s.InAddr()) },
	"CONNECT": func(t testing.TB, s *sidecar, target string) *net.TCPConn {
		c := dial(t, s.OutAddr())
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		answer := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
		if _, err := io.ReadFull(c, answer); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
			t.Fatalf("CONNECT: %q, %v", answer, err)
		}
		return c
	},
	"SOCKS4a": func(t testing.TB, s *sidecar, target string) *net.TCPConn {
		c := dial(t, s.OutAddr())
		_, port, _ := net.SplitHostPort(target)
		var n uint16
		fmt.Sscan(port, &n)
		c.Write(append([]byte{4, 1, byte(n >> 8), byte(n), 0, 0, 0, 1, 0}, "localhost\x00"...))
		answer := make([]byte, 8)
		if _, err := io.ReadFull(c, answer); err != nil || answer[1] != 0x5a {
			t.Fatalf("SOCKS4a: %q, %v", answer, err)
		}
		return c
	},
	"SOCKS5": func(t testing.TB, s *sidecar, target string) *net.TCPConn {
		forward, err := proxy.SOCKS5("tcp", s.OutAddr().String(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw := dial(t, s.OutAddr())
		if _, err := forward.(interface {
			DialWithConn(ctx context.Context, c net.Conn, network, address string) (net.Addr, error)
		}).DialWithConn(t.Context(), raw, "tcp", target); err != nil {
			t.Fatal(err)
		}
		return raw
	},
}

// Bytes that two ends send each other, at the same time and in chunks of every size, arrive
// unchanged at the other end and at the tap.
func TestEveryByteBothWays(t *testing.T) {
	const size = 1 << 20
	random := func(seed uint64) []byte {
		p := make([]byte, size)
		rnd := rand.NewChaCha8([32]byte{byte(seed)})
		rnd.Read(p)
		return p
	}
	send := func(c *net.TCPConn, p []byte, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		for len(p) > 0 {
			n := min(1+rnd.IntN(1<<(4+rnd.IntN(14))), len(p))
			if _, err := c.Write(p[:n]); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			p = p[n:]
		}
		c.CloseWrite()
	}
	for name, enter := range entries {
		t.Run(name, func(t *testing.T) {
			fromClient, fromServer := random(1), random(2)
			got := make(chan []byte, 1)
			app := serveTCP(t, func(c *net.TCPConn) {
				var wg sync.WaitGroup
				wg.Go(func() { send(c, fromServer, 3) })
				b, err := io.ReadAll(c)
				if err != nil {
					t.Error(err)
				}
				got <- b
				wg.Wait()
			})
			s := run(t, app, nil)
			c := enter(t, s, app.String())
			go send(c, fromClient, 4)
			if b, err := io.ReadAll(c); err != nil || !bytes.Equal(b, fromServer) {
				t.Errorf("the client got %d bytes that differ or end early: %v", len(b), err)
			}
			if b := <-got; !bytes.Equal(b, fromClient) {
				t.Errorf("the server got %d bytes that differ", len(b))
			}
			c.Close()
			s.stop()
			for _, f := range append(s.tape.find(tap.In), s.tape.find(tap.Out)...) {
				if !bytes.Equal(f.side[0].Bytes(), fromClient) || !bytes.Equal(f.side[1].Bytes(), fromServer) {
					t.Errorf("the tap got %d and %d bytes that differ", f.side[0].Len(), f.side[1].Len())
				}
			}
		})
	}
}

func TestTheServerMaySpeakFirst(t *testing.T) {
	for name, enter := range entries {
		t.Run(name, func(t *testing.T) {
			app := serveTCP(t, func(c *net.TCPConn) {
				io.WriteString(c, "220 ready\r\n")
				echo(c)
			})
			s := run(t, app, nil)
			c := enter(t, s, app.String())
			r := bufio.NewReader(c)
			if line, err := r.ReadString('\n'); line != "220 ready\r\n" {
				t.Fatalf("%q, %v", line, err)
			}
			io.WriteString(c, "HELO\r\n")
			if line, err := r.ReadString('\n'); line != "HELO\r\n" {
				t.Fatalf("%q, %v", line, err)
			}
		})
	}
}

// A half-close reaches the other end, and the bytes that this end still sends come back.
func TestHalfClose(t *testing.T) {
	for name, enter := range entries {
		t.Run(name, func(t *testing.T) {
			app := serveTCP(t, func(c *net.TCPConn) {
				b, _ := io.ReadAll(c)
				fmt.Fprintf(c, "got %d", len(b))
			})
			s := run(t, app, nil)
			c := enter(t, s, app.String())
			io.WriteString(c, "12345")
			c.CloseWrite()
			if got := readAll(t, c); got != "got 5" {
				t.Errorf("%q", got)
			}
		})
	}
}

// A reset must not look like an orderly end, which would make half an answer look whole.
func TestAResetIsPassedOn(t *testing.T) {
	for name, enter := range entries {
		t.Run(name, func(t *testing.T) {
			app := serveTCP(t, func(c *net.TCPConn) {
				io.WriteString(c, "half of")
				io.ReadFull(c, make([]byte, 2))
				c.SetLinger(0)
			})
			s := run(t, app, nil)
			c := enter(t, s, app.String())
			io.ReadFull(c, make([]byte, 7))
			io.WriteString(c, "ok")
			if n, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("read %d bytes and %v, want a reset", n, err)
			}
		})
	}
}

func TestAClosedApplicationIsAReset(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	s := run(t, ln.Addr(), nil)
	c, err := net.Dial("tcp", s.InAddr().String())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Method, " ", r.URL, " ", r.Header.Get("Proxy-Connection"))
	}))
	defer app.Close()
	s := run(t, app.Listener.Addr(), nil)
	out := s.OutAddr().String()
	for name, args := range map[string][]string{
		"absolute-form": {"-x", "http://" + out},
		"CONNECT":       {"-p", "-x", "http://" + out},
		"SOCKS4":        {"-x", "socks4://" + out},
		"SOCKS4a":       {"-x", "socks4a://" + out},
		"SOCKS5":        {"-x", "socks5://" + out},
		"SOCKS5 name":   {"-x", "socks5h://" + out},
	} {
		t.Run(name, func(t *testing.T) {
			url := strings.Replace(app.URL, "127.0.0.1", "localhost", 1) + "/x?y=1"
			cmd := exec.CommandContext(t.Context(), "curl", append(args, "--noproxy", "", "-sS", "-m", "20", url)...)
			b, err := cmd.CombinedOutput()
			if string(b) != "GET /x?y=1 " {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// A client's connection may reach several upstreams one after the other, and each has its own
// connection time.
func TestAFlowSaysWhenItsUpstreamWasConnectedTo(t *testing.T) {
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()
	s := run(t, nil, nil)
	c := dial(t, s.OutAddr())
	answers := bufio.NewReader(c)
	var asked []time.Time
	for _, host := range []string{app.Listener.Addr().String(), "127.0.0.1:1"} { // nobody is there
		asked = append(asked, time.Now())
		fmt.Fprintf(c, "GET http://%s/ HTTP/1.1\r\nHost: app\r\n\r\n", host)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	c.Close()
	eventually(t, "both flows are taped", func() bool { return len(s.tape.find(tap.Out)) == 2 })
	flows := s.tape.find(tap.Out)
	if at := flows[0].flow.Connected; at.Before(asked[0]) || at.After(asked[1]) {
		t.Errorf("connected at %v, between %v", at, asked)
	}
	if at := flows[1].flow.Connected; !at.IsZero() {
		t.Errorf("a connection time without a connection: %v", at)
	}
}

// A bug that one connection triggers ends that connection and no other.
func TestAPanicResetsItsConnectionAlone(t *testing.T) {
	app := serveTCP(t, echo)
	s := run(t, app, nil)
	other := dial(t, s.InAddr())
	near := make(chan *net.TCPConn)
	c := dial(t, serveTCP(t, func(c *net.TCPConn) { near <- c; io.Copy(io.Discard, c) }))
	k := &conn{direction: tap.In, started: time.Now(), client: pump.NewConn(<-near, nil)}
	s.conns.add(k)
	ended := make(chan struct{})
	s.serveConn(t.Context(), k, func(context.Context, *conn) (bool, error) { panic("a bug") }, func() { close(ended) })
	<-ended
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	io.WriteString(other, "goes on")
	if _, err := io.ReadFull(other, make([]byte, len("goes on"))); err != nil {
		t.Error(err)
	}
	if sum, _ := s.conns.sums(tap.In); sum.failed != 1 {
		t.Errorf("%d failed", sum.failed)
	}
	if log := s.logs.String(); !strings.Contains(log, `panic="a bug"`) || !strings.Contains(log, "TestAPanicResetsItsConnectionAlone") {
		t.Error("the log does not say what and where")
	}
}

// Traffic never waits for the tap. It passes even if the tap has no memory, and the bytes that
// were not recorded are counted.
func TestAFullTapIsNotInTheWay(t *testing.T) {
	app := serveTCP(t, echo)
	s := run(t, app, func(c *Config) { c.TapMemory = 0 })
	c := dial(t, s.InAddr())
	sent := bytes.Repeat([]byte("x"), 1<<20)
	go func() { c.Write(sent); c.CloseWrite() }()
	if got := readAll(t, c); len(got) != len(sent) {
		t.Errorf("got %d bytes", len(got))
	}
	s.stop()
	if got := s.Tap().Dropped[tap.ReasonFull].Bytes; got != int64(2*len(sent)) {
		t.Errorf("counted %d bytes, want %d", got, 2*len(sent))
	}
}
