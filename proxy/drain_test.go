package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// slowEcho echoes lines, and "slow" only once answer is closed. It closes asked when it gets
// "slow".
func slowEcho(t *testing.T) (app net.Addr, asked <-chan struct{}, answer chan<- struct{}) {
	came, goOn := make(chan struct{}), make(chan struct{})
	app = serveTCP(t, func(c *net.TCPConn) {
		lines := bufio.NewReader(c)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if line == "slow\n" {
				close(came)
				<-goOn
			}
			io.WriteString(c, line)
		}
	})
	return app, came, goOn
}

// A drain lets exchanges in flight finish, closes idle connections and accepts no new ones.
func TestDrain(t *testing.T) {
	app, asked, answer := slowEcho(t)
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
	if got, err := bufio.NewReader(busy).ReadString('\n'); got != "slow\n" {
		t.Errorf("%q, %v", got, err)
	}
	<-stopped
}

// docs/environment.md promises that the part of a grace period that TAPEDECK_DRAIN leaves is
// enough.
func TestWhatFollowsADrainFitsIntoTheGracePeriod(t *testing.T) {
	if flushTime+CloseTime >= 5*time.Second {
		t.Errorf("%s and %s are more than 5s", flushTime, CloseTime)
	}
}

// A drain closes only connections that it knows to be idle. It leaves open a tunnel whose request
// the server hasn't seen yet, and a connection whose protocol is unknown.
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
		t.Errorf("the connection with an unknown protocol: %q", got)
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

// A connection that a drain closes while its client waits for nothing has not failed.
func TestADrainThatHangsUpIsNoWarning(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	server := serveTCP(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1<<10))
		io.WriteString(c, answer)
		io.Copy(io.Discard, c)
	})
	s := run(t, server, nil)
	client := dial(t, s.OutAddr())
	fmt.Fprintf(client, "GET http://%s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n", server)
	if got := make([]byte, len(answer)); !readFull(client, got, answer) {
		t.Fatalf("%q, want %q", got, answer)
	}
	s.stop()
	if log := s.logs.String(); strings.Contains(log, "level=WARN") || !strings.Contains(log, "via=http") {
		t.Errorf("the log has a warning, or does not have the connection:\n%s", log)
	}
}

// A classic sidecar gets its signal together with the application. Until there is a quiet period,
// others may call the application, and it may call others, even after it has answered all requests.
func TestADrainGoesOnWithTheApplication(t *testing.T) {
	app, asked, goOn := slowEcho(t)
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
		return errors.Is(s.reverse[0].listeners[0].(*net.TCPListener).SetDeadline(time.Time{}), net.ErrClosed)
	})
	close(goOn)
	if got := make([]byte, 5); !readFull(slow, got, "slow\n") {
		t.Errorf("what was in flight: %q", got)
	}
	slow.Close()
	talk("calls at the end", entries["CONNECT"](t, s, app.String()))
	<-stopped
}

// A native sidecar gets its signal after the application has ended, so it waits only for exchanges
// in flight.
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

// A closed listener may still return the connection that it was accepting.
func TestAConnectionThatComesTooLateIsRefused(t *testing.T) {
	late := func() *conn { return &conn{direction: tap.In, started: time.Now()} }
	for name, shut := range map[string]func(*registry){
		"drained": func(r *registry) { <-r.drained(tap.In) },
		"cut":     func(r *registry) { r.abort(tap.In) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry()
			if shut(r); r.add(late()) {
				t.Error("accepted, and nothing would end it")
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

// If a connection is closed while its upstream is being dialed, the upstream's connection is
// closed, too.
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
