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

// Fields of the log line that each connection gets when it has ended.
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

// conn is a client's connection, from accept to its log line.
type conn struct {
	id        uint64
	direction tap.Direction
	started   time.Time
	from      netip.AddrPort // the client's address
	client    *pump.Conn
	meter     pump.Meter
	flows     int // number of the connection's tap flows; guarded by the registry's mutex

	mu      sync.Mutex  // locked before pump's mutexes, which abort and hangUp lock
	known   func() bool // see idleBy
	private bool        // never recorded
	via     tap.Via
	host    string
	port    int
	server  *pump.Conn
	remote  netip.AddrPort // the upstream's address
	reached time.Time      // when the upstream was connected
	tls     intercept.Outcome
	sni     string
	alpn    string
	cut     bool // by abort or hangUp; later upstream connections are cut, too
	ended   time.Time
	err     error
}

// target records the destination that the client asked for.
func (k *conn) target(via tap.Via, host string, port int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.via, k.host, k.port, k.remote, k.reached = via, host, port, netip.AddrPort{}, time.Time{}
	k.private, k.tls, k.sni, k.alpn = false, "", "", ""
}

// keepPrivate sets whether the connection must not be recorded.
func (k *conn) keepPrivate(private bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.private = private
}

// isPrivate reports whether the connection must not be recorded, because it goes to a
// cloud's metadata server, which answers with credentials. The client may have named that
// server as the destination, in Host or in SNI, or by a name that resolved to its address.
func (k *conn) isPrivate() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.direction == tap.Out &&
		(k.private || address.IsMetadata(k.host) || address.IsMetadata(k.sni) || address.IsMetadataAddr(k.remote.Addr()))
}

// connected records the upstream connection.
func (k *conn) connected(server *pump.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.server, k.remote, k.reached = server, addrPort(server.RemoteAddr()), time.Now()
	if k.cut {
		server.Abort()
	}
}

// secured replaces the upstream connection with TLS over it.
func (k *conn) secured(server *pump.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.server = server
}

// opens records that the proxy itself begins TLS, with a server of that name.
func (k *conn) opens(name, alpn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tls, k.alpn = intercept.Opened, alpn
	if _, ok := address.Parse(name); !ok {
		k.sni = name
	}
}

// unwrapped records the outcome of intercepting TLS.
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

// idleBy sets the function that reports whether all requests are answered; nil: it is not
// known. It returns the previous function.
func (k *conn) idleBy(known func() bool) (before func() bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, k.known = k.known, known
	return before
}

// idle reports whether the connection is known to be idle, and has been silent for
// idleMoment.
func (k *conn) idle(now time.Time) bool {
	k.mu.Lock()
	known := k.known
	k.mu.Unlock()
	return known != nil && now.Sub(k.started) >= idleMoment && k.meter.Quiet(now, idleMoment) && known()
}

// clientFirst calls [clientFirst] for the connection's two ends. The connection counts as
// idle until one of them speaks.
func (k *conn) clientFirst() bool {
	k.idleBy(k.meter.Silent)
	defer k.idleBy(nil)
	return clientFirst(k.client, k.server)
}

// abort resets both connections.
func (k *conn) abort() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = true
	k.client.Abort()
	if k.server != nil {
		k.server.Abort()
	}
}

// hangUp closes an idle connection, as a server closes an idle keep-alive connection.
func (k *conn) hangUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = true
	_ = k.client.Close()
	if k.server != nil {
		_ = k.server.Close()
	}
}

// View is a connection as /connections shows it. Speedscale's tools read the same
// names.
type View struct {
	ID         uint64
	Direction  string
	StartTime  time.Time
	EndTime    *time.Time `json:",omitempty"`
	Via        string     // how the client asked, see tap.Via
	Target     string     // what it asked for
	TLS        string     `json:",omitempty"` // the outcome of TLS, see intercept.Outcome
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

// maxError is the maximum length of a stored error, because an error may quote bytes of
// the peer, such as the names in a certificate.
const maxError = 1 << 10

// clip shortens text to maxError. It copies it, so that the long text can be freed.
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
		ended := k.ended // a pointer into k would keep all of k in memory
		v.EndTime = &ended
	}
	if k.err != nil {
		v.Error = clip(k.err.Error())
	}
	return v
}

// failure returns a failed connection as /status shows it.
func (v View) failure() *status.Failure {
	f := &status.Failure{Time: *v.EndTime, Target: status.Text(v.Target), Reason: v.TLS, Error: status.Text(v.Error)}
	if v.Target != "" && v.Upstream.RemoteAddr == "" {
		f.Reason = status.Unreachable
	}
	return f
}

// log writes the connection's log line, as a warning if it failed.
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
