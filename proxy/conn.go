package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Fields of the canonical log line, of which every connection gets one.
const (
	LogID        = "id"
	LogDirection = "direction"
	LogVia       = "via"
	LogClient    = "client"
	LogTarget    = "target"
	LogServer    = "server"
	LogTLS       = "tls"
	LogSNI       = "sni"
	LogALPN      = "alpn"
	LogSent      = "client_bytes"
	LogReceived  = "server_bytes"
	LogDuration  = "duration_ms"
	LogError     = "error"
)

// conn is one client's connection, from accept to the log line.
type conn struct {
	id        uint64
	direction tap.Direction
	started   time.Time
	from      netip.AddrPort // the client's address
	client    *pump.Conn
	meter     pump.Meter
	flows     int // the registry's: how many the tap was given

	mu      sync.Mutex  // locked before those of pump, for abort and hangUp lock them
	known   func() bool // see idleBy
	private bool        // what was asked for is not for the record
	via     tap.Via
	host    string
	port    int
	server  *pump.Conn
	remote  netip.AddrPort // the upstream's address
	reached time.Time      // when it was connected to
	tls     intercept.Outcome
	sni     string
	alpn    string
	cut     bool // by abort or hangUp: what is connected from then on is cut too
	ended   time.Time
	err     error
}

// target notes what the client asked for.
func (k *conn) target(via tap.Via, host string, port int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.via, k.host, k.port, k.remote, k.reached = via, host, port, netip.AddrPort{}, time.Time{}
	k.private, k.tls, k.sni, k.alpn = false, "", "", ""
}

// keepPrivate says whether what was asked for is kept from the record.
func (k *conn) keepPrivate(private bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.private = private
}

// isPrivate reports whether nothing of what is said is for the record: a cloud's
// metadata server answers the application with credentials. It may have been asked
// for by name, in Host, in TLS, or by a name that nobody knows and that led there.
func (k *conn) isPrivate() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.direction == tap.Out &&
		(k.private || address.IsMetadata(k.host) || address.IsMetadata(k.sni) || address.IsMetadataAddr(k.remote.Addr()))
}

// connected notes the upstream connection.
func (k *conn) connected(server *pump.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.server, k.remote, k.reached = server, addrPort(server.RemoteAddr()), time.Now()
	if k.cut {
		server.Abort()
	}
}

// secured notes that the upstream connection is spoken to in TLS.
func (k *conn) secured(server *pump.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.server = server
}

// opens notes that TLS begins here, with a server of that name.
func (k *conn) opens(name, alpn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tls, k.alpn = intercept.Opened, alpn
	if _, ok := address.Parse(name); !ok {
		k.sni = name
	}
}

// unwrapped notes what TLS there was.
func (k *conn) unwrapped(r intercept.Result) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tls, k.sni, k.alpn = r.Outcome, r.SNI, r.ALPN
	if r.Client != nil {
		k.client, k.server = r.Client, r.Server
		if k.cut {
			r.Client.Abort()
			r.Server.Abort()
		}
	}
}

// flow describes the connection to the tap.
func (k *conn) flow() *tap.Flow {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &tap.Flow{
		ID: k.id, Direction: k.direction, Via: k.via, Started: k.started, Connected: k.reached,
		Client: k.from, Server: k.remote,
		Host: k.host, Port: k.port,
		TLS:    k.tls != "" && k.tls != intercept.PassedNotTLS,
		Opaque: k.tls.Passed() && k.tls != intercept.PassedNotTLS,
		SNI:    k.sni, ALPN: k.alpn,
	}
}

// idleBy says who knows from now on whether nothing is under way; nil: nobody. It returns
// who knew until now.
func (k *conn) idleBy(known func() bool) (before func() bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, k.known = k.known, known
	return before
}

// idle reports whether it is known that nothing is under way, and a moment has
// passed since something was.
func (k *conn) idle(now time.Time) bool {
	k.mu.Lock()
	known := k.known
	k.mu.Unlock()
	return known != nil && now.Sub(k.started) >= idleMoment && k.meter.Quiet(now, idleMoment) && known()
}

