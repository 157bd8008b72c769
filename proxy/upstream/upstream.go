// Package upstream makes the outgoing connections of both proxies. The forward proxy
// connects to the host that the application named, or goes through the proxy that the
// application would use without Tapedeck. The reverse proxy connects to the application from
// 127.0.0.6, as Envoy does.
//
//	app ──▶ forward proxy ──▶ dependency
//	               └──▶ corporate proxy (HTTP, HTTPS, SOCKS5) ──▶ dependency
//	caller ──▶ reverse proxy ──(from 127.0.0.6 or ::6)──▶ app
//
// It never connects to the sidecar's own ports, to an address of a captured host, or, by a
// name that is not the pod's own, to loopback. If connections are chained to a proxy, that
// proxy resolves names, and loopback is its own. Only names that the hosts file or a cloud
// gives to a metadata server are resolved first, because the proxy must not be asked for
// those.
//
// The package imports contract, proxy/address, proxy/pump, x/net's httpproxy and proxy
// packages, x/sys/unix and the standard library.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/pump"
)

// KeepAlive returns the TCP keepalive of all connections: after 75 s of silence, 9 probes
// 15 s apart.
func KeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 75 * time.Second, Interval: 15 * time.Second, Count: 9}
}

// DialTimeout bounds one attempt to connect, including the name lookup.
const DialTimeout = 30 * time.Second

// ErrSelf is wrapped by the error of a dial that would have reached the proxy itself, in an
// endless loop.
var ErrSelf = errors.New("that is the proxy itself")

// ErrCaptured is wrapped by the error of a dial to the address of a captured host in the hosts
// file.
var ErrCaptured = fmt.Errorf("%w, at the address of a captured host in the hosts file: the sidecar must find the host's real address, in DNS or the pod's own /etc/hosts, and must not mount the hosts file that it writes for the application", ErrSelf)

// TimedOut reports whether a dial failed because it took too long.
func TimedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// Proxies has the values of the environment variables for proxies; "" means no proxy. HTTP,
// HTTPS and All have the form that [contract.ParseProxy] reads, and NoProxy the usual
// comma-separated one.
type Proxies struct {
	HTTP, HTTPS, All, NoProxy string
	// Only makes the proxies the only way out, for every scheme and without NoProxy. Only
	// the pod's own loopback is reached directly. Dials to a metadata server fail, because
	// the server of the proxy's host would answer, with that host's credentials.
	Only bool
}

// The errors of a dial if proxies are the only way out.
var (
	ErrMetadata = errors.New("that is a cloud's metadata server, and all connections must go through a proxy")
	ErrNoProxy  = errors.New("no proxy is configured for this, and all connections must go through one")
)

// Scheme is how the client asked for the connection. It decides which proxy is used.
type Scheme string

// The schemes.
const (
	HTTP   Scheme = "http"   // a request in absolute-form
	Tunnel Scheme = "tunnel" // a tunnel by CONNECT
	Socks  Scheme = "socks"  // a tunnel by SOCKS
	// Straight is a connection of a client that asked for no proxy. It uses a proxy only if
	// that is the only way out.
	Straight Scheme = "straight"
)

// Dialer makes connections. It is safe for concurrent use.
type Dialer struct {
	// Roots returns the roots that verify a proxy with TLS; nil: the system's.
	Roots func() *x509.CertPool

	// Unbound, if not nil, is called the first time that Local can't bind a source address.
	Unbound func(addr netip.Addr, err error)

	// Buffers, if not nil, returns the maximum size of each buffer of a connection's socket;
	// 0: the kernel decides.
	Buffers func() int

	// Captured, if not nil, reports whether an address is that of a captured host in the
	// hosts file. Dials to such an address fail.
	Captured func(netip.Addr) bool

	// Descriptors, if not 0, is the first file descriptor that is reserved for other uses. A
	// dial that would get this one or a higher one fails, as if there were no more.
	Descriptors int

	dialer net.Dialer
	named  net.Dialer // rejects loopback
	local  net.Dialer // binds a source address
	names  names
	files  resolver // only reads the hosts file
	all    resolver // reads the hosts file and asks DNS
	only   bool     // see Proxies.Only
	own    map[int]bool
	rules  map[Scheme]func(*url.URL) (*url.URL, error)
}

