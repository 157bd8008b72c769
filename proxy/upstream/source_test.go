package upstream

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// seen starts a server on host and returns its port, and the address of each
// client that it saw.
func seen(t *testing.T, host string) (port int, clients <-chan netip.Addr) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("this host has no %s: %v", host, err)
	}
	saw := make(chan netip.Addr, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			saw <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().(*net.TCPAddr).Port, saw
}

// outside returns an address of this host that is not a loopback address.
func outside(t *testing.T) string {
	t.Helper()
	for addr := range ownAddrs() {
		if addr.Is4() && addr.IsGlobalUnicast() {
			return addr.String()
		}
	}
	t.Skip("this host has no address but loopback's")
	return ""
}

// On this host, the application sees the address that Envoy uses, under each of the host's names.
func TestTheApplicationSeesEnvoysAddress(t *testing.T) {
	if probe, err := net.Listen("tcp", "127.0.0.6:0"); err != nil {
		t.Skipf("this system does not take all of 127.0.0.0/8 for its own: %v", err)
	} else {
		probe.Close()
	}
	d, _ := New(Proxies{})
	d.Unbound = func(addr netip.Addr, err error) {
		if addr == passthrough4 {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for name, at := range map[string]string{
		"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "127.0.1.1": "127.0.1.1", "::ffff:127.0.0.1": "127.0.0.1",
		"the pod's own address": outside(t),
	} {
		port, clients := seen(t, at)
		if name == "the pod's own address" {
			name = at
		}
		c, err := d.Local(t.Context(), name, port)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.Close()
		if got := <-clients; got != passthrough4 {
			t.Errorf("%s: the application saw %s", name, got)
		}
		if c, err = d.Direct(t.Context(), name, port); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if got := <-clients; got == passthrough4 {
			t.Errorf("%s: the forward proxy came from %s, too", name, got)
		}
	}
}

// inNamespace, when set, says that the test binary runs in a separate network.
const inNamespace = "TAPEDECK_TEST_NAMESPACE"

// ownNetwork reports whether the test runs in a separate network, which setup prepared. If not, it
// runs the test in one.
func ownNetwork(t *testing.T, setup string) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	path := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--map-root-user", "sh", "-c", setup+` && exec "$0" "$@"`,
		os.Args[0], "-test.v", "-test.run", path)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), "--- FAIL"):
		t.Errorf("%s", out)
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Skipf("needs a network of its own with %s: %v: %s", setup, err, out)
	}
	return false
}

// connect still chooses the port if the source address is bound. Connections to two servers may
// share a port, so each server can use all ports of the host.
func TestASourceAddressCostsNoPorts(t *testing.T) {
	if !ownNetwork(t, "ip link set lo up && echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range") {
		return
	}
	d, _ := New(Proxies{})
	for server := range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+server)) // out of the range
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		for i := range 80 {
			c, err := d.Local(t.Context(), "127.0.0.1", 20000+server)
			if err != nil {
				t.Fatalf("server %d, connection %d: %v", server, i, err)
			}
			t.Cleanup(func() { c.Close() })
		}
	}
}

// IPv6's loopback is one address. If Istio has added ::6, it is used. Otherwise the connection is
// made from ::1, and a log line says so once.
func TestIPv6(t *testing.T) {
	for _, c := range []struct{ name, setup, want, said string }{
		{"with Istio's ::6", "ip link set lo up && ip -6 address add ::6/128 dev lo nodad", "::6", ""},
		{"without it", "ip link set lo up", "::1", "::6: bind: cannot assign requested address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !ownNetwork(t, c.setup) {
				return
			}
			d, _ := New(Proxies{})
			var unbound []string
			d.Unbound = func(addr netip.Addr, err error) { unbound = append(unbound, addr.String()+": "+err.Error()) }
			port, clients := seen(t, "::1")
			for range 3 {
				conn, err := d.Local(t.Context(), "::1", port)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				if got := (<-clients).String(); got != c.want {
					t.Errorf("the application saw %s, want %s", got, c.want)
				}
			}
			if said := strings.Join(unbound, "; "); said != c.said {
				t.Errorf("said %q, want %q", said, c.said)
			}
		})
	}
}
