package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a redirected connection, read through a buffer.
type conn struct {
	net.Conn
	in          *bufio.Reader
	destination *net.TCPAddr // that was dialed, before iptables
	peer        string       // SPIFFE identity of the client, "" without mTLS
}

func open(c *net.TCPConn) (*conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: c, in: bufio.NewReaderSize(c, 16<<10)}
	var failed error
	err = raw.Control(func(fd uintptr) {
		// The kernel fills in a sockaddr_in; this is the option of its size.
		a, err := unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST)
		if err != nil {
			failed = err
			return
		}
		k.destination = &net.TCPAddr{IP: net.IP(a.Multiaddr[4:8]), Port: int(binary.BigEndian.Uint16(a.Multiaddr[2:4]))}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("ask where %s was going: %w", c.RemoteAddr(), err)
	}
	return k, nil
}

func (k *conn) Read(p []byte) (int, error) { return k.in.Read(p) }

// Peek shows what comes next and waits for it, a while.
func (k *conn) Peek(n int) ([]byte, error) {
	_ = k.SetReadDeadline(time.Now().Add(10 * time.Second))
	defer func() { _ = k.SetReadDeadline(time.Time{}) }()
	return k.in.Peek(n)
}

// speaksHTTP looks at the first bytes, as Envoy's HTTP inspector does.
func (k *conn) speaksHTTP() bool {
	head, err := k.Peek(4)
	if err != nil {
		return false
	}
	for _, method := range []string{"GET ", "POST", "PUT ", "HEAD", "PRI ", "DELE", "PATC", "OPTI", "CONN"} {
		if bytes.HasPrefix(head, []byte(method)) {
			return true
		}
	}
	return false
}

// unwrap ends the client's mTLS.
func (k *conn) unwrap(cfg *tls.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	t := tls.Server(&conn{Conn: k.Conn, in: k.in}, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	for _, uri := range t.ConnectionState().PeerCertificates[0].URIs {
		k.peer = uri.String()
	}
	k.Conn, k.in = t, bufio.NewReaderSize(t, 16<<10)
	return nil
}

func (k *conn) tls() string {
	if k.peer != "" {
		return "mtls"
	}
	return ""
}

// errSeen ends a handshake of which only the beginning matters.
var errSeen = errors.New("seen")

// serverName reads the name from a ClientHello, which stays unread.
func (k *conn) serverName() (name string, ok bool) {
	head, err := k.Peek(5)
	if err != nil || head[0] != 0x16 {
		return "", false
	}
	hello, err := k.Peek(5 + int(binary.BigEndian.Uint16(head[3:])))
	if err != nil {
		return "", false
	}
	_ = tls.Server(helloOnly{k.Conn, bytes.NewReader(hello)}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name, ok = h.ServerName, true
			return nil, errSeen
		},
	}).Handshake()
	return name, ok
}

// helloOnly gives a handshake its first message, and swallows its answer.
type helloOnly struct {
	net.Conn
	hello *bytes.Reader
}

func (h helloOnly) Read(p []byte) (int, error)  { return h.hello.Read(p) }
func (h helloOnly) Write(p []byte) (int, error) { return len(p), nil }
