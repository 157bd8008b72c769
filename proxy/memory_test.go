package proxy

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

func TestTheBuffersOfSocketsShareTheirBound(t *testing.T) {
	const bound = 16 << 20
	for _, c := range []struct{ open, size int }{{0, 32 << 10}, {64, 32 << 10}, {65, 16 << 10}, {200, 8 << 10}, {1000, 4 << 10}, {50_000, 4 << 10}} {
		p := &Proxy{cfg: Config{Memory: Memory{Sockets: bound}}, conns: newRegistry()}
		for range c.open {
			p.conns.add(&conn{})
		}
		if got := p.socketBuffer(); got != c.size {
			t.Errorf("with %d connections: %d, want %d", c.open, got, c.size)
		}
	}
	if got := (&Proxy{conns: newRegistry()}).socketBuffer(); got != 0 {
		t.Errorf("without a bound: %d", got)
	}
}

// short returns an edit that makes a sidecar's memory as short as n says.
func short(n *atomic.Int32) func(*Config) {
	return func(c *Config) { c.Memory.Shortage = func(bool) Shortage { return Shortage(n.Load()) } }
}

// says sends a word through an echo server and reports whether it comes back
// within a moment.
func says(c net.Conn, word string) bool {
	got := make([]byte, len(word))
	io.WriteString(c, word)
	_, err := io.ReadFull(c, got)
	return err == nil && string(got) == word
}

// If memory is short, capture ends first. Traffic passes, the bytes that are not recorded are
// counted, and capture continues when there is memory again.
func TestCaptureGivesWayToTraffic(t *testing.T) {
	var n atomic.Int32
	s := run(t, serveTCP(t, echo), short(&n))
	c := dial(t, s.InAddr())
	for _, turn := range []struct {
		shortage Shortage
		word     string
	}{{Enough, "before"}, {ShedCapture, "during"}, {Enough, "after"}} {
		n.Store(int32(turn.shortage))
		if !says(c, turn.word) {
			t.Fatalf("%q did not come back", turn.word)
		}
	}
	c.Close()
	s.stop()
	flows := s.tape.find(tap.In)
	if len(flows) != 1 || flows[0].side[tap.FromClient].String() != "before[gap]after" {
		t.Fatalf("captured %v", flows)
	}
	if lost := s.Tap().Dropped[tap.ReasonMemory].Bytes; lost != 2*int64(len("during")) {
		t.Errorf("counted %d bytes", lost)
	}
}

// If that frees too little memory, connections wait: first those of the reverse proxy, whose
// requests cause work for the forward proxy, and then all. None is refused.
func TestConnectionsWaitForMemory(t *testing.T) {
	for _, c := range []struct {
		shortage Shortage
		in, out  bool // connections are served
	}{{ShedCapture, true, true}, {HoldInbound, false, true}, {HoldAll, false, false}} {
		t.Run(c.shortage.String(), func(t *testing.T) {
			var n atomic.Int32
			n.Store(int32(c.shortage))
			app := serveTCP(t, echo)
			s := run(t, app, short(&n))
			in, out := dial(t, s.InAddr()), dial(t, s.OutAddr())
			fmt.Fprintf(out, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", app, app)
			io.WriteString(in, "hello")
			open := func(d tap.Direction) bool { _, open := s.conns.sums(d); return open > 0 }
			eventually(t, "those that may be served are, the others are counted", func() bool {
				return open(tap.In) == c.in && open(tap.Out) == c.out && (s.held[tap.In].Load() > 0) != c.in && (s.held[tap.Out].Load() > 0) != c.out
			})
			n.Store(int32(Enough))
			heard := make([]byte, len("hello"))
			if _, err := io.ReadFull(in, heard); err != nil || string(heard) != "hello" {
				t.Errorf("inbound: %q, %v", heard, err)
			}
			if _, err := io.ReadFull(out, heard); err != nil || string(heard) != "HTTP/" {
				t.Errorf("outbound: %q, %v", heard, err)
			}
		})
	}
}

// Idle connections don't keep others waiting forever.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	var n atomic.Int32
	s := run(t, serveTCP(t, echo), short(&n))
	idle := dial(t, s.InAddr())
	if !says(idle, "hello") {
		t.Fatal("no echo")
	}
	n.Store(int32(HoldAll))
	dial(t, s.InAddr()) // the connection that the half was waiting for is still accepted
	dial(t, s.InAddr())
	if got := readAll(t, idle); got != "" {
		t.Errorf("%q", got)
	}
}

// A shutdown does not wait for a connection that waits for memory.
func TestAHeldHalfStops(t *testing.T) {
	var n atomic.Int32
	n.Store(int32(HoldAll))
	s := run(t, serveTCP(t, echo), short(&n))
	dial(t, s.InAddr())
	s.stop()
}
