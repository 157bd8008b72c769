package mock

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	socks "golang.org/x/net/proxy"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/fakedns"
	"github.com/tapedeck/tapedeck/proxy/upstream"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/sidecar"
)

// far is the name of all dependencies of a workload whose copy is chained to the mock. Go's test
// certificates are valid for this name. DNS resolves it to loopback. Only the recording pod
// has it as its own name, so a copy that connects to it directly would be refused.
const far = "example.com"

// dependencies are servers of every kind, with the name far.
type dependencies struct {
	plain, secure, calls, h2c *httptest.Server
	streams, greets           net.Listener
}

func newDependencies(t *testing.T) *dependencies {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s says %s", r.Host, r.Proto) })
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d bytes", n)
	})
	mux.HandleFunc("GET /chat", chat(false))
	d := &dependencies{
		plain: httptest.NewServer(mux), secure: httptest.NewUnstartedServer(mux), calls: rpc(t), h2c: httptest.NewUnstartedServer(mux),
		streams: lineServer(t, ""), greets: lineServer(t, "ready\x00"),
	}
	d.secure.EnableHTTP2 = true
	d.secure.StartTLS()
	d.h2c.Config.Protocols = new(http.Protocols)
	d.h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	d.h2c.Start()
	for _, s := range d.servers() {
		s.URL = strings.Replace(s.URL, "127.0.0.1", far, 1)
	}
	t.Cleanup(d.close)
	return d
}

func (d *dependencies) servers() []*httptest.Server {
	return []*httptest.Server{d.plain, d.secure, d.calls, d.h2c}
}

func (d *dependencies) close() {
	for _, s := range d.servers() {
		s.Close()
	}
	d.streams.Close()
	d.greets.Close()
}

// ports returns the ports of all servers.
func (d *dependencies) ports() (all []int) {
	for _, l := range []net.Listener{d.plain.Listener, d.secure.Listener, d.calls.Listener, d.h2c.Listener, d.streams, d.greets} {
		all = append(all, l.Addr().(*net.TCPAddr).Port)
	}
	return all
}

func at(l net.Listener) string {
	return net.JoinHostPort(far, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// ask calls all dependencies, in all protocols, and returns their answers.
func (d *dependencies) ask(t *testing.T, w *world) map[string]string {
	got := map[string]string{}
	note := func(name string, heard any, err error) {
		if err != nil {
			heard = fmt.Sprint(heard, ", ", err)
		}
		got[name] = fmt.Sprint(heard)
	}
	http1 := func(tr *http.Transport) {
		tr.ForceAttemptHTTP2 = false
		tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	prior := func(tr *http.Transport) {
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetUnencryptedHTTP2(true)
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return w.tunnel(at(d.h2c.Listener)), nil }
		tr.Proxy = nil
	}
	c := w.client(http1)
	note("HTTP/1.1", fetch(t, c, "GET", d.plain.URL, "").body, nil)
	note("HTTP/1.1 again", fetch(t, c, "POST", d.plain.URL, strings.Repeat("x", 100_000)).body, nil)
	note("HTTPS", fetch(t, c, "GET", d.secure.URL, "").body, nil)
	note("h2", fetch(t, w.client(), "GET", d.secure.URL, "").body, nil)
	note("h2c", fetch(t, w.client(prior), "GET", d.h2c.URL, "").body, nil)
	for call, say := range map[string][]string{"Unary": {"x"}, "Serve": {"x"}, "Collect": {"x", "y"}, "Chat": {"x", "y"}, "Fail": {"x"}} {
		heard, status := invoke(t, w.client(), d.calls.URL+"/t.T/"+call, call == "Chat", say...)
		note("gRPC "+call, fmt.Sprint(heard, status), nil)
	}
	for name, s := range map[string]*httptest.Server{"WebSocket": d.plain, "WebSocket in TLS": d.secure} {
		heard, err := talk(w, s, "a", false, "hello", "\x00\x01")
		note(name, heard, err)
	}
	heard, err := converse(t, w.tunnel(at(d.streams)), 0, "get a\x00", "quit\x00")
	note("a stream", heard, err)
	heard, err = converse(t, w.tunnel(at(d.greets)), len("ready\x00"), "get a\x00", "quit\x00")
	note("a stream in which the server speaks first", heard, err)
	return got
}

// ways lists how an application reaches its sidecar.
var ways = map[string]func(*world){
	"HTTP": func(*world) {},
	"SOCKS5": func(w *world) {
		w.through = func(tr *http.Transport) { tr.Proxy = http.ProxyURL(&url.URL{Scheme: "socks5h", Host: w.addr}) }
		w.open = func(address string) net.Conn {
			d, err := socks.SOCKS5("tcp", w.addr, nil, nil)
			if err != nil {
				w.t.Fatal(err)
			}
			c, err := d.Dial("tcp", address)
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(20 * time.Second))
			return c
		}
	},
	"hosts file": func(w *world) {
		w.open = func(address string) net.Conn {
			_, port, _ := net.SplitHostPort(address)
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.1.1", port))
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(20 * time.Second))
			return c
		}
		w.through = func(tr *http.Transport) {
			tr.Proxy = nil
			tr.DialContext = func(_ context.Context, _, address string) (net.Conn, error) { return w.open(address), nil }
		}
	},
}

