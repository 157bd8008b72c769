package plainhttp

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// A head that has begun must end within headTime. An idle client has any time. The clock is
// virtual.
func TestAStalledHeadIsNotWaitedFor(t *testing.T) {
	serve := func(c *pump.Conn) error {
		h := Handler{Tap: func() *tap.Stream { return nil }, Meter: &pump.Meter{}, Pool: &tap.Pool{}}
		_, err := h.Serve(t.Context(), c)
		return err
	}
	connect := func(c *pump.Conn) error { _, err := ReadConnect(c); return err }
	for _, c := range []struct {
		name   string
		read   func(*pump.Conn) error
		before time.Duration // it begins
		says   string
	}{
		{"at once", serve, 0, "GET http://h/ HTTP/1.1\r\nHost"},
		{"at the first byte", serve, 0, "G"},
		{"after an hour of silence", serve, time.Hour, "GET http://h/ HTTP/1.1\r\nHost"},
		{"of a CONNECT", connect, 0, "CONNECT h:443 HTTP/1.1\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go func() {
					time.Sleep(c.before) // virtual
					io.WriteString(far, c.says)
					io.Copy(io.Discard, far)
				}()
				client := pump.NewConn(near, nil)
				start := time.Now()
				err := c.read(client)
				if took := time.Since(start); took != c.before+headTime {
					t.Errorf("it took %v, want %v", took, c.before+headTime)
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				client.Close()
			})
		})
	}
}
