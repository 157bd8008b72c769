// Package framework holds what all decoders share: the interface that they implement, the
// state of a flow, the exchanges that they fill, and the limits that they keep.
//
//	tap.Reader ──▶ decode (detect, hand over, recover)
//	                   │ Data, Gap, Close
//	                   ▼
//	               Decoder ──Begin──▶ *Exchange ──End──▶ recording.Sink
//	               http1, http2, …     bodies, tags       borrowed
//
// A decoder decodes one flow. Its methods are called one at a time, with chunks that are
// cut anywhere. The bytes are untrusted: [Limits] bound the decoder's buffers, and bytes
// that it can't parse are an error, after which the rest of the flow is not decoded.
//
// A decoder also parses exchanges that a filter excludes, but keeps none of their content
// once it has the request's head.
//
// The package imports contract and its filter, proxy/address, tap and recording.
package framework

import (
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Decoder parses the bytes of one flow.
type Decoder interface {
	// Data decodes the next bytes of one side. p is valid only during the call. An error
	// means that the bytes are not in this protocol, and ends the decoder: only Close is
	// called after it, or the methods of a [Resumer].
	Data(side tap.Side, at time.Time, p []byte) error
	// Gap reports that n bytes were lost at this place, the last of them at that time. An
	// error means that the decoder can't continue after them.
	Gap(side tap.Side, at time.Time, n int64) error
	// Close ends the unfinished exchanges.
	Close(at time.Time)
}

// Protocol is an entry in the table of decoders.
type Protocol struct {
	// Name is the protocol's name, which decoders give to [FlowState.Switch].
	Name string
	// Detect decides from the client's first bytes whether the flow is in the protocol. nil:
	// only another protocol's decoder can switch to this one.
	Detect func(f *tap.Flow, first []byte) Verdict
	// New returns a decoder for a flow, which owns x from then on. x is the exchange that
	// switched to this protocol; nil at the beginning of a flow.
	New func(state *FlowState, x *Exchange) Decoder
	// Resume returns a decoder for the rest of a flow after a decoder gave up on bytes of
	// side at that time. It gives the bytes to rest, which keeps none, until it finds a
	// place from which it can decode again. Then it closes rest. nil: the protocol has no
	// such place.
	Resume func(state *FlowState, side tap.Side, at time.Time, rest Decoder) Decoder
}

// Resumer is a Decoder that can continue after it gave up.
type Resumer interface {
	// Suspend ends the exchanges that are under way.
	Suspend(at time.Time)
	// Resume does the same as [Protocol.Resume]. Suspend is called before it.
	Resume(side tap.Side, rest Decoder) Decoder
}

// Verdict is the result of a detector.
type Verdict uint8

// A detector returns Maybe as long as later bytes may decide.
const (
	No Verdict = iota
	Maybe
	Yes
)

// Limits bound what a decoder buffers and records. Zero is a limit, too.
type Limits struct {
	// Body is the maximum number of bytes recorded of a body or message.
	Body int
	// Head bounds a message's head: an HTTP/1 head, an HTTP/2 header list.
	Head int
	// Headers bounds the number of field lines in one message.
	Headers int
	// Streams bounds the exchanges in flight on one connection.
	Streams int
	// Stream is the maximum number of bytes recorded of a conversation, for each side.
	Stream int64
	// Opaque records the bytes of streams in unknown protocols, too. They may contain
	// logins at unknown places, so by default only sizes and times are recorded.
	Opaque bool
	// Memory is the maximum number of bytes of heads, bodies and messages that all flows
	// together hold.
	Memory int64
}

// DefaultLimits returns the limits that apply unless others are configured.
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
