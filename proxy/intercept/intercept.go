// Package intercept decrypts TLS that passes through the proxy. It does two handshakes, with
// plaintext between them.
//
//	client                     proxy                      upstream
//	   │── ClientHello ──────────▶│── the same SNI and ALPN ──▶│
//	   │                          │◀── certificate, ALPN ──────│  verified
//	   │◀── leaf for the name ────│
//	   │    only that ALPN        │
//	   │══ plaintext ═════════════╪═════════════ plaintext ════│
//
// The handshake with the upstream comes first, so the proxy offers the client only what the
// upstream agreed to, and any protocol works. That handshake follows the client's policy: it
// offers nothing that the client does not offer, and nothing below TLS 1.2.
//
// If interception would break a connection, the connection bypasses it: while the CA is not
// valid, if the client can't use the certificate, if the client does not trust the CA or
// pins certificates (which its first connections show), and if the upstream wants a client
// certificate or a TLS that the proxy does not support. The bypass list remembers the name
// and port, and the caller reports them. If the reason is uncertain, interception is tried
// again later. STARTTLS, which begins TLS in the middle of a connection, always passes
// untouched.
//
// The package imports contract, proxy/ca, proxy/pump and the standard library.
package intercept

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/pump"
)

const (
	// HandshakeTimeout bounds each of the two handshakes.
	HandshakeTimeout = 10 * time.Second
	// minVersion is the lowest version of TLS on both sides (RFC 8996). A client may require
	// a higher one.
	minVersion = tls.VersionTLS12
)

// Outcome is the result of TLS on a connection.
type Outcome string

// The outcomes.
const (
	Intercepted       Outcome = "intercepted"     // the proxy sees the plaintext
	Opened            Outcome = "opened"          // the proxy began TLS, because the client asked for https in plaintext
	PassedNotTLS      Outcome = "not_tls"         // untouched: it is not TLS
	PassedClientTLS   Outcome = "client_tls"      // untouched: the client can't use our certificate
	PassedDistrust    Outcome = "client_distrust" // untouched: clients have rejected the certificate before
	PassedUpstreamTLS Outcome = "upstream_tls"    // untouched: the handshake with the upstream failed, now or before
	PassedClientCert  Outcome = "client_cert"     // untouched: the upstream asks for a certificate that the client may have
	PassedOtherName   Outcome = "other_name"      // untouched: the application has its own certificate for the name
	PassedNoCert      Outcome = "no_certificate"  // untouched: there is no certificate for inbound TLS
	PassedNoCA        Outcome = "ca_invalid"      // untouched: the CA has expired, or is not valid yet
	Unverified        Outcome = "unverified"      // closed: the upstream's certificate can't be verified
	Refused           Outcome = "client_refused"  // closed: the client rejected the certificate, or seems to have
	BadName           Outcome = "bad_name"        // closed: the client asks for a name that no host can have
	Failed            Outcome = "failed"          // closed: a peer disconnected
)

// Outcomes lists the outcomes.
var Outcomes = [...]Outcome{
	Intercepted, Opened, PassedNotTLS, PassedClientTLS, PassedDistrust, PassedUpstreamTLS, PassedClientCert, PassedOtherName, PassedNoCert, PassedNoCA,
	Unverified, Refused, BadName, Failed,
}

// Passed reports whether the bytes pass untouched.
func (o Outcome) Passed() bool {
	switch o {
	case PassedNotTLS, PassedClientTLS, PassedDistrust, PassedUpstreamTLS, PassedClientCert, PassedOtherName, PassedNoCert, PassedNoCA:
		return true
	}
	return false
}

// Config configures an Interceptor.
type Config struct {
	// Authority makes the certificates for clients.
	Authority *ca.Authority
	// Roots returns the roots that verify upstreams; nil: the system's.
	Roots func() *x509.CertPool
	// Certificate, if not nil, returns the client certificate for upstreams that ask for
	// one. While it fails, there is none.
	Certificate func() (*tls.Certificate, error)
}

// Interceptor decrypts outbound TLS. It is safe for concurrent use.
type Interceptor struct {
	cfg      Config
	sessions tls.ClientSessionCache
	bypass   bypassList
}

// New returns an interceptor.
func New(cfg Config) *Interceptor {
	return &Interceptor{cfg: cfg, sessions: tls.NewLRUClientSessionCache(256)}
}

// Minted returns how many leaf certificates have been made.
func (i *Interceptor) Minted() int64 { return i.cfg.Authority.Minted() }

// Result is the result for a connection.
type Result struct {
	Outcome Outcome
	// Name is the SNI, or else the host that the client asked for.
	Name string
	// Endpoint is the name and the port, which are the key of the bypass list.
	Endpoint string
	// Client and Server are the connections to pump between. They are nil if the
	// connections were closed.
	Client, Server *pump.Conn
	// SNI is the name that the client sent, and ALPN the protocol that the upstream chose.
	SNI, ALPN string
	// First says that an endpoint is bypassed, or fails, for the first time. The caller logs
	// it then.
	First bool
	// Err says why a connection was not intercepted.
	Err error
}

