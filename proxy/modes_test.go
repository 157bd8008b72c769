package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Any request to the reverse proxy reaches the application.
func TestInboundProtocols(t *testing.T) {
	app := serveTCP(t, func(c *net.TCPConn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Fprintf(c, "app got %s", line)
	})
	elsewhere := serveTCP(t, func(c *net.TCPConn) { t.Error("the reverse proxy connected to where the client asked") })
	port := elsewhere.(*net.TCPAddr).Port
	connect := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", elsewhere)
	socks4 := string([]byte{4, 1, byte(port >> 8), byte(port), 127, 0, 0, 1, 0})
	for _, c := range []struct {
		protocol   Protocol
		send, want string
	}{
		{HTTP, "GET / HTTP/1.1\n", "app got GET / HTTP/1.1\n"},
		{HTTP, connect + "inside\n", "HTTP/1.1 200 Connection established\r\n\r\napp got inside\n"},
		{HTTP, "GET http://" + elsewhere.String() + "/ HTTP/1.1\n", "app got GET http://" + elsewhere.String() + "/ HTTP/1.1\n"},
		{SOCKS, socks4 + "inside\n", "\x00\x5a\x00\x00\x00\x00\x00\x00app got inside\n"},
		{SOCKS, "GET / HTTP/1.1\n", "app got GET / HTTP/1.1\n"},
		{TCP, connect, "app got " + strings.SplitAfter(connect, "\n")[0]},
	} {
		t.Run(fmt.Sprintf("%s %.12q", c.protocol, c.send), func(t *testing.T) {
			s := run(t, app, func(cfg *Config) { cfg.InProtocol = c.protocol })
			conn := dial(t, s.InAddr())
			io.WriteString(conn, c.send)
			conn.CloseWrite()
			if got := readAll(t, conn); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// HTTP/2 without TLS passes the reverse proxy, and a tunnel.
func TestH2C(t *testing.T) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP1(true)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Status")
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() { // as a bidirectional stream of gRPC does
			fmt.Fprintln(w, r.Proto, lines.Text())
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("X-Status", "0")
	}))
	app.Config.Protocols = &protocols
	app.Start()
	defer app.Close()
	for _, way := range []string{"reverse", "CONNECT", "SOCKS5"} {
		t.Run(way, func(t *testing.T) {
			s := run(t, app.Listener.Addr(), nil)
			tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) {
				return entries[way](t, s, app.Listener.Addr().String()), nil
			}}
			defer tr.CloseIdleConnections()
			pr, pw := io.Pipe()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://app/", pr)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewReader(resp.Body)
			for _, line := range []string{"one", "two", "three"} {
				fmt.Fprintln(pw, line)
				if got, err := answers.ReadString('\n'); got != "HTTP/2.0 "+line+"\n" {
					t.Fatalf("%q, %v", got, err)
				}
			}
			pw.Close()
			io.Copy(io.Discard, answers)
			if resp.Trailer.Get("X-Status") != "0" {
				t.Errorf("trailer %v", resp.Trailer)
			}
		})
	}
}

// On the TCP path, the application handles smuggling and everything else that is not valid HTTP.
func TestTheTCPPathDoesNotLook(t *testing.T) {
	app := serveTCP(t, echo)
	s := run(t, app, nil)
	for _, send := range []string{
		"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled",
		"GET / HTTP/1.1\nHost : a\r\n folded\r\n\r\n\x00\xff",
		"\x16\x03\x01\x00\x05hello", "\x05\x01\x00", "CONNECT x:1 HTTP/1.1\r\n\r\n", "\x00",
	} {
		c := dial(t, s.InAddr())
		io.WriteString(c, send)
		c.CloseWrite()
		if got := readAll(t, c); got != send {
			t.Errorf("%q became %q", send, got)
		}
	}
}

