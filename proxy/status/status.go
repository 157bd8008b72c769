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
// older than they are, and unknown ones, because it may be newer. Up to v0.2.0 the names of
// fields began with a capital letter; encoding/json reads both.
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
	// MaxNotes bounds Status.Notes: the oldest make room.
	MaxNotes = 32
	// MaxText bounds the text of an error, and the name of a host, in bytes. An error may
	// quote what a peer sent.
	MaxText = 300
	// MaxPorts bounds Half.Ports.
	MaxPorts = 64
)

// Status is what a sidecar says about itself.
type Status struct {
	// Version is the sidecar's, Pod its pod's as namespace/name, or as name alone.
	Version string `json:"version,omitempty"`
	Pod     string `json:"pod,omitempty"`
	// Time is when this was said, Started when the process listened, both by the sidecar's clock.
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`
	// Draining: it was told to stop.
	Draining bool `json:"draining,omitempty"`
	// Inbound and Outbound are the halves; nil: that half does not run.
	Inbound  *Half `json:"inbound,omitempty"`
	Outbound *Half `json:"outbound,omitempty"`
	// TLS is about outbound TLS; nil: it passes untouched, as configured.
	TLS *TLS `json:"tls,omitempty"`
	// Notes tell where TLS could not be looked into, the oldest first. Each combination of host and
	// outcome is noted when it happens for the first time, and again after a pause.
	Notes []Note `json:"notes,omitempty"`
	// Sink is where recordings go; nil: the program records nothing.
	Sink *Sink `json:"sink,omitempty"`
}

// Half is one half of the proxy.
type Half struct {
	// Ports are where it listens on loopback, and where inbound connections go.
	Ports []Port `json:"ports"`
	// Failed is the connection that failed last; nil: none did.
	Failed *Failure `json:"failed,omitempty"`
}

// Port is where a half listens.
type Port struct {
	Port int `json:"port"`
	// App is host:port of the application; "" for the forward proxy.
	App string `json:"app,omitempty"`
}

// Unreachable is the reason of a connection for which its target could not be connected to.
const Unreachable = "unreachable"

// Failure is something that did not work.
type Failure struct {
	Time time.Time `json:"time"`
	// Target is what was to be reached, as host:port or as a URL.
	Target string `json:"target,omitempty"`
	// Reason is a code: of a connection [Unreachable] or the outcome of TLS, if there is one; of a
	// segment why it was not taken.
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error"`
}

// The states of a CA.
const (
	CAGood    = "good"
	CAMissing = "missing"
	CAInvalid = "invalid" // not yet, or not any more
)

// TLS is how outbound TLS is looked into.
type TLS struct {
	// CA is its state now, one of CAGood, CAMissing and CAInvalid.
	CA string `json:"ca"`
	// Error says what is wrong with the CA.
	Error string `json:"error,omitempty"`
	// Directory is where the CA was looked for, Trust the directory of the files by which the
	// application trusts it.
	Directory string `json:"directory,omitempty"`
	Trust     string `json:"trust,omitempty"`
	// TrustError says why those files are not written; "": they are.
	TrustError string `json:"trustError,omitempty"`
}

// Note tells of a host whose TLS could not be looked into.
type Note struct {
	Time time.Time `json:"time"`
	// Direction is IN or OUT.
	Direction string `json:"direction"`
	// Host is the name and the port; of inbound TLS the SNI.
	Host string `json:"host"`
	// Outcome is what became of the connection, as in /connections.
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
}

// Sink is where recordings go.
type Sink struct {
	// Directory has the segments that this process writes.
	Directory string `json:"directory"`
	// Error says what is wrong with the directory; "": it works.
	Error string `json:"error,omitempty"`
	// Collector is where complete segments are sent; nil: they stay in the directory.
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

// Text makes a text fit for an answer: one line of at most [MaxText] bytes.
func Text(text string) string { return oneline.Text(text, MaxText) }
