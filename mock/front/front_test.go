package front_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/proxy"

	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/proxy/ca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a Front whose answers describe what it understood.
type running struct {
	*front.Front
	roots *x509.CertPool
}

// start runs a Front until the test ends.
func start(t *testing.T, cfg front.Config) *running {
	t.Helper()
	cert, key, err := ca.Generate("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Authority, err = ca.New(pair); err != nil {
		t.Fatal(err)
	}
	r := &running{roots: x509.NewCertPool()}
	r.roots.AddCert(cfg.Authority.Certificate())
	if cfg.HTTP == nil {
		cfg.HTTP = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			c := front.ConnOf(q.Context())
			target := q.Host
			if q.URL.IsAbs() {
				target = q.URL.Scheme + "://" + q.URL.Host
			}
			body, _ := io.ReadAll(q.Body)
			fmt.Fprintf(w, "%s %s %s%s via=%s asked=%s tls=%t alpn=%s body=%s", q.Proto, q.Method, target, q.URL.Path, c.Via, hostPort(c), c.TLS, c.ALPN, body)
		})
	}
	if cfg.Stream == nil {
		cfg.Stream = func(_ context.Context, c *front.Conn) {
			defer c.Close()
			head, _ := c.First(1 << 10)
			fmt.Fprintf(c, "stream %q via=%s asked=%s tls=%t alpn=%s", head, c.Via, hostPort(c), c.TLS, c.ALPN)
		}
	}
	cfg.Listen = []string{"localhost:0"}
	cfg.Log = slog.New(slog.DiscardHandler)
	if r.Front, err = front.Listen(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Serve(ctx, time.Second)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func hostPort(c *front.Conn) string {
	if c.Host == "" {
		return "-"
	}
	return net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
}

// get fetches a URL through the client and returns the body.
func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func client(t *testing.T, tr *http.Transport) *http.Client {
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (r *running) proxyURL(scheme string) *url.URL {
	return &url.URL{Scheme: scheme, Host: r.Addr().String()}
}

func (r *running) tlsConfig(protos ...string) *tls.Config {
	return &tls.Config{RootCAs: r.roots, NextProtos: protos}
}

func TestClientsReachOnePortInEachWay(t *testing.T) {
	r := start(t, front.Config{})
	port := r.Addr().String()
	for name, test := range map[string]struct {
		url, want string
		transport *http.Transport
	}{
		"absolute-form": {
			"http://dep.example/a", "HTTP/1.1 GET http://dep.example/a via=tcp asked=- tls=false alpn= body=",
			&http.Transport{Proxy: http.ProxyURL(r.proxyURL("http"))},
		},
		"CONNECT and TLS": {
			"https://dep.example/a", "HTTP/1.1 GET dep.example/a via=connect asked=dep.example:443 tls=true alpn=http/1.1 body=",
			&http.Transport{Proxy: http.ProxyURL(r.proxyURL("http")), TLSClientConfig: r.tlsConfig("http/1.1")},
		},
		"CONNECT and h2": {
			"https://dep.example/a", "HTTP/2.0 GET dep.example/a via=connect asked=dep.example:443 tls=true alpn=h2 body=",
			&http.Transport{Proxy: http.ProxyURL(r.proxyURL("http")), TLSClientConfig: r.tlsConfig(), ForceAttemptHTTP2: true},
		},
		"a proxy behind TLS": {
			"https://dep.example/a", "HTTP/2.0 GET dep.example/a via=connect asked=dep.example:443 tls=true alpn=h2 body=",
			&http.Transport{Proxy: http.ProxyURL(r.proxyURL("https")), TLSClientConfig: r.tlsConfig(), ForceAttemptHTTP2: true},
		},
		"SOCKS5": {
			"http://dep.example:8080/a", "HTTP/1.1 GET dep.example:8080/a via=socks5 asked=dep.example:8080 tls=false alpn= body=",
			&http.Transport{Proxy: http.ProxyURL(r.proxyURL("socks5"))},
		},
		"SOCKS5 and TLS": {
			"https://dep.example/a", "HTTP/2.0 GET dep.example/a via=socks5 asked=dep.example:443 tls=true alpn=h2 body=",
			&http.Transport{Proxy: http.ProxyURL(r.proxyURL("socks5")), TLSClientConfig: r.tlsConfig(), ForceAttemptHTTP2: true},
		},
		"directly": {
			"http://" + port + "/a", "HTTP/1.1 GET " + port + "/a via=tcp asked=- tls=false alpn= body=", &http.Transport{},
		},
		"directly, in TLS by its address": {
			"https://" + port + "/a", "HTTP/2.0 GET " + port + "/a via=tcp asked=- tls=true alpn=h2 body=",
			&http.Transport{TLSClientConfig: r.tlsConfig(), ForceAttemptHTTP2: true},
		},
		"directly, in TLS by a name": {
			"https://dep.example/a", "HTTP/2.0 GET dep.example/a via=tcp asked=- tls=true alpn=h2 body=",
			&http.Transport{TLSClientConfig: r.tlsConfig(), ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, port)
			}},
		},
		"h2c by prior knowledge": {
			"http://" + port + "/a", "HTTP/2.0 GET " + port + "/a via=tcp asked=- tls=false alpn= body=", &http.Transport{Protocols: onlyH2C()},
		},
		"SOCKS5 and h2c": {
			"http://dep.example/a", "HTTP/2.0 GET dep.example/a via=socks5 asked=dep.example:80 tls=false alpn= body=",
			&http.Transport{Protocols: onlyH2C(), Proxy: http.ProxyURL(r.proxyURL("socks5"))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, test.transport)
			for range 2 { // the connection is reused
				if got := get(t, c, test.url); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			}
		})
	}
}

