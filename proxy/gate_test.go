package proxy

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// farAway is a server that only a proxy can reach. Elsewhere its name resolves to loopback, which
// is refused.
const farAway = "dep.example"

// chained starts a server at farAway, a proxy that leads there, and a sidecar whose only way out
// is that proxy. The URL ready has the proxy's health.
func chained(t *testing.T, ready string, edit func(*Config)) (s, proxy *sidecar, port int, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		io.WriteString(w, "the secret")
	}))
	t.Cleanup(srv.Close)
	port = portOf(srv.Listener.Addr())
	captured := capture(t, farAway, port)
	proxy = run(t, nil, func(c *Config) { c.Pod = farAway })
	s = run(t, srv.Listener.Addr(), func(c *Config) {
		captured(c)
		c.Pod, c.Reverse = "", true
		c.Proxies = upstream.Proxies{HTTP: "socks5h://" + proxy.OutAddr().String(), HTTPS: proxy.out(), All: "socks5h://" + proxy.OutAddr().String()}
		if c.UpstreamReady = ready; ready == "" {
			c.UpstreamReady = "http://" + proxy.AdminAddr().String() + "/healthz"
		}
		if edit != nil {
			edit(c)
		}
	})
	return s, proxy, port, asked
}

// allWays returns ways, and the way of a client that uses no proxy.
func allWays() map[string]func(*testing.T, *sidecar, string, int, string) string {
	all := maps.Clone(ways)
	all["hosts file"] = func(t *testing.T, s *sidecar, _ string, port int, field string) string {
		return askIn(t, dial(t, addrOf(port)), "", field)
	}
	return all
}

// A client waits until the proxy is ready, whichever way it asks, and is answered then. Nothing
// else waits: the sidecar is ready, and the application is called.
func TestConnectionsWaitForTheProxy(t *testing.T) {
	for way, ask := range allWays() {
		t.Run(way, func(t *testing.T) {
			var status, polls atomic.Int64
			status.Store(http.StatusServiceUnavailable)
			health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				polls.Add(1)
				w.Header().Set("Location", "/")
				w.WriteHeader(int(status.Load()))
			}))
			defer health.Close()
			s, _, port, asked := chained(t, health.URL+"/healthz", nil)
			answer := make(chan string)
			go func() { answer <- ask(t, s, farAway, port, farAway) }()
			eventually(t, "a connection waits", func() bool { return s.gate.waiting.Load() == 1 })
			for path, from := range map[string]net.Addr{"/healthz": s.AdminAddr(), "/": s.InAddr()} {
				c := dial(t, from)
				fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path)
				if got := readAll(t, c); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
					t.Errorf("%s of %s: %q", path, from, got)
				}
			}
			status.Store(http.StatusFound) // a redirect does not count
			before := polls.Load()
			eventually(t, "it is asked again", func() bool { return polls.Load() >= before+2 })
			select {
			case got := <-answer:
				t.Fatalf("it did not wait, and got %q", got)
			default:
			}
			if got := asked.Load(); got != 1 { // inbound
				t.Errorf("the server was asked %d times while the proxy was not ready", got-1)
			}
			status.Store(http.StatusOK)
			if got := <-answer; !strings.Contains(got, "the secret") {
				t.Errorf("%q", got)
			}
			status.Store(http.StatusServiceUnavailable) // it opens for good
			if got := ask(t, s, farAway, port, farAway); !strings.Contains(got, "the secret") {
				t.Errorf("%q", got)
			}
			s.stop()
			for _, line := range []string{"is not ready: outbound connections wait", "is ready: outbound connections proceed"} {
				if n := strings.Count(s.logs.String(), line); n != 1 {
					t.Errorf("the log says %d times that %s", n, line)
				}
			}
		})
	}
}

// never is the URL of a proxy that doesn't exist.
const never = "http://127.0.0.1:1/healthz"

// A client that gives up frees its place.
func TestAWaitEndsWithTheClient(t *testing.T) {
	s, _, port, _ := chained(t, never, nil)
	for name, opening := range map[string]string{
		"absolute-form": fmt.Sprintf("GET http://%s:%d/ HTTP/1.1\r\nHost: x\r\n\r\n", farAway, port),
		"CONNECT":       fmt.Sprintf("CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n", farAway, port),
		"SOCKS4a":       "\x04\x01\x00\x50\x00\x00\x00\x01\x00" + farAway + "\x00",
		"hosts file":    "select 1",
	} {
		t.Run(name, func(t *testing.T) {
			to := s.OutAddr()
			if name == "hosts file" {
				to = addrOf(port)
			}
			c := dial(t, to)
			io.WriteString(c, opening)
			eventually(t, "it waits", func() bool { return s.gate.waiting.Load() == 1 })
			c.Close()
			eventually(t, "it waits no more", func() bool { return s.gate.waiting.Load() == 0 && s.conns.countOf(tap.Out) == 0 })
		})
	}
}

