// Package decode makes exchange records of the bytes that a tap hands over.
//
//	tap worker ──▶ flow ── who is it? ──▶ http1 ──Upgrade──▶ websocket
//	                 │    first bytes,      │  └─CONNECT──▶ (who is it?)
//	                 │    ALPN              └─h2c─▶ http2 ─▶ gRPC
//	                 └──── nobody knows ──▶ opaque
//
// What it promises: whatever the bytes are and however they are cut into
// chunks, a flow never fails, never waits, and holds no more than the limits
// allow. What a decoder can't parse is counted and recorded as opaque, without
// its content if it was a protocol with headers, for those may hold secrets
// that only a parsed record is redacted of. A decoder that panics is counted,
// and the panic left to the tap.
//
// The package imports tap, recording, and its own decoders.
package decode

import (
	"maps"
	"slices"
	"sync"

	"github.com/tapedeck/tapedeck/proxy/decode/codec"
	"github.com/tapedeck/tapedeck/proxy/decode/http1"
	"github.com/tapedeck/tapedeck/proxy/decode/http2"
	"github.com/tapedeck/tapedeck/proxy/decode/opaque"
	"github.com/tapedeck/tapedeck/proxy/decode/websocket"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// protocols is the table of decoders. The first detector that says Yes wins;
// the last entry takes what nobody else wants. To add a decoder is to add a
// folder, and a line here.
func protocols() []codec.Protocol {
	return []codec.Protocol{
		http2.Protocol(),
		http1.Protocol(),
		websocket.Protocol(),
		opaque.TLS(),
		opaque.Protocol(),
	}
}

// Config of [New].
type Config struct {
	// Origin is what every record says of the place it was captured at.
	Origin codec.Origin
	// Limits; zero fields mean the defaults.
	Limits codec.Limits
}

// Decoders opens readers for flows. It is safe for concurrent use.
type Decoders struct {
	shared codec.Shared
	table  []codec.Protocol

	mu     sync.Mutex
	failed map[Failure]uint64
}

// Failure is a kind of flow that stopped being decoded.
type Failure struct {
	// Protocol that the flow was taken for.
	Protocol string
	// Reason is `malformed`, `gap` or `panic`.
	Reason string
}

// Stats counts what became of flows and exchanges.
type Stats struct {
	// Exchanges were handed to the sink; of them Truncated lack a part of a
	// body, or fields, and Incomplete lack a part of the exchange.
	Exchanges, Truncated, Incomplete uint64
	// Abandoned exchanges were in the hands of a decoder that panicked.
	Abandoned uint64
	// Ignored exchanges were more at once than Limits.Streams, or than memory
	// has room for.
	Ignored uint64
	// Linked outbound exchanges name the inbound one that caused them,
	// Unlinked ones don't.
	Linked, Unlinked uint64
	// Failed counts flows that stopped being decoded.
	Failed map[Failure]uint64
	// Held is how many bytes of heads, bodies and messages are in memory.
	Held int64
}

// New returns decoders that write to the sink, which stays the caller's to
// flush and close, after the last reader was closed.
func New(cfg Config, sink recording.Sink) *Decoders {
	d := &Decoders{table: protocols(), failed: make(map[Failure]uint64)}
	d.shared.Origin, d.shared.Sink = cfg.Origin, sink
	d.shared.Limits = cfg.Limits.OrDefaults()
	return d
}

// Open implements [tap.OpenFunc].
func (d *Decoders) Open(f *tap.Flow) tap.Reader { return newFlow(d, f) }

// Stats returns the counts as of now.
func (d *Decoders) Stats() Stats {
	c := &d.shared.Counters
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{
		Exchanges:  c.Exchanges.Load(),
		Truncated:  c.Truncated.Load(),
		Incomplete: c.Incomplete.Load(),
		Abandoned:  c.Abandoned.Load(),
		Ignored:    c.Ignored.Load(),
		Linked:     c.Linked.Load(),
		Unlinked:   c.Unlinked.Load(),
		Failed:     maps.Clone(d.failed),
		Held:       d.shared.Held(),
	}
}

// Protocols names the decoders, in the order in which they are asked.
func Protocols() []string {
	var names []string
	for _, p := range protocols() {
		names = append(names, p.Name)
	}
	return names
}

func (d *Decoders) fail(protocol, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed[Failure{protocol, reason}]++
}

func (d *Decoders) protocol(name string) *codec.Protocol {
	i := slices.IndexFunc(d.table, func(p codec.Protocol) bool { return p.Name == name })
	if i < 0 {
		i = len(d.table) - 1
	}
	return &d.table[i]
}