// Unusable describes a variable whose proxy can't be used. Connections are made without it.
type Unusable struct {
	Variable string
	// Err does not repeat the value, which may hold a password.
	Err error
}

// New returns a dialer that uses the proxies p and rejects the ports own on every address of
// this host. It ignores the proxies of p that can't be used, and returns them.
func New(p Proxies, own ...int) (*Dialer, []Unusable) {
	if p.Only {
		p.NoProxy = ""
	}
	d := &Dialer{only: p.Only, own: map[int]bool{}, names: ownNames(), files: hostsOnly(), all: net.DefaultResolver, rules: map[Scheme]func(*url.URL) (*url.URL, error){}}
	for _, port := range own {
		d.own[port] = true
	}
	d.dialer = net.Dialer{Timeout: DialTimeout, KeepAliveConfig: KeepAlive(), ControlContext: d.guard}
	from := source{own: ownAddrs(), failed: func(addr netip.Addr, err error) {
		if d.Unbound != nil {
			d.Unbound(addr, err)
		}
	}}
	d.named = d.dialer
	d.named.ControlContext = d.guardName
	d.local = d.dialer
	d.local.ControlContext = func(ctx context.Context, network, address string, raw syscall.RawConn) error {
		if err := d.guard(ctx, network, address, raw); err != nil {
			return err
		}
		return from.bind(ctx, network, address, raw)
	}
	unusable := d.pick(&p)
	for scheme, proxy := range map[Scheme]string{
		HTTP:   first(p.HTTP, p.All),
		Tunnel: first(p.HTTPS, p.All),
		Socks:  p.All,
	} {
		cfg := httpproxy.Config{HTTPProxy: proxy, HTTPSProxy: proxy, NoProxy: strings.Join(contract.SplitHosts(p.NoProxy), ",")}
		d.rules[scheme] = cfg.ProxyFunc()
	}
	return d, unusable
}

// pick empties the variables of p whose proxies can't be used, and returns them.
func (d *Dialer) pick(p *Proxies) (unusable []Unusable) {
	for _, v := range []struct {
		name  string
		value *string
	}{
		{contract.EnvUpstreamHTTPProxy, &p.HTTP},
		{contract.EnvUpstreamHTTPSProxy, &p.HTTPS},
		{contract.EnvUpstreamAllProxy, &p.All},
	} {
		if *v.value == "" {
			continue
		}
		u, err := contract.ParseProxy(*v.value)
		if err == nil && d.isSelf(u) {
			err = ErrSelf
		}
		if err != nil {
			*v.value = ""
			unusable = append(unusable, Unusable{v.name, err})
			continue
		}
		*v.value = u.String()
	}
	return unusable
}

// isSelf reports whether a proxy's URL is plainly the sidecar's own address. It looks up no
// names.
func (d *Dialer) isSelf(u *url.URL) bool {
	if !d.own[portOf(u)] {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && isOwn(addr)
}

// portOf returns the port of a proxy.
func portOf(u *url.URL) int {
	if n, err := strconv.Atoi(u.Port()); err == nil {
		return n
	}
	return contract.ProxyPorts()[u.Scheme]
}

// label returns the name of a proxy for an error. It leaves out the user, which may be a
// secret.
func label(u *url.URL) string { return "proxy " + u.Scheme + "://" + u.Host }

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Direct connects to host and port without a proxy. If a name that is not the pod's own
// resolves to loopback, the error wraps ErrLoopback.
func (d *Dialer) Direct(ctx context.Context, host string, port int) (*pump.Conn, error) {
	dialer := &d.named
	if d.mayBeLoopback(host) {
		dialer = &d.dialer
	}
	return connectTo(ctx, dialer, spelled(host), port)
}

// Local connects to the application. If that is on this host, the connection comes from the
// address that Envoy would use, 127.0.0.6 or ::6, and not from 127.0.0.1 or ::1, which
// applications trust.
func (d *Dialer) Local(ctx context.Context, host string, port int) (*pump.Conn, error) {
	return connectTo(ctx, &d.local, host, port)
}

func connectTo(ctx context.Context, d *net.Dialer, host string, port int) (*pump.Conn, error) {
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return pump.NewConn(c, nil), nil
}

// Proxy returns the proxy for connections to host and port; nil for none. It returns none for
// a metadata server, because the server of the proxy's host would answer, with that host's
// credentials.
func (d *Dialer) Proxy(ctx context.Context, scheme Scheme, host string, port int) (*url.URL, error) {
	if d.only {
		return d.onlyProxy(scheme, host, port)
	}
	if scheme == Straight {
		return nil, nil
	}
	u, err := d.rule(scheme, spelled(host), port)
	if u == nil || err != nil || d.isMetadata(ctx, host) {
		return nil, err
	}
	return u, nil
}

// onlyProxy returns the proxy if proxies are the only way out; nil for loopback.
func (d *Dialer) onlyProxy(scheme Scheme, host string, port int) (*url.URL, error) {
	if address.IsMetadata(host) {
		return nil, ErrMetadata
	}
	if scheme == Straight {
		scheme = Socks
	}
	host = spelled(host)
	u, err := d.rule(scheme, host, port)
	if ip := net.ParseIP(host); u == nil && err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		err = ErrNoProxy
	}
	return u, err
}

