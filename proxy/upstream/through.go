package upstream

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// handshakeTimeout bounds the time that a proxy takes to open a tunnel, in which it connects
// to the host.
const handshakeTimeout = DialTimeout

// maxHead bounds the answer to CONNECT.
const maxHead = 16 << 10

// through opens a tunnel to host and port through a proxy.
func (d *Dialer) through(ctx context.Context, via *url.URL, host string, port int) (*pump.Conn, error) {
	c, err := d.DialProxy(ctx, via)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(handshakeTimeout))
	stop := context.AfterFunc(ctx, c.Interrupt) // set after the deadline, which Interrupt overrides
	defer stop()
	target := net.JoinHostPort(host, strconv.Itoa(port))
	tunnel, err := open(ctx, c, via, target)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: %w", label(via), err)
	}
	_ = tunnel.SetDeadline(time.Time{})
	return tunnel, nil
}

func open(ctx context.Context, c *pump.Conn, via *url.URL, target string) (*pump.Conn, error) {
	switch via.Scheme {
	case "socks5", "socks5h":
		return c, socks5(ctx, c, via, target)
	default:
		return connect(c, via, target)
	}
}

// Authorization returns the value of Proxy-Authorization for a proxy's URL, or "" if the URL
// has no user.
func Authorization(via *url.URL) string {
	if via.User == nil {
		return ""
	}
	password, _ := via.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(via.User.Username()+":"+password))
}

// connect asks an HTTP proxy for a tunnel (RFC 9110 section 9.3.6).
func connect(c *pump.Conn, via *url.URL, target string) (*pump.Conn, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target)
	if auth := Authorization(via); auth != "" {
		fmt.Fprintf(&b, "Proxy-Authorization: %s\r\n", auth)
	}
	b.WriteString("\r\n")
	if _, err := c.Write([]byte(b.String())); err != nil {
		return nil, err
	}
	limited := &headLimit{conn: c, left: maxHead}
	r := bufio.NewReader(limited)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	switch {
	case limited.err != nil:
		return nil, fmt.Errorf("read answer to CONNECT: %w", limited.err)
	case err != nil:
		return nil, errors.New("read answer to CONNECT: not HTTP")
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return nil, &ProxyAuthError{resp.Header.Values("Proxy-Authenticate")}
	case resp.StatusCode/100 != 2:
		return nil, fmt.Errorf("CONNECT %s: %d %s", target, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	rest, _ := r.Peek(r.Buffered())
	return pump.NewConn(c.Conn, rest), nil
}

// ProxyAuthError is the error of a dial through a proxy that rejects the credentials in its
// URL, or requires some and the URL has none.
type ProxyAuthError struct {
	// Challenges are the values of Proxy-Authenticate.
	Challenges []string
}

func (*ProxyAuthError) Error() string {
	return "407 Proxy Authentication Required: the credentials in the proxy's URL are missing or wrong"
}

// headLimit reads at most left bytes. It keeps the error of the last read, because the error
// of http.ReadResponse may quote a whole head of foreign bytes.
type headLimit struct {
	conn *pump.Conn
	left int
	err  error
}

func (l *headLimit) Read(p []byte) (n int, err error) {
	if l.left == 0 {
		l.err = errors.New("head too long")
		return 0, l.err
	}
	n, l.err = l.conn.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, l.err
}

// socks5 asks a SOCKS5 proxy for a tunnel.
func socks5(ctx context.Context, c *pump.Conn, via *url.URL, target string) error {
	var auth *proxy.Auth
	if via.User != nil {
		password, _ := via.User.Password()
		auth = &proxy.Auth{User: via.User.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", via.Host, auth, nil)
	if err != nil {
		return err
	}
	over, ok := d.(interface {
		DialWithConn(ctx context.Context, c net.Conn, network, address string) (net.Addr, error)
	})
	if !ok {
		return errors.New("the SOCKS library cannot use an open connection")
	}
	_, err = over.DialWithConn(ctx, c.Conn, "tcp", target)
	return err
}
