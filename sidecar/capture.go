package sidecar

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/proxy/decode"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/metric"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/sidecar/ship"
)

// Capture records the traffic that a proxy's tap gives it. It implements prometheus.Collector.
type Capture struct {
	metric.Unchecked
	decoders *decode.Decoders
	recorder *spool.Recorder
	outbound atomic.Uint64 // exchanges that the recorder accepted
	chooser  *chooser
	shipper  *ship.Shipper // nil: recordings stay in the directory
	roots    func() *x509.CertPool
}

// tapPart is the divisor of the memory for capture that gives the tap's share.
const tapPart = 4

// Open opens the recording in cfg.Sink. version is this program's version. Of cfg.Memory, the
// tap takes a quarter, the queue an eighth, and exchanges that are being assembled the rest.
// Open logs when the sink begins to fail and when it works again.
func Open(cfg Config, version string, log *slog.Logger) (*Capture, error) {
	return open(cfg, version, log, func(o spool.Options) (*spool.Recorder, error) { return spool.Open(cfg.Sink, o) })
}

// open returns a Capture that writes to the recorder that the function returns.
func open(cfg Config, version string, log *slog.Logger, recorder func(spool.Options) (*spool.Recorder, error)) (*Capture, error) {
	c := new(Capture)
	o := options(cfg, log)
	if cfg.Collector.IsCollector() {
		c.shipper = newShipper(cfg, log, func() *x509.CertPool { return c.roots() })
		o.Completed = c.shipper.Wake
	}
	o.Counters = func() recording.Counters { return leftOut(c.decoders.Stats()) }
	var err error
	if c.recorder, err = recorder(o); err != nil {
		return nil, err
	}
	id := cfg.Identity
	origin := framework.Origin{Cluster: id.Cluster, Namespace: id.Namespace, Service: id.App, Tags: tags(cfg, version)}
	limits := framework.DefaultLimits()
	limits.Memory, limits.Body = cfg.Memory/8*5, int(cfg.BodyLimit)
	limits.Opaque = cfg.OpaqueBytes
	if limits.Body == 0 { // no content is recorded in any protocol
		limits.Stream = 0
	}
	gaveUp := func(f *tap.Flow, why decode.Failure) {
		log.Warn("a connection can't be decoded: it is unrecorded until decoding can begin again", proxy.LogID, f.ID,
			proxy.LogDirection, f.Direction.String(), "protocol", why.Protocol, "reason", why.Reason)
	}
	c.decoders = decode.New(decode.Config{Origin: origin, Limits: limits, Tags: portTags(cfg), GaveUp: gaveUp}, outboundCounter{c.recorder, &c.outbound})
	if c.chooser, err = newChooser(cfg, log, c.decoders.Choose); err != nil {
		return nil, errors.Join(err, c.recorder.Close(context.Background()))
	}
	return c, nil
}

// outboundCounter counts the outbound exchanges that a sink accepts.
type outboundCounter struct {
	recording.Sink
	accepted *atomic.Uint64
}

// Write implements recording.Sink.
func (s outboundCounter) Write(e *recording.Exchange) error {
	outbound := e.Direction == recording.Out // Write may change the exchange
	err := s.Sink.Write(e)
	if err == nil && outbound {
		s.accepted.Add(1)
	}
	return err
}

// leftOut returns the counters of a recording that the decoders hold.
func leftOut(d decode.Stats) recording.Counters {
	return recording.Counters{
		Dropped:    d.Ignored + d.Missed + d.Abandoned,
		Filtered:   d.Filtered + d.Private,
		SampledOut: d.SampledOut,
		Cut:        d.Truncated,
		Incomplete: d.Incomplete,
	}
}

