package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Istio maps 127.0.0.1 to ::1 in pods that have only IPv6. So every port is open on both
// loopbacks, and each of them reaches a server on either.
func TestBothLoopbacks(t *testing.T) {
	for _, host := range loopbacks {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Skipf("this host has no %s: %v", host, err)
		}
		app := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "from the app") })}
		go app.Serve(ln)
		defer app.Close()
		s := run(t, ln.Addr(), func(c *Config) { c.In[0].App.Host = host })
		for _, from := range loopbacks {
			at := func(a net.Addr) net.Addr { return &net.TCPAddr{IP: net.ParseIP(from), Port: a.(*net.TCPAddr).Port} }
			in, out, admin := dial(t, at(s.InAddr())), dial(t, at(s.OutAddr())), dial(t, at(s.AdminAddr()))
			for _, c := range []struct {
				name string
				conn *net.TCPConn
				ask  string
				want string
			}{
				{"in", in, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "from the app"},
				{"out", out, fmt.Sprintf("GET http://%s/ HTTP/1.1\r\nHost: %[1]s\r\nConnection: close\r\n\r\n", ln.Addr()), "from the app"},
				{"admin", admin, "GET /healthz HTTP/1.0\r\n\r\n", "ok\n"},
			} {
				io.WriteString(c.conn, c.ask)
				if got := readAll(t, c.conn); !strings.HasPrefix(got, "HTTP/1.") || !strings.HasSuffix(got, "\r\n\r\n"+c.want) {
					t.Errorf("%s at %s, with the application at %s: %q", c.name, from, host, got)
				}
			}
		}
	}
}

// Other pods reach the reverse proxy only if that is configured, and never the forward proxy or the
// admin port.
func TestWhatIsReachedFromOutside(t *testing.T) {
	var outside []net.IP
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			outside = append(outside, n.IP)
		}
	}
	if len(outside) == 0 {
		t.Skip("this host has no address but loopback's")
	}
	app := serveTCP(t, echo)
	for _, all := range []bool{false, true} {
		s := run(t, app, func(c *Config) { c.InAll = all })
		for _, ip := range outside {
			for _, c := range []struct {
				name string
				addr net.Addr
				want bool
			}{{"in", s.InAddr(), all}, {"out", s.OutAddr(), false}, {"admin", s.AdminAddr(), false}} {
				conn, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: ip, Port: c.addr.(*net.TCPAddr).Port})
				if (err == nil) != c.want {
					t.Errorf("%s at %s, with TAPEDECK_IN_ADDRESS=all %v: %v", c.name, ip, all, err)
				}
				if err == nil {
					conn.Close()
				}
			}
		}
	}
}
