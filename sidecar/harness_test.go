package sidecar

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sidecar is the proxy with its capture, as Run runs them.
type sidecar struct {
	*proxy.Proxy
	capture *Capture
	metrics *prometheus.Registry
	logs    *logs
	stop    func() // the proxy, not the recording
}

// logs is a log that can be read while it is written.
type logs struct {
	logbuffer.Buffer
	to    io.Writer // nil: the buffer
	level slog.Level
}

func (l *logs) logger() *slog.Logger {
	if l.to != nil {
		return slog.New(slog.NewJSONHandler(l.to, nil))
	}
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: l.level}))
}

// config returns the configuration of a reverse proxy for an application that echoes requests, on
// free ports.
func config(t testing.TB) Config {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
	t.Cleanup(app.Close)
	cfg := Config{
		Config: proxy.Config{
			Reverse: true, InProtocol: proxy.TCP, Drain: 5 * time.Second, TrustDir: t.TempDir(), In: []proxy.Inbound{{App: proxy.App{Host: "127.0.0.1"}}},
		},
		Type: "reverse", Protocols: "tcp", Memory: 64 << 20, BodyLimit: 1 << 20,
	}
	fmt.Sscanf(app.URL, "http://127.0.0.1:%d", &cfg.In[0].App.Port)
	return cfg
}

// run starts a sidecar that keeps what it captures in store.
func run(t testing.TB, cfg Config, store spool.Files) *sidecar {
	t.Helper()
	logs := &logs{}
	return serve(t, cfg, into(t, store, cfg, logs), logs)
}

// into captures into a store.
func into(t testing.TB, store spool.Files, cfg Config, logs *logs) *Capture {
	t.Helper()
	c, err := open(cfg, "test", logs.logger(), func(o spool.Options) (*spool.Recorder, error) { return spool.OpenFiles(store, o) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(t testing.TB, cfg Config, c *Capture, logs *logs) *sidecar {
	t.Helper()
	s := &sidecar{capture: c, metrics: prometheus.NewRegistry(), logs: logs}
	s.metrics.MustRegister(c)
	var err error
	s.Proxy, err = proxy.Listen(t.Context(), c.forwarding(cfg, "test"), logs.logger(), c.Open, s.metrics)
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
	s.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(s.stop)
	return s
}

// send makes n requests, four at a time, each with a different body of size bytes. Every one must
// be answered, and none may wait for long.
func (s *sidecar) send(t testing.TB, n, size int, keepAlive bool) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: !keepAlive, MaxIdleConnsPerHost: 4}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; i < n; i += 4 {
				body := noise(i, size)
				resp, err := client.Post(fmt.Sprintf("http://%s/%d", s.InAddr(), i), "text/plain", strings.NewReader(body))
				if err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				answer, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(answer) != body {
					t.Errorf("request %d: %d bytes of %d, %v", i, len(answer), size, err)
				}
			}
		})
	}
	wg.Wait()
}

// ledger holds the metrics about exchanges.
type ledger struct {
	handed, stored, pending float64
	up                      float64            // whether the sink works
	dropped                 map[string]float64 // by reason, those that are not 0
}

func (s *sidecar) ledger(t testing.TB) ledger {
	t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	l := ledger{dropped: map[string]float64{}}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "tapedeck_exchanges_total":
				l.handed = m.GetCounter().GetValue()
			case "tapedeck_exchanges_stored_total":
				l.stored = m.GetCounter().GetValue()
			case "tapedeck_exchanges_pending":
				l.pending = m.GetGauge().GetValue()
			case "tapedeck_sink_up":
				l.up = m.GetGauge().GetValue()
			case "tapedeck_exchanges_dropped_total":
				if v := m.GetCounter().GetValue(); v > 0 {
					l.dropped[m.GetLabel()[0].GetValue()] = v
				}
			}
		}
	}
	return l
}

func (l ledger) sum() float64 {
	sum := l.stored + l.pending
	for _, n := range l.dropped {
		sum += n
	}
	return sum
}

// counted reads a directory, and returns its exchanges and the counters of the process
// that began last.
func counted(t testing.TB, dir string) (all []*recording.Exchange, last recording.Counters) {
	t.Helper()
	r, err := read.Open(t.Context(), read.Query{}, read.Options{}, store.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec.Exchange)
	}
	if err := r.Report().Damaged(); err != nil {
		t.Fatal(err)
	}
	for _, last = range r.Report().Tally.Last() {
	}
	return all, last
}

// recorded counts the exchanges that a reader finds in a directory.
func recorded(t testing.TB, dir string) (n int) {
	t.Helper()
	for _, err := range read.All(t.Context(), read.Options{}, store.Dir(dir)) {
		if err != nil {
			t.Errorf("read back: %v", err)
			continue
		}
		n++
	}
	return n
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