func onlyH2C() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func TestSOCKS4And4a(t *testing.T) {
	r := start(t, front.Config{})
	for name, test := range map[string]struct{ request, want string }{
		"4":  {"\x04\x01\x00\x50\x0a\x01\x02\x03\x00", "HTTP/1.0 GET dep.example/a via=socks4 asked=10.1.2.3:80 tls=false alpn= body="},
		"4a": {"\x04\x01\x00\x50\x00\x00\x00\x01me\x00dep.example\x00", "HTTP/1.0 GET dep.example/a via=socks4 asked=dep.example:80 tls=false alpn= body="},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, r.Addr().String())
			io.WriteString(c, test.request)
			reply := make([]byte, 8)
			if _, err := io.ReadFull(c, reply); err != nil || reply[1] != 0x5a {
				t.Fatalf("reply %x, %v", reply, err)
			}
			io.WriteString(c, "GET /a HTTP/1.0\r\nHost: dep.example\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			if string(body) != test.want {
				t.Errorf("got  %s\nwant %s", body, test.want)
			}
		})
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

// A client that has sent requests to a proxy may open a tunnel on the same connection.
func TestTunnelBehindARequest(t *testing.T) {
	r := start(t, front.Config{})
	c := dial(t, r.Addr().String())
	in := bufio.NewReader(c)
	io.WriteString(c, "GET http://dep.example/a HTTP/1.1\r\nHost: dep.example\r\n\r\n")
	expect(t, in, nil, "HTTP/1.1 GET http://dep.example/a via=tcp asked=- tls=false alpn= body=")
	io.WriteString(c, "CONNECT other.example:80 HTTP/1.1\r\nHost: other.example:80\r\n\r\nGET /b HTTP/1.1\r\nHost: other.example\r\n\r\n") // in one write
	expect(t, in, &http.Request{Method: http.MethodConnect}, "")
	expect(t, in, nil, "HTTP/1.1 GET other.example/b via=connect asked=other.example:80 tls=false alpn= body=")
}

func expect(t *testing.T, in *bufio.Reader, q *http.Request, want string) {
	t.Helper()
	res, err := http.ReadResponse(in, q)
	if err != nil {
		t.Fatal(err)
	}
	if q != nil && q.Method == http.MethodConnect {
		if res.StatusCode != http.StatusOK {
			t.Fatalf("got %s", res.Status)
		}
		return
	}
	body, err := io.ReadAll(res.Body)
	if string(body) != want || err != nil {
		t.Errorf("got  %s, %v\nwant %s", body, err, want)
	}
}

func TestTunnelWithoutAPort(t *testing.T) { // as gRPC for Go requests it
	r := start(t, front.Config{})
	c := dial(t, r.Addr().String())
	in := bufio.NewReader(c)
	io.WriteString(c, "CONNECT dep.example HTTP/1.1\r\nHost: dep.example\r\n\r\n")
	expect(t, in, &http.Request{Method: http.MethodConnect}, "")
	io.WriteString(c, "*1\r\n$4\r\nPING\r\n")
	c.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(in)
	if want := `stream "*1\r\n$4\r\nPING\r\n" via=connect asked=dep.example:443 tls=false alpn=`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTunnelToNoHost(t *testing.T) {
	r := start(t, front.Config{})
	for _, target := range []string{"dep.example:0", "dep.example:99999", "de p:80", "a@b:80", strings.Repeat("a", 300) + ":80"} {
		c := dial(t, r.Addr().String())
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
		res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
		if err != nil || res.StatusCode != http.StatusBadRequest {
			t.Errorf("CONNECT %s: %v, %v", target, res, err)
		}
	}
}

// The first request of an upgrade is answered in HTTP/2, on stream 1.
func TestUpgradeToH2C(t *testing.T) {
	r := start(t, front.Config{})
	c := dial(t, r.Addr().String())
	in := bufio.NewReader(c)
	io.WriteString(c, "POST /a HTTP/1.1\r\nHost: dep.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 4\r\n\r\nbody")
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	io.WriteString(c, http2.ClientPreface)
	framer := http2.NewFramer(c, in)
	framer.WriteSettings()
	var body strings.Builder
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := f.(*http2.DataFrame); ok {
			body.Write(d.Data())
			if d.StreamEnded() {
				break
			}
		}
	}
	if want := "HTTP/1.1 POST dep.example/a via=tcp asked=- tls=false alpn= body=body"; body.String() != want {
		t.Errorf("got  %s\nwant %s", body.String(), want)
	}
}

