package upstream

import (
	"bufio"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a name that only the corporate proxy knows. It leads to a server that greets first and
// then echoes.
const host, port = "db.corp.example", 5432

// serve runs a server on loopback.
func serve(t *testing.T, each func(*net.TCPConn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				each(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// greet serves a connection behind every proxy.
func greet(c io.ReadWriter) {
	io.WriteString(c, "hello\n")
	io.Copy(c, c)
}

// connects is an HTTP proxy that wants a user and a password.
func connects(w http.ResponseWriter, r *http.Request) {
	user := r.Header.Get("Proxy-Authorization")
	switch {
	case r.Method != http.MethodConnect || r.Host != fmt.Sprintf("%s:%d", host, port):
		http.Error(w, "unknown", http.StatusBadGateway)
	case user != "Basic dXNlcjpwOnc=": // user and p:w
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
	default:
		c, _, _ := w.(http.Hijacker).Hijack()
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 200 go ahead\r\nX-Proxy: 1\r\n\r\nhello\n") // all in one
		io.Copy(c, c)
	}
}

// socks is a SOCKS5 proxy that wants the same user and password (RFC 1928, RFC 1929).
func socks(c *net.TCPConn) {
	r := bufio.NewReader(c)
	next := func() []byte { // a length, and so many bytes
		n, _ := r.ReadByte()
		p := make([]byte, n)
		io.ReadFull(r, p)
		return p
	}
	r.ReadByte()
	if !strings.Contains(string(next()), "\x02") {
		c.Write([]byte{5, 0xff})
		return
	}
	c.Write([]byte{5, 2})
	r.ReadByte()
	if user, password := next(), next(); string(user) != "user" || string(password) != "p:w" {
		c.Write([]byte{1, 1})
		return
	}
	c.Write([]byte{1, 0})
	head := make([]byte, 4)
	io.ReadFull(r, head)
	name, p := next(), make([]byte, 2)
	io.ReadFull(r, p)
	if string(name) != host || int(p[0])<<8|int(p[1]) != port {
		c.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	greet(struct {
		io.Reader
		io.Writer
	}{r, c})
}

// corporate starts the three kinds of proxies: URL schemes to addresses.
func corporate(t *testing.T) (addrs map[string]string, roots *x509.CertPool) {
	plain := httptest.NewServer(http.HandlerFunc(connects))
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(connects))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are meant to fail
	secure.StartTLS()
	t.Cleanup(secure.Close)
	roots = x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	s := serve(t, socks)
	return map[string]string{
		"http":    plain.Listener.Addr().String(),
		"https":   secure.Listener.Addr().String(),
		"socks5":  s,
		"socks5h": s,
	}, roots
}

func TestAProxyIsChainedTo(t *testing.T) {
	addrs, roots := corporate(t)
	for scheme, addr := range addrs {
		for _, asked := range []Scheme{Tunnel, Socks} {
			t.Run(fmt.Sprint(asked, " through ", scheme), func(t *testing.T) {
				d, _ := New(Proxies{All: scheme + "://user:p%3Aw@" + addr})
				d.Roots = func() *x509.CertPool { return roots }
				c, err := d.Dial(t.Context(), asked, host, port)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				r := bufio.NewReader(c)
				if line, err := r.ReadString('\n'); line != "hello\n" {
					t.Fatalf("%q, %v", line, err)
				}
				io.WriteString(c, "echo\n")
				if line, err := r.ReadString('\n'); line != "echo\n" {
					t.Errorf("%q, %v", line, err)
				}
			})
		}
	}
}

// An error on the way names the proxy, without its password.
func TestAProxyThatRefuses(t *testing.T) {
	addrs, roots := corporate(t)
	endless := serve(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
		for _, err := c.Write(make([]byte, 1<<10)); err == nil; _, err = c.Write(make([]byte, 1<<10)) {
		}
	})
	closed := serve(t, func(c *net.TCPConn) { c.Read(make([]byte, 64)) })
	for _, c := range []struct {
		name, proxy, host string
		roots             *x509.CertPool
		want              string
	}{
		{"wrong password, HTTP", "http://user:secret@" + addrs["http"], host, roots, "407 Proxy Authentication Required"},
		{"wrong password, HTTPS", "https://user:secret@" + addrs["https"], host, roots, "407 Proxy Authentication Required"},
		{"wrong password, SOCKS", "socks5://user:secret@" + addrs["socks5"], host, roots, "username/password authentication failed"},
		{"unknown host, HTTP", "http://user:secret@" + addrs["http"], "other.example", roots, "502 Bad Gateway"},
		{"unknown host, SOCKS", "socks5://user:p%3Aw@" + addrs["socks5"], "other.example", roots, "host unreachable"},
		{"unverified", "https://user:secret@" + addrs["https"], host, x509.NewCertPool(), "certificate signed by unknown authority"},
		{"not HTTP", "http://user:secret@" + addrs["socks5"], host, roots, "read answer to CONNECT"},
		{"an endless answer", "http://user:secret@" + endless, host, roots, "head too long"},
		{"a closed door", "socks5h://user:secret@" + closed, host, roots, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := New(Proxies{All: c.proxy})
			d.Roots = func() *x509.CertPool { return c.roots }
			conn, err := d.Dial(t.Context(), Tunnel, c.host, port)
			if err == nil {
				conn.Close()
				t.Fatal("no error")
			}
			if msg := err.Error(); !strings.Contains(msg, c.want) || !strings.Contains(msg, "proxy "+c.proxy[:strings.Index(c.proxy, ":")]) || strings.Contains(msg, "secret") || len(msg) > 400 {
				t.Errorf("%.300v, want %q in it", err, c.want)
			}
		})
	}
}

// The protocol and NO_PROXY decide which proxy is used.
func TestRules(t *testing.T) {
	p := Proxies{
		HTTP: "http://h:1", HTTPS: "corp:3128", All: "socks5://a:3",
		NoProxy: "plain.example,.sub.example,*.star.example,10.0.0.0/8,192.0.2.1,ported.example:8443,fd00::/8",
	}
	const h, s, a = "http://h:1", "http://corp:3128", "socks5://a:3"
	for _, c := range []struct {
		proxies Proxies
		scheme  Scheme
		host    string
		port    int
		want    string // "": none
	}{
		{p, HTTP, "x.example", 80, h},
		{p, HTTP, "x.example", 443, h},
		{p, Tunnel, "x.example", 443, s},
		{p, Tunnel, "x.example", 5432, s},
		{p, Socks, "x.example", 5432, a},
		{p, Socks, "x.example", 443, s},
		{Proxies{All: a}, HTTP, "x.example", 80, a},
		{Proxies{All: a}, Tunnel, "x.example", 443, a},
		{Proxies{HTTP: h}, Tunnel, "x.example", 443, ""},
		{Proxies{HTTP: h, HTTPS: s}, Socks, "x.example", 5432, ""},
		{Proxies{}, HTTP, "x.example", 80, ""},

		{p, HTTP, "plain.example", 80, ""},
		{p, HTTP, "PLAIN.example", 80, ""},
		{p, Tunnel, "a.plain.example", 443, ""},
		{p, Tunnel, "notplain.example", 443, s},
		{p, Tunnel, "a.sub.example", 443, ""},
		{p, Tunnel, "sub.example", 443, s},
		{p, Tunnel, "a.star.example", 443, ""},
		{p, Socks, "10.1.2.3", 5432, ""},
		{p, Socks, "11.1.2.3", 5432, a},
		{p, HTTP, "192.0.2.1", 80, ""},
		{p, HTTP, "192.0.2.2", 80, h},
		{p, Tunnel, "ported.example", 8443, ""},
		{p, Tunnel, "ported.example", 443, s},
		{p, Socks, "fd00::1", 5432, ""},
		{p, Socks, "2001:db8::1", 5432, a},
		{Proxies{All: a, NoProxy: "*"}, Socks, "x.example", 1, ""},

		// The pod itself is never reached through a proxy.
		{p, HTTP, "localhost", 80, ""},
		{p, Tunnel, "127.0.0.1", 443, ""},
		{p, Socks, "::1", 5432, ""},
	} {
		d, unusable := New(c.proxies)
		if len(unusable) > 0 {
			t.Errorf("unusable: %v", unusable)
		}
		u, err := d.Proxy(t.Context(), c.scheme, c.host, c.port)
		if err != nil {
			t.Errorf("%s %s:%d: %v", c.scheme, c.host, c.port, err)
			continue
		}
		got := ""
		if u != nil {
			got = u.String()
		}
		if got != c.want {
			t.Errorf("%s %s:%d: through %q, want %q", c.scheme, c.host, c.port, got, c.want)
		}
	}
}

// A proxy that can't be used is reported by the name of its variable. Connections then go without
// it.
func TestAProxyThatIsUnusableIsGoneWithout(t *testing.T) {
	const own = 4140
	for value, want := range map[string]string{
		"": "", "corp": "", "corp:3128": "", "http://corp": "", "http://corp/": "", "https://u:p@corp:1": "", "socks5://corp": "",
		"socks5h://[::1]:1080": "", "http://127.0.0.1:3128": "", "http://192.0.2.1:4140": "",

		"ftp://secret@corp": "it is not a proxy URL", "http://": "it is not a proxy URL", "socks4://secret@corp:1": "it is not a proxy URL",
		"http://secret:x": "it is not a proxy URL", "http://secret\x00": "it is not a proxy URL", "http://corp/secret": "it is not a proxy URL",

		"http://127.0.0.1:4140": "that is the proxy itself", "socks5h://secret@localhost:4140": "that is the proxy itself",
		"[::1]:4140": "that is the proxy itself", "http://0.0.0.0:4140": "that is the proxy itself",
	} {
		for variable, p := range map[string]Proxies{"HTTP_PROXY": {HTTP: value}, "HTTPS_PROXY": {HTTPS: value}, "ALL_PROXY": {All: value}} {
			d, unusable := New(p, own)
			if want == "" {
				if len(unusable) > 0 {
					t.Errorf("%s=%q: %v", variable, value, unusable)
				}
				continue
			}
			if len(unusable) != 1 || unusable[0].Variable != variable || !strings.Contains(unusable[0].Err.Error(), want) || strings.Contains(unusable[0].Err.Error(), "secret") {
				t.Errorf("%s=%q: %v, want %s", variable, value, unusable, want)
			}
			for _, s := range []Scheme{HTTP, Tunnel, Socks} {
				if u, err := d.Proxy(t.Context(), s, "x.example", 443); u != nil || err != nil {
					t.Errorf("%s=%q: %s goes through %v, %v", variable, value, s, u, err)
				}
			}
		}
	}
}

// The proxy doesn't connect to itself at any address of this host, including IPv6. It connects to
// the same port elsewhere, and to other ports here.
func TestItself(t *testing.T) {
	const own = 4140
	d, _ := New(Proxies{}, own)
	refused := []string{"127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		refused = append(refused, ip.String(), netip.AddrFrom16(ip.As16()).String())
		if ip.IsLinkLocalUnicast() && ip.Is6() {
			refused = append(refused, ip.String()+"%eth0")
		}
	}
	for _, host := range refused {
		conn, err := d.Direct(t.Context(), host, own)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, ErrSelf) {
			t.Errorf("%s: %v", host, err)
		}
		if err := d.guard(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(host), own+1).String(), nil); err != nil {
			t.Errorf("%s, another port: %v", host, err)
		}
	}
	for _, host := range []string{"192.0.2.1", "2001:db8::1", "fe80::1%eth9"} { // documentation's, nobody's
		if err := d.guard(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(host), own).String(), nil); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := d.Direct(t.Context(), "localhost", own); !errors.Is(err, ErrSelf) {
		t.Errorf("by name: %v", err)
	}
}
