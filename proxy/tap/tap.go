// Package tap copies traffic from the data path to readers.
//
//	pump ── Stream.Write ──▶ [ bounded queue for each flow ] ──▶ worker ──▶ Reader
//	        never waits          drops when full, counts         off the path
//
// It promises:
//
//   - Writing to a Stream never waits.
//   - One number bounds the memory of all queues. The tap counts each byte that it drops,
//     and reports the loss to the Reader with a Gap at that place.
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

// Side is the sender of bytes.
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

// Direction is the half of the proxy that carries a flow.
type Direction uint8

// In is the reverse proxy, which connects to the application. Out is the forward proxy,
// which connects the application to its dependencies.
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
	ViaTCP     Via = "tcp"     // the reverse proxy: the client names no destination
	ViaHTTP    Via = "http"    // a request in absolute-form
	ViaConnect Via = "connect" // HTTP CONNECT
	ViaSOCKS4  Via = "socks4"  // SOCKS4 and SOCKS4a
	ViaSOCKS5  Via = "socks5"  // SOCKS5
	// ViaHostsFile is the address that the hosts file gives to a captured host. The client
	// names no destination, and is not aware of a proxy.
	ViaHostsFile Via = "hosts-file"
)

// Flow describes one connection through the proxy, or, for requests in absolute-form, the
// part of a client's connection that goes to one upstream. All fields are set before the
// first byte is written, and do not change afterwards, so any goroutine may read them.
type Flow struct {
	// ID is unique within the process and grows with time.
	ID uint64
	// Direction is In or Out.
	Direction Direction
	// Via is how the client asked for Host and Port.
	Via Via
	// Started is when the proxy accepted the client's connection. Connected is when it
	// connected to the upstream, or the zero value if it did not.
	Started, Connected time.Time
	// Client is the client's end of its connection. Server is the upstream's end of the
	// upstream connection, or the zero value if the proxy reached none. Behind Envoy the
	// client is always a loopback address.
	Client, Server netip.AddrPort
	// Host is the name or address that the client asked for, without a port; inbound, it is
	// the application's host. Port is its port.
	Host string
	Port int
	// TLS says that the client's connection uses TLS. A Reader gets the plaintext, unless
	// Opaque is set.
	TLS bool
	// Opaque says that the bytes are TLS records that passed untouched.
	Opaque bool
	// SNI is the server name that the client sent, and ALPN the protocol that was agreed
	// on; "" if there was none.
	SNI, ALPN string
}

// Reader reads one flow's bytes. A worker goroutine, which is not part of the data path,
// calls its methods one at a time.
type Reader interface {
	// Data gets the bytes of each side in the order in which they were sent. It gets bytes
	// before those of the other side that they caused, such as a request before its answer.
	// p is valid only during the call.
	Data(side Side, at time.Time, p []byte)
	// Gap reports that n bytes of a side were dropped. It is called at their place in the
	// order of both sides. at is when the last of them was sent.
	Gap(side Side, at time.Time, n int64)
	// Close ends the flow. It is the last call, and it is made exactly once, unless the
	// Reader panicked.
	Close(at time.Time)
}

// Timely is a Reader that acts when time has passed without bytes.
type Timely interface {
	Reader
	// Waits reports whether the Reader waits for a Tick. It is called after other methods.
	Waits() bool
	// Tick is called once, within Config.Tick after Waits has returned true.
	Tick(now time.Time)
}

// OpenFunc opens a Reader for a flow, on the worker, before the flow's first bytes. If it
// returns nil, the tap does not keep the flow's bytes.
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
