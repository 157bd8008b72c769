package sidecar

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/metric"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/sidecar/ship"
)

// maxSpoolFiles is the maximum number of segments that wait for a collector. A busy pod
// writes that many in more than a month, and a directory of that size is fast to list.
const maxSpoolFiles = 10_000

// Directory returns the directory for segments that the environment sets: the sink, or the
// spool for a collector.
func Directory(getenv func(string) string) (string, error) {
	sink, err := contract.ParseSink(cmp.Or(getenv(contract.EnvSink), contract.DefaultSink))
	if err != nil || !sink.IsCollector() {
		return sink.Path, err
	}
	return contract.ParseDirectory(cmp.Or(getenv(contract.EnvSpool), contract.RecordingDir))
}

// checkCollector rejects a collector without TLS, unless SinkPlainHTTP allows it.
func (c *Config) checkCollector() error {
	if c.Collector.Scheme != "http" || c.SinkPlainHTTP || isLoopback(c.Collector.Host) {
		return nil
	}
	return fmt.Errorf("%s=%q: plain HTTP beyond this pod, so bodies and the token would travel in clear text: want https://, or %s=true where a mesh encrypts it",
		contract.EnvSink, c.Collector.String(), contract.EnvSinkPlainHTTP)
}

// isLoopback reports whether a host, with or without a port, is loopback.
func isLoopback(host string) bool {
	u := url.URL{Host: host}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && address.IsLoopback(addr) || err != nil && address.IsLocalhost(u.Hostname())
}

// newShipper returns a shipper for the segments in cfg.Sink.
func newShipper(cfg Config, log *slog.Logger, roots func() *x509.CertPool) *ship.Shipper {
	return ship.New(ship.Options{
		Dir:       spool.Dir(cfg.Sink),
		Collector: cfg.Collector,
		Token:     func() (string, error) { return sinkToken(cfg.SinkTokenFile) },
		Roots:     roots,
		Log:       log,
	})
}

// sinkToken reads the token for the collector. A missing file is not an error, because the
// Secret may come later, and the collector rejects requests without a token.
func sinkToken(file string) (string, error) {
	text, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(text)
	if err := contract.CheckCollectorToken(token); err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	return token, nil
}

// sink returns the state of the sink for /status.
func (c *Capture) sink(cfg Config) *status.Sink {
	s := &status.Sink{Directory: status.Text(cfg.Sink)}
	if err := c.recorder.Stats().Err; err != nil {
		s.Error = status.Text(err.Error())
	}
	if c.shipper == nil {
		return s
	}
	s.Collector = &status.Collector{URL: status.Text(cfg.Collector.String())}
	stats := c.shipper.Stats()
	s.Collector.Stored = stats.Last
	if f := stats.LastFailure; f.Err != nil {
		s.Collector.Failed = &status.Failure{Time: f.Time, Reason: f.Reason, Error: status.Text(f.Err.Error())}
	}
	return s
}

// ship starts the shipper, if there is a collector. It verifies the collector's certificate
// against the proxy's roots.
func (c *Capture) ship(p *proxy.Proxy) {
	if c.shipper != nil {
		c.roots = p.Roots
		c.shipper.Start()
	}
}

// closeShipper ships the remaining segments until ctx ends.
func (c *Capture) closeShipper(ctx context.Context) {
	if c.shipper != nil {
		c.shipper.Close(ctx)
	}
}

// podTime returns a context that ends when the pod's time is up: after ctx has ended, plus
// the time to drain and to write the records.
func podTime(ctx context.Context, drain time.Duration) (context.Context, context.CancelFunc) {
	up, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(drain+proxy.StopTime, cancel)
		context.AfterFunc(up, func() { timer.Stop() })
	})
	return up, cancel
}

var (
	descShipped    = metric.Desc("segments_shipped_total", "Segments that the collector has stored.")
	descShippedLen = metric.Desc("segments_shipped_bytes_total", "Size of the segments that the collector has stored.")
	descNotShipped = metric.Desc("ship_failures_total", "Attempts that did not store a segment, by the collector's reason or the sidecar's own.", "reason")
	descSetAside   = metric.Desc("segments_set_aside_total", "Segments that can't be read, or that the collector will never accept. They stay in the pod's directory under another name.")
	descAdopted    = metric.Desc("segments_adopted_total", "Segments of a killed process, by outcome: completed, or removed because they had no complete record.", "outcome")
	descWaiting    = metric.Desc("spool_segments", "Segments that wait to be sent to the collector.")
	descWaitingLen = metric.Desc("spool_bytes", "Size of the segments that wait to be sent to the collector.")
	descOldest     = metric.Desc("spool_oldest_seconds", "Age of the oldest segment that waits to be sent; 0 if none does.")
)

// collectShipped sends the metrics of shipping.
func collectShipped(ch chan<- prometheus.Metric, s ship.Stats) {
	metric.Counter(ch, descShipped, s.Shipped)
	metric.Counter(ch, descShippedLen, s.ShippedBytes)
	for reason, n := range s.Failures {
		metric.Counter(ch, descNotShipped, n, reason)
	}
	metric.Counter(ch, descSetAside, s.SetAside)
	metric.Counter(ch, descAdopted, s.Adopted, "completed")
	metric.Counter(ch, descAdopted, s.Empty, "empty")
	metric.Gauge(ch, descWaiting, s.Segments)
	metric.Gauge(ch, descWaitingLen, s.Bytes)
	age := int64(0)
	if !s.Oldest.IsZero() {
		age = max(0, int64(time.Since(s.Oldest).Seconds()))
	}
	metric.Gauge(ch, descOldest, age)
}
