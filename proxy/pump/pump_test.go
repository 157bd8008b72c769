package pump

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pumped is a pair of connections with a pump between them: the client talks to the server.
type pumped struct {
	client, server *net.TCPConn
	near, far      *Conn // the pump's ends of them
	meter          *Meter
	ended          chan error
}

// eachWay runs a test with loops, where there are any, and with goroutines.
func eachWay(t *testing.T, test func(t *testing.T, start func(heads ...string) *pumped)) {
	for _, way := range []string{"loops", "goroutines"} {
		t.Run(way, func(t *testing.T) {
			pool := new(tap.Pool)
			var loops *Loops
			if way == "loops" {
				var err error
				if loops, err = NewLoops(pool, 2); err != nil {
					t.Fatal(err)
				}
				if loops == nil {
					t.Skip("there are no loops on this system")
				}
			}
			var all []*pumped
			t.Cleanup(func() {
				for _, p := range all {
					p.client.Close()
					p.server.Close()
					p.near.Close()
					p.far.Close()
					<-p.ended
				}
				if loops != nil {
					loops.Close()
				}
			})
			test(t, func(heads ...string) *pumped {
				p := &pumped{meter: &Meter{}, ended: make(chan error, 1)}
				var near, far *net.TCPConn
				p.client, near = connection(t)
				far, p.server = connection(t)
				head := append(heads, "", "")
				p.near, p.far = NewConn(near, []byte(head[tap.FromClient])), NewConn(far, []byte(head[tap.FromServer]))
				run := Pump{Pool: pool, Meter: p.meter, Loops: loops}
				all = append(all, p)
				run.Start(p.near, p.far, func(err error) {
					p.ended <- err
					close(p.ended)
				})
				return p
			})
		})
	}
}

// connection returns the two ends of a TCP connection.
func connection(t *testing.T) (dialed, accepted *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{out, in} {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // so that a test that hangs fails
	}
	_ = in.(*net.TCPConn).SetReadBuffer(64 << 10)
	return out.(*net.TCPConn), in.(*net.TCPConn)
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func expectAll(t *testing.T, c net.Conn, want string) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q and the end", got, err, want)
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func TestAConversationEndsInOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		p := start()
		for range 3 {
			send(t, p.client, "question")
			expect(t, p.server, "question")
			send(t, p.server, "answer")
			expect(t, p.client, "answer")
		}
		p.client.CloseWrite()
		expectAll(t, p.server, "")
		send(t, p.server, "late answer")
		p.server.Close()
		expectAll(t, p.client, "late answer")
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		if in, out := p.meter.Bytes(tap.FromClient), p.meter.Bytes(tap.FromServer); in != 24 || out != 29 {
			t.Errorf("counted %d and %d bytes", in, out)
		}
	})
}

// The pump first sends the bytes that were read before it began, and notices an end that came with
// them.
func TestWhatWasThereBeforeIsMoved(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		p := start("HEAD ", "greeting ")
		send(t, p.client, "body")
		p.client.CloseWrite()
		expectAll(t, p.server, "HEAD body")
		send(t, p.server, "hello")
		p.server.CloseWrite()
		expectAll(t, p.client, "greeting hello")
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
	})
}

// The last bytes and the end often arrive as one event, after which no further event comes on the
// connection.
func TestTheEndThatComesWithTheLastBytesIsNotMissed(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		for range 100 {
			p := start()
			send(t, p.client, "all there is")
			p.client.CloseWrite()
			expectAll(t, p.server, "all there is")
			send(t, p.server, "bye")
			p.server.Close()
			expectAll(t, p.client, "bye")
			if err := <-p.ended; err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAResetIsPassedOn(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		for _, first := range []string{"", "half an ans"} {
			p := start()
			send(t, p.client, "question")
			expect(t, p.server, "question")
			send(t, p.server, first)
			expect(t, p.client, first)
			p.server.SetLinger(0)
			p.server.Close()
			if _, err := p.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("after %q the client reads %v, want a reset", first, err)
			}
			if err := <-p.ended; err == nil || !strings.Contains(err.Error(), "read from the server") {
				t.Errorf("ended with %v", err)
			}
		}
	})
}