func options(cfg Config, log *slog.Logger) spool.Options {
	id := cfg.Identity
	variable, maxFiles := contract.EnvSink, 0
	if cfg.Collector.IsCollector() {
		variable, maxFiles = contract.EnvSpool, maxSpoolFiles
	}
	return spool.Options{
		SegmentOptions: spool.SegmentOptions{Cluster: id.Cluster, Namespace: id.Namespace, Workload: id.App, Pod: id.Pod},
		QueueBytes:     queueBytes(cfg.Memory),
		MaxBytesKept:   cfg.SinkSize,
		MaxFilesKept:   maxFiles,
		Full: func() {
			log.Warn("the recordings have reached their maximum size: the oldest segments are removed to make room", "variable", contract.EnvSinkSize, "bytes", cfg.SinkSize, "files", maxFiles)
		},
		Redact: redact.Options{Names: cfg.RedactHeaders, Key: redactKey(cfg.RedactKeyFile, log), MaxBody: int(cfg.BodyLimit), Redaction: cfg.Redact,
			Panicked: func(v any, stack []byte) {
				log.Error("the search for secrets crashed: the exchange is not recorded", "panic", fmt.Sprint(v), "stack", string(stack))
			}},
		Changed: func(err error, lost uint64) {
			if err != nil {
				log.Warn("the sink fails: records are lost until it works again", proxy.LogError, err, "variable", variable)
			} else {
				log.Info("the sink works again", "lost", lost)
			}
		},
	}
}

// queueBytes returns the queue's part of the memory for capture.
func queueBytes(memory int64) int { return max(1, int(memory/8)) }

// tags returns the tags that every record has.
func tags(cfg Config, version string) (tags recording.Tags) {
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
		tags.Set(recording.TagReverseProxyHost, cfg.In[0].App.Host)
		if len(cfg.In) == 1 {
			tags.Set(recording.TagReverseProxyPort, strconv.Itoa(cfg.In[0].App.Port))
		}
	}
	return tags
}

// portTags returns a function with the tag of the application's port for a flow, if there are
// several ports. It returns nil if tags has the only port.
func portTags(cfg Config) func(*tap.Flow) recording.Tags {
	if !cfg.Reverse || len(cfg.In) == 1 {
		return nil
	}
	byPort := map[int]recording.Tags{}
	for _, in := range cfg.In {
		byPort[in.App.Port] = recording.Tags{{Name: recording.TagReverseProxyPort, Value: strconv.Itoa(in.App.Port)}}
	}
	return func(f *tap.Flow) recording.Tags {
		if f.Direction != tap.In {
			return nil
		}
		return byPort[f.Port]
	}
}

// Open opens a reader for a flow. It is a tap.OpenFunc.
func (c *Capture) Open(f *tap.Flow) tap.Reader { return c.decoders.Open(f) }

// Close writes all records to disk. The tap must have been shut down.
func (c *Capture) Close(ctx context.Context) error {
	if err := c.recorder.Close(ctx); err != nil {
		return fmt.Errorf("close recording: %w", err)
	}
	return nil
}

