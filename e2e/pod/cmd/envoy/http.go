package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// key is of what requests carry in their contexts.
type key int

const connKey key = 0

// serveHTTP returns what serves connections that speak HTTP: each request goes
// where find says, in the HTTP in which it came.
func (e *envoy) serveHTTP(direction string, find func(k *conn, host string) (to string, mtls, ok bool)) func(*conn) {
	transports := map[bool]map[int]*http.Transport{false: {}, true: {}}
	for mtls, byMajor := range transports {
		for _, major := range []int{1, 2} {
			t := &http.Transport{
				Protocols: new(http.Protocols), MaxIdleConnsPerHost: 64,
				DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
					if mtls {
						c, err := e.dialMesh(ctx, to)
						// A type of its own hides TLS from the transport.
						return struct{ net.Conn }{c}, err
					}
					return e.dial(to)
				},
			}
			t.Protocols.SetHTTP1(major == 1)
			t.Protocols.SetUnencryptedHTTP2(major == 2)
			byMajor[major] = t
		}
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k := r.Context().Value(connKey).(*conn)
		if r.ProtoMajor == 1 {
			// As Envoy does: Go's server otherwise ends the request's body when
			// the answer begins, and the upstream connection with it.
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
		to, mtls, ok := find(k, r.Host)
		d := decision{Direction: direction, Destination: k.destination.String(), Name: r.Host, To: to, TLS: k.tls(), Peer: k.peer}
		if !ok {
			d.To = blackHole
			e.say(d)
			http.Error(w, "the registry has no "+r.Host, http.StatusBadGateway)
			return
		}
		if mtls {
			d.TLS = "mtls"
		}
		e.say(d)
		proxy := httputil.ReverseProxy{
			Transport: transports[mtls][r.ProtoMajor], FlushInterval: -1,
			Rewrite: func(p *httputil.ProxyRequest) {
				p.SetURL(&url.URL{Scheme: "http", Host: to})
				p.Out.Host = p.In.Host
				p.Out.Header.Del("X-Forwarded-Client-Cert") // SANITIZE_SET
				if direction == "inbound" && k.peer != "" {
					p.Out.Header.Set("X-Forwarded-Client-Cert", fmt.Sprintf("By=%s;Hash=00;URI=%s", e.identity(), k.peer))
				}
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				http.Error(w, "upstream connect error: "+err.Error(), http.StatusServiceUnavailable)
			},
		}
		proxy.ServeHTTP(w, r)
	})
	conns := &feed{conns: make(chan net.Conn)}
	srv := &http.Server{
		Handler: handler, Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey, c) },
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = srv.Serve(conns) }()
	return func(k *conn) { conns.conns <- k }
}

// identity is this pod's.
func (e *envoy) identity() string {
	for _, uri := range e.certificate.Leaf.URIs {
		return uri.String()
	}
	return ""
}

// feed is a listener that is handed its connections.
type feed struct{ conns chan net.Conn }

func (f *feed) Accept() (net.Conn, error) { return <-f.conns, nil }
func (f *feed) Close() error              { return nil }
func (f *feed) Addr() net.Addr            { return &net.TCPAddr{} }
