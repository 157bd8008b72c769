package proxy

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taped holds what the tap passed on from one flow.
type taped struct {
	flow   *tap.Flow
	side   [2]bytes.Buffer
	last   tap.Side // the side that sent last
	lost   bool     // the flow's bytes are not known to be questions and answers
	closed bool
}

// tape keeps every flow.
type tape struct {
	mu    sync.Mutex
	flows []*taped
}

func (t *tape) open(f *tap.Flow) tap.Reader {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &tapeReader{t, &taped{flow: f}}
	t.flows = append(t.flows, r.taped)
	return r
}

// find returns the flows of a direction, in the order in which they began.
func (t *tape) find(d tap.Direction) (flows []*taped) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.flows {
		if f.flow.Direction == d {
			flows = append(flows, f)
		}
	}
	// The tap's workers open them in any order.
	slices.SortFunc(flows, func(a, b *taped) int { return cmp.Compare(a.flow.ID, b.flow.ID) })
	return flows
}

type tapeReader struct {
	tape *tape
	*taped
}

func (r *tapeReader) Data(side tap.Side, _ time.Time, p []byte) {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	r.side[side].Write(p)
	r.last = side
}

// nobodyKnows marks a flow as one whose protocol is unknown.
func (t *tape) nobodyKnows(f *taped) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.lost = true
}

// Idle assumes that a flow consists of questions and their answers.
func (r *tapeReader) Idle() bool {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	return r.last == tap.FromServer && !r.lost
}
func (r *tapeReader) Gap(side tap.Side, _ time.Time, n int64) {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	r.side[side].WriteString("[gap]")
}
func (r *tapeReader) Close(time.Time) {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	r.closed = true
}

// sidecar is a proxy that runs.
type sidecar struct {
	*Proxy
	tape *tape
	logs *logbuffer.Buffer
	stop func()
}

// run starts a sidecar for app, with dual, tcp:http and free ports, and changed by edit. It stops
// when the test ends, or by stop.
func run(t testing.TB, app net.Addr, edit func(*Config)) *sidecar {
	t.Helper()
	cfg := Config{
		Reverse: true, Forward: true, InProtocol: TCP, In: make([]Inbound, 1),
		TapMemory: 64 << 20, Drain: 10 * time.Second, TrustDir: t.TempDir(),
	}
	if app != nil {
		cfg.In = []Inbound{{App: App{Host: "127.0.0.1", Port: app.(*net.TCPAddr).Port}}}
	}
	if edit != nil {
		edit(&cfg)
	}
	s := &sidecar{tape: &tape{}, logs: new(logbuffer.Buffer)}
	var err error
	log := slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Proxy, err = Listen(t.Context(), cfg, log, s.tape.open, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Log(s.logs.String())
		}
	})
	return s
}

// in and out are URLs of the two halves.
func (s *sidecar) in() string  { return "http://" + s.InAddr().String() }
func (s *sidecar) out() string { return "http://" + s.OutAddr().String() }

// client returns an HTTP client that goes through the forward proxy.
func (s *sidecar) client(t testing.TB, proxy string) (*http.Client, *http.Transport) {
	t.Helper()
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(u)}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}, tr
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// serveTCP runs a server that calls serve for every connection.
func serveTCP(t testing.TB, serve func(*net.TCPConn)) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr()
}

// dial connects to a half.
func dial(t testing.TB, addr net.Addr) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// readAll reads to the end.
func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("read: %v (after %q)", err, b)
	}
	return string(b)
}
