package mock

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/proxy/metric"
)

// Collector returns the mock's metrics.
func (m *Mock) Collector() prometheus.Collector { return &collector{m: m} }

type collector struct {
	metric.Unchecked
	m *Mock
}

var (
	requests = metric.Desc("mock_requests_total", "Requests by verdict: HIT, MISS or PASSTHROUGH.", "verdict", "host", "path")
	masked   = metric.Desc("mock_masked_total", "Requests that were answered with volatile values masked.", "host", "path")
	loaded   = metric.Desc("mock_loaded", "Recorded exchanges.")
	unused   = metric.Desc("mock_never_used", "Recorded exchanges that were not served.")
	escaped  = metric.Desc("mock_escaped_total", "Connections to hosts that are not listed for passthrough. They are refused.")
	dials    = metric.Desc("mock_passthrough_connections_total", "Connections to hosts that are listed for passthrough.")
	faults   = metric.Desc("mock_faults_total", "Faults that were injected, by rule.", "rule")
	distrust = metric.Desc("mock_distrusted_total", "Connections that clients ended because of the certificate.")
)

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.m.now.Load()
	all, _ := s.tally.counts()
	for _, n := range all {
		for verdict, v := range map[Verdict]int64{Hit: n.Hit, Missed: n.Missed, Passed: n.Passthrough} {
			if v > 0 {
				metric.Counter(ch, requests, v, string(verdict), label(n.Host), label(n.Path))
			}
		}
		if n.Masked > 0 {
			metric.Counter(ch, masked, n.Masked, label(n.Host), label(n.Path))
		}
	}
	metric.Gauge(ch, loaded, c.m.lib.Len())
	metric.Gauge(ch, unused, s.chooser.Unserved())
	metric.Counter(ch, escaped, c.m.Passthrough.Escaped())
	metric.Counter(ch, dials, c.m.Passthrough.Dials())
	metric.Counter(ch, distrust, s.distrusted.Load())
	for _, f := range s.faults.counts() {
		metric.Counter(ch, faults, f.Fired, label(f.Rule))
	}
}

// label makes s valid as a label value, because clients choose hosts and paths.
func label(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