var (
	descExchanges  = metric.Desc("exchanges_total", "Exchanges given to the recording.")
	descSides      = metric.Desc("exchanges_by_direction_total", "The same exchanges, by direction.", "direction")
	descIncomplete = metric.Desc("exchanges_incomplete_total", "Recorded exchanges that lack a part, because the connection broke or bytes were dropped.")
	descTruncated  = metric.Desc("exchanges_truncated_total", "Recorded exchanges that lack content because of a limit.")
	descDropped    = metric.Desc("exchanges_dropped_total", "Exchanges that were not recorded.", "reason")
	descLeftOut    = metric.Desc("exchanges_left_out_total", "Exchanges that were not captured on purpose: by a rule, by the sampling of traces, or because they are with a cloud metadata server.", "reason")
	descCapture    = metric.Desc("capture_on", "1 if capture is on, 0 if it is off.")
	descChoice     = metric.Desc("capture_config_ok", "0 if the files that configure capture are invalid; the last valid settings apply.")
	descStored     = metric.Desc("exchanges_stored_total", "Exchanges in complete segments on the disk.")
	descPending    = metric.Desc("exchanges_pending", "Exchanges in memory, or in the segment that is being written.")
	descQueued     = metric.Desc("queue_used_bytes", "Encoded exchanges that wait to be written.")
	descRemoved    = metric.Desc("segments_removed_total", "Segments that were removed from the pod's directory to make room, because of their size or number.", "reason")
	descRemovedLen = metric.Desc("segments_removed_bytes_total", "Size of the segments that were removed to make room.", "reason")
	descLinked     = metric.Desc("exchanges_outbound_total", "Outbound exchanges, by whether the inbound exchange that caused them is known.", "linked")
	descUndecoded  = metric.Desc("flows_undecoded_total", "Times that a decoder gave up on a connection.", "protocol", "reason")
	descUnread     = metric.Desc("undecoded_bytes_total", "Bytes that were not decoded after that. The number of exchanges in them is unknown.", "protocol", "reason")
	descHeld       = metric.Desc("decode_held_bytes", "Bytes of heads, bodies and messages that are being assembled.")
	descSinkUp     = metric.Desc("sink_up", "1 if the sink works, 0 if it fails or does not answer. With a collector, both the pod's directory and the collector must work.")
)

// Collect implements prometheus.Collector.
func (c *Capture) Collect(ch chan<- prometheus.Metric) {
	d := c.decoders.Stats()
	metric.Counter(ch, descExchanges, d.Exchanges)
	metric.Counter(ch, descSides, d.Exchanges-min(d.Outbound, d.Exchanges), tap.In.String())
	metric.Counter(ch, descSides, d.Outbound, tap.Out.String())
	metric.Counter(ch, descIncomplete, d.Incomplete)
	metric.Counter(ch, descTruncated, d.Truncated)
	metric.Counter(ch, descDropped, d.Ignored, "too_many_at_once")
	metric.Counter(ch, descDropped, d.Missed, decode.Lost)
	metric.Counter(ch, descDropped, d.Abandoned, tap.ReasonPanic)
	metric.Counter(ch, descLeftOut, d.Filtered, "filtered")
	metric.Counter(ch, descLeftOut, d.Private, "metadata")
	metric.Counter(ch, descLeftOut, d.SampledOut, "sampled_out")
	metric.Gauge(ch, descCapture, number(!c.chooser.paused.Load()))
	metric.Gauge(ch, descChoice, number(!c.chooser.broken.Load()))
	metric.Counter(ch, descLinked, d.Linked, "true")
	metric.Counter(ch, descLinked, d.Unlinked, "false")
	metric.Gauge(ch, descHeld, d.Held)
	for f, n := range d.Failed {
		metric.Counter(ch, descUndecoded, n.Times, f.Protocol, f.Reason)
		metric.Counter(ch, descUnread, n.Bytes, f.Protocol, f.Reason)
	}
	r := c.recorder.Stats()
	metric.Counter(ch, descStored, r.Stored)
	metric.Gauge(ch, descPending, r.Pending)
	metric.Gauge(ch, descQueued, r.QueueBytes)
	for _, reason := range spool.Reasons() {
		metric.Counter(ch, descDropped, r.Dropped[reason], reason.String())
	}
	metric.Counter(ch, descRemoved, r.RemovedBySize.Segments, "size")
	metric.Counter(ch, descRemovedLen, r.RemovedBySize.Bytes, "size")
	metric.Counter(ch, descRemoved, r.RemovedByFiles.Segments, "files")
	metric.Counter(ch, descRemovedLen, r.RemovedByFiles.Bytes, "files")
	up := r.Err == nil
	if c.shipper != nil {
		shipped := c.shipper.Stats()
		collectShipped(ch, shipped)
		up = up && !shipped.Failing
	}
	metric.Gauge(ch, descSinkUp, number(up))
}

// number returns 1 for true and 0 for false.
func number(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