func TestMapsStandForHosts(t *testing.T) {
	maps := []front.Map{
		must(front.ParseMap("0=http://dep.example")), must(front.ParseMap("127.0.0.1:0=postgres://db")), must(front.ParseMap("0=dep.example:7000")),
	}
	r := start(t, front.Config{Maps: maps})
	if got, want := get(t, client(t, &http.Transport{}), "http://"+r.MapAddr(0).String()+"/a"), "HTTP/1.1 GET "+r.MapAddr(0).String()+"/a via=map asked=dep.example:80 tls=false alpn= body="; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for i, want := range map[int]string{
		1: `stream "GET / HTTP/1.1\r\n\r\n" via=map asked=db:5432 tls=false alpn=`, // a port of postgres speaks no HTTP
		2: `HTTP/1.1 400 Bad Request`,
	} {
		c := dial(t, r.MapAddr(i).String())
		io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
		c.(*net.TCPConn).CloseWrite()
		if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	// TLS ends on a mapped port, too, under the name that the client asks for.
	secured, err := tls.Dial("tcp", r.MapAddr(1).String(), &tls.Config{RootCAs: r.roots, ServerName: "db", NextProtos: []string{"postgresql"}})
	if err != nil {
		t.Fatal(err)
	}
	defer secured.Close()
	io.WriteString(secured, "\x00\x00\x00\x08")
	if got, want := string(must(io.ReadAll(secured))), `stream "\x00\x00\x00\b" via=map asked=db:5432 tls=true alpn=`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestMapsThatAreRefused(t *testing.T) {
	for _, text := range []string{"", "5432", "5432=", "x=db:1", "70000=db:1", "1=db", "1=ftp://db:21", "1=db:0", "1=db:70000", "1=d b:1", "1=http://db:80/path", "1=http://", "1=u:p@db:80", "a b:1=db:1"} {
		if m, err := front.ParseMap(text); err == nil {
			t.Errorf("%q is taken for %+v", text, m)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if m, err := front.ParseMap("5432=tcp://[::1]:5432"); err != nil || m.Host != "::1" || m.Port != 5432 || m.Listen != "localhost:5432" {
		t.Errorf("got %+v, %v", m, err)
	}
}

// The front does not wait for the client's bytes if the server speaks first.
func TestServerThatSpeaksFirst(t *testing.T) {
	r := start(t, front.Config{
		Expect: func(o front.Origin) front.Expectation {
			return front.Expectation{ServerFirst: o.Host == "mail", ALPN: []string{"smtp"}}
		},
		Stream: func(_ context.Context, c *front.Conn) {
			defer c.Close()
			io.WriteString(c, "220 "+c.Host)
		},
	})
	d, err := proxy.SOCKS5("tcp", r.Addr().String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial("tcp", "mail:25")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := string(must(io.ReadAll(c))); got != "220 mail" {
		t.Errorf("got %q", got)
	}
}

func TestRefusedConnections(t *testing.T) {
	refuse := errors.New("no")
	r := start(t, front.Config{
		Maps: []front.Map{must(front.ParseMap("0=dep.example:80"))},
		Admit: func(o front.Origin) error {
			if o.Host == "dep.example" {
				return refuse
			}
			return nil
		},
	})
	c := dial(t, r.Addr().String())
	io.WriteString(c, "CONNECT dep.example:443 HTTP/1.1\r\nHost: dep.example:443\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusBadGateway {
		t.Errorf("CONNECT: %v, %v", res, err)
	}
	c = dial(t, r.Addr().String())
	c.Write([]byte{5, 1, 0})
	c.Write(binary.BigEndian.AppendUint16(append([]byte{5, 1, 0, 3, byte(len("dep.example"))}, "dep.example"...), 443))
	reply := make([]byte, 2+10)
	if _, err := io.ReadFull(c, reply); err != nil || reply[3] != 5 {
		t.Errorf("SOCKS: %x, %v", reply, err)
	}
	mapped, err := net.Dial("tcp", r.MapAddr(0).String()) // may already see the reset
	if err == nil {
		defer mapped.Close()
		_, err = mapped.Read(reply)
	}
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a mapped port: %v; want a reset", err)
	}
}

func TestClientThatDoesNotTrustTheCA(t *testing.T) {
	told := make(chan string, 1)
	r := start(t, front.Config{Distrusted: func(name string, _ error) { told <- name }})
	_, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{ServerName: "dep.example", RootCAs: x509.NewCertPool()})
	if err == nil {
		t.Fatal("the handshake succeeded")
	}
	if name := <-told; name != "dep.example" {
		t.Errorf("told of %q", name)
	}
}

// A connection reaches one of the handlers or is closed, whatever bytes the client sends first.
func TestFirstBytesOfManyProtocols(t *testing.T) {
	r := start(t, front.Config{})
	for name, test := range map[string]struct{ first, want string }{
		"redis":           {"*1\r\n$4\r\nPING\r\n", "stream"},
		"redis, inline":   {"PING\r\n", "stream"},
		"nats":            {"CONNECT {\"verbose\":false}\r\n", "stream"},
		"stomp":           {"CONNECT\naccept-version:1.2\n\n\x00", "stream"},
		"memcached":       {"get a\r\n", "stream"},
		"mqtt":            {"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", "stream"},
		"amqp":            {"AMQP\x00\x00\x09\x01", "stream"},
		"postgres":        {"\x00\x00\x00\x08\x04\xd2\x16\x2f", "stream"},
		"kafka":           {"\x00\x00\x00\x23\x00\x12\x00\x00", "stream"},
		"a byte":          {"\x00", "stream"},
		"almost TLS":      {"\x16\x03", "stream"},
		"TLS of nothing":  {"\x16\x03\x01\x00\x05hello", "stream"},
		"half a method":   {"GE", "stream"},
		"HTTP":            {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"},
		"blank lines":     {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"},
		"a long method":   {"VERSION-CONTROL /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"},
		"no host":         {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		"HTTP/1.0":        {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200"},
		"a bad SOCKS5":    {"\x05\x01\x02", "\x05\xff"},
		"SOCKS to port 0": {"\x04\x01\x00\x00\x0a\x01\x02\x03\x00", "\x00\x5b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, r.Addr().String())
			io.WriteString(c, test.first)
			c.(*net.TCPConn).CloseWrite()
			got, _ := io.ReadAll(c)
			if !strings.HasPrefix(string(got), test.want) {
				t.Errorf("got %q, want %q…", got, test.want)
			}
		})
	}
}

// The client sees an abort as a reset, even within TLS.
func TestAbortResetsAlsoWithinTLS(t *testing.T) {
	r := start(t, front.Config{HTTP: http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		front.ConnOf(q.Context()).Abort()
		panic(http.ErrAbortHandler)
	})})
	for name, tr := range map[string]*http.Transport{
		"plain": {Proxy: http.ProxyURL(r.proxyURL("http"))},
		"TLS":   {Proxy: http.ProxyURL(r.proxyURL("http")), TLSClientConfig: r.tlsConfig("http/1.1")},
	} {
		scheme := map[string]string{"plain": "http", "TLS": "https"}[name]
		_, err := client(t, tr).Post(scheme+"://dep.example/a", "", nil)
		if err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Idle and silent connections do not keep a Front from ending.
func TestEndWithOpenConnections(t *testing.T) {
	f, err := front.Listen(t.Context(), front.Config{
		Listen: []string{"localhost:0"}, Log: slog.New(slog.DiscardHandler),
		HTTP:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		Stream: func(ctx context.Context, c *front.Conn) { <-ctx.Done(); c.Close() },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Serve(ctx, 100*time.Millisecond) }()
	idle := client(t, &http.Transport{})
	get(t, idle, "http://"+f.Addr().String())
	dial(t, f.Addr().String())
	talking := dial(t, f.Addr().String())
	io.WriteString(talking, "*1\r\n")
	cancel()
	<-done
	if _, err := net.Dial("tcp", f.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func FuzzFirstBytes(f *testing.F) {
	for _, seed := range []string{"GET / HTTP/1.1\r\n", "CONNECT {", "\x16\x03\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "*1\r\n", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if front.LooksLikeHTTP(p) && strings.TrimLeft(string(p), "\r\n") == "" {
			t.Errorf("%q is not HTTP", p)
		}
	})
}

func FuzzParseMap(f *testing.F) {
	f.Add("5432=postgres://db:5432")
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := front.ParseMap(text); err == nil && (m.Host == "" || m.Port <= 0 || m.Port > 65535 || m.Listen == "") {
			t.Errorf("%q: %+v", text, m)
		}
	})
}
