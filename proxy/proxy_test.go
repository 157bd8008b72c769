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
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/tapedeck/tapedeck/proxy/plainhttp"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/socks"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/upstream"
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

// What two ends say to each other, at once and in chunks of every size, arrives
// byte for byte, at the other end and at the tap.
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

// A half-close reaches the other end, and what that end still sends comes back.
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

// A reset must not look like an orderly end, or half an answer looks whole.
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

// Why a server is not reached is told the same by both protocols.
func TestWhyADialFailed(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		reply  socks.Reply
	}{
		{fmt.Errorf("dial: %w", upstream.ErrSelf), http.StatusLoopDetected, socks.NotAllowed},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, http.StatusGatewayTimeout, socks.HostUnreachable},
		{&net.OpError{Op: "dial", Err: timedOut{}}, http.StatusGatewayTimeout, socks.HostUnreachable},
		{&net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}, http.StatusGatewayTimeout, socks.HostUnreachable},
		{&net.DNSError{IsNotFound: true}, http.StatusBadGateway, socks.HostUnreachable},
		{syscall.ECONNREFUSED, http.StatusBadGateway, socks.ConnectionRefused},
		{fmt.Errorf("proxy: %w", &upstream.Unknown{}), http.StatusProxyAuthRequired, socks.NotAllowed},
		{io.EOF, http.StatusBadGateway, socks.GeneralFailure},
	} {
		if status, reply := plainhttp.DialStatus(c.err), dialReply(c.err); status != c.status || reply != c.reply {
			t.Errorf("%v: %d and %d, want %d and %d", c.err, status, reply, c.status, c.reply)
		}
	}
}

// timedOut is how package net says that a dial took too long.
type timedOut struct{}

func (timedOut) Error() string   { return "i/o timeout" }
func (timedOut) Timeout() bool   { return true }
func (timedOut) Temporary() bool { return true }

// A proxy behind this one that wants to know who asks says so to the client.
func TestAProxyThatAsksForCredentials(t *testing.T) {
	corporate := serveTCP(t, func(c *net.TCPConn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"corp\"\r\nContent-Length: 0\r\n\r\n")
	})
	s := run(t, nil, func(c *Config) { c.Proxies.HTTPS = "http://" + corporate.String() })
	c := dial(t, s.OutAddr())
	io.WriteString(c, "CONNECT far.example:443 HTTP/1.1\r\nHost: far.example\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusProxyAuthRequired || resp.Header.Get("Proxy-Authenticate") != `Basic realm="corp"` {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
}

// The proxy does not connect to itself, under whatever name.
func TestSelfConnectionIsRefused(t *testing.T) {
	app := serveTCP(t, echo)
	s := run(t, app, nil)
	for _, ls := range []net.Addr{s.InAddr(), s.OutAddr(), s.AdminAddr()} {
		for _, host := range []string{"localhost", "127.0.0.1", "127.0.0.2", "[::1]", "0.0.0.0"} {
			target := fmt.Sprintf("%s:%d", host, ls.(*net.TCPAddr).Port)
			c := dial(t, s.OutAddr())
			fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
			if answer := readAll(t, c); !strings.HasPrefix(answer, "HTTP/1.1 508 ") || !strings.Contains(answer, "the proxy itself") {
				t.Errorf("%s: %q", target, answer)
			}
		}
	}
	c := dial(t, s.OutAddr())
	port := s.OutAddr().(*net.TCPAddr).Port
	c.Write([]byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, byte(port >> 8), byte(port)})
	if got := readAll(t, c); got != "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00" {
		t.Errorf("SOCKS5: %q", got)
	}
}

