package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// A client of the forward proxy that begins a request and doesn't continue is disconnected. The
// clock is virtual.
func TestAStalledClientIsNotWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name, says string
		after      time.Duration
		fails      bool
	}{
		{"silence, which is no error", "", firstByteTime, false},
		{"in SOCKS 4", "\x04\x01\x01\xbb", handshakeTime, true},
		{"in SOCKS 5", "\x05\x01", handshakeTime, true},
		{"in SOCKS 5, after its greeting", "\x05\x01\x00", handshakeTime, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go func() {
					if c.says != "" { // an empty write is one to a pipe
						io.WriteString(far, c.says)
					}
					io.Copy(io.Discard, far)
				}()
				k := &conn{client: pump.NewConn(near, nil), from: netip.MustParseAddrPort("127.0.0.1:1")}
				start := time.Now()
				move, err := new(Proxy).serveOut(t.Context(), k)
				if took := time.Since(start); took != c.after {
					t.Errorf("it took %v, want %v", took, c.after)
				}
				if move || (err != nil) != c.fails {
					t.Errorf("move %v, error %v", move, err)
				}
				k.client.Close()
			})
		})
	}
}

// The admin server hangs up on a client that does not read its answer. It answers others
// meanwhile.
func TestAStalledScraperIsHungUpOn(t *testing.T) {
	s := run(t, nil, func(c *Config) { c.Reverse, c.adminPatience = false, 200*time.Millisecond })
	now := time.Now()
	for range historySize { // more than the buffers of two sockets hold
		s.conns.done = append(s.conns.done, View{EndTime: &now, SNI: strings.Repeat("x", 20<<10)})
	}
	stalled := dial(t, s.AdminAddr())
	io.WriteString(stalled, "GET /connections HTTP/1.1\r\nHost: localhost\r\n\r\n")
	io.ReadFull(stalled, make([]byte, 100)) // it is answered
	for began := time.Now(); time.Since(began) < 300*time.Millisecond; {
		resp, err := http.Get("http://" + s.AdminAddr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	n, err := io.Copy(io.Discard, stalled)
	if errors.Is(err, os.ErrDeadlineExceeded) || n > historySize*20<<10 {
		t.Errorf("the server waited for it: %d bytes, %v", n, err)
	}
}