// clientFirst is [clientFirst] of the connection's two ends. It is idle until
// one of them speaks.
func (k *conn) clientFirst() bool {
	k.idleBy(k.meter.Silent)
	defer k.idleBy(nil)
	return clientFirst(k.client, k.server)
}

// abort ends the connection where it is.
func (k *conn) abort() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = true
	k.client.Abort()
	if k.server != nil {
		k.server.Abort()
	}
}

// hangUp ends a connection on which nothing is under way, as a server does that
// closes an idle keep-alive connection.
func (k *conn) hangUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = true
	_ = k.client.Close()
	if k.server != nil {
		_ = k.server.Close()
	}
}

// View is a connection as /connections shows it. The names are those that the
// sidecar ecosystem's tools read.
type View struct {
	ID         uint64
	Direction  string
	StartTime  time.Time
	EndTime    *time.Time `json:",omitempty"`
	Via        string     // how the client asked, see tap.Via
	Target     string     // what it asked for
	TLS        string     `json:",omitempty"` // what became of TLS, see intercept.Outcome
	SNI        string     `json:",omitempty"`
	ALPN       string     `json:",omitempty"`
	Downstream Peer       // the client's side
	Upstream   Peer       // the server's side
	Error      string     `json:",omitempty"`
}

// Peer is one end of a connection and the bytes that came from it.
type Peer struct {
	RemoteAddr   string
	DataTransfer int64
}

// maxError bounds the text of an error that is kept: it may quote what the other
// side sent, such as the names in a certificate.
const maxError = 1 << 10

// clip cuts a text that is too long, and lets go of what it was cut from.
func clip(text string) string {
	if len(text) <= maxError {
		return text
	}
	return strings.ToValidUTF8(text[:maxError], "") + "…"
}

func (k *conn) view() View {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := View{
		ID: k.id, Direction: k.direction.String(), StartTime: k.started, Via: string(k.via),
		Target: hostPort(k.host, k.port), TLS: string(k.tls), SNI: k.sni, ALPN: k.alpn,
		Downstream: Peer{RemoteAddr: k.from.String(), DataTransfer: k.meter.Bytes(tap.FromClient)},
		Upstream:   Peer{DataTransfer: k.meter.Bytes(tap.FromServer)},
	}
	if k.remote.IsValid() {
		v.Upstream.RemoteAddr = k.remote.String()
	}
	if !k.ended.IsZero() {
		ended := k.ended // a pointer into k would keep all of it with the view
		v.EndTime = &ended
	}
	if k.err != nil {
		v.Error = clip(k.err.Error())
	}
	return v
}

// failure is a connection that failed, as /status shows it.
func (v View) failure() *status.Failure {
	f := &status.Failure{Time: *v.EndTime, Target: status.Text(v.Target), Reason: v.TLS, Error: status.Text(v.Error)}
	if v.Target != "" && v.Upstream.RemoteAddr == "" {
		f.Reason = status.Unreachable
	}
	return f
}

// log writes the canonical line: information, or a warning when it failed.
func (v View) log(log *slog.Logger) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.Uint64(LogID, v.ID), slog.String(LogDirection, v.Direction), slog.String(LogVia, v.Via),
		slog.String(LogClient, v.Downstream.RemoteAddr), slog.String(LogTarget, v.Target),
		slog.String(LogServer, v.Upstream.RemoteAddr),
		slog.Int64(LogSent, v.Downstream.DataTransfer), slog.Int64(LogReceived, v.Upstream.DataTransfer),
		slog.Int64(LogDuration, v.EndTime.Sub(v.StartTime).Milliseconds()),
	}
	for _, a := range []struct{ key, value string }{{LogTLS, v.TLS}, {LogSNI, v.SNI}, {LogALPN, v.ALPN}, {LogError, v.Error}} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if v.Error != "" {
		level = slog.LevelWarn
	}
	log.LogAttrs(context.Background(), level, "connection", attrs...)
}
