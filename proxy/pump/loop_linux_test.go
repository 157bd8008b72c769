package pump

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// looped is a pair of connections that a loop moves bytes between.
type looped struct {
	*pumped
	loops *Loops
}

func onLoop(t *testing.T, stream *tap.Stream, pool *tap.Pool) *looped {
	t.Helper()
	loops, err := NewLoops(pool, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loops.Close)
	return &looped{startPair(t, &Pump{Pool: pool, Stream: stream, Loops: loops}), loops}
}

// startPair connects a client to a server through a pump.
func startPair(t *testing.T, run *Pump) *pumped {
	t.Helper()
	p := &pumped{meter: &Meter{}, ended: make(chan error, 1)}
	run.Meter = p.meter
	var near, far *net.TCPConn
	p.client, near = connection(t)
	far, p.server = connection(t)
	p.near, p.far = NewConn(near, nil), NewConn(far, nil)
	run.Start(p.near, p.far, func(err error) {
		p.ended <- err
		close(p.ended)
	})
	t.Cleanup(func() {
		for _, c := range []io.Closer{p.client, p.server, p.near, p.far} {
			c.Close()
		}
		for range p.ended {
		}
	})
	return p
}

// If epoll refuses a pair, only that pair ends: the loop still serves the others.
func TestAPairThatEpollRefusesEndsAlone(t *testing.T) {
	f := onLoop(t, nil, new(tap.Pool))
	send(t, f.client, "ask")
	expect(t, f.server, "ask")

	client, near := connection(t)
	far, server := connection(t)
	defer client.Close()
	defer server.Close()
	refused := make(chan error, 1)
	q := &pair{Pump: &Pump{Meter: &Meter{}}, loop: f.loops.loops[0], over: func(err error) { refused <- err }}
	if !q.take(NewConn(near, nil), NewConn(far, nil)) {
		t.Fatal("the loop did not take two TCP connections")
	}
	unpollable, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer unpollable.Close()
	if err := unix.Dup3(int(unpollable.Fd()), q.ends[0].fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	q.loop.add(q)
	if err := <-refused; err == nil {
		t.Fatal("epoll took a regular file")
	}
	expectAll(t, client, "")

	send(t, f.client, "ask")
	expect(t, f.server, "ask")
	send(t, f.server, "answer")
	expect(t, f.client, "answer")
}

// If a pair is ended before its loop serves it, only that pair ends, too.
func TestAPairThatEndsBeforeItBeginsEndsAlone(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*Conn)
		want error
	}{
		"hang up": {func(c *Conn) { c.Close() }, io.EOF},
		"cut":     {(*Conn).Abort, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			f := onLoop(t, nil, new(tap.Pool))
			send(t, f.client, "ask")
			expect(t, f.server, "ask")

			client, near := connection(t)
			far, server := connection(t)
			defer client.Close()
			defer server.Close()
			ended := make(chan error, 2)
			q := &pair{Pump: &Pump{Meter: &Meter{}}, loop: f.loops.loops[0], over: func(err error) { ended <- err }}
			conn := NewConn(near, nil)
			if !q.take(conn, NewConn(far, nil)) {
				t.Fatal("the loop did not take two TCP connections")
			}
			c.end(conn)
			q.loop.add(q)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			for _, peer := range []net.Conn{client, server} {
				if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, c.want) {
					t.Errorf("read %v, want %v", err, c.want)
				}
			}

			send(t, f.client, "ask")
			expect(t, f.server, "ask")
			send(t, f.server, "answer")
			expect(t, f.client, "answer")
		})
	}
}

// If a pair panics, only that pair is reset.
func TestAPairThatPanicsEndsAlone(t *testing.T) {
	f := onLoop(t, nil, new(tap.Pool))
	client, near := connection(t)
	far, server := connection(t)
	defer client.Close()
	defer server.Close()
	ended := make(chan error, 1)
	broken := Pump{Pool: new(tap.Pool), Loops: f.loops} // it has no Meter
	broken.Start(NewConn(near, nil), NewConn(far, nil), func(err error) { ended <- err })
	send(t, client, "ask")
	var crash *Panic
	if err := <-ended; !errors.As(err, &crash) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v", err)
	}
	send(t, f.client, "ask")
	expect(t, f.server, "ask")
}

// kept keeps the chunks that a tap's reader gets, once it is allowed to read.
type kept struct {
	look chan struct{}
	all  [2]strings.Builder
}

func (k *kept) Data(side tap.Side, _ time.Time, p []byte) {
	<-k.look
	k.all[side].Write(p)
}
func (k *kept) Gap(tap.Side, time.Time, int64) {}
func (k *kept) Close(time.Time)                {}

// A loop doesn't read into a buffer that a tap still holds.
func TestALoopReadsNothingIntoWhatTheTapHolds(t *testing.T) {
	k := &kept{look: make(chan struct{})}
	taps := tap.New(tap.Config{Limit: 1 << 20, Open: func(*tap.Flow) tap.Reader { return k }})
	stream := taps.Open(&tap.Flow{})
	f := onLoop(t, stream, taps.Pool())
	first := strings.Repeat("a", 12<<10) // too much to be copied
	send(t, f.server, first)
	expect(t, f.client, first)
	// The loop's next pair reads into a buffer of the same size.
	second := startPair(t, &Pump{Pool: taps.Pool(), Loops: f.loops})
	next := strings.Repeat("b", 12<<10)
	send(t, second.server, next)
	expect(t, second.client, next)
	stream.Close(time.Now())
	close(k.look)
	if err := taps.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := k.all[tap.FromServer].String(); got != first {
		t.Errorf("the tap's reader was given %d bytes with %d b in them", len(got), strings.Count(got, "b"))
	}
}
