package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/fakedns"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// podsHosts is the pod's own hosts file.
const podsHosts = "127.0.0.1\tlocalhost\n10.1.2.3\tcheckout-5d9c\n"

// capture returns an edit for a pod in the namespace shop that captures a host. DNS resolves the
// host's name to 127.0.0.1. The name becomes one of the pod's own, because other names may not
// resolve to that.
func capture(t testing.TB, name string, ports ...int) func(*Config) {
	t.Helper()
	etc := t.TempDir()
	write(t, filepath.Join(etc, "hosts"), []byte(podsHosts))
	write(t, filepath.Join(etc, "resolv.conf"), []byte("search shop.svc.cluster.local svc.cluster.local cluster.local\n"))
	fakedns.Use(t, map[string]string{name: "127.0.0.1"})
	return func(c *Config) {
		c.Reverse, c.etc, c.Pod = false, etc, name
		c.Hosts = []contract.CaptureHost{{Name: name, Ports: ports}}
		c.hostsRecheck = time.Millisecond
	}
}

// hostsFile returns the hosts file that the application has.
func (s *sidecar) hostsFile() string {
	content, _ := os.ReadFile(filepath.Join(s.cfg.TrustDir, contract.HostsName))
	return string(content)
}

// metric returns the value of a series in /metrics; "" if there is none.
func (s *sidecar) metric(t testing.TB, series string) string {
	t.Helper()
	resp, err := http.Get("http://" + s.AdminAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for line := range strings.Lines(readAll(t, resp.Body)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func portOf(a net.Addr) int { return a.(*net.TCPAddr).Port }

// addrOf returns the address at which the sidecar listens for a port of the first captured host.
func addrOf(port int) *net.TCPAddr { return &net.TCPAddr{IP: net.IPv4(127, 0, 1, 1), Port: port} }

// hungUp connects, and fails unless the connection is soon reset.
func hungUp(t testing.TB, addr net.Addr) {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

// A client that uses no proxy reaches the host, and its bytes are recorded. The hosts file has the
// pod's own lines, too.
func TestAHostIsCapturedThroughTheHostsFile(t *testing.T) {
	server := serveTCP(t, echo)
	s := run(t, nil, capture(t, "postgres.db", portOf(server)))
	if got := s.hostsFile(); !strings.HasPrefix(got, podsHosts) || !strings.Contains(got, "\n127.0.1.1\tpostgres.db ") || !strings.Contains(got, " postgres.db.svc.cluster.local ") ||
		!strings.Contains(got, "\n::ffff:127.0.1.1\tpostgres.db ") {
		t.Errorf("the application's hosts file:\n%s", got)
	}
	up := fmt.Sprintf(`tapedeck_captured_host_up{host="postgres.db",port="%d"}`, portOf(server))
	if got := s.metric(t, up); got != "1" {
		t.Errorf("%s is %q", up, got)
	}
	c := dial(t, addrOf(portOf(server)))
	io.WriteString(c, "select 1")
	c.CloseWrite()
	if got := readAll(t, c); got != "select 1" {
		t.Errorf("the client got %q", got)
	}
	s.stop()
	flows := s.tape.find(tap.Out)
	if len(flows) != 1 {
		t.Fatalf("the tap saw %d flows", len(flows))
	}
	f := flows[0].flow
	if f.Via != tap.ViaHostsFile || f.Host != "postgres.db" || f.Port != portOf(server) || flows[0].side[tap.FromClient].String() != "select 1" {
		t.Errorf("%+v: %q", f, &flows[0].side[tap.FromClient])
	}
	if !strings.Contains(s.logs.String(), "via=hosts-file") {
		t.Error("the log does not say how the client came")
	}
}

// Resolvers that look only for IPv6 addresses find ::ffff:127.0.1.1, which is the same.
func TestACapturedHostIsReachedInIPv6(t *testing.T) {
	server := serveTCP(t, echo)
	run(t, nil, capture(t, "postgres.db", portOf(server)))
	c, err := net.Dial("tcp", fmt.Sprintf("[::ffff:127.0.1.1]:%d", portOf(server)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "hello")
	c.(*net.TCPConn).CloseWrite()
	if got := readAll(t, c); got != "hello" {
		t.Errorf("the client got %q", got)
	}
}

// psql and PostgreSQL, whose drivers support no proxy, talk through the hosts file.
func TestPostgreSQLThroughTheHostsFile(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("needs psql (Debian: postgresql-client)")
	}
	db := postgres(t, "127.0.0.1", "")
	s := run(t, nil, capture(t, "postgres.db", db.Port))
	cmd := exec.CommandContext(t.Context(), psql, "-X", "-At", "-c", "select 6 * 7",
		fmt.Sprintf("host=postgres.db hostaddr=127.0.1.1 port=%d user=tester dbname=postgres", db.Port))
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "42\n" {
		t.Errorf("%v: %s", err, out)
	}
	s.stop()
	flows := s.tape.find(tap.Out)
	if len(flows) == 0 || !strings.Contains(flows[0].side[tap.FromClient].String(), "select 6 * 7") || flows[0].flow.Via != tap.ViaHostsFile {
		t.Errorf("the tap saw %d flows", len(flows))
	}
}

func TestRedisThroughTheHostsFile(t *testing.T) {
	client, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Skip("needs redis-cli (Debian: redis-tools)")
	}
	server, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("needs redis-server (Debian: redis-server)")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	port := portOf(ln.Addr())
	ln.Close() // for the server to take
	redis := exec.CommandContext(t.Context(), server, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { redis.Process.Kill(); redis.Wait() })
	eventually(t, "redis listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	s := run(t, nil, capture(t, "redis", port))
	out, err := exec.CommandContext(t.Context(), client, "-h", "127.0.1.1", "-p", strconv.Itoa(port), "set", "cart", "tea").CombinedOutput()
	if err != nil || string(out) != "OK\n" {
		t.Errorf("%v: %s", err, out)
	}
	s.stop()
	if flows := s.tape.find(tap.Out); len(flows) == 0 || !strings.Contains(flows[0].side[tap.FromClient].String(), "cart") || flows[0].flow.Host != "redis" {
		t.Errorf("the tap saw %d flows", len(flows))
	}
}

// TLS is intercepted by the name that the client asks for, as in a tunnel.
func TestTLSThroughTheHostsFile(t *testing.T) {
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.Host) })
	ca, pool := caDir(t)
	port := portOf(srv.Listener.Addr())
	edit := capture(t, "example.com", port) // a name in httptest's certificate
	s := run(t, nil, func(c *Config) {
		edit(c)
		c.TLSOut, c.CADir, c.UpstreamCA = true, ca, root
	})
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addrOf(port).String())
		},
	}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(fmt.Sprintf("https://example.com:%d/charge", port))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := readAll(t, resp.Body), fmt.Sprintf("HTTP/2.0 example.com:%d", port); got != want {
		t.Errorf("the client got %q, want %q", got, want)
	}
	resp.Body.Close()
	tr.CloseIdleConnections()
	s.stop()
	flows := s.tape.find(tap.Out)
	if len(flows) != 1 || flows[0].flow.SNI != "example.com" || flows[0].flow.Via != tap.ViaHostsFile || !strings.HasPrefix(flows[0].side[tap.FromClient].String(), preface) {
		t.Errorf("the tap saw %d flows", len(flows))
	}
}

