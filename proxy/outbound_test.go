package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/plainhttp"
	"github.com/tapedeck/tapedeck/proxy/socks"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// Both protocols give the same reason if a server can't be reached.
func TestWhyADialFailed(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		reply  socks.Reply
	}{
		{fmt.Errorf("dial: %w", upstream.ErrSelf), http.StatusLoopDetected, socks.NotAllowed},
		{fmt.Errorf("dial: %w", upstream.ErrLoopback), http.StatusForbidden, socks.NotAllowed},
		{fmt.Errorf("dial: %w", upstream.ErrMetadata), http.StatusForbidden, socks.NotAllowed},
		{upstream.ErrNoProxy, http.StatusBadGateway, socks.GeneralFailure},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, http.StatusGatewayTimeout, socks.HostUnreachable},
		{&net.OpError{Op: "dial", Err: timedOut{}}, http.StatusGatewayTimeout, socks.HostUnreachable},
		{&net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}, http.StatusGatewayTimeout, socks.HostUnreachable},
		{&net.DNSError{IsNotFound: true}, http.StatusBadGateway, socks.HostUnreachable},
		{syscall.ECONNREFUSED, http.StatusBadGateway, socks.ConnectionRefused},
		{fmt.Errorf("proxy: %w", &upstream.ProxyAuthError{}), http.StatusProxyAuthRequired, socks.NotAllowed},
		{io.EOF, http.StatusBadGateway, socks.GeneralFailure},
	} {
		if status, reply := plainhttp.DialStatus(c.err), dialReply(c.err); status != c.status || reply != c.reply {
			t.Errorf("%v: %d and %d, want %d and %d", c.err, status, reply, c.status, c.reply)
		}
	}
}

// timedOut is the error by which package net reports that a dial took too long.
type timedOut struct{}

func (timedOut) Error() string { return "i/o timeout" }

func (timedOut) Timeout() bool { return true }

func (timedOut) Temporary() bool { return true }

// An upstream proxy's demand for credentials is passed on to the client.
func TestAProxyThatAsksForCredentials(t *testing.T) {
	corporate := serveTCP(t, func(c *net.TCPConn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"corp\"\r\nContent-Length: 0\r\n\r\n")
	})
	s := run(t, nil, func(c *Config) { c.Proxies.HTTPS = "http://" + corporate.String() })
	c := dial(t, s.OutAddr())
	io.WriteString(c, "CONNECT far.example:443 HTTP/1.1\r\nHost: far.example\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusProxyAuthRequired || resp.Header.Get("Proxy-Authenticate") != `Basic realm="corp"` {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
}

// The proxy does not connect to itself, under any name.
func TestSelfConnectionIsRefused(t *testing.T) {
	app := serveTCP(t, echo)
	s := run(t, app, nil)
	for _, ls := range []net.Addr{s.InAddr(), s.OutAddr(), s.AdminAddr()} {
		for _, host := range []string{"localhost", "127.0.0.1", "127.0.0.2", "[::1]", "0.0.0.0"} {
			target := fmt.Sprintf("%s:%d", host, ls.(*net.TCPAddr).Port)
			c := dial(t, s.OutAddr())
			fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
			if answer := readAll(t, c); !strings.HasPrefix(answer, "HTTP/1.1 508 ") || !strings.Contains(answer, "the proxy itself") {
				t.Errorf("%s: %q", target, answer)
			}
		}
	}
	c := dial(t, s.OutAddr())
	port := s.OutAddr().(*net.TCPAddr).Port
	c.Write([]byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, byte(port >> 8), byte(port)})
	if got := readAll(t, c); got != "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00" {
		t.Errorf("SOCKS5: %q", got)
	}
}