// A drain lets what is in flight finish, hangs up on idle connections and takes
// no new ones.
func TestDrain(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	app := serveTCP(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "slow\n" {
				close(asked)
				<-answer
			}
			io.WriteString(c, "re: "+line)
		}
	})
	s := run(t, app, nil)
	idle, busy := dial(t, s.InAddr()), dial(t, s.InAddr())
	io.WriteString(idle, "hi\n")
	bufio.NewReader(idle).ReadString('\n')
	io.WriteString(busy, "slow\n")
	<-asked
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle connection: %v, want its end", err)
	}
	if c, err := net.Dial("tcp", s.InAddr().String()); err == nil {
		c.Close()
		t.Error("a new connection was taken")
	}
	select {
	case <-stopped:
		t.Fatal("stopped before the answer")
	default:
	}
	close(answer)
	if got, err := bufio.NewReader(busy).ReadString('\n'); got != "re: slow\n" {
		t.Errorf("%q, %v", got, err)
	}
	<-stopped
}

// A client's connection may reach one upstream after the other, each at its time.
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
		t.Errorf("nobody was connected to, at %v", at)
	}
}

// docs/environment.md promises what TAPEDECK_DRAIN leaves of a grace period to
// be enough.
func TestWhatFollowsADrainFitsIntoTheGracePeriod(t *testing.T) {
	if flushTime+CloseTime >= 5*time.Second {
		t.Errorf("%s and %s are more than 5s", flushTime, CloseTime)
	}
}

// What a drain doesn't know to be idle it lets go on: a client that has asked for
// something of which the server hasn't heard yet, and protocols that nobody knows.
func TestADrainHangsUpOnWhatIsIdleAlone(t *testing.T) {
	app := serveTCP(t, echo)
	reached := make(chan struct{})
	goOn := make(chan struct{})
	slow := serveTCP(t, func(c *net.TCPConn) { // a proxy that takes its time to connect
		c.Read(make([]byte, 1<<10))
		close(reached)
		<-goOn
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		echo(c)
	})
	s := run(t, app, func(c *Config) { c.Proxies.HTTPS = "http://" + slow.String() })
	connecting := dial(t, s.OutAddr())
	io.WriteString(connecting, "CONNECT far.example:443 HTTP/1.1\r\nHost: far.example\r\n\r\n")
	<-reached
	unknown := dial(t, s.InAddr())
	io.WriteString(unknown, "still")
	io.ReadFull(unknown, make([]byte, 5))
	eventually(t, "the tap has it", func() bool { return len(s.tape.find(tap.In)) == 1 })
	s.tape.nobodyKnows(s.tape.find(tap.In)[0])
	idle := dial(t, s.InAddr())
	eventually(t, "it is accepted", func() bool { _, open := s.conns.sums(tap.In); return open == 2 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection on which nothing was said: %v, want its end", err)
	}
	io.WriteString(unknown, "there")
	if got := make([]byte, 5); !readFull(unknown, got, "there") {
		t.Errorf("the connection of which nobody knows: %q", got)
	}
	unknown.Close()
	close(goOn)
	const established = "HTTP/1.1 200 Connection established\r\n\r\n"
	if got := make([]byte, len(established)); !readFull(connecting, got, established) {
		t.Errorf("the tunnel: %q", got)
	}
	connecting.Close()
	<-stopped
}

// A classic sidecar is told to stop when the application is. Until there is a
// lull, that may be called and may call, also when it has answered everybody.
func TestADrainGoesOnWithTheApplication(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	app := serveTCP(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "slow\n" {
				close(asked)
				<-goOn
			}
			io.WriteString(c, line)
		}
	})
	s := run(t, app, func(c *Config) { c.Classic, c.Drain, c.lull = true, time.Hour, 2*time.Second })
	slow := dial(t, s.InAddr())
	io.WriteString(slow, "slow\n")
	<-asked
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	eventually(t, "it drains", s.draining.Load)
	talk := func(name string, c *net.TCPConn) {
		t.Helper()
		io.WriteString(c, "hello\n")
		if got := make([]byte, 6); !readFull(c, got, "hello\n") {
			t.Errorf("%s: %q", name, got)
		}
		c.Close()
	}
	talk("called", dial(t, s.InAddr()))
	talk("calls", entries["CONNECT"](t, s, app.String()))
	eventually(t, "there was a lull", func() bool {
		return errors.Is(s.reverse[0].(*net.TCPListener).SetDeadline(time.Time{}), net.ErrClosed)
	})
	close(goOn)
	if got := make([]byte, 5); !readFull(slow, got, "slow\n") {
		t.Errorf("what was in flight: %q", got)
	}
	slow.Close()
	talk("calls at the end", entries["CONNECT"](t, s, app.String()))
	<-stopped
}