// A client that looks a name up in the hosts file itself, and then asks a proxy for the address,
// means the host, at any port.
func TestAnAddressOfACapturedHostMeansTheHost(t *testing.T) {
	captured := serveTCP(t, echo)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "from the host") })}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	port := portOf(ln.Addr()) // one that is not captured
	s := run(t, nil, capture(t, "postgres.db", portOf(captured)))
	request := fmt.Sprintf("GET / HTTP/1.1\r\nHost: postgres.db:%d\r\nConnection: close\r\n\r\n", port)
	for _, c := range []struct {
		name, ask, reply string
		via              tap.Via
	}{
		{"CONNECT", fmt.Sprintf("CONNECT 127.0.1.1:%[1]d HTTP/1.1\r\nHost: 127.0.1.1:%[1]d\r\n\r\n", port), "HTTP/1.1 200 Connection established\r\n\r\n", tap.ViaConnect},
		{"CONNECT in IPv6", fmt.Sprintf("CONNECT [::ffff:127.0.1.1]:%[1]d HTTP/1.1\r\nHost: [::ffff:127.0.1.1]:%[1]d\r\n\r\n", port), "HTTP/1.1 200 Connection established\r\n\r\n", tap.ViaConnect},
		{"SOCKS4", string([]byte{4, 1, byte(port >> 8), byte(port), 127, 0, 1, 1, 0}), "\x00\x5a\x00\x00\x00\x00\x00\x00", tap.ViaSOCKS4},
		{"SOCKS5", string([]byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 1, 1, byte(port >> 8), byte(port)}), "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01", tap.ViaSOCKS5},
		{"absolute-form", "", "", tap.ViaHTTP},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(s.tape.find(tap.Out))
			conn := dial(t, s.OutAddr())
			r := bufio.NewReader(conn)
			if c.via == tap.ViaHTTP {
				fmt.Fprintf(conn, "GET http://127.0.1.1:%d/ HTTP/1.1\r\nHost: postgres.db\r\nConnection: close\r\n\r\n", port)
			} else {
				io.WriteString(conn, c.ask)
				got := make([]byte, len(c.reply))
				if _, err := io.ReadFull(r, got); err != nil || string(got) != c.reply {
					t.Fatalf("%q, %v, want %q", got, err, c.reply)
				}
				if c.via == tap.ViaSOCKS5 {
					r.Discard(2) // the port
				}
				io.WriteString(conn, request)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp.Body); got != "from the host" {
				t.Errorf("the client got %q", got)
			}
			eventually(t, "the flow is on the tape", func() bool { return len(s.tape.find(tap.Out)) > before })
			if f := s.tape.find(tap.Out)[before].flow; f.Host != "postgres.db" || f.Port != port || f.Via != c.via {
				t.Errorf("recorded as %+v", f)
			}
		})
	}
}

