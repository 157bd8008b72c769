package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// key is the type of the keys in the contexts of requests.
type key int

const connKey key = 0

// serveHTTP serves the connections that speak HTTP: each request goes where the
// control plane says, in the version of HTTP that the cluster speaks.
func (e *envoy) serveHTTP() feed {
	srv := &http.Server{
		Handler: http.HandlerFunc(e.proxy), Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey, c) },
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	conns := make(feed)
	go func() { _ = srv.Serve(conns) }()
	return conns
}

// proxy forwards one request.
func (e *envoy) proxy(w http.ResponseWriter, r *http.Request) {
	k := r.Context().Value(connKey).(*conn)
	c := call{TLS: k.tls, Protocol: "http2", Host: r.Host, Path: r.URL.Path}
	if r.ProtoMajor == 1 {
		c.Protocol = "http"
		// Envoy is full duplex, too. Otherwise Go's server ends the request's body when
		// the answer begins, and the upstream connection with it.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	l, err := e.land(k, c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	proxy := httputil.ReverseProxy{
		Transport: e.transport(l, r.ProtoMajor), FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: l.address()})
			p.Out.Host = p.In.Host
			p.Out.Header.Del("X-Forwarded-Client-Cert") // SANITIZE_SET
			if k.inbound && k.peer != "" {
				p.Out.Header.Set("X-Forwarded-Client-Cert", fmt.Sprintf("By=%s;Hash=00;URI=%s", e.certificate.Leaf.URIs[0], k.peer))
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "upstream connect error: "+err.Error(), http.StatusServiceUnavailable)
		},
	}
	proxy.ServeHTTP(w, r)
}

// upstream is a cluster's endpoint, and the version of HTTP that Envoy speaks to it.
type upstream struct {
	landing
	major int
}

// transport returns the transport for an upstream, which keeps its connections.
func (e *envoy) transport(l landing, major int) http.RoundTripper {
	switch l.HTTP {
	case "HTTP/1.1":
		major = 1
	case "HTTP/2":
		major = 2
	}
	u := upstream{l, major}
	if known, ok := e.transports.Load(u); ok {
		return known.(*http.Transport)
	}
	t := &http.Transport{
		Protocols: new(http.Protocols), MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := e.connect(ctx, l, map[int]string{1: "istio-http/1.1", 2: "istio-h2"}[major])
			// This type hides TLS from the transport.
			return struct{ net.Conn }{c}, err
		},
	}
	t.Protocols.SetHTTP1(major == 1)
	t.Protocols.SetUnencryptedHTTP2(major == 2)
	known, _ := e.transports.LoadOrStore(u, t)
	return known.(*http.Transport)
}

// feed is a listener that is handed its connections.
type feed chan net.Conn

func (f feed) Accept() (net.Conn, error) { return <-f, nil }
func (f feed) Close() error              { return nil }
func (f feed) Addr() net.Addr            { return &net.TCPAddr{} }