// copyOf starts the sidecar of a copy. It sends everything to the mock, and waits for the mock's
// readiness.
func copyOf(t *testing.T, m *mocked, scheme string, captured []int) *world {
	t.Helper()
	ready := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(ready.Close)
	w, _, stop := besides(t, m.Authority, []*x509.Certificate{m.Authority.Certificate()}, func(cfg *sidecar.Config) {
		proxy := scheme + "://" + m.Addr().String()
		cfg.Proxies = upstream.Proxies{HTTP: proxy, HTTPS: proxy, All: proxy}
		cfg.UpstreamReady = ready.URL
		cfg.Identity.Pod = "copy-0"
		if len(captured) > 0 {
			cfg.Hosts = []contract.CaptureHost{{Name: far, Ports: captured}}
		}
	})
	t.Cleanup(stop)
	return w
}

// A copy that is chained to the mock gets the same answers as the application, although the
// dependencies are gone. This holds for every protocol, and for every way in which an application
// reaches its sidecar.
func TestACopyHearsWhatTheApplicationHeard(t *testing.T) {
	fakedns.Use(t, map[string]string{far: "127.0.0.1"})
	d := newDependencies(t)
	var want map[string]string
	exchanges := record(t, d.servers(), func(w *world) { want = d.ask(t, w) }, func(cfg *sidecar.Config) { cfg.Identity.Pod = far })
	if len(want) != 14 || want["HTTPS"] != strings.TrimPrefix(d.secure.URL, "https://")+" says HTTP/1.1" || want["h2c"] != at(d.h2c.Listener)+" says HTTP/2.0" ||
		want["a stream in which the server speaks first"] != "ready\x00GET A\x00bye\x00" {
		t.Fatalf("%q", want)
	}
	ports := d.ports()
	d.close()
	for _, scheme := range []string{"socks5h", "http"} {
		for way, use := range ways {
			t.Run(way+" by "+scheme, func(t *testing.T) {
				m := start(t, exchanges)
				w := copyOf(t, m, scheme, ports)
				use(w)
				if diff := cmp.Diff(want, d.ask(t, w)); diff != "" {
					t.Error(diff)
				}
				m.stop()
				if r := m.Receipt(); r.Missed != 0 || r.NeverUsed != 0 || r.Escaped != 0 || r.Distrusted != 0 {
					t.Errorf("receipt %s", &r)
				}
			})
		}
	}
}

// The Host field may name another host than the one that the client connects to. The exchange is
// recorded under Host, and the copy's sidecar tells the mock both.
func TestACopySaysHostAsTheApplicationDid(t *testing.T) {
	e := exchange(0, "GET", "http://virtual.example/a", "", 200, "a")
	e.NetworkAddress = "10.1.2.3:8080"
	m := start(t, []*recording.Exchange{e})
	w := copyOf(t, m, "socks5h", nil)
	c := w.dial()
	io.WriteString(c, "GET http://10.1.2.3:8080/a HTTP/1.1\r\nHost: virtual.example\r\nAccept: */*\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		t.Errorf("%q, %v", got, err)
	}
}

// A request that was not recorded is a miss, and reaches no other server, even if the mock is gone.
func TestACopyReachesNobodyElse(t *testing.T) {
	fakedns.Use(t, map[string]string{far: "127.0.0.1"})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s is asked for %s", r.Host, r.URL) }))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	m := start(t, []*recording.Exchange{exchange(0, "GET", "http://dep.example/a", "", 200, "a")})
	w := copyOf(t, m, "socks5h", []int{port})
	address := net.JoinHostPort(far, strconv.Itoa(port))
	for way, use := range ways {
		w := *w
		use(&w)
		if a := fetch(t, w.client(), "GET", "http://"+address+"/new", ""); a.status != http.StatusNotImplemented {
			t.Errorf("%s: %d %s", way, a.status, a.body)
		}
		if got, err := converse(t, w.tunnel(address), 0, "\x00\x00\x00\x08\x04\xd2\x16\x2f"); err == nil { // a question of PostgreSQL's
			t.Errorf("%s: %q", way, got)
		}
	}
	if r := m.Receipt(); r.Missed != int64(2*len(ways)) || r.Served != 0 {
		t.Errorf("receipt %s", &r)
	}
	m.stop()
	if a := fetch(t, w.client(), "GET", "http://"+address+"/new", ""); a.status != http.StatusBadGateway {
		t.Errorf("%d %s", a.status, a.body)
	}
	var wg sync.WaitGroup
	for _, to := range []string{w.addr, net.JoinHostPort("127.0.1.1", strconv.Itoa(port))} {
		wg.Go(func() {
			c, err := net.Dial("tcp", to)
			if errors.Is(err, syscall.ECONNRESET) && to != w.addr {
				return // the sidecar was faster than the dialer
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if to == w.addr {
				fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", address)
			}
			got, err := io.ReadAll(c)
			if to == w.addr && !strings.HasPrefix(string(got), "HTTP/1.1 502 ") || to != w.addr && (err == nil || errors.Is(err, io.EOF)) {
				t.Errorf("%s: %q, %v", to, got, err)
			}
		})
	}
	wg.Wait()
}
