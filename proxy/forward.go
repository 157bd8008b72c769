package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/plainhttp"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/socks"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

const (
	// firstByteTime is how long a client may be silent after it has connected, because
	// some clients connect in advance.
	firstByteTime = 5 * time.Minute
	// handshakeTime is the time for a SOCKS handshake from its first byte.
	handshakeTime = 10 * time.Second
)

// serveOut serves a connection of the forward proxy. The first byte shows the client's
// protocol.
func (p *Proxy) serveOut(ctx context.Context, k *conn) (move bool, err error) {
	if err := ownPodAlone(k); err != nil {
		return false, err
	}
	_ = k.client.SetReadDeadline(time.Now().Add(firstByteTime))
	k.idleBy(k.meter.Silent)
	head, err := k.client.First(maxGuess)
	if err != nil {
		return false, silence(err)
	}
	k.client.Resume()
	k.idleBy(nil)
	switch head[0] {
	case socks.Version4, socks.Version5:
		return p.serveSOCKS(ctx, k)
	}
	h := plainhttp.Handler{
		Dial: func(ctx context.Context, to plainhttp.Target) (*pump.Conn, *url.URL, error) {
			to.Host = p.hosts.meant(to.Host)
			k.target(tap.ViaHTTP, to.Host, to.Port)
			k.keepPrivate(to.Private)
			if to.TLS {
				server, err := p.dialHTTPS(ctx, k, to.Host, to.Port)
				return server, nil, err
			}
			return p.dialHTTP(ctx, k, to.Host, to.Port)
		},
		Tap:   func() *tap.Stream { return p.open(k) },
		Meter: &k.meter,
		Pool:  p.tap.Pool(),
	}
	k.idleBy(h.Idle)
	tunnel, err := h.Serve(ctx, k.client)
	k.idleBy(nil)
	if err != nil || tunnel == nil {
		return false, err
	}
	host := p.hosts.meant(tunnel.Host)
	k.target(tap.ViaConnect, host, tunnel.Port)
	return p.tunnel(ctx, k, upstream.Tunnel, host, tunnel.Port, func(server *pump.Conn, err error) error {
		if err != nil {
			return plainhttp.Refuse(k.client, plainhttp.DialStatus(err), err)
		}
		return plainhttp.Established(k.client)
	})
}

// ownPodAlone rejects clients that are not on loopback.
func ownPodAlone(k *conn) error {
	if k.from.Addr().IsLoopback() {
		return nil
	}
	k.client.Abort()
	return fmt.Errorf("reject %s: the forward proxy accepts connections only from loopback", k.from.Addr())
}

// silence returns nil for a client that has sent nothing.
func silence(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	if isEOF(err) {
		return nil
	}
	return fmt.Errorf("read from the client: %w", err)
}

// dialHTTP connects to the destination of a request in absolute-form: the host, or a
// proxy that accepts such requests.
func (p *Proxy) dialHTTP(ctx context.Context, k *conn, host string, port int) (*pump.Conn, *url.URL, error) {
	if err := p.gate.pass(ctx, k); err != nil {
		return nil, nil, err
	}
	via, err := p.dial.Proxy(ctx, upstream.HTTP, host, port)
	if err != nil {
		return nil, nil, err
	}
	var server *pump.Conn
	if via != nil && (via.Scheme == "http" || via.Scheme == "https") {
		server, err = p.dial.DialProxy(ctx, via)
	} else {
		server, err = p.dial.Dial(ctx, upstream.HTTP, host, port)
		via = nil
	}
	if err != nil {
		return nil, nil, err
	}
	k.connected(server)
	return server, via, nil
}

// http1 is the ALPN name of the protocol of requests in absolute-form.
const http1 = "http/1.1"

// dialHTTPS connects to the destination of a request for https in absolute-form, which
// clients without CONNECT send, and begins TLS itself. It asks a chained proxy for a
// tunnel, so that the proxy can't read the request.
func (p *Proxy) dialHTTPS(ctx context.Context, k *conn, host string, port int) (*pump.Conn, error) {
	k.opens(host, http1)
	if err := p.gate.pass(ctx, k); err != nil {
		return nil, err
	}
	server, err := p.dial.Dial(ctx, upstream.Tunnel, host, port)
	if err != nil {
		return nil, err
	}
	k.connected(server)
	secured, err := intercept.Open(ctx, &p.upstream, server, host, http1)
	if err != nil {
		_ = server.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	k.secured(secured)
	return secured, nil
}

// serveSOCKS serves a client that speaks SOCKS.
func (p *Proxy) serveSOCKS(ctx context.Context, k *conn) (move bool, err error) {
	q, err := acceptSOCKS(k.client)
	if err != nil {
		return false, err
	}
	via := tap.ViaSOCKS5
	if q.Version == socks.Version4 {
		via = tap.ViaSOCKS4
	}
	host := p.hosts.meant(q.Host)
	k.target(via, host, q.Port)
	return p.tunnel(ctx, k, upstream.Socks, host, q.Port, func(server *pump.Conn, err error) error {
		if err != nil {
			_ = q.Reply(k.client, dialReply(err), netip.AddrPort{})
			return err
		}
		return q.Reply(k.client, socks.Granted, addrPort(server.LocalAddr()))
	})
}

// acceptSOCKS reads a SOCKS request, and leaves later bytes unread.
func acceptSOCKS(client *pump.Conn) (socks.Request, error) {
	_ = client.SetDeadline(time.Now().Add(handshakeTime))
	defer func() { _ = client.SetDeadline(time.Time{}) }()
	r := bufio.NewReaderSize(client, 512)
	q, err := socks.Accept(r, client)
	if err != nil {
		return q, err
	}
	rest, _ := r.Peek(r.Buffered())
	client.Unread(rest)
	return q, nil
}

// tunnel connects to the client's destination, answers the client with reply, and
// intercepts TLS if that is on. reply returns the error that it was given.
func (p *Proxy) tunnel(ctx context.Context, k *conn, scheme upstream.Scheme, host string, port int, reply func(server *pump.Conn, err error) error) (move bool, err error) {
	var server *pump.Conn
	if err = p.gate.pass(ctx, k); err == nil {
		server, err = p.dial.Dial(ctx, scheme, host, port)
	}
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", hostPort(host, port), reply(nil, err))
	}
	k.connected(server)
	if err := reply(server, nil); err != nil {
		return false, fmt.Errorf("reply to the client: %w", err)
	}
	if p.out == nil || k.isPrivate() || !k.clientFirst() {
		return true, nil
	}
	return p.intercept(ctx, k, host, port, func(ctx context.Context) (*pump.Conn, error) {
		return p.dial.Dial(ctx, scheme, host, port)
	})
}
