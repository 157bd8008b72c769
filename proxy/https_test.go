package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/tapedeck/tapedeck/internal/fakedns"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// askHTTPS sends a request for a URL in absolute-form, on a connection that remains open.
func askHTTPS(t *testing.T, c net.Conn, r *bufio.Reader, url string) (status int, body string) {
	t.Helper()
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", url, host)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, readAll(t, resp.Body)
}

// Clients that don't support CONNECT, such as axios before 1.7, ask for https in absolute-form.
// The sidecar then begins TLS, as for any other connection: the server is verified, the exchange
// is recorded in plaintext, and one connection is used as long as client and server keep it.
func TestHTTPSInARequestLine(t *testing.T) {
	var conns [2]atomic.Int64
	newServer := func(i int) (*httptest.Server, string) {
		return secure(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%d %s %s %s %v", i, r.Proto, r.Host, r.URL, r.Header["Proxy-Authorization"])
		}, func(srv *httptest.Server) {
			srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					conns[i].Add(1)
				}
			}
		})
	}
	a, root := newServer(0)
	b, _ := newServer(1) // with the same certificate: httptest has only one
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "plain "+r.URL.String()) }))
	defer plain.Close()
	s := run(t, nil, func(c *Config) { c.UpstreamCA = root })
	c := dial(t, s.OutAddr())
	r := bufio.NewReader(c)
	hostA, hostB := a.Listener.Addr().String(), b.Listener.Addr().String()
	for _, ask := range []struct{ url, want string }{
		{"https://" + hostA + "/1", "0 HTTP/1.1 " + hostA + " /1 []"},
		{"https://" + hostA + "/2?q", "0 HTTP/1.1 " + hostA + " /2?q []"},
		{"HTTPS://" + hostB + "/3", "1 HTTP/1.1 " + hostB + " /3 []"},
		{plain.URL + "/4", "plain /4"},
		{"https://" + hostA, "0 HTTP/1.1 " + hostA + " / []"},
	} {
		if status, body := askHTTPS(t, c, r, ask.url); status != 200 || body != ask.want {
			t.Errorf("%s: %d %q, want %q", ask.url, status, body, ask.want)
		}
	}
	c.Close()
	s.stop()
	if conns[0].Load() != 2 || conns[1].Load() != 1 {
		t.Errorf("%d and %d connections to the servers", conns[0].Load(), conns[1].Load())
	}
	flows := s.tape.find(tap.Out)
	if len(flows) != 4 {
		t.Fatalf("%d flows", len(flows))
	}
	for i, want := range []bool{true, true, false, true} {
		f := flows[i]
		if f.flow.TLS != want || f.flow.Opaque || (f.flow.ALPN == "http/1.1") != want || !strings.HasPrefix(f.side[tap.FromClient].String(), "GET /") {
			t.Errorf("flow %d: %+v, %q", i, f.flow, f.side[tap.FromClient].String())
		}
	}
}

// If a server does not speak TLS, or can't prove its identity, the client gets a 502 that says why,
// and its connection ends.
func TestHTTPSInARequestLineFails(t *testing.T) {
	failing := func(edit func(*tls.Config)) (*httptest.Server, string) {
		return secure(t, func(http.ResponseWriter, *http.Request) {}, func(srv *httptest.Server) {
			srv.Config.ErrorLog = quietly
			edit(srv.TLS)
		})
	}
	srv, root := failing(func(*tls.Config) {})
	mail, mailRoot := failing(func(c *tls.Config) { c.NextProtos = []string{"smtp"} })
	old, oldRoot := failing(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 })
	silent := serveTCP(t, func(c *net.TCPConn) { c.CloseWrite(); io.Copy(io.Discard, c) })
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for name, c := range map[string]struct{ target, root, why string }{
		"an unknown root":  {srv.Listener.Addr().String(), "", "unknown authority"},
		"another name":     {fmt.Sprintf("localhost:%d", srv.Listener.Addr().(*net.TCPAddr).Port), root, "not localhost"},
		"another protocol": {mail.Listener.Addr().String(), mailRoot, "no application protocol"},
		"an old version":   {old.Listener.Addr().String(), oldRoot, "protocol version"},
		"no TLS":           {plain.Listener.Addr().String(), root, "first record does not look like a TLS handshake"},
		"no answer":        {silent.String(), root, "EOF"},
		"nobody":           {"127.0.0.1:1", root, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, nil, func(cfg *Config) { cfg.UpstreamCA = c.root })
			conn := dial(t, s.OutAddr())
			status, body := askHTTPS(t, conn, bufio.NewReader(conn), "https://"+c.target+"/")
			if status != 502 || !strings.Contains(body, c.why) {
				t.Errorf("%d %s, want %s", status, body, c.why)
			}
			readAll(t, conn)
			s.stop()
			flows := s.tape.find(tap.Out)
			if len(flows) != 1 || !flows[0].flow.TLS || flows[0].side[tap.FromServer].Len() > 0 {
				t.Error("what was asked is not recorded as https without an answer")
			}
		})
	}
}

