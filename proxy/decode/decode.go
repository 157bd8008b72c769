// Package decode makes exchange records of the bytes that a tap hands over.
//
//	tap worker ──▶ flow ── who is it? ──▶ http1 ──Upgrade──▶ websocket
//	                 │    first bytes,      │  └─CONNECT──▶ (who is it?)
//	                 │    ALPN              └─h2c─▶ http2 ─▶ gRPC
//	                 ├───── proxyprotocol ──▶ (who is it?)
//	                 └──── nobody knows ──▶ opaque
//
// It promises: whatever the bytes are and however they are cut into
// chunks, a flow never fails, never waits, and holds no more than the limits
// allow. What a decoder can't parse is counted and recorded as opaque, without
// its content if it was a protocol with headers, for those may hold secrets
// that only a parsed record is redacted of. HTTP/1 is decoded again where no
// answer can be owed, HTTP/2 where it is certain where frames begin. A decoder that
// panics is counted, and the panic left to the tap.
//
// The package imports contract/filter, tap, recording, its own decoders and the
// standard library.
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

// protocols is the table of decoders. The first detector that says Yes wins;
// the last entry takes what nobody else wants. To add a decoder is to add a
// folder, and a line here.
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

// Config of [New].
type Config struct {
	// Origin is what every record says of the place it was captured at.
	Origin framework.Origin
	// Limits; the zero value means [framework.DefaultLimits].
	Limits framework.Limits
	// Tags returns further tags for all records of a flow; nil: there are none. They
	// are not changed.
	Tags func(f *tap.Flow) recording.Tags
	// GaveUp is called when a decoder gives a flow up for the first time, unless it
	// panicked. It must not wait. nil: nobody wants to know.
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

// Failure is a way in which a decoder gives up.
type Failure struct {
	// Protocol that the flow was taken for.
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

// Undecoded counts what a [Failure] cost.
type Undecoded struct {
	// Times that a decoder gave up.
	Times uint64
	// Bytes that came then and were not decoded. What was lost before it came
	// is not among them, nor what follows a panic: the tap counts both.
	Bytes uint64
}

// loss is an Undecoded that counts on.
type loss struct{ times, bytes atomic.Uint64 }

// Stats counts what became of flows and exchanges.
type Stats struct {
	// Exchanges were handed to the sink; of them Outbound are outbound, Truncated lack a part of a
	// body, or fields, and Incomplete lack a part of the exchange.
	Exchanges, Outbound, Truncated, Incomplete uint64
	// Abandoned exchanges were in the hands of a decoder that panicked.
	Abandoned uint64
	// Ignored exchanges were more at once than Limits.Streams, or than memory
	// has room for.
	Ignored uint64
	// Missed exchanges were seen while bytes of their answers were lost.
	Missed uint64
	// Filtered exchanges were left out by a rule, SampledOut ones with their trace.
	Filtered, SampledOut uint64
	// Private exchanges were with a cloud's metadata server: they are never recorded.
	Private uint64
	// Linked outbound exchanges name the inbound one that caused them,
	// Unlinked ones don't.
	Linked, Unlinked uint64
	// Failed counts what was not decoded.
	Failed map[Failure]Undecoded
	// Held is how many bytes of heads, bodies and messages are in memory.
	Held int64
}

// New returns decoders that write to the sink, which stays the caller's to
// flush and close, after the last reader was closed.
func New(cfg Config, sink recording.Sink) *Decoders {
	d := &Decoders{table: protocols(), tags: cfg.Tags, gaveUp: cfg.GaveUp, failed: make(map[Failure]*loss)}
	d.shared.Origin, d.shared.Sink = cfg.Origin, sink
	d.shared.Limits = cmp.Or(cfg.Limits, framework.DefaultLimits())
	return d
}

// Open implements [tap.OpenFunc].
func (d *Decoders) Open(f *tap.Flow) tap.Reader { return newFlow(d, f) }

// Choose has exchanges captured by the filter from now on; nil captures all.
func (d *Decoders) Choose(f *filter.Filter) { d.shared.Filter.Store(f) }

// Stats returns the counts as of now.
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

// fail counts that a decoder gave up, and returns where to count what that costs.
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
