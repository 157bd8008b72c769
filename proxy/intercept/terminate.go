package intercept

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/pump"
)

// Peer says how to speak TLS to a server that was configured.
type Peer struct {
	// Name is the SNI, and the name that is verified.
	Name string
	// Roots verify it; nil: the system's.
	Roots *x509.CertPool
	// Insecure: it is not verified.
	Insecure bool
}

// Client does a handshake with a server.
func Client(ctx context.Context, server *pump.Conn, alpn []string, peer *Peer) (*pump.Conn, error) {
	c := tls.Client(server, &tls.Config{
		ServerName: peer.Name, NextProtos: alpn, RootCAs: peer.Roots, InsecureSkipVerify: peer.Insecure,
	})
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return pump.NewConn(c, nil), nil
}

// Terminator ends inbound TLS with the application's own certificate.
type Terminator struct {
	// Certificate is called for every handshake. While it fails, TLS passes
	// untouched.
	Certificate func() (*tls.Certificate, error)
}

// Do ends TLS on a connection on which the client has begun to speak; what is
// not TLS passes untouched. Where the application speaks TLS too, its handshake
// comes first, with the client's ALPN; where it does not, the client gets
// HTTP/1.1 if it offers that, or else what it likes best, which the application
// must then understand without TLS.
func (t *Terminator) Do(ctx context.Context, client, server *pump.Conn, app *Peer) Result {
	r := Result{Outcome: PassedNotTLS, Client: client, Server: server}
	hello, err := PeekHello(client, HandshakeTimeout)
	if err != nil {
		r.Err = err
		return r
	}
	if err := contract.CheckHostName(hello.SNI); err != nil {
		return r.misnamed(err)
	}
	r.Name, r.SNI = hello.SNI, hello.SNI
	cert, err := t.Certificate()
	if err != nil {
		r.Outcome, r.Err = PassedNoCert, err
		return r
	}
	if app == nil {
		r.ALPN = plainALPN(hello.ALPN)
	} else {
		up, err := Client(ctx, server, hello.ALPN, app)
		if err != nil {
			alert(client, err)
			return r.end(Failed, fmt.Errorf("TLS to the application: %w", err))
		}
		r.Server = up
		r.ALPN = up.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{*cert}, SessionTicketsDisabled: true}
	if r.ALPN != "" {
		cfg.NextProtos = []string{r.ALPN}
	}
	down := tls.Server(client, cfg)
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	if err := down.HandshakeContext(ctx); err != nil {
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

// recheck is how often a certificate's files are looked at.
const recheck = 10 * time.Second

// KeyPair returns a function that gives the certificate in two PEM files, and
// reads them again when they have changed. A change that can't be read leaves
// the old one in use: the files are replaced one after the other. Files that
// can't be read at first are the error, and read when they can be.
func KeyPair(cert, key string) (get func() (*tls.Certificate, error), err error) {
	k := &keyPair{cert: cert, key: key}
	return k.get, k.load(time.Now())
}

type keyPair struct {
	cert, key string

	mu      sync.Mutex
	pair    *tls.Certificate // nil until one could be read
	err     error            // why not
	stamp   [2]time.Time
	checked time.Time
}

func (k *keyPair) get() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.checked) > recheck {
		_ = k.load(now)
	}
	if k.pair == nil {
		return nil, k.err
	}
	return k.pair, nil
}

func (k *keyPair) load(now time.Time) (err error) {
	defer func() { k.checked, k.err = now, err }()
	var stamp [2]time.Time
	for i, file := range []string{k.cert, k.key} {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		stamp[i] = info.ModTime()
	}
	if k.pair != nil && stamp == k.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return fmt.Errorf("load certificate %s and key %s: %w", k.cert, k.key, err)
	}
	k.pair, k.stamp = &pair, stamp
	return nil
}