// A server that wants a client certificate gets the configured one. In TLS 1.3 it rejects a
// missing one only after the handshake.
func TestHTTPSInARequestLineMutual(t *testing.T) {
	dir, _ := caDir(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		}, func(srv *httptest.Server) {
			srv.Config.ErrorLog = quietly
			srv.TLS.ClientAuth, srv.TLS.MaxVersion = tls.RequireAnyClientCert, version
		})
		for _, given := range []bool{true, false} {
			s := run(t, nil, func(c *Config) {
				if c.UpstreamCA = root; given {
					c.Mutual = leafFiles(t, authorityOf(t, dir), "client.example")
				}
			})
			conn := dial(t, s.OutAddr())
			status, body := askHTTPS(t, conn, bufio.NewReader(conn), srv.URL+"/")
			if given && status != 200 || !given && (status != 502 || !strings.Contains(body, "TLS: ")) {
				t.Errorf("TLS %x, given %v: %d %q", version, given, status, body)
			}
		}
	}
}

// If a server closes an idle connection, the client's connection is closed, too. Otherwise the
// client would send a request on it in vain.
func TestHTTPSInARequestLineIdles(t *testing.T) {
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") },
		func(srv *httptest.Server) { srv.Config.IdleTimeout = 50 * time.Millisecond })
	s := run(t, nil, func(c *Config) { c.UpstreamCA = root })
	conn := dial(t, s.OutAddr())
	r := bufio.NewReader(conn)
	if status, body := askHTTPS(t, conn, r, srv.URL+"/"); status != 200 || body != "ok" {
		t.Errorf("%d %q", status, body)
	}
	if rest := readAll(t, r); rest != "" {
		t.Errorf("%q", rest)
	}
}

// An answer that ends with the connection is whole only if the server ends TLS in order: anybody
// on the network can end a connection.
func TestHTTPSInARequestLineTruncated(t *testing.T) {
	srv, root := secure(t, nil)
	cfg := srv.TLS.Clone()
	for _, whole := range []bool{true, false} {
		addr := serveTCP(t, func(c *net.TCPConn) {
			tc := tls.Server(c, cfg)
			if _, err := http.ReadRequest(bufio.NewReader(tc)); err != nil {
				return
			}
			io.WriteString(tc, "HTTP/1.1 200 OK\r\n\r\nhalf")
			if whole {
				tc.CloseWrite()
			}
			c.CloseWrite()
		})
		s := run(t, nil, func(c *Config) { c.UpstreamCA = root })
		conn := dial(t, s.OutAddr())
		fmt.Fprintf(conn, "GET https://%s/ HTTP/1.1\r\nHost: h\r\n\r\n", addr)
		answer, err := io.ReadAll(conn)
		if (err == nil) != whole || whole && !strings.HasSuffix(string(answer), "half") {
			t.Errorf("whole %v: %q, %v", whole, answer, err)
		}
	}
}

// A WebSocket may be requested in absolute-form, too.
func TestWSSInARequestLine(t *testing.T) {
	srv, root := secure(t, websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }).ServeHTTP)
	s := run(t, nil, func(c *Config) { c.UpstreamCA = root })
	for _, scheme := range []string{"https", "wss"} {
		c := dial(t, s.OutAddr())
		fmt.Fprintf(c, "GET %s://%s/ HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", scheme, srv.Listener.Addr())
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatalf("%v, %v", resp, err)
		}
		frame := "\x81\x82\x00\x00\x00\x00hi" // text, masked with nothing
		io.WriteString(c, frame)
		got := make([]byte, 4)
		if _, err := io.ReadFull(r, got); string(got) != "\x81\x02hi" {
			t.Errorf("%q, %v", got, err)
		}
		c.Close()
	}
}

// An upstream proxy is asked for a tunnel, and can't read anything in it.
func TestHTTPSInARequestLineIsChained(t *testing.T) {
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok "+r.Host) })
	corporate := run(t, nil, nil)
	s := run(t, nil, func(c *Config) { c.UpstreamCA, c.Proxies.HTTPS = root, corporate.out() })
	name := fmt.Sprintf("example.com:%d", srv.Listener.Addr().(*net.TCPAddr).Port) // of httptest's certificate
	fakedns.Use(t, map[string]string{"example.com": "127.0.0.1"})
	corporate.dial.AddName("example.com")
	conn := dial(t, s.OutAddr())
	status, body := askHTTPS(t, conn, bufio.NewReader(conn), "https://"+name+"/")
	if status != 200 || body != "ok "+name {
		t.Errorf("%d %q", status, body)
	}
	conn.Close()
	s.stop()
	corporate.stop()
	if f := corporate.tape.find(tap.Out); len(f) != 1 || f[0].flow.Via != tap.ViaConnect || strings.Contains(f[0].side[tap.FromClient].String(), "GET /") {
		t.Error("the proxy was asked for more than a tunnel")
	}
}

// quietly is the log of servers whose handshakes are meant to fail.
var quietly = log.New(io.Discard, "", 0)
