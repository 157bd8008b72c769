// Package framework is what decoders have in common: the interface they
// implement, the exchanges they fill, and the limits they keep.
//
//	tap.Reader ──▶ decode (detect, hand over, recover)
//	                   │ Data, Gap, Close
//	                   ▼
//	               Decoder ──Begin──▶ *Exchange ──End──▶ recording.Sink
//	               http1, http2, …     bodies, tags       borrowed
//
// A decoder sees one flow. Its methods are called one at a time, with chunks
// cut anywhere. It trusts nothing: what it buffers is bounded by [Limits], what
// it can't parse is an error, after which the flow goes on undecoded.
//
// What a filter leaves out is parsed, and nothing of it is kept from the moment
// that the request's head is known.
//
// The package imports contract and its filter, proxy/address, tap and recording.
package framework

import (
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Decoder parses the bytes of one flow.
type Decoder interface {
	// Data takes the next bytes of one side. p is valid during the call alone.
	// An error means that the bytes aren't this protocol's, and ends the
	// decoder: only Close is called after it, or what a [Resumer] has.
	Data(side tap.Side, at time.Time, p []byte) error
	// Gap stands in the place of n bytes that were lost, the last of them at that
	// time. An error means that the decoder can't find its way behind them.
	Gap(side tap.Side, at time.Time, n int64) error
	// Close ends what is unfinished.
	Close(at time.Time)
}

// Protocol is one entry of the table of decoders.
type Protocol struct {
	// Name of the protocol, as decoders give it to [FlowState.Switch].
	Name string
	// Detect tells whether the flow speaks the protocol, by how its client
	// begins. nil: the protocol is only reached from another one.
	Detect func(f *tap.Flow, first []byte) Verdict
	// New returns a decoder for one flow. x is the exchange that led here,
	// and is the decoder's from then on; nil at the beginning of a flow.
	New func(state *FlowState, x *Exchange) Decoder
	// Resume returns a decoder that follows one which gave up on what side said at
	// that time: it gives the bytes to rest, which keeps none, until it finds a place
	// to begin anew, and closes rest then. nil: there is no such place.
	Resume func(state *FlowState, side tap.Side, at time.Time, rest Decoder) Decoder
}

// Resumer is a Decoder that can go on after it gave up.
type Resumer interface {
	// Suspend ends the exchanges that are under way.
	Suspend(at time.Time)
	// Resume is as that of Protocol. Suspend was called before it.
	Resume(side tap.Side, rest Decoder) Decoder
}

// Verdict is what a detector finds.
type Verdict uint8

// A detector says Maybe for as long as the bytes that follow may decide.
const (
	No Verdict = iota
	Maybe
	Yes
)

// Limits bound what a decoder holds, keeps and believes. Zero is a limit, too.
type Limits struct {
	// Body is how many bytes of a body, or of a message, are kept.
	Body int
	// Head bounds a message's head: an HTTP/1 head, an HTTP/2 header list.
	Head int
	// Headers bounds the number of field lines in one message.
	Headers int
	// Streams bounds the exchanges in flight on one connection.
	Streams int
	// Stream is how many bytes of a conversation are kept in all, per side.
	Stream int64
	// Opaque says that the bytes of streams nobody decodes are kept. They carry
	// logins in places that nobody knows, so without it only sizes and times are.
	Opaque bool
	// Memory bounds what all flows together hold of heads, bodies and messages.
	Memory int64
}

// DefaultLimits returns the limits that hold unless configured otherwise.
func DefaultLimits() Limits {
	return Limits{
		Body:    1 << 20,
		Head:    256 << 10,
		Headers: 1000,
		Streams: 1000,
		Stream:  8 << 20,
		Memory:  64 << 20,
	}
}
