// Package capture joins the proxy's tap to the recording: decoders that make
// exchanges of bytes, and a recorder that keeps them.
//
//	tap ─▶ decoders ─▶ redaction ─▶ queue ─▶ segments
//
// The package imports proxy, proxy/decode, recording and Prometheus' client.
package capture

import (
	"context"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/proxy/decode"
	"github.com/tapedeck/tapedeck/proxy/decode/codec"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Capture records what a proxy's tap gives it. It implements
// prometheus.Collector.
type Capture struct {
	decoders *decode.Decoders
	recorder *recording.Recorder
}

// Open opens the recording that cfg names. version is this program's.
// Of cfg.Memory the tap takes a quarter, the queue an eighth, and what is
// being put together the rest.
func Open(cfg proxy.Config, version string) (*Capture, error) {
	r, err := recording.Open(cfg.Sink, options(cfg))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", contract.EnvSink, err)
	}
	return into(r, cfg, version), nil
}

func options(cfg proxy.Config) recording.Options {
	id := cfg.Identity
	return recording.Options{
		SegmentOptions: recording.SegmentOptions{Namespace: id.Namespace, Workload: id.App, Pod: id.Pod},
		QueueBytes:     max(1, int(cfg.Memory/8)),
		RedactHeaders:  cfg.RedactHeaders,
	}
}

// into captures into a recorder, whatever is behind it.
func into(r *recording.Recorder, cfg proxy.Config, version string) *Capture {
	id := cfg.Identity
	origin := codec.Origin{Cluster: id.Cluster, Namespace: id.Namespace, Service: id.App, Tags: tags(cfg, version)}
	limits := codec.Limits{Memory: max(1, cfg.Memory/8*5), Body: int(cfg.BodyLimit)}
	return &Capture{decoders: decode.New(decode.Config{Origin: origin, Limits: limits}, r), recorder: r}
}

// tags are what the sidecar ecosystem puts on every record.
func tags(cfg proxy.Config, version string) (tags recording.Tags) {
	for _, t := range []recording.Tag{
		{Name: recording.TagCaptureMode, Value: "proxy"},
		{Name: recording.TagAppLabel, Value: cfg.Identity.App},
		{Name: recording.TagPodName, Value: cfg.Identity.Pod},
		{Name: recording.TagPodNamespace, Value: cfg.Identity.Namespace},
		{Name: recording.TagClusterName, Value: cfg.Identity.Cluster},
		{Name: recording.TagProxyProtocol, Value: cfg.Protocols},
		{Name: recording.TagProxyType, Value: cfg.Type},
		{Name: recording.TagProxyVersion, Value: version},
		{Name: recording.TagSource, Value: "tapedeck"},
	} {
		if t.Value != "" {
			tags = append(tags, t)
		}
	}
	if cfg.Reverse {
		tags.Set(recording.TagReverseProxyHost, cfg.App.Host)
		tags.Set(recording.TagReverseProxyPort, strconv.Itoa(cfg.App.Port))
	}
	return tags
}

// Open opens a reader for a flow; it is a tap.OpenFunc.
func (c *Capture) Open(f *tap.Flow) tap.Reader { return c.decoders.Open(f) }

// Close makes durable what was recorded. The tap must have been shut down.
func (c *Capture) Close(ctx context.Context) error {
	if err := c.recorder.Close(ctx); err != nil {
		return fmt.Errorf("close recording: %w", err)
	}
	return nil
}

var (
	descExchanges  = desc("exchanges_total", "Exchanges handed to the recording.")
	descIncomplete = desc("exchanges_incomplete_total", "Of those, exchanges that lack a part: the connection broke, or bytes were dropped.")
	descTruncated  = desc("exchanges_truncated_total", "Of those, exchanges with content left out by a limit.")
	descDropped    = desc("exchanges_dropped_total", "Exchanges that were not recorded.", "reason")
	descStored     = desc("exchanges_stored_total", "Exchanges written to the sink.")
	descPending    = desc("exchanges_pending", "Exchanges that wait to be written.")
	descLinked     = desc("exchanges_outbound_total", "Outbound exchanges, by whether the inbound one that caused them is known.", "linked")
	descUndecoded  = desc("flows_undecoded_total", "Times that a decoder gave a flow up.", "protocol", "reason")
	descUnread     = desc("undecoded_bytes_total", "Bytes that followed and were not decoded; how many exchanges they were is not known.", "protocol", "reason")
	descHeld       = desc("decode_held_bytes", "Bytes of heads, bodies and messages that are being put together.")
	descSinkUp     = desc("sink_up", "1 while the sink takes records, 0 while it fails.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tapedeck_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector: the metrics are checked when
// collected.
func (c *Capture) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Capture) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	d := c.decoders.Stats()
	send(descExchanges, counter, float64(d.Exchanges))
	send(descIncomplete, counter, float64(d.Incomplete))
	send(descTruncated, counter, float64(d.Truncated))
	send(descDropped, counter, float64(d.Ignored), "too_many_at_once")
	send(descDropped, counter, float64(d.Abandoned), tap.ReasonPanic)
	send(descLinked, counter, float64(d.Linked), "true")
	send(descLinked, counter, float64(d.Unlinked), "false")
	send(descHeld, gauge, float64(d.Held))
	for f, n := range d.Failed {
		send(descUndecoded, counter, float64(n.Times), f.Protocol, f.Reason)
		send(descUnread, counter, float64(n.Bytes), f.Protocol, f.Reason)
	}
	r := c.recorder.Stats()
	send(descStored, counter, float64(r.Stored))
	send(descPending, gauge, float64(r.Pending))
	for _, reason := range recording.Reasons() {
		send(descDropped, counter, float64(r.Dropped[reason]), reason.String())
	}
	up := 1.0
	if r.Err != nil {
		up = 0
	}
	send(descSinkUp, gauge, up)
}
