package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener to which a client connects whenever it accepts.
type pipes struct {
	net.Listener
	clients []net.Conn
}

func (l *pipes) Accept() (net.Conn, error) {
	near, far := net.Pipe()
	l.clients = append(l.clients, far)
	return near, nil
}

// When all places are taken, only the oldest connection is closed, after its grace period. A place
// that becomes free earlier is used immediately. The clock is virtual.
func TestTheOldestConnectionMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const grace = time.Second
		var clients pipes
		l := newRoomListener(&clients, 2, grace)
		start := time.Now()
		accept := func(after time.Duration) net.Conn {
			t.Helper()
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != after {
				t.Errorf("accepted after %v, want %v", took, after)
			}
			return c
		}
		accept(0)
		time.Sleep(grace / 4)
		second := accept(grace / 4)
		accept(grace) // in place of the first
		if _, err := clients.clients[0].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the oldest connection is still open: %v", err)
		}
		time.AfterFunc(grace/8, func() { second.Close() })
		accept(grace + grace/8)
		for _, c := range clients.clients[2:] {
			_ = c.SetReadDeadline(time.Now())
			if _, err := c.Read(make([]byte, 1)); err == io.EOF {
				t.Error("a connection was closed before its time")
			}
		}
	})
}

// A probe is answered before the server would give up any silent or slow client of the admin port,
// however many there are.
func TestSilentClientsDoNotKeepAProbeOut(t *testing.T) {
	s := run(t, nil, func(c *Config) { c.Reverse = false })
	for i := range 4 * adminConnections {
		c := dial(t, s.AdminAddr())
		if i%2 == 0 {
			io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
		}
	}
	client := http.Client{Timeout: s.adminServer().ReadHeaderTimeout}
	resp, err := client.Get(fmt.Sprintf("http://%s/healthz", s.AdminAddr()))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %s", resp.Status)
	}
}
