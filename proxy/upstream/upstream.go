// Package upstream makes the connections of the forward half: straight to the
// host that the application named, or through the proxy that the application
// would have used had Tapedeck not stood in between.
//
//	app ──▶ forward half ──▶ dependency
//	               └──▶ corporate proxy (HTTP, HTTPS, SOCKS5) ──▶ dependency
//
// It promises never to connect to the proxy that it works for. It imports
// proxy/pump, x/net's httpproxy and proxy packages, and the standard library.
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
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// KeepAlive is how connections that say nothing are found dead: after 75 s of
// silence, 9 probes 15 s apart.
func KeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 75 * time.Second, Interval: 15 * time.Second, Count: 9}
}

// DialTimeout bounds one attempt to connect, name look-up included.
const DialTimeout = 30 * time.Second

// ErrSelf is wrapped by the error of a dial that would have reached the proxy
// itself and gone round for ever.
var ErrSelf = errors.New("that is the proxy itself")

// Proxies names the proxies to chain to, as the environment variables do; ""
// means none. NoProxy has the usual comma-separated form.
type Proxies struct {
	HTTP, HTTPS, All, NoProxy string
}

// Check says which of the proxies is not a URL that can be used.
func (p Proxies) Check() error {
	for _, v := range []struct{ name, value string }{{"HTTP_PROXY", p.HTTP}, {"HTTPS_PROXY", p.HTTPS}, {"ALL_PROXY", p.All}} {
		if v.value == "" {
			continue
		}
		u, err := url.Parse(v.value)
		if err == nil && u.Host != "" {
			if _, known := defaultPort[u.Scheme]; known {
				continue
			}
		}
		if host, port, err := net.SplitHostPort(v.value); err == nil && host != "" {
			if _, err := strconv.ParseUint(port, 10, 16); err == nil {
				continue // the customary short form, host:port
			}
		}
		return fmt.Errorf("%s: not the URL of a proxy, want http://, https://, socks5:// or socks5h:// and a host", v.name)
	}
	return nil
}

var defaultPort = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// Scheme says what will be spoken with the host, which decides on the proxy.
type Scheme string

// The schemes.
const (
	HTTP   Scheme = "http"   // a request in absolute-form
	Tunnel Scheme = "tunnel" // what CONNECT asked for: bytes
	Socks  Scheme = "socks"  // what SOCKS asked for: bytes
)

// Dialer makes connections. It is safe for concurrent use.
type Dialer struct {
	// Roots verify a proxy that is spoken to in TLS; nil: the system's.
	Roots *x509.CertPool

	dialer net.Dialer
	own    map[int]bool
	rules  map[Scheme]func(*url.URL) (*url.URL, error)
}

// New returns a dialer that chains to p and refuses to connect to the given
// ports on any address of this host.
func New(p Proxies, own ...int) *Dialer {
	d := &Dialer{own: map[int]bool{}, rules: map[Scheme]func(*url.URL) (*url.URL, error){}}
	for _, port := range own {
		d.own[port] = true
	}
	d.dialer = net.Dialer{Timeout: DialTimeout, KeepAliveConfig: KeepAlive(), ControlContext: d.guard}
	for scheme, proxy := range map[Scheme]string{
		HTTP:   first(p.HTTP, p.All),
		Tunnel: first(p.HTTPS, p.All),
		Socks:  p.All,
	} {
		cfg := httpproxy.Config{HTTPProxy: proxy, HTTPSProxy: proxy, NoProxy: p.NoProxy}
		d.rules[scheme] = cfg.ProxyFunc()
	}
	return d
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Direct connects to host and port, whatever proxies there are.
func (d *Dialer) Direct(ctx context.Context, host string, port int) (*pump.Conn, error) {
	c, err := d.dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return pump.NewConn(c, nil), nil
}

// Proxy returns the proxy that connections to host and port are chained to,
// nil for none.
func (d *Dialer) Proxy(scheme Scheme, host string, port int) (*url.URL, error) {
	if scheme == Socks && port == 443 {
		if u, err := d.Proxy(Tunnel, host, port); u != nil || err != nil {
			return u, err
		}
	}
	target := &url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port))}
	if scheme == Tunnel {
		target.Scheme = "https"
	}
	return d.rules[scheme](target)
}

// Dial connects to host and port, through the proxy if there is one. What is
// written to the connection reaches the host unchanged.
func (d *Dialer) Dial(ctx context.Context, scheme Scheme, host string, port int) (*pump.Conn, error) {
	proxy, err := d.Proxy(scheme, host, port)
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
	port := proxy.Port()
	if port == "" {
		port = defaultPort[proxy.Scheme]
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: port %q is not a number", proxy.Redacted(), port)
	}
	c, err := d.Direct(ctx, proxy.Hostname(), number)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
	}
	if proxy.Scheme != "https" {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	t := tls.Client(c.Conn, &tls.Config{ServerName: proxy.Hostname(), RootCAs: d.Roots})
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
	}
	return pump.NewConn(t, nil), nil
}

// guard refuses addresses at which the proxy itself listens. It sees every
// address before the connection is made, after names have been looked up.
func (d *Dialer) guard(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !d.own[int(ap.Port())] || !isOwn(ap.Addr()) {
		return nil
	}
	return fmt.Errorf("%s: %w", address, ErrSelf)
}

// isOwn reports whether an address belongs to this host.
func isOwn(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // can't be known: better refused than looped
	}
	for _, each := range addrs {
		if n, ok := each.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == a {
				return true
			}
		}
	}
	return false
}
