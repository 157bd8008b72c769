package intercept

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/pump"
)

// Terminator ends inbound TLS with the application's own certificate:
//
//	client                     proxy                     application
//	   │── ClientHello ──────────▶│── the same SNI and ALPN ──▶│
//	   │                          │◀── certificate, ALPN ──────│  must not ask for one
//	   │◀── TLS_IN's certificate ─│
//	   │══ plaintext ═════════════╪═════════════ plaintext ════│
//
// If that would break the application, the client's TLS passes untouched on a new connection:
// if the application asks for client certificates, rejects what the client offers, or has a
// certificate for an SNI that TLS_IN's certificate is not valid for. It is safe for concurrent
// use.
type Terminator struct {
	// Certificate is called for every handshake. While it fails, TLS passes
	// untouched.
	Certificate func() (*tls.Certificate, error)

	bypass bypassList // by SNI, because the application may decide by it

	mu     sync.Mutex
	said   map[Outcome]bool
	secure bool       // the application is known to speak TLS
	plain  history    // bypassed while the application is known to have answered a handshake with something else
	silent bypassList // by SNI: bypassed while the application is known not to answer handshakes
}

// Do terminates TLS on a connection on which the client has begun to send. Other protocols pass
// untouched. server is connected to the application, and redial connects to it again. If the
// application speaks TLS, its handshake comes first. Otherwise the client gets the ALPN
// HTTP/1.1 if it offers that, or else its first choice, which the application must then speak
// without TLS.
func (t *Terminator) Do(ctx context.Context, client, server *pump.Conn, app *Peer, redial func(context.Context) (*pump.Conn, error)) Result {
	r := Result{Outcome: PassedNotTLS, Client: client, Server: server}
	hello, err := PeekHello(client, HandshakeTimeout)
	if err != nil {
		r.Err = err
		return r
	}
	if err := contract.CheckHostName(hello.SNI); err != nil {
		return r.misnamed(err)
	}
	r.Name, r.SNI, r.Endpoint = hello.SNI, hello.SNI, cmp.Or(hello.SNI, "no SNI")
	cert, err := t.Certificate()
	if err != nil {
		r.Outcome, r.Err = PassedNoCert, err
		return r
	}
	if app.Unsure && (len(server.Head()) > 0 || t.isPlain(hello.SNI)) {
		r.ALPN = plainALPN(hello.ALPN)
		return r.terminate(ctx, cert)
	}
	if why := t.bypass.reason(hello.SNI); why != "" {
		r.Outcome, r.First = why, t.first(why)
		return r
	}
	if err := hello.Supports(cert); err != nil {
		r.Outcome, r.Err, r.First = PassedClientTLS, err, t.first(PassedClientTLS)
		return r
	}
	up, asked, err := t.application(ctx, server, hello, app)
	if app.Unsure && t.provesPlain(hello.SNI, err, asked) {
		_ = server.Close()
		if r.Server, err = redial(ctx); err != nil {
			return r.end(Failed, err)
		}
		r.ALPN = plainALPN(hello.ALPN)
		return r.terminate(ctx, cert)
	}
	switch {
	case asked:
		r.Outcome, r.Err = PassedClientCert, errors.New("the application asks for a client certificate")
	case err != nil:
		r.Outcome, r.Err = PassedUpstreamTLS, err
		if errors.Is(err, context.DeadlineExceeded) { // the client may cause another error, and must not be able to bypass capture
			t.bypass.upstreamFailed(hello.SNI)
		}
	case !good(cert, hello.SNI) && goodLeaf(up.ConnectionState().PeerCertificates[0], hello.SNI):
		r.Outcome, r.Err = PassedOtherName, fmt.Errorf("the application has a certificate for %s, but the sidecar's is not valid for that name", hello.SNI)
	default:
		t.bypass.upstreamSucceeded(hello.SNI)
		r.Server, r.ALPN = pump.NewConn(up, nil), up.ConnectionState().NegotiatedProtocol
		return r.terminate(ctx, cert)
	}
	r.First = t.first(r.Outcome)
	_ = server.Close()
	if r.Server, err = redial(ctx); err != nil {
		return r.end(Failed, err)
	}
	return r
}

// isPlain reports whether the application was found not to speak TLS.
func (t *Terminator) isPlain(sni string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.secure && (t.plain.reason() != "" || t.silent.reason(sni) != "")
}

// provesPlain reports whether a handshake that ended with err shows that the application does not
// speak TLS: it answered something else, or it disconnected or did not answer and has never spoken
// TLS. The result is remembered for a while, because the application receives each attempt as
// garbage. A missing answer may be due to the client, so it is remembered only for the SNI, and
// only once it has happened twice.
func (t *Terminator) provesPlain(sni string, err error, asked bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	var other tls.RecordHeaderError
	switch {
	case asked, t.secure, err == nil:
		t.secure = true
	case errors.As(err, &other):
		t.plain.bypass(PassedNotTLS, false)
		return true
	case wentAway(err), errors.Is(err, context.DeadlineExceeded):
		t.silent.upstreamFailed(sni)
		return true
	default: // an alert, for example
		t.secure = true
	}
	return false
}

// first reports whether an outcome occurs for the first time. It is reported once, and not for
// each SNI, because clients choose the SNI.
func (t *Terminator) first(o Outcome) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said[o] {
		return false
	}
	if t.said == nil {
		t.said = map[Outcome]bool{}
	}
	t.said[o] = true
	return true
}

// application does the handshake with the application as the client would have done it. asked
// says that the application asked for a client certificate. If it asks in the middle of the
// connection, later connections pass untouched.
func (t *Terminator) application(ctx context.Context, server *pump.Conn, hello *Hello, app *Peer) (c *tls.Conn, asked bool, err error) {
	cfg := hello.policy()
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		if err := hello.permits(state); err != nil || app.Insecure {
			return err
		}
		err := Verify(state, app.Name, app.Roots)
		if err != nil && hello.SNI != "" && Verify(state, hello.SNI, app.Roots) == nil { // the application chose it by the SNI
			return nil
		}
		return err
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		t.bypass.wantsClientCert(hello.SNI)
		return &tls.Certificate{}, nil
	}
	c = tls.Client(server, cfg)
	err = handshake(ctx, c) // which sets asked
	return c, asked, err
}

// good reports whether a certificate is valid now for a name.
func good(cert *tls.Certificate, name string) bool {
	leaf := cert.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return false
		}
	}
	return goodLeaf(leaf, name)
}

func goodLeaf(leaf *x509.Certificate, name string) bool {
	now := time.Now()
	return !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter) && (name == "" || leaf.VerifyHostname(name) == nil)
}

// terminate does the handshake with the client, with r.ALPN.
func (r Result) terminate(ctx context.Context, cert *tls.Certificate) Result {
	down := tls.Server(r.Client, answering(cert, r.ALPN))
	if err := handshake(ctx, down); err != nil {
		return r.end(Failed, fmt.Errorf("TLS from the client: %w", err))
	}
	r.Client, r.Outcome = pump.NewConn(down, nil), Intercepted
	return r
}

func plainALPN(offer []string) string {
	switch {
	case slices.Contains(offer, "http/1.1"):
		return "http/1.1"
	case len(offer) > 0:
		return offer[0]
	}
	return ""
}