// The sidecar has to look up the host itself. If the name resolves to the sidecar's own address,
// no connection loops, and the log says why it failed.
func TestACapturedHostLeadsToNoLoop(t *testing.T) {
	server := serveTCP(t, echo)
	edit := capture(t, "postgres.db", portOf(server))
	fakedns.Use(t, map[string]string{"postgres.db": "127.0.1.1"})
	s := run(t, nil, edit)
	hungUp(t, addrOf(portOf(server)))
	s.stop()
	if got := s.logs.String(); !strings.Contains(got, "the address of a captured host in the hosts file") || strings.Count(got, "msg=connection") != 1 {
		t.Errorf("the log:\n%s", got)
	}
}

// A client that uses no proxy reaches a captured host without one: without Tapedeck, the
// connection would go straight to the host, whatever the proxy variables say.
func TestACapturedHostIsReachedWithoutAProxy(t *testing.T) {
	var asked atomic.Int64
	corporate := serveTCP(t, func(*net.TCPConn) { asked.Add(1) })
	server := serveTCP(t, echo)
	edit := capture(t, "postgres.db", portOf(server))
	run(t, nil, func(c *Config) {
		edit(c)
		c.Proxies.HTTP, c.Proxies.HTTPS, c.Proxies.All = "http://"+corporate.String(), "http://"+corporate.String(), "socks5://"+corporate.String()
	})
	c := dial(t, addrOf(portOf(server)))
	io.WriteString(c, "hello")
	c.CloseWrite()
	if got := readAll(t, c); got != "hello" || asked.Load() != 0 {
		t.Errorf("the client got %q, and the proxy was asked %d times", got, asked.Load())
	}
}

// A connection to a server that does not answer is reset, and other connections are not affected.
func TestACapturedHostThatIsNotThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(ln.Addr())
	ln.Close()
	s := run(t, nil, capture(t, "postgres.db", port))
	hungUp(t, addrOf(port))
	s.stop()
	if got := s.logs.String(); !strings.Contains(got, "connection refused") {
		t.Errorf("the log:\n%s", got)
	}
}

// If the sidecar can't listen on a port, the application reaches the host directly, as if it were
// not listed. The sidecar tries again.
func TestAPortThatIsTaken(t *testing.T) {
	server := serveTCP(t, echo)
	taken, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	edit := capture(t, "postgres.db", portOf(server), portOf(taken.Addr()))
	other := serveTCP(t, echo)
	s := run(t, nil, func(c *Config) {
		edit(c)
		c.Hosts = append(c.Hosts, contract.CaptureHost{Name: "other.db", Ports: []int{portOf(other)}})
	})
	up := fmt.Sprintf(`tapedeck_captured_host_up{host="postgres.db",port="%d"}`, portOf(taken.Addr()))
	if file := s.hostsFile(); strings.Contains(file, "postgres.db") || !strings.Contains(file, "127.0.1.2\tother.db") || !strings.HasPrefix(file, podsHosts) || s.metric(t, up) != "0" {
		t.Errorf("%s is %s, and the application's hosts file is\n%s", up, s.metric(t, up), file)
	}
	if log := s.logs.String(); strings.Count(log, "a host is not captured") != 1 || !strings.Contains(log, "have it listen on another port") {
		t.Errorf("the log:\n%s", log)
	}
	before, err := os.Stat(filepath.Join(s.cfg.TrustDir, contract.HostsName))
	if err != nil {
		t.Fatal(err)
	}

	taken.Close()
	eventually(t, "the hosts file leads there", func() bool { return strings.Contains(s.hostsFile(), "127.0.1.1\tpostgres.db") })
	if after, err := os.Stat(filepath.Join(s.cfg.TrustDir, contract.HostsName)); err != nil || !os.SameFile(before, after) {
		t.Error("a container that has the file mounted keeps the old one")
	}
	if got := s.metric(t, up); got != "1" {
		t.Errorf("%s is %s", up, got)
	}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", portOf(taken.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := dial(t, addrOf(portOf(taken.Addr())))
	reached, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	reached.Close()
	readAll(t, c)
}

