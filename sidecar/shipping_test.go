package sidecar

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// newCollector returns a collector, a file with the token of the namespace shop, and the
// collector's store.
func newCollector(t testing.TB, dir string) (c *collector.Collector, tokenFile string, kept store.Dir) {
	t.Helper()
	key := []byte("a key of a collector, 32 bytes..")
	kept = store.Dir(filepath.Join(dir, "store"))
	c, err := collector.New(collector.Options{Store: kept, Keys: func() [][]byte { return [][]byte{key} }, TempDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	tokenFile = filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte(contract.CollectorToken(key, recording.Undefined, "shop")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c, tokenFile, kept
}

// shippingConfig returns the configuration of a sidecar that sends to a collector.
func shippingConfig(t testing.TB, dir, collector, tokenFile string) Config {
	t.Helper()
	cfg := config(t)
	cfg.Sink, cfg.SinkTokenFile = filepath.Join(dir, "spool"), tokenFile
	cfg.Identity.Namespace, cfg.Identity.App, cfg.Identity.Pod = "shop", "cart", "cart-0"
	var err error
	if cfg.Collector, err = contract.ParseSink(collector); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// runShipping starts a sidecar that sends what it captures, in segments of that size, so that they end often.
func runShipping(t *testing.T, cfg Config, segment int64) *sidecar {
	t.Helper()
	logs := &logs{}
	c, err := open(cfg, "test", logs.logger(), func(o spool.Options) (*spool.Recorder, error) {
		o.MaxBytes = segment
		return spool.Open(cfg.Sink, o)
	})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, cfg, c, logs)
	c.ship(s.Proxy)
	return s
}

// life runs a sidecar's process from start to end: it starts, passes requests on, and ends. work
// gets the address of its reverse proxy.
func life(t *testing.T, cfg Config, logs *logs, work func(in net.Addr)) (took time.Duration) {
	t.Helper()
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	cfg.Listening = func(p *proxy.Proxy) { listening <- p.InAddr() }
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { ended <- Run(ctx, cfg, "test", logs.logger()) }()
	work(<-listening)
	began := time.Now()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return time.Since(began)
}

// get sends requests, each of which must be answered.
func get(t *testing.T, in net.Addr, n int) {
	t.Helper()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	for i := range n {
		resp, err := client.Get(fmt.Sprintf("http://%s/%d", in, i))
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	}
}

// When a sidecar's process has ended, the collector's store has all that it recorded, including the
// mark of its end. Nothing is left in the pod.
func TestASidecarShipsAllWhenItEnds(t *testing.T) {
	dir := t.TempDir()
	c, token, kept := newCollector(t, dir)
	server := httptest.NewServer(c)
	defer server.Close()
	cfg := shippingConfig(t, dir, server.URL, token)
	logs := &logs{}
	life(t, cfg, logs, func(in net.Addr) { get(t, in, 20) })
	all, last := counted(t, string(kept))
	if len(all) != 20 || !last.End || last.Recorded != 20 || last.Pod != "cart-0" {
		t.Errorf("%d exchanges are stored; %+v", len(all), last)
	}
	if left, err := spool.Dir(cfg.Sink).Segments(); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	if log := logs.String(); strings.Contains(log, "level=WARN") && strings.Contains(log, "collector") {
		t.Errorf("the log: %s", log)
	}
}

// A collector is verified against the same roots as upstreams. The token is sent to no other server
// and written nowhere.
func TestACollectorIsVerified(t *testing.T) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprint(known), func(t *testing.T) {
			dir := t.TempDir()
			c, token, kept := newCollector(t, dir)
			server := httptest.NewUnstartedServer(c)
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			server.StartTLS()
			defer server.Close()
			cfg := shippingConfig(t, dir, server.URL, token)
			if known {
				cfg.UpstreamCA = filepath.Join(dir, "ca.crt")
				text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
				if err := os.WriteFile(cfg.UpstreamCA, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			logs := &logs{level: slog.LevelDebug}
			life(t, cfg, logs, func(in net.Addr) { get(t, in, 3) })
			at := cfg.Sink
			if known {
				at = string(kept)
			}
			if n := recorded(t, at); n != 3 {
				t.Errorf("%d are in %s", n, at)
			}
			secret, err := os.ReadFile(token)
			if err != nil {
				t.Fatal(err)
			}
			if log := logs.String(); strings.Contains(log, strings.TrimSpace(string(secret))) || strings.Contains(log, "segments stay") == known {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

// Requests are answered whatever a collector does, their exchanges are kept in the pod, and the
// sidecar ends in time. The next process sends them.
func TestABrokenCollectorIsNotInTheWay(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	for name, broken := range map[string]http.Handler{
		"stalled":  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }),
		"failing":  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"refusing": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }),
		"down":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c, token, kept := newCollector(t, dir)
			bad := httptest.NewUnstartedServer(broken)
			bad.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			bad.Start()
			if broken == nil {
				bad.Close()
			}
			cfg := shippingConfig(t, dir, bad.URL, token)
			s := runShipping(t, cfg, 64<<10)
			c1, logs := s.capture, s.logs
			s.send(t, requests, 2<<10, true)
			eventually(t, "it is known that there is trouble", func() bool { return name == "stalled" || s.ledger(t).up == 0 })
			s.send(t, requests, 2<<10, true)
			s.stop()
			if err := c1.Close(t.Context()); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			c1.closeShipper(ctx)
			l := s.ledger(t)
			if l.sum() != 2*requests || len(l.dropped) > 0 || l.stored != 2*requests {
				t.Errorf("%+v", l)
			}
			if log := logs.String(); !strings.Contains(log, "segments stay in the pod's directory") || strings.Count(log, "don't reach the collector") != number(name != "stalled") {
				t.Errorf("the log: %s", log)
			}
			if broken != nil {
				bad.CloseClientConnections()
				go bad.Close()
			}

			good := httptest.NewServer(c)
			defer good.Close()
			next := shippingConfig(t, dir, good.URL, token)
			life(t, next, logs, func(net.Addr) {})
			if n := recorded(t, string(kept)); n != 2*requests {
				t.Errorf("%d are stored", n)
			}
		})
	}
}

// The metrics of a sidecar show how much waits, and for how long.
func TestMetricsOfShipping(t *testing.T) {
	dir := t.TempDir()
	cfg := shippingConfig(t, dir, "http://127.0.0.1:1", filepath.Join(dir, "token"))
	logs := &logs{}
	c, err := Open(cfg, "test", logs.logger())
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, cfg, c, logs)
	c.ship(s.Proxy)
	s.send(t, 4, 100, true)
	eventually(t, "all is captured", func() bool { return s.ledger(t).pending == 4 })
	s.stop()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	value := func(name string) (v float64, labels []string) {
		families, err := s.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "tapedeck_"+name {
				continue
			}
			for _, m := range f.GetMetric() {
				v += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				for _, l := range m.GetLabel() {
					labels = append(labels, l.GetValue())
				}
			}
		}
		return v, labels
	}
	eventually(t, "it is known that nothing is sent", func() bool { up, _ := value("sink_up"); return up == 0 })
	if n, why := value("ship_failures_total"); n < 3 || !slices.Equal(why, []string{"unreachable"}) {
		t.Errorf("%v failures by %q", n, why)
	}
	for name, least := range map[string]float64{"spool_segments": 1, "spool_bytes": 100, "spool_oldest_seconds": 1} {
		if v, _ := value(name); v < least {
			t.Errorf("%s is %v", name, v)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c.closeShipper(ctx)
}
