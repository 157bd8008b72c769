package intercept

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// Open does the handshake with a server for a client that leaves TLS to the proxy, because it
// asks for https in a request line. As in interception, it verifies the server for name, and
// shows a client certificate if the server asks for one. alpn is the protocol that the client
// will use.
func Open(ctx context.Context, cfg *Config, server *pump.Conn, name, alpn string) (*pump.Conn, error) {
	t := &tls.Config{
		ServerName:    strings.TrimSuffix(name, "."),
		NextProtos:    []string{alpn},
		MinVersion:    minVersion,
		Renegotiation: tls.RenegotiateFreelyAsClient,
	}
	if cfg.Roots != nil {
		t.RootCAs = cfg.Roots()
	}
	if cfg.Certificate != nil {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert, err := cfg.Certificate(); err == nil {
				return cert, nil
			}
			return &tls.Certificate{}, nil
		}
	}
	c := tls.Client(server, t)
	if err := handshake(ctx, c); err != nil {
		return nil, err
	}
	return pump.NewConn(c, nil), nil
}

// Peer says how to speak TLS to a configured server.
type Peer struct {
	// Name is the name that is verified, and the SNI if no client sends one.
	Name string
	// Roots verify the server; nil: the system's.
	Roots *x509.CertPool
	// Insecure disables verification.
	Insecure bool
	// Unsure says that the server may not speak TLS.
	Unsure bool
}

// Client does a handshake with a server.
func Client(ctx context.Context, server *pump.Conn, alpn []string, peer *Peer) (*pump.Conn, error) {
	c := tls.Client(server, &tls.Config{
		ServerName: peer.Name, NextProtos: alpn, RootCAs: peer.Roots, InsecureSkipVerify: peer.Insecure,
	})
	if err := handshake(ctx, c); err != nil {
		return nil, err
	}
	return pump.NewConn(c, nil), nil
}

// answering returns the configuration for a client: this certificate, and this ALPN unless it
// is "".
func answering(cert *tls.Certificate, alpn string) *tls.Config {
	cfg := &tls.Config{
		Certificates:           []tls.Certificate{*cert},
		MinVersion:             minVersion,
		SessionTicketsDisabled: true, // a ticket would be valid for one connection only
	}
	if alpn != "" {
		cfg.NextProtos = []string{alpn}
	}
	return cfg
}

// handshake does a handshake within HandshakeTimeout.
func handshake(ctx context.Context, c *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	return c.HandshakeContext(ctx)
}