// Do intercepts TLS on a connection on which the client has begun to send. server is connected to
// host and port, and redial connects there again.
func (i *Interceptor) Do(ctx context.Context, client, server *pump.Conn, host string, port int, redial func(context.Context) (*pump.Conn, error)) Result {
	r := Result{Name: host, Client: client, Server: server}
	hello, err := PeekHello(client, HandshakeTimeout)
	if err != nil {
		r.Outcome, r.Err = PassedNotTLS, err
		return r
	}
	if err := contract.CheckHostName(hello.SNI); err != nil {
		return r.misnamed(err)
	}
	if hello.SNI != "" {
		r.Name, r.SNI = hello.SNI, hello.SNI
	}
	r.Endpoint = net.JoinHostPort(r.Name, strconv.Itoa(port))
	if err := i.cfg.Authority.Check(time.Now()); err != nil {
		r.Outcome, r.Err = PassedNoCA, err
		return r
	}
	cert := i.certificate()
	if why := i.bypass.reason(r.Endpoint); why != "" && (why != PassedClientCert || cert == nil) { // there may be a certificate by now
		r.Outcome = why
		return r
	}
	leaf, err := i.cfg.Authority.Leaf(r.Name)
	if err == nil {
		err = hello.Supports(leaf)
	}
	if err != nil { // this is checked before the handshake with the upstream, which can't be undone
		r.Outcome, r.Err, r.First = PassedClientTLS, err, i.bypass.clientUnfit(r.Endpoint)
		return r
	}
	up, asked, err := i.upstream(ctx, server, hello, r, cert)
	var unverified *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unverified):
		alert(client, unverified.Err)
		r.First = i.bypass.unverified(r.Endpoint)
		return r.end(Unverified, fmt.Errorf("verify %s: %w", r.Name, unverified.Err))
	case asked && cert == nil: // err, if not nil, is due to the missing certificate
		err, r.Outcome = errors.New("the upstream asks for a client certificate"), PassedClientCert
	case err != nil:
		r.Outcome = PassedUpstreamTLS
	}
	if err != nil {
		_ = server.Close()
		if r.Server, r.Err = redial(ctx); r.Err != nil {
			return r.end(Failed, r.Err)
		}
		r.Err = err
		switch {
		case r.Outcome == PassedClientCert:
			r.First = i.bypass.wantsClientCert(r.Endpoint)
		case hello.strict() && !errors.Is(err, context.DeadlineExceeded): // other clients may succeed
			r.First = i.bypass.clientUnfit(r.Endpoint)
		default:
			r.First = i.bypass.upstreamFailed(r.Endpoint)
		}
		return r
	}
	i.bypass.upstreamSucceeded(r.Endpoint)
	r.ALPN = up.ConnectionState().NegotiatedProtocol
	r.Server = pump.NewConn(up, nil)
	down, err := i.downstream(ctx, client, leaf, r.ALPN)
	if err != nil {
		v := judge(err)
		if v == nothing {
			return r.end(Failed, err)
		}
		r.First = i.bypass.clientFailed(r.Endpoint, v)
		return r.end(Refused, err)
	}
	i.bypass.opened(r.Endpoint)
	r.Client, r.Outcome = pump.NewConn(down, nil), Intercepted
	return r
}

// pinMoment is the time after the handshake within which a client with a pinned certificate
// disconnects if it finds another one.
const pinMoment = time.Second

// Ended must be called when an intercepted connection to an endpoint has ended. sent is how many
// bytes of plaintext the client sent, and lasted is how long the connection lasted. If the
// endpoint is bypassed from now on, Ended returns why: a client with a pinned certificate may
// have disconnected after the handshake (Refused), or the upstream may have asked for a client
// certificate when it got the request (PassedClientCert).
func (i *Interceptor) Ended(endpoint string, sent int64, lasted time.Duration) Outcome {
	i.bypass.closed(endpoint)
	switch {
	case sent > 0:
		i.bypass.clientTrusted(endpoint)
		if i.bypass.reportLate(endpoint) {
			return PassedClientCert
		}
	case lasted < pinMoment && i.bypass.clientFailed(endpoint, silence):
		return Refused
	}
	return ""
}

// end closes both connections.
func (r Result) end(o Outcome, err error) Result {
	_ = r.Client.Close()
	if r.Server != nil {
		_ = r.Server.Close()
	}
	r.Outcome, r.Err, r.Client, r.Server = o, err, nil, nil
	return r
}

