package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fakedns"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// ways are the ways in which a client asks the forward proxy for a host. Each asks for /secret
// there, and returns the answer.
var ways = map[string]func(t *testing.T, s *sidecar, host string, port int, field string) string{
	"absolute-form": func(t *testing.T, s *sidecar, host string, port int, field string) string {
		c := dial(t, s.OutAddr())
		fmt.Fprintf(c, "GET http://%s/secret HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", net.JoinHostPort(host, fmt.Sprint(port)), field)
		return readAll(t, c)
	},
	"CONNECT": func(t *testing.T, s *sidecar, host string, port int, field string) string {
		c := dial(t, s.OutAddr())
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", net.JoinHostPort(host, fmt.Sprint(port)), field)
		return askIn(t, c, "HTTP/1.1 200 Connection established\r\n\r\n", field)
	},
	"SOCKS4a": func(t *testing.T, s *sidecar, host string, port int, field string) string {
		c := dial(t, s.OutAddr())
		c.Write(append([]byte{4, 1, byte(port >> 8), byte(port), 0, 0, 0, 1, 0}, host+"\x00"...))
		return askIn(t, c, "\x00\x5a\x00\x00\x00\x00\x00\x00", field)
	},
	"SOCKS5": func(t *testing.T, s *sidecar, host string, port int, field string) string {
		c := dial(t, s.OutAddr())
		c.Write(append(append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...), byte(port>>8), byte(port)))
		granted := make([]byte, 12)
		if _, err := io.ReadFull(c, granted); err != nil || granted[3] != 0 {
			return fmt.Sprintf("refused %v, %v", granted, err)
		}
		return askIn(t, c, "", field)
	},
}

// askIn sends a request in a tunnel, once it is granted.
func askIn(t *testing.T, c *net.TCPConn, granted, field string) string {
	answer := make([]byte, len(granted))
	if n, err := io.ReadFull(c, answer); err != nil || string(answer) != granted {
		return fmt.Sprintf("refused %q, %v", answer[:n], err)
	}
	fmt.Fprintf(c, "GET /secret HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", field)
	return readAll(t, c)
}

// A service that listens only on loopback relies on being unreachable from outside. Somebody else
// may point a name at loopback, and through a proxy the client can't see where the name leads.
func TestNamesThatLeadToLoopback(t *testing.T) {
	var reached atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		io.WriteString(w, "the secret")
	}))
	defer srv.Close()
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	fakedns.UseInTurn(t, map[string][]string{
		"rebind.example": {"127.0.0.1"}, "mapped.example": {"::ffff:127.0.0.1"}, "six.example": {"::1"}, "any.example": {"0.0.0.0"},
		"other.example": {"127.9.9.9"}, "nat64.example": {"64:ff9b::7f00:1"}, "own-pod": {"127.0.0.1"},
		"once.example": {"192.0.2.1", "127.0.0.1"},
	})
	s := run(t, nil, func(c *Config) { c.Pod = "own-pod" })
	for name, ask := range ways {
		t.Run(name, func(t *testing.T) {
			for _, host := range []string{"rebind.example", "REBIND.example", "rebind.example.", "mapped.example", "six.example", "any.example", "other.example", "nat64.example"} {
				before := reached.Load()
				answer := ask(t, s, host, port, host)
				refused := strings.HasPrefix(answer, "refused ") || strings.HasPrefix(answer, "HTTP/1.1 403 ")
				if !refused || strings.Contains(answer, "the secret") || reached.Load() != before {
					t.Errorf("%s: %q", host, answer)
				}
				if name == "absolute-form" && !strings.Contains(answer, "loopback: allowed are localhost") {
					t.Errorf("%s: the answer does not say why: %q", host, answer)
				}
			}
			for _, host := range []string{"localhost", "LocalHost", "app.localhost", "own-pod", "127.0.0.1", "127.1", "2130706433"} {
				if answer := ask(t, s, host, port, host); !strings.Contains(answer, "the secret") {
					t.Errorf("%s: %q", host, answer)
				}
			}
			for _, host := range []string{"localhost", "app.localhost", "127.0.0.1", "127.1", "0x7f000001", "0", "own-pod", "rebind.example"} {
				if answer := ask(t, s, host, s.AdminAddr().(*net.TCPAddr).Port, host); strings.Contains(answer, "200 OK") || strings.Contains(answer, "404") {
					t.Errorf("the admin port, by %s: %q", host, answer)
				}
			}
		})
	}
}

