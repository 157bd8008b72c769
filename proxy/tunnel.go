package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/plainhttp"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/socks"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// patience is how long the client may take to speak where the server's silence
// can't be seen, or its words don't tell.
const patience = 500 * time.Millisecond

// speaks reports whether the client says something while patience lasts.
func speaks(client *pump.Conn) bool {
	_ = client.SetReadDeadline(time.Now().Add(patience))
	defer client.Resume()
	return client.Await() == nil && fill(client)
}

// clientFirst waits until one side has something to say and reports whether
// that is the client. Nothing is read from either.
func clientFirst(client, server *pump.Conn) bool {
	if len(client.Head()) > 0 {
		return true
	}
	if len(server.Head()) > 0 {
		return false
	}
	if !server.CanAwait() {
		return speaks(client)
	}
	var serverSpoke atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		if server.Await() == nil {
			serverSpoke.Store(true)
			client.Interrupt()
		}
	}()
	err := client.Await()
	if err == nil && !client.CanAwait() {
		fill(client)
	}
	server.Interrupt()
	<-done
	server.Resume()
	client.Resume()
	return len(client.Head()) > 0 || err == nil && client.CanAwait() && !serverSpoke.Load()
}

// fill reads what a client has sent whose bytes can't be waited for unread.
func fill(c *pump.Conn) bool {
	if c.CanAwait() {
		return true
	}
	_, err := c.Fill(maxGuess)
	return err == nil
}

// enterTunnel answers a client of the reverse half that asks for a tunnel in
// the protocol that was configured. Wherever it asks to go, it gets to the
// application: the reverse half is no way into the cluster. Anything else is
// meant for the application and left unread.
func (p *Proxy) enterTunnel(k *conn) error {
	head, err := k.client.First(maxGuess)
	if err != nil {
		return nil // the pump will find the same
	}
	switch {
	case p.cfg.InProtocol == SOCKS && (head[0] == socks.Version4 || head[0] == socks.Version5):
		q, err := acceptSOCKS(k.client)
		if err != nil {
			return err
		}
		return q.Reply(k.client, socks.Granted, netip.AddrPort{})
	case p.cfg.InProtocol == HTTP && plainhttp.IsConnect(head):
		if _, err := plainhttp.ReadConnect(k.client); err != nil {
			return err
		}
		return plainhttp.Established(k.client)
	}
	return nil
}

// intercept looks into the TLS of a tunnel, and says once what is let through.
func (p *Proxy) intercept(ctx context.Context, k *conn, host string, port int, redial func(context.Context) (*pump.Conn, error)) (move bool, err error) {
	server := k.server
	r := p.out.Do(ctx, k.client, server, host, port, redial)
	k.unwrapped(r)
	p.conns.unwrapped(k.direction, r.Outcome)
	if r.First {
		p.note(r.Outcome, r.Endpoint, reason(r.Err))
	}
	if r.Client == nil {
		return false, r.Err
	}
	if r.Outcome != intercept.Intercepted {
		if r.Server != server { // it was connected to once more
			k.connected(r.Server)
		}
		return true, nil
	}
	began := time.Now()
	m := p.pump(k)
	err = m.Run(k.client, k.server)
	m.Stream.Close(time.Now())
	why := p.out.Ended(r.Endpoint, k.meter.Bytes(tap.FromClient), time.Since(began))
	if why != "" { // after all: the connection counts for both
		p.conns.unwrapped(k.direction, why)
	}
	switch why {
	case intercept.Refused:
		p.note(why, r.Endpoint, "clients hang up right after the handshake")
	case intercept.PassedClientCert:
		p.note(why, r.Endpoint, "upstream asks in the middle of a connection")
	}
	return false, err
}

// notes are what is said when a name is let through, or fails, for the first
// time.
var notes = map[intercept.Outcome]struct {
	text   string
	remedy func(*Proxy) string
}{
	intercept.Refused: {
		"a client does not trust the sidecar's CA, or pins certificates: this host is let through untouched, and not recorded in the clear",
		(*Proxy).trustRemedy,
	},
	intercept.PassedClientTLS: {
		"a client offers no TLS that the sidecar can answer with its certificates, which have ECDSA keys: it is let through untouched, and not recorded in the clear",
		fixed("let the client offer TLS 1.2 or later, ECDHE-ECDSA cipher suites and the signature algorithm ecdsa_secp256r1_sha256, or leave it"),
	},
	intercept.Unverified: {
		"the certificate that an upstream showed is not good: the client gets a TLS alert",
		fixed("set TAPEDECK_UPSTREAM_CA to a file with the root that signed it, if it is to be trusted"),
	},
	intercept.PassedClientCert: {
		"an upstream asks for a client certificate: this host is let through untouched",
		fixed("give the client certificate with the annotation sidecar.speedscale.com/tls-mutual-secret, or TLS_MUTUAL_PUBLIC_KEY and TLS_MUTUAL_PRIVATE_KEY"),
	},
	intercept.PassedUpstreamTLS: {
		"the TLS handshake with an upstream failed: this host is let through untouched",
		fixed("none, if the client can talk to it"),
	},
}

// note says what became of an endpoint's TLS, if there is anything to say.
func (p *Proxy) note(o intercept.Outcome, endpoint, reason string) {
	if note, ok := notes[o]; ok {
		p.log.Warn(note.text, "host", endpoint, "reason", reason, "remedy", note.remedy(p))
		p.notes.add(status.Note{Direction: tap.Out.String(), Host: endpoint, Outcome: string(o), Error: reason})
	}
}

// reason is the text of an error that may be none.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return clip(err.Error())
}

func fixed(remedy string) func(*Proxy) string { return func(*Proxy) string { return remedy } }

// dialReply is the SOCKS reply that tells why a dial failed.
func dialReply(err error) socks.Reply {
	var noName *net.DNSError
	var unauthorized *upstream.ProxyAuthError
	switch {
	case errors.Is(err, upstream.ErrSelf), errors.Is(err, upstream.ErrLoopback), errors.Is(err, upstream.ErrMetadata), errors.As(err, &unauthorized):
		return socks.NotAllowed
	case errors.Is(err, syscall.ECONNREFUSED):
		return socks.ConnectionRefused
	case errors.Is(err, syscall.ENETUNREACH):
		return socks.NetworkUnreachable
	case errors.Is(err, syscall.EHOSTUNREACH), upstream.TimedOut(err), errors.As(err, &noName):
		return socks.HostUnreachable
	}
	return socks.GeneralFailure
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET)
}
