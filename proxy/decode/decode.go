// Package decode turns the bytes of a tap into exchange records.
//
//	tap worker ──▶ flow ── which protocol? ──▶ http1 ──Upgrade──▶ websocket
//	                 │     first bytes, ALPN     │  └─CONNECT──▶ (which protocol?)
//	                 │                           └─h2c─▶ http2 ─▶ gRPC
//	                 ├───── proxyprotocol ──▶ (which protocol?)
//	                 └──── unknown ──▶ opaque
//
// Whatever the bytes are, and however they are cut into chunks, a flow never fails, never
// waits, and never holds more than the limits allow. Bytes that a decoder can't parse are
// counted and recorded as opaque. Their content is not recorded if the protocol has headers,
// because those may hold secrets, and only parsed records are redacted. After a loss, HTTP/1
// decoding continues where no answer can be outstanding, and HTTP/2 decoding where the frame
// boundaries are certain. A decoder's panic is counted, and the tap recovers from it.
//
// The package imports contract/filter, tap, recording, its subpackages and the standard
// library.
package decode

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/decode/http1"
	"github.com/tapedeck/tapedeck/proxy/decode/http2"
	"github.com/tapedeck/tapedeck/proxy/decode/opaque"
	"github.com/tapedeck/tapedeck/proxy/decode/proxyprotocol"
	"github.com/tapedeck/tapedeck/proxy/decode/websocket"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// protocols is the table of decoders. The first detector that returns Yes wins. The last
// entry accepts everything.
func protocols() []framework.Protocol {
	return []framework.Protocol{
		http2.Protocol(),
		proxyprotocol.Protocol(),
		http1.Protocol(),
		websocket.Protocol(),
		opaque.TLS(),
		opaque.Protocol(),
	}
}

// Config configures [New].
type Config struct {
	// Origin is where the records are captured. Every record has it.
	Origin framework.Origin
	// Limits are the limits; the zero value means [framework.DefaultLimits].
	Limits framework.Limits
	// Tags returns additional tags for all records of a flow; nil: there are none. The
	// decoders don't change them.
	Tags func(f *tap.Flow) recording.Tags
	// GaveUp, if not nil, is called when a decoder gives up on a flow for the first time,
	// unless it panicked. It must not wait.
	GaveUp func(f *tap.Flow, why Failure)
}

// Decoders opens readers for flows. It is safe for concurrent use.
type Decoders struct {
	shared framework.Shared
	table  []framework.Protocol
	tags   func(*tap.Flow) recording.Tags
	gaveUp func(*tap.Flow, Failure)

	mu     sync.Mutex
	failed map[Failure]*loss
}

// Failure is the reason why a protocol's decoder gave up.
type Failure struct {
	// Protocol is the protocol that was detected.
	Protocol string
	// Reason is one of the constants.
	Reason string
}

// Reasons of a [Failure].
const (
	Malformed = framework.Malformed
	Lost      = framework.Lost
	NoRoom    = framework.NoMemory
	Panic     = "panic"
)

// Undecoded counts the effects of a [Failure].
type Undecoded struct {
	// Times is how often a decoder gave up.
	Times uint64
	// Bytes is how many bytes arrived after that and were not decoded. It excludes bytes
	// that the tap dropped, and bytes after a panic; the tap counts both.
	Bytes uint64
}

// loss counts an [Undecoded].
type loss struct{ times, bytes atomic.Uint64 }

// Stats counts flows and exchanges by their outcome.
type Stats struct {
	// Exchanges were given to the sink. Of them, Outbound are outbound, Truncated lack a part
	// of a body or fields, and Incomplete lack a part of the exchange.
	Exchanges, Outbound, Truncated, Incomplete uint64
	// Abandoned exchanges were being decoded when the decoder panicked.
	Abandoned uint64
	// Ignored exchanges were beyond Limits.Streams or Limits.Memory.
	Ignored uint64
	// Missed exchanges were seen while bytes of their answers were lost.
	Missed uint64
	// Filtered exchanges were excluded by a rule, SampledOut ones with their trace.
	Filtered, SampledOut uint64
	// Private exchanges were with a cloud's metadata server. They are never recorded.
	Private uint64
	// Linked outbound exchanges name the inbound one that caused them,
	// Unlinked ones don't.
	Linked, Unlinked uint64
	// Failed counts what was not decoded, by reason.
	Failed map[Failure]Undecoded
	// Held is how many bytes of heads, bodies and messages are in memory.
	Held int64
}

// New returns decoders that write to the sink. The caller must flush and close the sink after
// the last reader was closed.
func New(cfg Config, sink recording.Sink) *Decoders {
	d := &Decoders{table: protocols(), tags: cfg.Tags, gaveUp: cfg.GaveUp, failed: make(map[Failure]*loss)}
	d.shared.Origin, d.shared.Sink = cfg.Origin, sink
	d.shared.Limits = cmp.Or(cfg.Limits, framework.DefaultLimits())
	return d
}

// Open implements [tap.OpenFunc].
func (d *Decoders) Open(f *tap.Flow) tap.Reader { return newFlow(d, f) }

// Choose sets the filter that decides which exchanges are captured from now on; nil captures
// all.
func (d *Decoders) Choose(f *filter.Filter) { d.shared.Filter.Store(f) }

// Stats returns the current counts.
func (d *Decoders) Stats() Stats {
	c := &d.shared.Counters
	d.mu.Lock()
	defer d.mu.Unlock()
	failed := make(map[Failure]Undecoded, len(d.failed))
	for f, l := range d.failed {
		failed[f] = Undecoded{l.times.Load(), l.bytes.Load()}
	}
	return Stats{
		Exchanges:  c.Exchanges.Load(),
		Outbound:   c.Outbound.Load(),
		Truncated:  c.Truncated.Load(),
		Incomplete: c.Incomplete.Load(),
		Abandoned:  c.Abandoned.Load(),
		Ignored:    c.Ignored.Load(),
		Missed:     c.Missed.Load(),
		Filtered:   c.Filtered.Load(),
		Private:    c.Private.Load(),
		SampledOut: c.SampledOut.Load(),
		Linked:     c.Linked.Load(),
		Unlinked:   c.Unlinked.Load(),
		Failed:     failed,
		Held:       d.shared.Held(),
	}
}

// fail counts that a decoder gave up, and returns the loss that counts the bytes.
func (d *Decoders) fail(protocol, reason string) *loss {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.failed[Failure{protocol, reason}]
	if l == nil {
		l = new(loss)
		d.failed[Failure{protocol, reason}] = l
	}
	l.times.Add(1)
	return l
}

func (d *Decoders) protocol(name string) *framework.Protocol {
	return &d.table[slices.IndexFunc(d.table, func(p framework.Protocol) bool { return p.Name == name })]
}
