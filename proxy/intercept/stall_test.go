package intercept

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/pump"
)

// A handshake that stalls ends after HandshakeTimeout. The clock is virtual.
func TestWhoStallsInAHandshakeIsNotWaitedFor(t *testing.T) {
	begun := func(t *testing.T, c net.Conn, hello []byte) { // and continues to read
		if _, err := c.Write(hello); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, c)
	}
	silent := func(_ *testing.T, c net.Conn, _ *tls.Config) { io.Copy(io.Discard, c) }
	willing := func(_ *testing.T, c net.Conn, cfg *tls.Config) {
		s := tls.Server(c, cfg)
		_ = s.Handshake() // the test checks what happens to the other side
		io.Copy(io.Discard, s)
	}
	whole := func(b []byte) []byte { return b }
	part := func(b []byte) []byte { return b[:20] }
	outbound := func(ours *ca.Authority, roots *x509.CertPool, client, server *pump.Conn, dial func(context.Context) (*pump.Conn, error)) Result {
		i := New(Config{Authority: ours, Roots: func() *x509.CertPool { return roots }})
		return i.Do(context.Background(), client, server, "example.test", 443, dial)
	}
	inbound := func(ours *ca.Authority, roots *x509.CertPool, client, server *pump.Conn, dial func(context.Context) (*pump.Conn, error)) Result {
		terminator := Terminator{Certificate: func() (*tls.Certificate, error) { return ours.Leaf("example.test") }}
		return terminator.Do(context.Background(), client, server, &Peer{Name: "example.test", Roots: roots}, dial)
	}
	for _, c := range []struct {
		name   string
		do     func(*ca.Authority, *x509.CertPool, *pump.Conn, *pump.Conn, func(context.Context) (*pump.Conn, error)) Result
		hello  func([]byte) []byte
		server func(*testing.T, net.Conn, *tls.Config)
		want   Outcome
		dials  int
	}{
		{"outbound, the client in its first message", outbound, part, willing, PassedNotTLS, 1},
		{"outbound, the client with a certificate in its hands", outbound, whole, willing, Refused, 1},
		{"outbound, the server, which is asked once more", outbound, whole, silent, PassedUpstreamTLS, 2},
		{"inbound, the client in its first message", inbound, part, willing, PassedNotTLS, 1},
		{"inbound, the client with a certificate in its hands", inbound, whole, willing, Failed, 1},
		{"inbound, the application, which is asked once more", inbound, whole, silent, PassedUpstreamTLS, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, _ := authority(t, "ours")
				theirs, roots := authority(t, "theirs")
				leaf, err := theirs.Leaf("example.test")
				if err != nil {
					t.Fatal(err)
				}
				dials := 0
				dial := func(context.Context) (*pump.Conn, error) {
					dials++
					near, far := net.Pipe()
					go c.server(t, far, &tls.Config{Certificates: []tls.Certificate{*leaf}})
					return pump.NewConn(near, nil), nil
				}
				near, far := net.Pipe()
				hello := c.hello(clientHello(&tls.Config{ServerName: "example.test"}))
				go begun(t, far, hello)

				server, _ := dial(t.Context())
				client := pump.NewConn(near, nil)
				start := time.Now()
				r := c.do(ours, roots, client, server, dial)
				if took := time.Since(start); took != HandshakeTimeout {
					t.Errorf("it took %v, want %v", took, HandshakeTimeout)
				}
				if r.Outcome != c.want || dials != c.dials {
					t.Errorf("%v after %d dials, want %v after %d: %v", r.Outcome, dials, c.want, c.dials, r.Err)
				}
				if passed := r.Outcome.Passed(); passed != (r.Client != nil) {
					t.Errorf("passed %v, with a client %v", passed, r.Client != nil)
				} else if passed {
					if string(client.Head()) != string(hello) {
						t.Error("the client's bytes are not there to be passed on")
					}
					_ = r.Client.Close()
					_ = r.Server.Close()
				}
			})
		})
	}
}
