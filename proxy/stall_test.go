package proxy

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// A client of the forward half that begins and doesn't go on is given up. The
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
