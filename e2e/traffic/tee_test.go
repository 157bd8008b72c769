package traffic

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/proxy"
)

// tee relays connections to a target, and keeps the bytes.
type tee struct {
	net.Listener
	dial  func() (net.Conn, error)
	mu    sync.Mutex
	conns []*taped
	open  sync.WaitGroup
}

// taped is one connection: the bytes of the client, and those of the server.
type taped struct {
	client, server bytes.Buffer
	broken         bool // the connection ended with a reset, which may overtake bytes
}

func newTee(t *testing.T, listen, target string) *tee {
	t.Helper()
	return relay(t, listen, func() (net.Conn, error) { return net.Dial("tcp", target) })
}

// throughSOCKS relays connections through SOCKS5, for clients that don't support it.
func throughSOCKS(t *testing.T, target string) *tee {
	t.Helper()
	return relay(t, "127.0.0.1:0", func() (net.Conn, error) { return socks5(target) })
}

// socks5 connects through the sidecar's forward half.
func socks5(target string) (net.Conn, error) {
	d, err := proxy.SOCKS5("tcp", outTee, nil, nil)
	if err != nil {
		return nil, err
	}
	return d.Dial("tcp", target)
}

func relay(t *testing.T, listen string, dial func() (net.Conn, error)) *tee {
	t.Helper()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	e := &tee{Listener: ln, dial: dial}
	e.open.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			e.open.Go(func() { e.relay(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() { ln.Close() })
	return e
}

func (e *tee) address() string { return e.Addr().String() }

func (e *tee) relay(client *net.TCPConn) {
	defer client.Close()
	c, err := e.dial()
	if err != nil {
		_ = client.SetLinger(0)
		return
	}
	defer c.Close()
	server := c.(*net.TCPConn)
	kept := &taped{}
	e.mu.Lock()
	e.conns = append(e.conns, kept)
	e.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { e.copy(server, client, &kept.client, kept) })
	both.Go(func() { e.copy(client, server, &kept.server, kept) })
	both.Wait()
}

// copy forwards bytes, their end, and a reset.
func (e *tee) copy(dst, src *net.TCPConn, tape *bytes.Buffer, kept *taped) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		e.mu.Lock()
		tape.Write(buf[:n])
		e.mu.Unlock()
		if _, failed := dst.Write(buf[:n]); failed != nil {
			err = failed
		}
		switch {
		case err == io.EOF:
			_ = dst.CloseWrite()
			return
		case err != nil:
			e.mu.Lock()
			kept.broken = true
			e.mu.Unlock()
			_ = dst.SetLinger(0)
			_ = dst.Close()
			_ = src.SetLinger(0)
			_ = src.Close()
			return
		}
	}
}

// end accepts no more connections and waits until the open ones end.
func (e *tee) end() []*taped {
	_ = e.Close()
	e.open.Wait()
	return e.conns
}

// sameBytes checks that the bytes before the proxy are those after it. A client of the forward half
// also names its destination, and gets an answer. These bytes, handshake, are only before the proxy.
func sameBytes(t *testing.T, front, behind []*taped, handshake int) {
	t.Helper()
	if len(front) != len(behind) {
		t.Errorf("%d connections in front of the sidecar, %d behind it", len(front), len(behind))
	}
	left := behind
next:
	for _, f := range front {
		for i, b := range left {
			broken := f.broken || b.broken
			if same(f.client.Bytes(), b.client.Bytes(), handshake, broken) && same(f.server.Bytes(), b.server.Bytes(), handshake, broken) {
				left = append(left[:i:i], left[i+1:]...)
				continue next
			}
		}
		t.Errorf("what passed before the sidecar did not pass after it: client %d bytes, %.300q …; server %d bytes, %.300q …",
			f.client.Len(), f.client.Bytes(), f.server.Len(), f.server.Bytes())
		for _, b := range left {
			t.Errorf("after it: client %d bytes, %.300q …; server %d bytes, %.300q …", b.client.Len(), b.client.Bytes(), b.server.Len(), b.server.Bytes())
		}
	}
}

// same reports whether front equals behind, after at most handshake bytes. For a broken connection,
// it compares only the common length.
func same(front, behind []byte, handshake int, broken bool) bool {
	if !broken {
		extra := len(front) - len(behind)
		return extra >= 0 && extra <= handshake && bytes.HasSuffix(front, behind)
	}
	for extra := 0; extra <= min(handshake, len(front)); extra++ {
		f, n := front[extra:], min(len(front)-extra, len(behind))
		if bytes.Equal(f[:n], behind[:n]) {
			return true
		}
	}
	return false
}