// The answer of a metadata server is relayed, and no byte of it reaches the tap, whichever entry
// and name the client uses. Inbound, the same Host is like any other.
func TestMetadataServersAreNotRecorded(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the secret") }))
	defer srv.Close()
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	fakedns.Use(t, map[string]string{"metadata.google.internal": "127.0.0.1", "metadata.goog": "127.0.0.1"})
	s := run(t, srv.Listener.Addr(), nil)
	flows := 0
	for _, name := range []string{"metadata.google.internal", "Metadata.Google.Internal.", "METADATA.goog"} {
		for way, ask := range ways {
			if answer := ask(t, s, name, port, name); !strings.Contains(answer, "the secret") {
				t.Errorf("%s, %s: %q", way, name, answer)
			}
			flows++
		}
	}
	// Requests to it come on one connection with others, and only Host names it here.
	c := dial(t, s.OutAddr())
	for _, field := range []string{"a", "metadata.google.internal", "b", "169.254.169.254:80", "[fd00:ec2::254]", "c"} {
		fmt.Fprintf(c, "GET http://127.0.0.1:%d/%s HTTP/1.1\r\nHost: %s\r\n\r\n", port, strings.Trim(field, "[]"), field)
	}
	c.CloseWrite()
	if answer := readAll(t, c); strings.Count(answer, "the secret") != 6 {
		t.Errorf("%q", answer)
	}
	flows += 2 // the two in a row have one
	// The metadata server can't be reached here.
	if answer := ways["absolute-form"](t, s, "metadata.goog", 1, "metadata.goog"); !strings.HasPrefix(answer, "HTTP/1.1 502 ") {
		t.Errorf("%q", answer)
	}
	flows++
	in := dial(t, s.InAddr())
	io.WriteString(in, "GET /in HTTP/1.1\r\nHost: metadata.google.internal\r\nConnection: close\r\n\r\n")
	readAll(t, in)
	if got := metricOf(t, s, "tapedeck_metadata_flows_total"); got != fmt.Sprint(flows) {
		t.Errorf("counted %s, want %d", got, flows)
	}
	s.stop()
	var taped string
	for _, f := range s.tape.find(tap.Out) {
		taped += f.side[tap.FromClient].String()
	}
	if want := "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\nGET /c HTTP/1.1\r\nHost: c\r\n\r\n"; taped != want {
		t.Errorf("the tap was given %q, want %q", taped, want)
	}
	if in := s.tape.find(tap.In); len(in) != 1 || !strings.Contains(in[0].side[tap.FromServer].String(), "the secret") {
		t.Error("what came in was not recorded")
	}
}

func metricOf(t *testing.T, s *sidecar, name string) string {
	t.Helper()
	resp, err := http.Get("http://" + s.AdminAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	for line := range strings.Lines(readAll(t, resp.Body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "nothing"
}

// A web page can't read the admin port by a name that resolves to loopback.
func TestTheAdminPortIsForLoopback(t *testing.T) {
	s := run(t, nil, nil)
	port := s.AdminAddr().(*net.TCPAddr).Port
	for field, want := range map[string]string{
		"127.0.0.1": "200", fmt.Sprint("127.0.0.1:", port): "200", "localhost": "200", "localhost:8080": "200", "LOCALHOST:1": "200",
		"[::1]": "200", "[::1]:4100": "200", "app.localhost:1": "200", "127.0.0.2": "200", "": "200", "[::ffff:127.0.0.1]:1": "200",
		"rebind.example": "403", "rebind.example:4100": "403", "localhost.example": "403", "10.0.0.1:4100": "403", "127.0.0.1.nip.io": "403",
		"0.0.0.0": "403", "[::]": "403", "2130706433": "403", "localhost:80@evil": "4", "x:127.0.0.1": "4", "[::1": "4", ":80": "403",
	} {
		for _, path := range []string{"/healthz", "/metrics", "/connections", "/status", "http://rebind.example/healthz"} {
			c := dial(t, s.AdminAddr())
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, field)
			want := want
			if strings.HasPrefix(path, "http:") {
				want = "4" // that host counts
			}
			if answer := readAll(t, c); !strings.HasPrefix(answer, "HTTP/1.1 "+want) {
				t.Errorf("%q, %s: %.100q, want %s", field, path, answer, want)
			}
		}
	}
}
