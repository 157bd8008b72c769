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

// patience is how long the proxy waits for the client to speak if the server's behavior does
// not show which side speaks first.
const patience = 500 * time.Millisecond

// speaks reports whether the client sends something within patience.
func speaks(client *pump.Conn) bool {
	_ = client.SetReadDeadline(time.Now().Add(patience))
	defer client.Resume()
	return client.Await() == nil && fill(client)
}

// clientFirst waits until one side sends something, and reports whether that is the client.
// The bytes remain unread.
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

// fill reads the first bytes of a connection that can't wait for them without reading.
func fill(c *pump.Conn) bool {
	if c.CanAwait() {
		return true
	}
	_, err := c.Fill(maxGuess)
	return err == nil
}

// enterTunnel answers a client of the reverse proxy that asks for a tunnel in the
// configured protocol. The tunnel leads to the application whatever the client asks for,
// because the reverse proxy must not give access to the cluster. Other bytes are for the
// application and remain unread.
func (p *Proxy) enterTunnel(k *conn) error {
	head, err := k.client.First(maxGuess)
	if err != nil {
		return nil // the pump will get the same error
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

// intercept intercepts TLS in a tunnel, and logs each bypassed host once.
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
		if r.Server != server { // Do has connected to the server again
			k.connected(r.Server)
		}
		return true, nil
	}
	began := time.Now()
	m := p.pump(k)
	err = m.Run(k.client, k.server)
	m.Stream.Close(time.Now())
	why := p.out.Ended(r.Endpoint, k.meter.Bytes(tap.FromClient), time.Since(began))
	if why != "" { // the connection counts for both outcomes
		p.conns.unwrapped(k.direction, why)
	}
	switch why {
	case intercept.Refused:
		p.note(why, r.Endpoint, "clients hang up right after the handshake")
	case intercept.PassedClientCert:
		p.note(why, r.Endpoint, "the upstream asks in the middle of a connection")
	}
	return false, err
}

// notes are the warnings for hosts that are bypassed, or fail, for the first time.
var notes = map[intercept.Outcome]struct {
	text   string
	remedy func(*Proxy) string
}{
	intercept.Refused: {
		"a client does not trust the sidecar's CA, or pins certificates: TLS to this host passes untouched, and records have no plaintext",
		(*Proxy).trustRemedy,
	},
	intercept.PassedClientTLS: {
		"a client can't use the sidecar's TLS, such as its ECDSA certificates: its TLS passes untouched, and records have no plaintext",
		fixed("none if that is acceptable; otherwise let the client offer TLS 1.2 or later, ECDHE-ECDSA cipher suites and the signature algorithm ecdsa_secp256r1_sha256"),
	},
	intercept.Unverified: {
		"can't verify an upstream's certificate: the client gets a TLS alert",
		fixed("if you trust it, set TAPEDECK_UPSTREAM_CA to a file with the root certificate"),
	},
	intercept.PassedClientCert: {
		"an upstream asks for a client certificate: TLS to this host passes untouched",
		fixed("set the client certificate with the annotation sidecar.speedscale.com/tls-mutual-secret, or with TLS_MUTUAL_PUBLIC_KEY and TLS_MUTUAL_PRIVATE_KEY"),
	},
	intercept.PassedUpstreamTLS: {
		"the TLS handshake with an upstream failed: TLS to this host passes untouched",
		fixed("none if the client can talk to the host"),
	},
}

// note logs an outcome that has a warning, and keeps it for /status.
func (p *Proxy) note(o intercept.Outcome, endpoint, reason string) {
	if note, ok := notes[o]; ok {
		p.log.Warn(note.text, "host", endpoint, "reason", reason, "remedy", note.remedy(p))
		p.notes.add(status.Note{Direction: tap.Out.String(), Host: endpoint, Outcome: string(o), Error: reason})
	}
}

// reason returns the text of an error; "" for nil.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return clip(err.Error())
}

func fixed(remedy string) func(*Proxy) string { return func(*Proxy) string { return remedy } }

// dialReply returns the SOCKS reply for a failed dial.
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
