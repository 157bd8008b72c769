package intercept

import (
	"context"
	"crypto/tls"
	"strings"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// Open does the handshake with a server for a client that leaves TLS to the proxy,
// as one does that asks for https in a request line. The server must prove that it
// is name, as it must when TLS is intercepted, and is shown the same client
// certificate if it asks. alpn is what will be spoken.
func Open(ctx context.Context, cfg *Config, server *pump.Conn, name, alpn string) (*pump.Conn, error) {
	t := &tls.Config{
		ServerName:    strings.TrimSuffix(name, "."),
		NextProtos:    []string{alpn},
		MinVersion:    tls.VersionTLS12,
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
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return pump.NewConn(c, nil), nil
}