// If the hosts file can't be written, the sidecar does everything else, and writes the file once
// it can.
func TestAHostsFileThatCantBeWritten(t *testing.T) {
	server := serveTCP(t, echo)
	dir := filepath.Join(t.TempDir(), "trust")
	edit := capture(t, "postgres.db", portOf(server))
	s := run(t, nil, func(c *Config) { edit(c); c.TrustDir = dir })
	if log := s.logs.String(); strings.Count(log, "can't write the application's hosts file") != 1 || !strings.Contains(log, dir) {
		t.Errorf("the log:\n%s", log)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hosts file is there", func() bool { return strings.Contains(s.hostsFile(), "postgres.db") })
}

// Listeners for captured hosts leave most of the process's file descriptors to connections.
func TestCapturedHostsLeaveFilesToConnections(t *testing.T) {
	h := &hosts{p: &Proxy{files: newFileLimit(40)}}
	for others, want := range map[int]error{0: nil, 9: nil, 10: syscall.EMFILE} {
		l, err := h.listen(t.Context(), contract.CaptureAddr(0), 0, others)
		if !errors.Is(err, want) {
			t.Errorf("beside %d others: %v, want %v", others, err, want)
		}
		if err == nil {
			l.Close()
		}
	}
}

// A drain treats connections to captured hosts as any outbound ones: they may finish, and no new
// ones are accepted.
func TestADrainLetsConnectionsToCapturedHostsFinish(t *testing.T) {
	server := serveTCP(t, echo)
	s := run(t, nil, capture(t, "postgres.db", portOf(server)))
	c := dial(t, addrOf(portOf(server)))
	io.WriteString(c, "a")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the tape has the flow", func() bool { return len(s.tape.find(tap.Out)) == 1 })
	s.tape.nobodyKnows(s.tape.find(tap.Out)[0]) // so that it is not taken for idle
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	eventually(t, "nobody listens any more", func() bool {
		c, err := net.Dial("tcp", addrOf(portOf(server)).String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	io.WriteString(c, "b")
	c.CloseWrite()
	if got := readAll(t, c); got != "b" {
		t.Errorf("in the drain the client got %q", got)
	}
	<-stopped
	if f := s.tape.find(tap.Out)[0]; f.side[tap.FromServer].String() != "ab" || bytes.Contains(f.side[tap.FromClient].Bytes(), []byte("[gap]")) {
		t.Errorf("recorded %q", &f.side[tap.FromServer])
	}
}

// /connections shows connections to captured hosts, by the host's name.
func TestConnectionsToCapturedHostsAreShown(t *testing.T) {
	server := serveTCP(t, echo)
	s := run(t, nil, capture(t, "postgres.db", portOf(server)))
	c := dial(t, addrOf(portOf(server)))
	io.WriteString(c, "a")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + s.AdminAddr().String() + "/connections")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := readAll(t, resp.Body); !strings.Contains(got, `"Via": "hosts-file"`) || !strings.Contains(got, fmt.Sprintf(`"Target": "postgres.db:%d"`, portOf(server))) {
		t.Errorf("%s", got)
	}
}

func TestPortsThatNoHostCanBeCapturedAt(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Config)
		want string
	}{
		"the application's":                   {func(c *Config) {}, "TAPEDECK_CAPTURE_HOSTS: other:8080: that port is the application's, which could not listen on it"},
		"the application's, elsewhere":        {func(c *Config) { c.In[0].App.Host = "app.example" }, ""},
		"that of metrics":                     {func(c *Config) { c.PrometheusPort = 9090 }, "other:9090: that port is PROMETHEUS_PORT"},
		"an inbound one of every address":     {func(c *Config) { c.InAll = true }, "other:4143: that port is PROXY_IN_PORT"},
		"those of loopback, which is another": {func(c *Config) { c.In[0].App.Port = 8081 }, ""},
		"none, without a forward proxy":       {func(c *Config) { c.Forward = false }, "TAPEDECK_CAPTURE_HOSTS: the forward proxy captures hosts, and PROXY_TYPE turns it off"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{
				Reverse: true, Forward: true, OutPort: 4140, AdminPort: 4100, In: []Inbound{{Port: 4143, App: App{Host: "localhost", Port: 8080}}},
				Hosts: []contract.CaptureHost{{Name: "other", Ports: []int{8080, 9090, 4143, 4140, 4100}}},
			}
			c.edit(&cfg)
			err := cfg.Check()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
