package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Each port of the reverse proxy leads to its own port of the application. The sidecar learns
// about the TLS of each port separately.
func TestEveryInboundPortHasAnApplicationOfItsOwn(t *testing.T) {
	k := newPKI(t)
	pair, err := tls.LoadX509KeyPair(k.app.Cert, k.app.Key)
	if err != nil {
		t.Fatal(err)
	}
	says := func(word string, secure bool) net.Addr {
		return serveTCP(t, func(c *net.TCPConn) {
			var conn net.Conn = c
			if secure {
				conn = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
			}
			got := make([]byte, 6)
			if _, err := io.ReadFull(conn, got); err == nil && string(got) == "hello\n" {
				io.WriteString(conn, word)
			}
			conn.Close()
		})
	}
	plain, secure := says("plain\n", false), says("secure\n", true)
	s := run(t, plain, func(c *Config) {
		c.TLSIn = k.app
		c.In = append(c.In, Inbound{App: App{Host: "127.0.0.1", Port: secure.(*net.TCPAddr).Port}})
	})
	ask := func(i int) string {
		c := tls.Client(dial(t, s.InAddrs()[i]), &tls.Config{RootCAs: k.pool, ServerName: "app.svc"})
		defer c.Close()
		io.WriteString(c, "hello\n")
		got, _ := io.ReadAll(c)
		return string(got)
	}
	for range 2 { // what was learned the first time holds
		if got := ask(0); got != "plain\n" {
			t.Errorf("the first port: %q", got)
		}
		if got := ask(1); got != "secure\n" {
			t.Errorf("the second port: %q", got)
		}
	}
	s.stop()
	var ports []int
	for _, f := range s.tape.find(tap.In) {
		if got := f.side[tap.FromClient].String(); !strings.Contains(got, "hello") {
			t.Errorf("port %d: recorded %q, want the plaintext", f.flow.Port, got)
		}
		ports = append(ports, f.flow.Port)
	}
	if first, second := plain.(*net.TCPAddr).Port, secure.(*net.TCPAddr).Port; len(ports) != 4 || ports[0] != first || ports[1] != second {
		t.Errorf("recorded with ports %v, want %d and %d in turn", ports, first, second)
	}
}

func TestInboundPortsThatClash(t *testing.T) {
	app := func(port int) App { return App{Host: "localhost", Port: port} }
	for _, c := range []struct {
		in   []Inbound
		want string
	}{
		{[]Inbound{{4143, app(8080)}, {4143, app(9090)}}, "TAPEDECK_IN_PORTS=4143: PROXY_IN_PORT has that port already"},
		{[]Inbound{{4143, app(8080)}, {4144, app(4143)}}, "TAPEDECK_IN_PORTS=4143: the proxy would forward to itself; PROXY_IN_PORT has that port"},
		{[]Inbound{{4143, app(4144)}, {4144, app(9090)}}, "REVERSE_PROXY_PORT=4144: the proxy would forward to itself; TAPEDECK_IN_PORTS has that port"},
		{[]Inbound{{4143, app(8080)}, {4140, app(9090)}}, "PROXY_OUT_PORT=4140: TAPEDECK_IN_PORTS has that port already"},
	} {
		cfg := Config{Reverse: true, Forward: true, In: c.in, OutPort: 4140}
		if err := cfg.Check(); err == nil || err.Error() != c.want {
			t.Errorf("%v: %v, want %s", c.in, err, c.want)
		}
	}
}