// A write to a connection that was reset returns the reset, so a later read doesn't. The pump
// still delivers what the server sent before, and then passes on the reset.
func TestAResetIsPassedOnWhileTheServerIsOwedBytes(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		for range 3 {
			p := start()
			for n := 1; n > 0 || !p.meter.owing[tap.FromClient].Load(); { // until no more is taken
				p.client.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
				n, _ = p.client.Write(make([]byte, 16<<20))
			}
			send(t, p.server, "half an ans")
			expect(t, p.client, "half an ans")
			reset(p.server)
			if _, err := p.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("the client reads %v, want a reset", err)
			}
			if err := <-p.ended; err == nil || !strings.Contains(err.Error(), "read from the server") {
				t.Errorf("ended with %v", err)
			}
		}
	})
}

// A client that has sent everything may close the connection before it is answered.
func TestAResetAfterTheEndIsPassedOn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can tell what was delivered")
	}
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		p := start()
		send(t, p.client, "question")
		p.client.CloseWrite()
		expectAll(t, p.server, "question")
		send(t, p.server, "wait") // acknowledges the end, too
		expect(t, p.client, "wait")
		reset(p.client)
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		if _, err := p.server.Write([]byte("answer")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the server writes %v, want a broken pipe", err)
		}
	})
}

// The server still gets all bytes that the client sent before the reset.
func TestAResetAfterTheEndDoesNotOvertakeWhatWasSaid(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		const size = 256 << 10 // more than the server's system takes unread
		for range 10 {
			p := start()
			send(t, p.client, strings.Repeat("x", size))
			p.client.CloseWrite()
			for p.meter.Bytes(tap.FromClient) < size {
				runtime.Gosched()
			}
			reset(p.client)
			if got, err := io.ReadAll(p.server); err != nil || len(got) != size {
				t.Errorf("%d bytes arrived, %v; want the %d that were sent", len(got), err, size)
			}
			p.server.Close()
			if err := <-p.ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// A server may answer and close without having read everything that it was sent.
func TestAnAnswerOutlivesTheConnectionThatItCameOn(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		p := start()
		send(t, p.server, "413 too large")
		p.server.CloseWrite()
		expect(t, p.client, "413 too large")
		p.server.CloseRead() // bytes that arrive from now on are thrown away
		go io.Copy(p.client, bytes.NewReader(make([]byte, 8<<20)))
		expectAll(t, p.client, "")
	})
}

// A slow reader holds up the sender and loses nothing.
func TestASlowReaderHoldsUpTheSender(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		p := start()
		random := make([]byte, 12<<20)
		var seed [32]byte
		_, _ = rand.NewChaCha8(seed).Read(random)
		var wg sync.WaitGroup
		defer wg.Wait()
		for _, c := range []*net.TCPConn{p.client, p.server} {
			wg.Go(func() {
				if _, err := c.Write(random); err != nil {
					t.Error(err)
				}
				c.CloseWrite()
			})
		}
		// Both are stuck as soon as no bytes move any more, before all have moved.
		moved := func() int64 { return p.meter.Bytes(tap.FromClient) + p.meter.Bytes(tap.FromServer) }
		for last := int64(-1); last != moved() || last == 0; time.Sleep(20 * time.Millisecond) {
			last = moved()
		}
		if n := moved(); n >= int64(2*len(random)) {
			t.Fatalf("%d bytes were taken although nobody has read them", n)
		}
		for _, c := range []*net.TCPConn{p.server, p.client} {
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, random) {
				t.Fatalf("%d bytes arrived, %v; want the %d that were sent", len(got), err, len(random))
			}
		}
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
	})
}