// rule returns the proxy that the variables name for host and port.
func (d *Dialer) rule(scheme Scheme, host string, port int) (*url.URL, error) {
	if scheme == Socks && port == 443 {
		if u, err := d.rule(Tunnel, host, port); u != nil || err != nil {
			return u, err
		}
	}
	target := &url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port))}
	if scheme == Tunnel {
		target.Scheme = "https"
	}
	return d.rules[scheme](target)
}

// Dial connects to host and port, through a proxy if there is one. The connection carries
// bytes to the host unchanged.
func (d *Dialer) Dial(ctx context.Context, scheme Scheme, host string, port int) (*pump.Conn, error) {
	proxy, err := d.Proxy(ctx, scheme, host, port)
	if err != nil {
		return nil, fmt.Errorf("choose a proxy for %s: %w", host, err)
	}
	if proxy == nil {
		return d.Direct(ctx, host, port)
	}
	return d.through(ctx, proxy, host, port)
}

// DialProxy connects to a proxy returned by Proxy, with TLS if its URL says so.
func (d *Dialer) DialProxy(ctx context.Context, proxy *url.URL) (*pump.Conn, error) {
	c, err := connectTo(ctx, &d.dialer, proxy.Hostname(), portOf(proxy)) // it was configured, so it may be on loopback
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label(proxy), err)
	}
	if proxy.Scheme != "https" {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	cfg := &tls.Config{ServerName: proxy.Hostname()}
	if d.Roots != nil {
		cfg.RootCAs = d.Roots()
	}
	t := tls.Client(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: %w", label(proxy), err)
	}
	return pump.NewConn(t, nil), nil
}

// guard rejects addresses at which the sidecar listens, and reserved descriptors, and bounds
// the buffers of the socket. It is called for every address after the name lookup and before
// the connection is made.
func (d *Dialer) guard(_ context.Context, _, address string, raw syscall.RawConn) error {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		switch {
		case d.Captured != nil && d.Captured(ap.Addr()):
			return fmt.Errorf("%s: %w", address, ErrCaptured)
		case d.own[int(ap.Port())] && isOwn(ap.Addr()):
			return fmt.Errorf("%s: %w", address, ErrSelf)
		}
	}
	if d.Descriptors > 0 && raw != nil {
		over := false
		if err := raw.Control(func(fd uintptr) { over = int(fd) >= d.Descriptors }); err != nil {
			return err
		}
		if over {
			return fmt.Errorf("%s: %w", address, syscall.EMFILE)
		}
	}
	if d.Buffers != nil {
		pump.SetBuffers(raw, d.Buffers())
	}
	return nil
}

// isOwn reports whether an address belongs to this host.
func isOwn(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	own := ownAddrs()
	return own == nil || own[a] // if unknown, a rejected dial is better than a loop
}

// ownAddrs returns this host's current addresses; nil if they are unknown.
func ownAddrs() map[netip.Addr]bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	own := map[netip.Addr]bool{}
	for _, each := range addrs {
		if n, ok := each.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				own[addr.Unmap()] = true
			}
		}
	}
	return own
}
