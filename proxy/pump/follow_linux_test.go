package pump

import (
	"bytes"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// shouting is a filter that passes a client's lower case as upper case, and
// everything of a server's, up to a full stop. It panics of an exclamation mark.
type shouting struct{ scratch []byte }

func (s *shouting) Pass(side tap.Side, p []byte) (instead []byte, used int) {
	if bytes.IndexByte(p, '!') >= 0 {
		panic("an exclamation mark")
	}
	if used = bytes.IndexByte(p, '.'); used < 0 {
		used = len(p)
	}
	if side == tap.FromServer || used == 0 {
		return nil, used
	}
	s.scratch = append(s.scratch[:0], bytes.ToUpper(p[:used])...)
	return s.scratch, used
}

// followed is a pair of connections that loops follow.
type followed struct {
	*pumped
	loops *Loops
	left  chan *Left // given when they are done
}

func follow(t *testing.T, stream *tap.Stream, pool *tap.Pool) *followed {
	t.Helper()
	loops, err := NewLoops(pool, 1)
	if err != nil {
		t.Fatal(err)
	}
	f := &followed{pumped: &pumped{meter: &Meter{}, ended: make(chan error, 1)}, loops: loops, left: make(chan *Left, 1)}
	var near, far *net.TCPConn
	f.client, near = connection(t)
	far, f.server = connection(t)
	f.near, f.far = NewConn(near, nil), NewConn(far, nil)
	pump := Pump{Pool: pool, Stream: stream, Meter: f.meter, Loops: loops}
	go func() {
		defer close(f.ended)
		left, ok, err := pump.Follow(f.near, f.far, &shouting{})
		if !ok {
			t.Error("the loops did not take two TCP connections")
		}
		f.left <- left
		f.ended <- err
	}()
	t.Cleanup(func() {
		for _, c := range []io.Closer{f.client, f.server, f.near, f.far} {
			c.Close()
		}
		for range f.ended {
		}
		loops.Close()
	})
	return f
}

// A filter that panics costs the two connections that it was asked about, and
// not the loop that serves others.
func TestAFilterThatPanicsResetsItsPair(t *testing.T) {
	f := follow(t, nil, new(tap.Pool))
	send(t, f.client, "help!")
	if left := <-f.left; left != nil {
		t.Errorf("left %+v", left)
	}
	var crash *Panic
	if err := <-f.ended; !errors.As(err, &crash) || !bytes.Contains(crash.Stack, []byte("shouting")) {
		t.Errorf("ended with %v", err)
	}
	for _, c := range []net.Conn{f.client, f.server} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%v, want a reset", err)
		}
	}
}

// What a filter leaves is unread, and both connections are the caller's again.
func TestWhatAFilterLeavesIsTheCallers(t *testing.T) {
	for _, c := range []struct {
		side tap.Side
		last string
		pass string
		rest string
	}{
		{tap.FromClient, "more.rest", "MORE", ".rest"},
		{tap.FromClient, ".rest", "", ".rest"},
		{tap.FromServer, "more.rest", "more", ".rest"},
		{tap.FromServer, ".", "", "."},
	} {
		t.Run(c.side.String()+" "+c.last, func(t *testing.T) {
			f := follow(t, nil, new(tap.Pool))
			send(t, f.client, "ask")
			expect(t, f.server, "ASK")
			send(t, f.server, "answer")
			expect(t, f.client, "answer")
			from, to, mine, other := f.client, f.server, f.near, f.far
			if c.side == tap.FromServer {
				from, to, mine, other = f.server, f.client, f.far, f.near
			}
			send(t, from, c.last)
			if left := <-f.left; !reflect.DeepEqual(left, &Left{Side: c.side}) {
				t.Fatalf("left %+v", left)
			}
			if err := <-f.ended; err != nil {
				t.Fatal(err)
			}
			expect(t, to, c.pass)
			expect(t, mine, c.rest)
			send(t, other, "by the caller")
			expect(t, to, "by the caller")
			send(t, to, "and back")
			expect(t, other, "and back")
		})
	}
}

