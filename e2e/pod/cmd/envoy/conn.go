package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
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
	inbound     bool
	destination *net.TCPAddr // the dialed address, before iptables changed it
	tls         string       // mtls or plaintext, as it arrived
	alpn, peer  string       // with mTLS: the protocol, and the client's identity
}

// ip6tOriginalDst is IP6T_SO_ORIGINAL_DST.
const ip6tOriginalDst = 80

func open(c *net.TCPConn, inbound bool) (*conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: c, in: bufio.NewReaderSize(c, 16<<10), inbound: inbound, tls: "plaintext"}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if c.LocalAddr().(*net.TCPAddr).IP.To4() == nil {
			// The kernel fills in a sockaddr_in6; this option is as large.
			var a *unix.IPv6MTUInfo
			if a, failed = unix.GetsockoptIPv6MTUInfo(int(fd), unix.IPPROTO_IPV6, ip6tOriginalDst); failed == nil {
				port := binary.NativeEndian.AppendUint16(nil, a.Addr.Port) // in network byte order
				k.destination = &net.TCPAddr{IP: net.IP(a.Addr.Addr[:]), Port: int(binary.BigEndian.Uint16(port))}
			}
			return
		}
		// The kernel fills in a sockaddr_in; this option is as large.
		var a *unix.IPv6Mreq
		if a, failed = unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST); failed == nil {
			k.destination = &net.TCPAddr{IP: net.IP(a.Multiaddr[4:8]), Port: int(binary.BigEndian.Uint16(a.Multiaddr[2:4]))}
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("ask where %s was going: %w", c.RemoteAddr(), err)
	}
	return k, nil
}

func (k *conn) Read(p []byte) (int, error) { return k.in.Read(p) }

// Peek returns the next bytes without consuming them, and waits for them for a while.
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

// unwrap terminates the client's mTLS, if there is any.
func (k *conn) unwrap(own tls.Certificate, roots *x509.CertPool) error {
	first, err := k.Peek(1)
	if err != nil || first[0] != handshake {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	t := tls.Server(&conn{Conn: k.Conn, in: k.in}, &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"istio-http/1.1", "istio-h2", "istio"}, MinVersion: tls.VersionTLS12,
	})
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("mTLS: %w", err)
	}
	state := t.ConnectionState()
	for _, uri := range state.PeerCertificates[0].URIs {
		k.peer = uri.String()
	}
	k.tls, k.alpn = "mtls", state.NegotiatedProtocol
	k.Conn, k.in = t, bufio.NewReaderSize(t, 16<<10)
	return nil
}

// handshake is the first byte of TLS.
const handshake = 0x16

// errSeen ends a handshake, of which only the beginning matters.
var errSeen = errors.New("seen")

// serverName returns the server name in a ClientHello, without consuming it.
func (k *conn) serverName() (name string, ok bool) {
	if first, err := k.Peek(1); err != nil || first[0] != handshake {
		return "", false // perhaps the client waits for an answer
	}
	head, err := k.Peek(5)
	if err != nil {
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

// helloOnly passes the first message to a handshake, and discards the answer.
type helloOnly struct {
	net.Conn
	hello *bytes.Reader
}

func (h helloOnly) Read(p []byte) (int, error)  { return h.hello.Read(p) }
func (h helloOnly) Write(p []byte) (int, error) { return len(p), nil }