// A connection beyond the limit on waiting ones is refused immediately.
func TestOnlySoManyConnectionsWait(t *testing.T) {
	s, _, port, _ := chained(t, never, nil)
	s.gate.waiting.Add(maxWaiting)
	if got := ways["absolute-form"](t, s, farAway, port, "x"); !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, "1024 connections already wait for it") {
		t.Errorf("%q", got)
	}
	if got := s.gate.waiting.Load(); got != maxWaiting {
		t.Errorf("%d wait", got)
	}
}

// A pod that is stopped does not wait for a proxy that never came.
func TestADrainEndsWaits(t *testing.T) {
	s, _, port, asked := chained(t, never, func(c *Config) { c.Drain = time.Hour })
	answer := make(chan string)
	go func() {
		c := dial(t, s.OutAddr())
		fmt.Fprintf(c, "GET http://%s:%d/ HTTP/1.1\r\nHost: x\r\n\r\n", farAway, port)
		got, _ := io.ReadAll(c)
		answer <- string(got)
	}()
	eventually(t, "it waits", func() bool { return s.gate.waiting.Load() == 1 })
	s.stop()
	if got := <-answer; strings.Contains(got, "200") || asked.Load() != 0 {
		t.Errorf("%q", got)
	}
}

// If a proxy is the only way out, every connection uses it: those to hosts that NO_PROXY lists, to
// hosts of the hosts file, and to a metadata server. Only loopback belongs to the pod itself.
func TestTheProxyIsTheOnlyWayOut(t *testing.T) {
	for way, ask := range allWays() {
		t.Run(way, func(t *testing.T) {
			s, proxy, port, asked := chained(t, "", func(c *Config) { c.Proxies.NoProxy = "*" })
			if got := ask(t, s, farAway, port, farAway); !strings.Contains(got, "the secret") || asked.Load() != 1 {
				t.Errorf("%q", got)
			}
			if got := len(proxy.outbound()); got != 1 {
				t.Errorf("the proxy had %d connections", got)
			}
			if way == "hosts file" {
				return
			}
			for _, host := range []string{"localhost", "127.0.0.1", "127.1"} {
				if got := ask(t, s, host, port, host); !strings.Contains(got, "the secret") || len(proxy.outbound()) != 1 {
					t.Errorf("%s: %q", host, got)
				}
			}
			for _, host := range []string{"169.254.169.254", "2852039166", "metadata.google.internal", "METADATA.goog.", "fd00:ec2::254", "::ffff:169.254.170.2", "100.100.100.200"} {
				if got := ask(t, s, host, 80, host); !strings.HasPrefix(got, "refused ") && !strings.HasPrefix(got, "HTTP/1.1 403 ") || len(proxy.outbound()) != 1 {
					t.Errorf("%s: %q", host, got)
				}
			}
		})
	}
}

// outbound returns the forward proxy's open and past connections.
func (s *sidecar) outbound() (all []View) {
	live, ended := s.conns.views()
	for _, v := range append(live, ended...) {
		if v.Direction == tap.Out.String() {
			all = append(all, v)
		}
	}
	return all
}

// If the sidecar can't listen at a captured host's address, it leaves the host out of the hosts
// file, so that the application reaches it. If a proxy is the only way out, the application must
// not reach it.
func TestAHostThatCannotBeCapturedIsReachedByNobody(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for ready, want := range map[string]bool{"": false, never: true} {
		captured := capture(t, farAway, portOf(taken.Addr()))
		s := run(t, nil, func(c *Config) {
			captured(c)
			c.UpstreamReady = ready
		})
		if ready != "" { // the probe must have ended before the next turn replaces the resolver
			eventually(t, "the proxy is probed", func() bool { return strings.Contains(s.logs.String(), "the chained proxy is not ready") })
		}
		if got := strings.Contains(s.hostsFile(), "127.0.1.1\t"+farAway); got != want {
			t.Errorf("chained to %q, the hosts file is\n%s", ready, s.hostsFile())
		}
		s.stop()
	}
}

// If the proxy is gone, or can't be used, nothing goes without it.
func TestNothingGoesDirectlyWhenTheProxyIsGone(t *testing.T) {
	ready := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer ready.Close()
	for name, proxies := range map[string]upstream.Proxies{
		"gone":        {HTTP: "socks5h://127.0.0.1:1", HTTPS: "http://127.0.0.1:1", All: "socks5h://127.0.0.1:1"},
		"no URL":      {HTTP: "gopher://proxy", HTTPS: "http://127.0.0.1:1/path", All: "gopher://proxy"},
		"not there":   {HTTP: "http://nowhere.example:4140", HTTPS: "http://nowhere.example:4140", All: "http://nowhere.example:4140"},
		"without one": {},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, port, asked := chained(t, ready.URL, func(c *Config) { c.Proxies, c.Pod = proxies, farAway })
			hungUp(t, addrOf(port))
			for way, ask := range ways {
				got := ask(t, s, farAway, port, farAway)
				if asked.Load() != 0 || strings.Contains(got, "the secret") || way == "absolute-form" && !strings.HasPrefix(got, "HTTP/1.1 502 ") ||
					way == "CONNECT" && !strings.Contains(got, "HTTP/1.1 502 ") {
					t.Errorf("%s: %q", way, got)
				}
			}
		})
	}
}