// The end of one side is the caller's to pass on.
func TestAFilterIsNotToldOfTheEnd(t *testing.T) {
	f := follow(t, nil, new(tap.Pool))
	send(t, f.client, "ask")
	f.client.CloseWrite()
	expect(t, f.server, "ASK")
	if left := <-f.left; !reflect.DeepEqual(left, &Left{Side: tap.FromClient}) {
		t.Fatalf("left %+v", left)
	}
	expectAll(t, f.near, "")
	send(t, f.server, "late answer")
	expect(t, f.far, "late answer")
}

// What a slow reader has not taken is owed to it.
func TestWhatASlowReaderHasNotTakenIsOwed(t *testing.T) {
	f := follow(t, nil, new(tap.Pool))
	const size = 12 << 20
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { send(t, f.server, strings.Repeat("x", size)) })
	for f.meter.Quiet(time.Now().Add(time.Minute), time.Second) {
		time.Sleep(time.Millisecond) // until the client's connection is full
	}
	send(t, f.client, ".")
	left := <-f.left
	if left.Side != tap.FromClient || len(left.Owed[tap.FromClient]) == 0 || len(left.Owed[tap.FromServer]) > 0 {
		t.Fatalf("left %v, and owed %d bytes to the client, %d to the server", left.Side, len(left.Owed[0]), len(left.Owed[1]))
	}
	wg.Go(func() {
		f.near.Write(left.Owed[tap.FromClient])
		_, _ = io.Copy(f.near, io.LimitReader(f.far, size-f.meter.Bytes(tap.FromServer)))
		f.near.CloseWrite()
	})
	if got, err := io.ReadAll(f.client); err != nil || len(got) != size {
		t.Errorf("%d bytes arrived, %v; want %d", len(got), err, size)
	}
}

func TestClosingFromOutsideEndsWhatIsFollowed(t *testing.T) {
	f := follow(t, nil, new(tap.Pool))
	send(t, f.client, "ask")
	expect(t, f.server, "ASK")
	f.near.Close()
	if left := <-f.left; left != nil {
		t.Errorf("left %+v", left)
	}
	if err := <-f.ended; err != nil {
		t.Error(err)
	}
	expectAll(t, f.client, "")
	expectAll(t, f.server, "")
}

// A connection that comes back is found dead as one that never left.
func TestAConnectionThatComesBackKeepsItsOptions(t *testing.T) {
	client, server := connection(t)
	defer server.Close()
	want := net.KeepAliveConfig{Enable: true, Idle: 75 * time.Second, Interval: 14 * time.Second, Count: 3}
	if err := client.SetKeepAliveConfig(want); err != nil {
		t.Fatal(err)
	}
	c := NewConn(client, nil)
	fd, _ := duplicate(client)
	client.Close()
	if err := c.restore(fd); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	again, _ := duplicate(c.TCP())
	defer unix.Close(again)
	if got := keepAliveOf(again); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// kept keeps what a tap's reader is given, once it is allowed to look.
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

// A loop doesn't read into what a tap still holds, the filter's last bytes
// included.
func TestALoopReadsNothingIntoWhatTheTapHolds(t *testing.T) {
	k := &kept{look: make(chan struct{})}
	taps := tap.New(tap.Config{Limit: 1 << 20, Open: func(*tap.Flow) tap.Reader { return k }})
	stream := taps.Open(&tap.Flow{})
	f := follow(t, stream, taps.Pool())
	first := strings.Repeat("a", 12<<10) // too much to be copied
	send(t, f.server, first+".")
	<-f.left
	expect(t, f.client, first)
	expect(t, f.far, ".")
	// The next pair of the loop reads into a buffer of the same size.
	second := Pump{Pool: taps.Pool(), Meter: &Meter{}, Loops: f.loops}
	go second.Follow(f.near, f.far, &shouting{})
	send(t, f.server, strings.Repeat("b", 12<<10))
	expect(t, f.client, strings.Repeat("b", 12<<10))
	stream.Close(time.Now())
	close(k.look)
	if err := taps.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := k.all[tap.FromServer].String(); got != first {
		t.Errorf("the tap's reader was given %d bytes with %d b in them", len(got), strings.Count(got, "b"))
	}
}
