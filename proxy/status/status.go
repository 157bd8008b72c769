// Package status defines the sidecar's answer to GET /status on its admin port. It has what
// the numbers in /metrics can't say: the text of an error, the name of a host, and how the
// sidecar is configured.
//
//	proxy   ─ proxies, TLS, notes ─┐
//	                               ├─▶ Status ─ JSON ─▶ tapedeck check
//	sidecar ─ version, sink ───────┘
//
// An answer has no secrets, and no captured data except host names. [MaxNotes], [MaxText] and
// [MaxPorts] bound its size. Readers must accept missing fields, because the sidecar may be
// older than they are, and unknown ones, because it may be newer. Up to v0.2.0 the field names
// began with a capital letter; encoding/json reads both.
//
// The package imports the standard library and internal/oneline.
package status

import (
	"time"

	"github.com/tapedeck/tapedeck/internal/oneline"
)

// Path is where a sidecar's admin port serves its status.
const Path = "/status"

const (
	// MaxNotes bounds Status.Notes. New notes replace the oldest.
	MaxNotes = 32
	// MaxText bounds the text of an error, and a host name, in bytes. An error may quote bytes
	// of a peer.
	MaxText = 300
	// MaxPorts bounds Half.Ports.
	MaxPorts = 64
)

// Status is what a sidecar says about itself.
type Status struct {
	// Version is the sidecar's version, and Pod is its pod as namespace/name, or only as name.
	Version string `json:"version,omitempty"`
	Pod     string `json:"pod,omitempty"`
	// Time is when the status was taken, and Started when the process began to listen, both by the
	// sidecar's clock.
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`
	// Draining says that the sidecar was told to stop.
	Draining bool `json:"draining,omitempty"`
	// Inbound and Outbound are the reverse and the forward proxy; nil: that proxy does not run.
	Inbound  *Half `json:"inbound,omitempty"`
	Outbound *Half `json:"outbound,omitempty"`
	// TLS is the state of the interception of outbound TLS; nil: TLS passes untouched, as configured.
	TLS *TLS `json:"tls,omitempty"`
	// Notes lists the hosts whose TLS was not intercepted, oldest first. Each combination of host and
	// outcome is noted the first time that it occurs, and again after a pause.
	Notes []Note `json:"notes,omitempty"`
	// Sink is where recordings go; nil: the program records nothing.
	Sink *Sink `json:"sink,omitempty"`
}

// Half is one half of the proxy.
type Half struct {
	// Ports are the ports on which it listens on loopback, and where inbound connections go.
	Ports []Port `json:"ports"`
	// Failed is the last connection that failed; nil: none did.
	Failed *Failure `json:"failed,omitempty"`
}

// Port is a port on which a half listens.
type Port struct {
	Port int `json:"port"`
	// App is host:port of the application; "" for the forward proxy.
	App string `json:"app,omitempty"`
}

// Unreachable is the reason if the proxy could not connect to a connection's target.
const Unreachable = "unreachable"

// Failure is something that did not work.
type Failure struct {
	Time time.Time `json:"time"`
	// Target is the target of the connection, as host:port or as a URL.
	Target string `json:"target,omitempty"`
	// Reason is a code. For a connection it is [Unreachable] or the outcome of TLS, if there is one.
	// For a segment it says why the segment was not stored.
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error"`
}

// The states of a CA.
const (
	CAGood    = "good"
	CAMissing = "missing"
	CAInvalid = "invalid" // for example not valid yet, or expired
)

// TLS is the state of the interception of outbound TLS.
type TLS struct {
	// CA is the current state of the CA: CAGood, CAMissing or CAInvalid.
	CA string `json:"ca"`
	// Error says what is wrong with the CA.
	Error string `json:"error,omitempty"`
	// Directory is the CA's directory, and Trust the directory of the files that make the application
	// trust the CA.
	Directory string `json:"directory,omitempty"`
	Trust     string `json:"trust,omitempty"`
	// TrustError says why those files could not be written; "": they were.
	TrustError string `json:"trustError,omitempty"`
}

// Note names a host whose TLS was not intercepted.
type Note struct {
	Time time.Time `json:"time"`
	// Direction is IN or OUT.
	Direction string `json:"direction"`
	// Host is the name and the port. For inbound TLS it is the SNI.
	Host string `json:"host"`
	// Outcome is the outcome of TLS, as in /connections.
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
}

// Sink is where recordings go.
type Sink struct {
	// Directory is the directory of the segments that this process writes.
	Directory string `json:"directory"`
	// Error says what is wrong with the directory; "": it works.
	Error string `json:"error,omitempty"`
	// Collector is where complete segments are sent; nil: they remain in the directory.
	Collector *Collector `json:"collector,omitempty"`
}

// Collector is where segments are sent.
type Collector struct {
	URL string `json:"url"`
	// Stored is when the collector last stored a segment; zero: it has stored none.
	Stored time.Time `json:"stored,omitzero"`
	// Failed is the last attempt that stored nothing; nil: there was none.
	Failed *Failure `json:"failed,omitempty"`
}

// Text returns text as one line of at most [MaxText] bytes.
func Text(text string) string { return oneline.Text(text, MaxText) }
