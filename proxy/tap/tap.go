// Package tap copies traffic from the data path to readers.
//
//	pump ── Stream.Write ──▶ [ bounded queue for each flow ] ──▶ worker ──▶ Reader
//	        never waits          drops when full, counts         off the path
//
// It promises:
//
//   - Writing to a Stream never waits.
//   - One number bounds the memory of all queues. The tap counts each byte that it drops,
//     and tells the Reader of the loss with a Gap at that place.
//   - A worker calls a Reader, one call at a time and in the order of the bytes. Flows are
//     read in parallel, but the bytes of an inbound flow are always read before the
//     outbound bytes that they caused.
//   - A Reader that panics loses its flow. Other flows are not affected.
//   - A paused tap holds nothing. It closes the flow's Reader. When it resumes, it opens a
//     new Reader, which begins with a Gap.
//
// The package imports only the standard library.
package tap

import (
	"net/netip"
	"time"
)

// Side says who sent the bytes.
type Side uint8

// The two sides of a flow.
const (
	FromClient Side = iota
	FromServer
)

// String returns "client" or "server".
func (s Side) String() string {
	if s == FromServer {
		return "server"
	}
	return "client"
}

// Direction says which half of the proxy carried a flow.
type Direction uint8

// In is the reverse proxy, towards the application; Out the forward proxy, from
// the application to its dependencies.
const (
	In Direction = iota
	Out
)

// String returns "IN" or "OUT", as exchange records spell it.
func (d Direction) String() string {
	if d == Out {
		return "OUT"
	}
	return "IN"
}

// Via names how a client reached the proxy.
type Via string

// The ways into the proxy.
const (
	ViaTCP     Via = "tcp"     // the reverse proxy: nothing was asked for
	ViaHTTP    Via = "http"    // a request in absolute-form
	ViaConnect Via = "connect" // HTTP CONNECT
	ViaSOCKS4  Via = "socks4"  // SOCKS4 and SOCKS4a
	ViaSOCKS5  Via = "socks5"  // SOCKS5
	// ViaHostsFile is an address to which a hosts file leads a captured host: the client
	// asked for nothing, and knows of no proxy.
	ViaHostsFile Via = "hosts-file"
)

// Flow describes one connection through the proxy, or, for requests in
// absolute-form, the part of a client's connection that went to one upstream.
// All of it is set before the first byte is written, and nothing of it changes
// afterwards, so it may be read from any goroutine.
type Flow struct {
	// ID is unique within the process and grows with time.
	ID uint64
	// Direction is In or Out.
	Direction Direction
	// Via is how the client asked for Host and Port.
	Via Via
	// Started is when the client's connection was accepted, Connected when the
	// upstream was connected to; Connected is the zero value when none was.
	Started, Connected time.Time
	// Client is the client's end of the client's connection, Server the
	// upstream's end of the upstream connection; Server is the zero value when
	// none was reached. Behind Envoy the client is always a loopback address.
	Client, Server netip.AddrPort
	// Host is the name or address that the client asked for, without a port;
	// inbound, the host of the application. Port is the port of it.
	Host string
	Port int
	// TLS says that the client's connection is TLS. The bytes that a Reader is
	// given are the plaintext, unless Opaque.
	TLS bool
	// Opaque says that the bytes are TLS records which were passed untouched.
	Opaque bool
	// SNI and ALPN are the server name that the client sent and the protocol
	// that was agreed on, "" where there was none.
	SNI, ALPN string
}

// Reader consumes one flow's bytes. Its methods are called one at a time, on a
// worker goroutine that is not part of the data path.
type Reader interface {
	// Data gives bytes in the order in which that side sent them. A chunk of
	// one side is never given after a chunk of the other that it caused: a
	// request comes before its answer. p is valid during the call alone.
	Data(side Side, at time.Time, p []byte)
	// Gap stands in the place of n bytes that were dropped, among those of the
	// other side as well; at is when the last of them was sent.
	Gap(side Side, at time.Time, n int64)
	// Close ends the flow. It is called exactly once, unless the Reader
	// panicked, and nothing is called after it.
	Close(at time.Time)
}

// Timely is a Reader that has to know when time passes and nothing is given.
type Timely interface {
	Reader
	// Waits tells whether it waits for a Tick. It is asked after other calls.
	Waits() bool
	// Tick says what time it is, once within Config.Tick after Waits said yes.
	Tick(now time.Time)
}

// OpenFunc opens a Reader for a flow, on the worker, before its first bytes
// are given. nil means that nobody wants the flow: its bytes are not kept.
type OpenFunc func(*Flow) Reader

// Reasons for which the tap drops bytes.
const (
	// ReasonFull: the readers fell behind and the tap's memory was used up.
	ReasonFull = "tap_full"
	// ReasonMemory: the process was about to reach its memory limit.
	ReasonMemory = "memory_short"
	// ReasonPanic: the flow's Reader panicked; the rest of the flow is dropped.
	ReasonPanic = "decoder_panic"
	// ReasonShutdown: the process ended before the readers were done.
	ReasonShutdown = "shutdown"
)