func TestAdmin(t *testing.T) {
	app := serveTCP(t, echo)
	s := run(t, app, nil)
	c := dial(t, s.InAddr())
	io.WriteString(c, "four")
	io.ReadFull(c, make([]byte, 4))
	get := func(path string) string {
		t.Helper()
		resp, err := http.Get("http://" + s.AdminAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
		return readAll(t, resp.Body)
	}
	if got := get("/healthz"); got != "ok\n" {
		t.Errorf("/healthz: %q", got)
	}
	var list struct{ Live, Ended []View }
	if err := json.Unmarshal([]byte(get("/connections")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Live) != 1 || list.Live[0].Downstream.DataTransfer != 4 || list.Live[0].Upstream.RemoteAddr != app.String() {
		t.Errorf("live: %+v", list.Live)
	}
	c.CloseWrite()
	readAll(t, c)
	eventually(t, "the connection is history", func() bool {
		return json.Unmarshal([]byte(get("/connections")), &list) == nil && len(list.Live) == 0 && len(list.Ended) == 1
	})
	metrics := get("/metrics")
	for _, line := range []string{
		`tapedeck_connections_total{direction="IN"} 1`,
		`tapedeck_connections_open{direction="IN"} 0`,
		`tapedeck_bytes_total{direction="IN",side="client"} 4`,
		`tapedeck_tap_dropped_bytes_total{reason="tap_full"} 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// A message that can't be parsed may hold a secret anywhere, so neither the log nor the list of
// connections quotes it.
func TestWhatIsRefusedIsNotQuoted(t *testing.T) {
	malformed := serveTCP(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1<<10))
		io.WriteString(c, "HTTP/1.1 SECRET\r\nSet-Cookie: SECRET\r\n\r\n")
	})
	const get, host = "GET http://h/ HTTP/1.1\r\n", "Host: h\r\n"
	for name, message := range map[string]string{
		"a space in the target":    "GET http://h/x?access_token=SECRET&q=a b HTTP/1.1\r\n" + host,
		"origin-form":              "GET /cb?access_token=SECRET HTTP/1.1\r\n" + host,
		"a fragment":               "GET http://h/cb#access_token=SECRET HTTP/1.1\r\n" + host,
		"a user in the target":     "GET http://user:SECRET@h/ HTTP/1.1\r\n" + host,
		"a user in CONNECT":        "CONNECT user:SECRET@127.0.0.1:443 HTTP/1.1\r\n" + host,
		"a port that is none":      "CONNECT h:SECRET HTTP/1.1\r\n" + host,
		"a host that is none":      "GET http://h\\SECRET/ HTTP/1.1\r\n" + host,
		"an unknown scheme":        "GET SECRET://h/ HTTP/1.1\r\n" + host,
		"an unknown version":       "GET http://h/ SECRET\r\n" + host,
		"a user in Host":           get + "Host: user:SECRET@h\r\n",
		"a space before the colon": get + host + "Authorization : Bearer SECRET\r\n",
		"a control in a value":     get + host + "SECRET: SECRET\x01\r\n",
		"a length that is none":    get + host + "Content-Length: SECRET\r\n",
		"an unknown coding":        get + host + "Transfer-Encoding: SECRET\r\n",
		"a malformed answer":       "GET http://" + malformed.String() + "/ HTTP/1.1\r\n" + host,
		"a host name in SOCKS5":    "\x05\x01\x00\x05\x01\x00\x03\x0buser@SECRET\x01\xbb",
		"a host name in SOCKS4":    "\x04\x01\x01\xbb\x00\x00\x00\x01user\x00user@SECRET\x00",
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, nil, nil)
			c := dial(t, s.OutAddr())
			io.WriteString(c, message+"\r\n")
			readAll(t, c)
			c.Close()
			eventually(t, "the connection is in the log", func() bool { return strings.Contains(s.logs.String(), "error=") })
			list, err := http.Get("http://" + s.AdminAddr().String() + "/connections")
			if err != nil {
				t.Fatal(err)
			}
			defer http.DefaultClient.CloseIdleConnections()
			defer list.Body.Close()
			if text := s.logs.String() + readAll(t, list.Body); strings.Contains(text, "SECRET") {
				t.Error(text)
			}
		})
	}
}

// An application without outbound calls is usually not configured to use the forward proxy. If it
// gets no inbound calls either, it gets more time.
func TestItSaysWhenNothingGoesOut(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*Config)
		called bool
	}{
		"a server":                    {func(*Config) {}, true},
		"a worker":                    {func(*Config) {}, false},
		"the forward proxy by itself": {func(c *Config) { c.Reverse = false }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, serveTCP(t, echo), func(cfg *Config) {
				c.edit(cfg)
				cfg.outboundPatience = 100 * time.Millisecond
			})
			if c.called {
				dial(t, s.InAddr())
			}
			eventually(t, "the warning", func() bool { return strings.Contains(s.logs.String(), "has made no call through the forward proxy") })
			log := s.logs.String()
			for _, want := range []string{"HTTPS_PROXY=" + s.out(), fmt.Sprint("called=", c.called), "JAVA_TOOL_OPTIONS", "NODE_USE_ENV_PROXY", "tapedeck.dev/capture-hosts", "tapedeck.dev/java-proxy"} {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %s", want)
				}
			}
		})
	}
}

// Thousands of idle connections cost little memory, and none is lost.
func TestManyIdleConnections(t *testing.T) {
	n := 10_000
	if raceEnabled || testing.Short() {
		n = 500
	}
	if free := descriptors(); free < 4*n+200 {
		n = (free - 200) / 4
	}
	app := serveTCP(t, func(c *net.TCPConn) {
		var p [1]byte // io.Copy would take a pipe for each
		for {
			if _, err := c.Read(p[:]); err != nil {
				return
			}
			c.Write(p[:])
		}
	})
	s := run(t, app, nil)
	conns := make([]*net.TCPConn, n)
	before := resident()
	for i := range conns {
		conns[i] = dial(t, s.InAddr())
		io.WriteString(conns[i], "x")
	}
	say := func() {
		var wg sync.WaitGroup
		for part := range 8 {
			wg.Go(func() {
				for i := part; i < n; i += 8 {
					if _, err := io.ReadFull(conns[i], make([]byte, 1)); err != nil {
						t.Errorf("connection %d: %v", i, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	say()
	if s, open := s.conns.sums(tap.In); open != n || s.bytes[0] != int64(n) {
		t.Errorf("%d connections and %d bytes, want %d", open, s.bytes[0], n)
	}
	// Client, application and proxy are in this one process.
	t.Logf("%d connections: %d KiB resident for each", n, (resident()-before)/1024/n)
	for _, c := range conns {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "y")
	}
	say()
	for _, c := range conns {
		c.Close()
	}
}

func resident() int {
	b, _ := os.ReadFile("/proc/self/statm")
	var total, pages int
	fmt.Sscan(string(b), &total, &pages)
	return pages * os.Getpagesize()
}

func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	limit.Cur = limit.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) // or what there is
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(limit.Cur)
}