// misnamed rejects a client that asks for a name that no host can have.
func (r Result) misnamed(err error) Result {
	sendAlert(r.Client, 112) // unrecognized_name (RFC 6066 section 3)
	return r.end(BadName, fmt.Errorf("the client's SNI: %w", err))
}

// upstream does the handshake with the server as the client would have done it, with the client
// certificate cert, which may be nil. asked says that the server asked for a client certificate.
func (i *Interceptor) upstream(ctx context.Context, server *pump.Conn, hello *Hello, r Result, cert *tls.Certificate) (c *tls.Conn, asked bool, err error) {
	agreed := false
	cfg := hello.policy()
	cfg.ClientSessionCache = i.sessions
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		return cmp.Or(hello.permits(state), Verify(state, r.Name, i.roots()))
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if asked = true; agreed && cert == nil {
			i.bypass.wantsClientCertLate(r.Endpoint)
		}
		return cmp.Or(cert, &tls.Certificate{}), nil
	}
	if cert == nil {
		cfg.ClientSessionCache = nil // a resumed session would not ask again
	}
	c = tls.Client(server, cfg)
	err = handshake(ctx, c)
	agreed = true
	return c, asked, err
}

// certificate returns the client certificate for upstreams; nil if there is none.
func (i *Interceptor) certificate() *tls.Certificate {
	if i.cfg.Certificate == nil {
		return nil
	}
	cert, err := i.cfg.Certificate()
	if err != nil {
		return nil
	}
	return cert
}

func (i *Interceptor) roots() *x509.CertPool {
	if i.cfg.Roots == nil {
		return nil
	}
	return i.cfg.Roots()
}

// Verify checks a server's certificates for a name.
func Verify(state tls.ConnectionState, name string, roots *x509.CertPool) error {
	opts := x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// downstream does the handshake with the client.
func (i *Interceptor) downstream(ctx context.Context, client *pump.Conn, leaf *tls.Certificate, alpn string) (*tls.Conn, error) {
	c := tls.Server(client, answering(leaf, alpn))
	err := handshake(ctx, c)
	var failed *net.OpError
	if errors.As(err, &failed) && failed.Op == "local error" && failed.Err.Error() == badRecordMAC.Error() {
		err = errPlainAlert
	}
	return c, err
}

// badRecordMAC is the error of crypto/tls for a record that it can't decrypt. In a handshake of
// TLS 1.3, such a record is an alert in plaintext: OpenSSL encrypts only after it has accepted the
// certificate. There is no other cause, because TCP does not corrupt records.
const badRecordMAC = tls.AlertError(20)

var errPlainAlert = errors.New("the client rejected the certificate with an alert in plaintext, as OpenSSL does")

// distrustAlerts lists the alerts of clients that reject a certificate: bad, unsupported, revoked,
// expired or unknown certificate, unknown CA, access denied. crypto/tls uses another type for
// alerts that it receives over TCP, with the same text.
var distrustAlerts = [...]tls.AlertError{42, 43, 44, 45, 46, 48, 49}

// verdict says whether a failed handshake shows that the client rejects the certificate.
type verdict int

const (
	nothing  verdict = iota // the proxy ended the handshake
	silence                 // the client disconnected or did not answer, so it may reject the certificate
	alerted                 // the client sent an alert that may have another reason
	distrust                // the client rejects the certificate, or the two sides can't agree on TLS
)

// judge returns the verdict for the error of a handshake with a client.
func judge(err error) verdict {
	var said *net.OpError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return nothing
	case wentAway(err), errors.Is(err, context.DeadlineExceeded):
		return silence
	case errors.As(err, &said) && said.Op == "remote error":
		for _, code := range distrustAlerts {
			if said.Err.Error() == code.Error() {
				return distrust
			}
		}
		return alerted // for example, OpenSSL sends handshake_failure when the application's own check fails
	}
	return distrust
}

// wentAway reports whether a handshake failed because the peer closed the connection.
func wentAway(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// alert sends the client, which has not been answered yet, an alert with the reason why the
// connection fails.
func alert(client *pump.Conn, reason error) {
	code := byte(46) // certificate_unknown
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(reason, &x509.UnknownAuthorityError{}):
		code = 48 // unknown_ca
	case errors.As(reason, &x509.HostnameError{}):
		code = 42 // bad_certificate
	case errors.As(reason, &invalid) && invalid.Reason == x509.Expired:
		code = 45 // certificate_expired
	}
	sendAlert(client, code)
}

// sendAlert sends a fatal alert (RFC 8446 section 6), in plaintext, to a client that has not been
// answered yet.
func sendAlert(client *pump.Conn, code byte) {
	_ = client.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = client.Write([]byte{21, 3, 3, 0, 2, 2, code})
	// The client's bytes have been read, so closing does not reset the connection.
	_ = client.CloseWrite()
}
