package proxy

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/metric"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

var (
	descConns     = metric.Desc("connections_total", "Connections accepted.", "direction")
	descFailed    = metric.Desc("connections_failed_total", "Connections that failed; the log says why.", "direction")
	descOpen      = metric.Desc("connections_open", "Connections open now.", "direction")
	descHeld      = metric.Desc("accepts_held_total", "Times that the sidecar stopped accepting connections for a while, because it was close to the limit on memory or open files.", "direction", "reason")
	descBytes     = metric.Desc("bytes_total", "Bytes forwarded, by the side that sent them.", "direction", "side")
	descTapLimit  = metric.Desc("tap_limit_bytes", "Maximum bytes of copied traffic that wait for the decoders.")
	descTapUsed   = metric.Desc("tap_used_bytes", "Bytes of copied traffic that wait for the decoders.")
	descTapFlows  = metric.Desc("tap_flows_total", "Connections given to the tap.")
	descTapBytes  = metric.Desc("tap_bytes_total", "Bytes given to the tap, by what happened to them: delivered to a decoder, or unwanted.", "fate")
	descDropBytes = metric.Desc("tap_dropped_bytes_total", "Bytes that the tap dropped instead of holding up traffic.", "reason")
	descDrops     = metric.Desc("tap_dropped_chunks_total", "Chunks that the tap dropped instead of holding up traffic.", "reason")
	descPrivate   = metric.Desc("metadata_flows_total", "Connections to cloud metadata servers. The sidecar forwards and never records them.")
	descHosts     = metric.Desc("captured_host_up", "1 if the sidecar listens for a captured host, 0 if it can't; the log says why.", "host", "port")
	descTLS       = metric.Desc("tls_connections_total", "Connections on which the sidecar looked for TLS, by outcome. An intercepted connection that has another outcome right after its handshake counts for both.", "direction", "outcome")
	descMints     = metric.Desc("tls_leaves_minted_total", "Leaf certificates that the sidecar has made.")
	descCAExpiry  = metric.Desc("ca_expiry_timestamp_seconds", "Time at which the CA, or a certificate of its chain, expires, in seconds since 1970. The sidecar then bypasses outbound TLS.")
)

// collector gathers the proxy's metrics for each scrape.
type collector struct {
	metric.Unchecked
	p *Proxy
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, d := range []tap.Direction{tap.In, tap.Out} {
		t, open := c.p.conns.sums(d)
		metric.Counter(ch, descConns, t.accepted, d.String())
		metric.Counter(ch, descFailed, t.failed, d.String())
		metric.Gauge(ch, descOpen, open, d.String())
		metric.Counter(ch, descHeld, c.p.held[d].Load(), d.String(), "memory")
		metric.Counter(ch, descHeld, c.p.starved[d].Load(), d.String(), "descriptors")
		for side, n := range t.bytes {
			metric.Counter(ch, descBytes, n, d.String(), tap.Side(side).String())
		}
		if !c.p.looksIntoTLS(d) {
			continue
		}
		for i, n := range t.tls {
			metric.Counter(ch, descTLS, n, d.String(), string(intercept.Outcomes[i]))
		}
	}
	s := c.p.tap.Stats()
	metric.Gauge(ch, descTapLimit, s.Limit)
	metric.Gauge(ch, descTapUsed, s.Used)
	metric.Counter(ch, descTapFlows, s.Flows)
	metric.Counter(ch, descTapBytes, s.Delivered, "delivered")
	metric.Counter(ch, descTapBytes, s.Unwanted, "unwanted")
	for reason, loss := range s.Dropped {
		metric.Counter(ch, descDropBytes, loss.Bytes, reason)
		metric.Counter(ch, descDrops, loss.Chunks, reason)
	}
	metric.Counter(ch, descPrivate, c.p.private.Load())
	c.p.hosts.each(func(port *hostsPort, host string, listening bool) {
		up := 0
		if listening {
			up = 1
		}
		metric.Gauge(ch, descHosts, up, host, strconv.Itoa(port.port))
	})
	if c.p.out != nil {
		_, until := c.p.ca.Validity()
		metric.Counter(ch, descMints, c.p.out.Minted())
		metric.Gauge(ch, descCAExpiry, until.Unix())
	}
}