// A drain ends connections while the pump moves bytes: it closes or cuts them.
func TestClosingFromOutsideEndsThePump(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		for name, c := range map[string]struct {
			end  func(*Conn)
			want error
		}{
			"hang up": {func(c *Conn) { c.Close() }, io.EOF},
			"cut":     {func(c *Conn) { c.Abort() }, syscall.ECONNRESET},
		} {
			p := start()
			send(t, p.client, "question")
			expect(t, p.server, "question")
			c.end(p.near)
			c.end(p.far)
			for _, end := range []net.Conn{p.client, p.server} {
				if _, err := end.Read(make([]byte, 1)); !errors.Is(err, c.want) {
					t.Errorf("%s: read %v, want %v", name, err, c.want)
				}
			}
			if err := <-p.ended; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Many pairs share few loops, and a pair that moves many bytes does not starve others.
func TestADownloadDoesNotHoldUpAQuestion(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 2 {
			p := start()
			wg.Go(func() { _, _ = io.Copy(io.Discard, p.client) })
			wg.Go(func() {
				defer p.server.CloseWrite()
				for chunk := make([]byte, 256<<10); ; {
					select {
					case <-stop:
						return
					default:
						if _, err := p.server.Write(chunk); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		p := start()
		for range 20 {
			send(t, p.client, "question")
			expect(t, p.server, "question")
			send(t, p.server, "answer")
			expect(t, p.client, "answer")
		}
		close(stop)
		wg.Wait()
	})
}

// A drain closes connections that are quiet. A connection whose client is slow to read its answer
// is not quiet.
func TestAnAnswerThatWaitsForItsReaderIsNotQuiet(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(...string) *pumped) {
		p := start()
		answer := make([]byte, 12<<20)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			if _, err := p.server.Write(answer); err != nil {
				t.Error(err)
			}
		})
		quiet := func() bool { return p.meter.Quiet(time.Now().Add(time.Minute), time.Second) }
		for deadline := time.Now().Add(10 * time.Second); quiet(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("quiet, although the answer waits for its reader")
			}
		}
		if _, err := io.ReadFull(p.client, make([]byte, len(answer))); err != nil {
			t.Fatal(err)
		}
		for !quiet() {
			time.Sleep(time.Millisecond)
		}
	})
}

// during is a connection that calls a function while it is written to.
type during struct {
	net.Conn
	call func()
}

func (d during) Write(p []byte) (int, error) {
	d.call()
	return d.Conn.Write(p)
}

// The same holds for bytes that were read before the pump began.
func TestAnAnswerThatWasThereBeforeIsNotQuietEither(t *testing.T) {
	client, near := connection(t)
	far, server := connection(t)
	server.CloseWrite()
	client.CloseWrite()
	meter := &Meter{}
	quiet := func() bool { return meter.Quiet(time.Now().Add(time.Minute), time.Second) }
	waits := during{near, func() {
		if quiet() {
			t.Error("quiet while it is written")
		}
	}}
	p := Pump{Pool: new(tap.Pool), Meter: meter}
	if err := p.Run(NewConn(waits, nil), NewConn(far, []byte("220 ready"))); err != nil {
		t.Error(err)
	}
	expectAll(t, client, "220 ready")
	if !quiet() {
		t.Error("not quiet when it was taken")
	}
	client.Close()
	server.Close()
}

// crashing is a connection that panics when it is read.
type crashing struct{ net.Conn }

func (crashing) Read([]byte) (int, error) { panic("crashing") }

// A goroutine that panics resets both connections, in whichever direction it moved bytes.
func TestAPanicResetsBothConnections(t *testing.T) {
	for _, side := range []tap.Side{tap.FromClient, tap.FromServer} {
		t.Run("of the "+side.String(), func(t *testing.T) {
			client, near := connection(t)
			far, server := connection(t)
			ends := [2]net.Conn{near, far}
			ends[side] = crashing{ends[side]}
			p := Pump{Pool: new(tap.Pool), Meter: &Meter{}}
			err := p.Run(NewConn(ends[tap.FromClient], nil), NewConn(ends[tap.FromServer], nil))
			var crash *Panic
			if !errors.As(err, &crash) || crash.Value != "crashing" {
				t.Errorf("ended with %v", err)
			}
			for _, c := range []net.Conn{client, server} {
				if n, err := c.Read(make([]byte, 1)); err == nil {
					t.Errorf("read %d bytes", n)
				}
				c.Close()
			}
		})
	}
}
