// Package passthrough forwards the mock's requests to listed hosts. No other part of the mock
// connects to other hosts.
//
//	request without a recorded answer ─▶ is the host listed? ─▶ host
//
// Every dial is checked against the list and counted. A dial to an unlisted host is refused.
//
// It imports contract, proxy/pump and the standard library.
package passthrough

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/pump"
)

// ErrNotListed is returned for a host that is not on the list.
var ErrNotListed = errors.New("the host is not listed for passthrough")

// dialTime bounds a dial.
const dialTime = 10 * time.Second

// Passthrough connects to listed hosts. It is safe for concurrent use. A nil Passthrough lists no
// host.
type Passthrough struct {
	hosts   []host
	http    http.RoundTripper
	h2c     http.RoundTripper
	tls     *tls.Config
	dials   atomic.Int64
	escaped atomic.Int64
	log     *slog.Logger
}

type host struct {
	name   string // in lower case
	suffix bool   // matches all hosts below name
	port   string // "" matches any port
}

// New returns a passthrough for hosts, each of which is HOST, HOST:PORT, or *.HOST for all
// hosts below HOST. cfg says how to verify servers. If nil, the system's roots are used.
func New(hosts []string, cfg *tls.Config, log *slog.Logger) (*Passthrough, error) {
	p := &Passthrough{tls: cfg, log: log}
	if cfg == nil {
		p.tls = &tls.Config{}
	}
	for _, text := range hosts {
		h := host{name: strings.ToLower(strings.TrimSuffix(text, "."))}
		if name, port, err := net.SplitHostPort(h.name); err == nil {
			h.name, h.port = name, port
		}
		h.name, h.suffix = strings.CutPrefix(h.name, "*.")
		_, wrong := strconv.ParseUint(h.port, 10, 16)
		if h.name == "" || contract.CheckHostName(h.name) != nil || h.port != "" && wrong != nil {
			return nil, fmt.Errorf("passthrough host %q: want HOST, HOST:PORT or *.HOST", text)
		}
		p.hosts = append(p.hosts, h)
	}
	plain := &http.Transport{DialContext: p.Dial, TLSClientConfig: p.tls.Clone(), ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}
	prior := plain.Clone()
	prior.Protocols = new(http.Protocols)
	prior.Protocols.SetUnencryptedHTTP2(true)
	p.http, p.h2c = plain, prior
	return p, nil
}

// Lists reports whether the host of an address is listed.
func (p *Passthrough) Lists(address string) bool {
	if p == nil {
		return false
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		name = address
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, h := range p.hosts {
		if (h.port == "" || h.port == port) && (!h.suffix && name == h.name || h.suffix && strings.HasSuffix(name, "."+h.name)) {
			return true
		}
	}
	return false
}

// Dials returns the number of connections that were made.
func (p *Passthrough) Dials() int64 {
	if p == nil {
		return 0
	}
	return p.dials.Load()
}

// Escaped returns the number of dials that were refused because the host is not listed.
// There should be none.
func (p *Passthrough) Escaped() int64 {
	if p == nil {
		return 0
	}
	return p.escaped.Load()
}

// Dial connects to an address whose host is listed.
func (p *Passthrough) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !p.Lists(address) {
		p.escaped.Add(1)
		return nil, fmt.Errorf("connect to %s: %w", address, ErrNotListed)
	}
	p.dials.Add(1)
	return (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, address)
}

// Close closes idle connections.
func (p *Passthrough) Close() {
	if p == nil {
		return
	}
	for _, t := range []http.RoundTripper{p.http, p.h2c} {
		t.(*http.Transport).CloseIdleConnections()
	}
}

// ServeHTTP forwards a request to its host unchanged: with its headers, body, upgrade and
// trailers. scheme is http or https, and address is the host's. If seen is not nil, it is
// called with the answer before the client gets it.
func (p *Passthrough) ServeHTTP(w http.ResponseWriter, r *http.Request, scheme, address string, seen func(*http.Response)) {
	proxy := httputil.ReverseProxy{
		Transport:     p.http,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
		Rewrite: func(q *httputil.ProxyRequest) {
			q.Out.URL.Scheme, q.Out.URL.Host, q.Out.Host = scheme, address, q.In.Host
		},
		ModifyResponse: func(res *http.Response) error {
			if seen != nil {
				seen(res)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			p.log.Warn("passthrough failed", "host", address, "error", err)
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "tapedeck: PASSTHROUGH: "+err.Error(), http.StatusBadGateway)
		},
	}
	if r.ProtoMajor == 2 && scheme == "http" {
		proxy.Transport = p.h2c
	}
	proxy.ServeHTTP(w, r)
}

// Stream forwards a stream to its host until both sides have ended. If secure is set, it uses
// TLS to the host and offers alpn.
func (p *Passthrough) Stream(ctx context.Context, client *pump.Conn, address string, secure bool, sni string, alpn []string) error {
	server, err := p.Dial(ctx, "tcp", address)
	if err != nil {
		client.Abort()
		return err
	}
	if secure {
		cfg := p.tls.Clone()
		cfg.ServerName, cfg.NextProtos = sni, alpn
		if cfg.ServerName == "" {
			cfg.ServerName, _, _ = net.SplitHostPort(address)
		}
		secured := tls.Client(server, cfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = server.Close()
			client.Abort()
			return fmt.Errorf("TLS with %s: %w", address, err)
		}
		server = secured
	}
	up := pump.NewConn(server, nil)
	stop := context.AfterFunc(ctx, func() { client.Abort(); up.Abort() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		relay(up, client)
	}()
	relay(client, up)
	<-done
	_ = up.Close()
	_ = client.Close()
	return nil
}

// relay copies until the source ends, and then half-closes the other side.
func relay(to, from *pump.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Abort()
		return
	}
	_ = to.CloseWrite()
}
