package traffic

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// The sidecar does not wait for a client that begins a request and then stalls. If the client
// stalls inside a tunnel, the server may wait for it. A server that stalls in the handshake with
// the sidecar is left to the client.
func TestStalledPeers(t *testing.T) {
	a := newAuthority(t)
	s := start(t, "", a.intercepting()...)
	s.understood = true
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const half = "\x16\x03\x01\x02\x00\x01"
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		got := make([]byte, len(half))
		_, _ = io.ReadFull(c, got)
		fmt.Fprintf(c, "the server got %x", got)
	}()
	target := s.to(ln.Addr().String())
	const connected = "HTTP/1.1 200 Connection established\r\n\r\n"
	var all sync.WaitGroup
	for _, c := range []struct {
		name, send string
		within     time.Duration
		answer     string // beginning of the answer
	}{
		{"half a greeting of SOCKS5", "\x05\x02", 10 * time.Second, ""},
		{"SOCKS5 without a request", "\x05\x01\x00", 10 * time.Second, "\x05\x00"},
		{"half a request of SOCKS4", "\x04\x01\x00", 10 * time.Second, ""},
		{"half a head", "GET http://" + target + "/ HTTP/1.1\r\nHos", 30 * time.Second, ""},
		{"half a CONNECT", "CONNECT " + target, 30 * time.Second, ""},
		{"half a ClientHello in a tunnel", "CONNECT " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" + half, 10 * time.Second, connected + fmt.Sprintf("the server got %x", half)},
	} {
		all.Go(func() {
			conn, err := net.Dial("tcp", outTee)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			began := time.Now()
			_ = conn.SetDeadline(began.Add(c.within + 10*time.Second))
			io.WriteString(conn, c.send)
			answer, err := io.ReadAll(conn)
			took := time.Since(began)
			if err != nil || took < c.within/2 || string(answer[:min(len(answer), len(c.answer))]) != c.answer || c.answer == "" && len(answer) > 0 {
				t.Errorf("%s: after %v %q, %v; want %q after about %v", c.name, took, answer, err, c.answer, c.within)
			}
		})
	}
	stalled := s.to(stalledServer(t))
	all.Go(func() {
		c, err := socks5(stalled)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		began := time.Now()
		_ = c.SetDeadline(began.Add(20 * time.Second))
		err = tls.Client(c, &tls.Config{ServerName: "stalled.test"}).Handshake()
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "internal error") || took < 5*time.Second {
			t.Errorf("a server that stalls: after %v the handshake has %v, want the server's alert after about 10s", took, err)
		}
	})
	all.Wait()
	s.stop()
}

// stalledServer answers no handshake on its first connection. On the second one, which the sidecar
// makes for the client, it answers that it is broken.
func stalledServer(t *testing.T) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		first, err := ln.Accept()
		if err != nil {
			return
		}
		defer first.Close()
		second, err := ln.Accept()
		if err != nil {
			return
		}
		defer second.Close()
		_, _ = second.Read(make([]byte, 4<<10))
		io.WriteString(second, "\x15\x03\x03\x00\x02\x02\x50") // the alert internal_error
	}()
	return ln.Addr().String()
}
