package proxy

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// The metrics. Counters count since the start of the process.
var (
	descConns     = desc("connections_total", "Connections accepted.", "direction")
	descFailed    = desc("connections_failed_total", "Connections that did not end in order; the log says why.", "direction")
	descOpen      = desc("connections_open", "Connections open now.", "direction")
	descBytes     = desc("bytes_total", "Bytes moved, by who sent them.", "direction", "side")
	descTapLimit  = desc("tap_limit_bytes", "Bound on the copied traffic that waits to be recorded.")
	descTapUsed   = desc("tap_used_bytes", "Copied traffic that waits to be recorded.")
	descTapFlows  = desc("tap_flows_total", "Flows handed to the tap.")
	descTapBytes  = desc("tap_bytes_total", "Bytes handed to the tap that were delivered to a reader, or wanted by none.", "fate")
	descDropBytes = desc("tap_dropped_bytes_total", "Bytes that the tap dropped instead of holding up traffic.", "reason")
	descDrops     = desc("tap_dropped_chunks_total", "Chunks that the tap dropped instead of holding up traffic.", "reason")
	descMints     = desc("tls_leaves_minted_total", "Leaf certificates made.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tapedeck_"+name, help, labels, nil)
}

// collector reads the metrics from where they are counted, when asked.
type collector struct{ p *Proxy }

// Describe sends nothing: the metrics are checked when collected.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for _, d := range []tap.Direction{tap.In, tap.Out} {
		t, open := c.p.conns.sums(d)
		counter(descConns, t.accepted, d.String())
		counter(descFailed, t.failed, d.String())
		gauge(descOpen, int64(open), d.String())
		for side, n := range t.bytes {
			counter(descBytes, n, d.String(), tap.Side(side).String())
		}
	}
	s := c.p.tap.Stats()
	gauge(descTapLimit, s.Limit)
	gauge(descTapUsed, s.Used)
	counter(descTapFlows, s.Flows)
	counter(descTapBytes, s.Delivered, "delivered")
	counter(descTapBytes, s.Unwanted, "unwanted")
	for reason, loss := range s.Dropped {
		counter(descDropBytes, loss.Bytes, reason)
		counter(descDrops, loss.Chunks, reason)
	}
	if c.p.out != nil {
		counter(descMints, c.p.out.Minted())
	}
}