// A native sidecar is told to stop when the application has ended: there is
// nothing to wait for but what is in flight.
func TestADrainEndsAfterTheApplication(t *testing.T) {
	app := serveTCP(t, echo)
	s := run(t, app, func(c *Config) { c.Drain, c.lull = time.Hour, time.Hour })
	last := entries["CONNECT"](t, s, app.String())
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	eventually(t, "it drains", s.draining.Load)
	last.Close()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for an application that has ended")
	}
}

// A listener that is closed may still bring the connection that it was at.
func TestAConnectionThatComesTooLateIsRefused(t *testing.T) {
	late := func() *conn { return &conn{direction: tap.In, started: time.Now()} }
	for name, shut := range map[string]func(*registry){
		"drained": func(r *registry) { <-r.drained(tap.In) },
		"cut":     func(r *registry) { r.abort(tap.In) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry()
			if shut(r); r.add(late()) {
				t.Error("taken, and nobody would end it")
			}
			if !r.add(&conn{direction: tap.Out, started: time.Now()}) {
				t.Error("the other direction is refused")
			}
		})
	}
	r, last := newRegistry(), late()
	last.client = pump.NewConn(nil, nil)
	r.add(last)
	drained := r.drained(tap.In)
	if !r.add(late()) {
		t.Error("refused, while another one is open")
	}
	select {
	case <-drained:
		t.Error("drained, with two that are open")
	default:
	}
}

// A connection that was ended while it was being connected takes what it is
// connected to along.
func TestWhatIsConnectedTooLateIsCut(t *testing.T) {
	near, far := make(chan *net.TCPConn, 1), make(chan *net.TCPConn, 1)
	client := dial(t, serveTCP(t, func(c *net.TCPConn) { near <- c; io.Copy(io.Discard, c) }))
	defer client.Close()
	server := dial(t, serveTCP(t, func(c *net.TCPConn) { far <- c; io.Copy(io.Discard, c) }))
	k := &conn{direction: tap.In, started: time.Now(), client: pump.NewConn(<-near, nil)}
	<-far
	k.abort()
	k.connected(pump.NewConn(server, nil))
	if _, err := server.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the server's connection is open: %v", err)
	}
}

func readFull(c net.Conn, p []byte, want string) bool {
	_, err := io.ReadFull(c, p)
	return err == nil && string(p) == want
}

func TestADrainIsBounded(t *testing.T) {
	app := serveTCP(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	s := run(t, app, func(c *Config) { c.Drain = 100 * time.Millisecond })
	c := dial(t, s.InAddr())
	io.WriteString(c, "a request that is never answered")
	eventually(t, "the request is under way", func() bool { sum, _ := s.conns.sums(tap.In); return sum.bytes[0] > 0 })
	s.stop()
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("%v, want a reset", err)
	}
	if !strings.Contains(s.logs.String(), "TAPEDECK_DRAIN") {
		t.Error("the log does not name the variable")
	}
}

// A bug that one connection runs into costs that connection and no other.
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

// Nothing waits for the tap: without any memory for it, traffic passes the same,
// and the bytes that were not recorded are counted.
func TestAFullTapIsNotInTheWay(t *testing.T) {
	app := serveTCP(t, echo)
	s := run(t, app, func(c *Config) { c.Memory = 0 })
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
