package proxy

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// reverse is a port of the reverse proxy. Each has a separate terminator, because the
// application's ports may differ in TLS.
type reverse struct {
	Inbound
	p         *Proxy
	listeners []net.Listener
	tls       *intercept.Terminator // nil: inbound TLS passes untouched
}

// serve forwards a connection to the application, whatever the client sends. It connects
// before the client has sent anything, because the server speaks first in some protocols.
func (in *reverse) serve(ctx context.Context, k *conn) (move bool, err error) {
	p := in.p
	k.target(tap.ViaTCP, in.App.Host, in.App.Port)
	app, err := in.dial(ctx)
	if err != nil {
		k.client.Abort() // as if the application's port were closed
		return false, fmt.Errorf("connect to the application: %w", err)
	}
	k.connected(app)
	if in.tls == nil && !in.App.TLS && p.cfg.InProtocol == TCP {
		return true, nil
	}
	spoke := k.clientFirst()
	if in.tls != nil && !spoke {
		// The application does not know that TLS comes first.
		spoke = waitsForClient(k.server) || speaks(k.client)
	}
	if in.tls != nil && spoke {
		r := in.tls.Do(ctx, k.client, k.server, in.peer(), in.dial)
		k.unwrapped(r)
		p.conns.unwrapped(k.direction, r.Outcome)
		if note, ok := inboundNotes[r.Outcome]; ok && r.First {
			p.notes.add(status.Note{Direction: tap.In.String(), Host: r.SNI, Outcome: string(r.Outcome), Error: reason(r.Err)})
			p.log.Warn(note, "sni", r.SNI, "reason", reason(r.Err), "remedy", inboundRemedy)
		}
		if r.Client == nil {
			return false, r.Err
		}
		if r.Server != app && r.Outcome.Passed() { // Do has connected to the application again
			k.connected(r.Server)
		}
		if r.Outcome == intercept.Intercepted {
			spoke = p.cfg.InProtocol != TCP && k.clientFirst()
			return p.serveInPlain(k, spoke)
		}
	}
	if in.App.TLS && !(spoke && speaksTLS(k.client)) {
		server, err := intercept.Client(ctx, k.server, appALPN(k.client, spoke), in.peer())
		if err != nil {
			k.client.Abort()
			return false, fmt.Errorf("TLS to the application: %w", err)
		}
		k.secured(server)
	}
	return p.serveInPlain(k, spoke)
}

// dial connects to the application.
func (in *reverse) dial(ctx context.Context) (*pump.Conn, error) {
	return in.p.dial.Local(ctx, in.App.Host, in.App.Port)
}

// inboundNotes are the warnings for inbound TLS that is bypassed.
var inboundNotes = map[intercept.Outcome]string{
	intercept.PassedClientCert:  "the application asks for client certificates: its TLS passes untouched, and records have no plaintext",
	intercept.PassedOtherName:   "the sidecar's certificate is not valid for the name that a client asks for, but the application's is: TLS passes untouched, and records have no plaintext",
	intercept.PassedUpstreamTLS: "the TLS handshake with the application failed: its TLS passes untouched, and records have no plaintext",
	intercept.PassedClientTLS:   "a client and the sidecar have no TLS parameters in common: its TLS passes untouched, and records have no plaintext",
}

const inboundRemedy = "none if clients can talk to the application; otherwise remove the annotation sidecar.speedscale.com/tls-in-secret, or put the application's certificate into its Secret"

// waitsForClient reports whether a server that has spoken first now waits for its client.
// HTTP/2 servers do: they begin with SETTINGS on stream 0 (RFC 9113 sections 3.4, 4.1 and
// 6.5).
func waitsForClient(server *pump.Conn) bool {
	_ = server.SetReadDeadline(time.Now().Add(patience)) // the client may have gone while the server is silent
	defer server.Resume()
	head, err := server.First(maxGuess)
	return err == nil && len(head) >= 9 && bytes.Equal(head[3:9], []byte{4, 0, 0, 0, 0, 0})
}

// serveInPlain answers a client that asks for a tunnel.
func (p *Proxy) serveInPlain(k *conn, spoke bool) (move bool, err error) {
	if spoke && p.cfg.InProtocol != TCP {
		if err := p.enterTunnel(k); err != nil {
			return false, err
		}
	}
	return true, nil
}

// peer says how to speak TLS to the application.
func (in *reverse) peer() *intercept.Peer {
	return &intercept.Peer{Name: in.App.Host, Roots: in.p.Roots(), Insecure: isLoopback(in.App.Host), Unsure: !in.App.TLS}
}

// speaksTLS reports whether the client's first bytes are TLS, which a TLS application
// accepts unchanged.
func speaksTLS(client *pump.Conn) bool {
	head, err := client.First(maxGuess)
	return err == nil && intercept.LooksLikeTLS(head)
}

// preface is how HTTP/2 begins (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0"

// appALPN guesses from the first bytes of a plaintext client which ALPN it would offer in
// TLS.
func appALPN(client *pump.Conn, spoke bool) []string {
	if !spoke {
		return nil
	}
	head, err := client.First(maxGuess)
	switch {
	case err != nil:
		return nil
	case bytes.HasPrefix(head, []byte(preface)):
		return []string{"h2"}
	case looksLikeHTTP(head):
		return []string{"http/1.1"}
	}
	return nil
}

// maxGuess is the number of first bytes that are read to guess a client's protocol.
const maxGuess = 4 << 10

// looksLikeHTTP reports whether bytes may begin an HTTP/1 request: a method of
// capital letters and a space.
func looksLikeHTTP(head []byte) bool {
	for i, c := range head {
		if c == ' ' {
			return i > 2
		}
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return false
}
