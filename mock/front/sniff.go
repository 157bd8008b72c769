package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/socks"
)

// begin serves an accepted connection.
func (f *Front) begin(ctx context.Context, c *Conn, speaks Protocol) {
	if c.Via == Mapped && !f.admitted(c) {
		c.Abort()
		return
	}
	f.look(ctx, c, speaks, 0)
}

// admitted reports whether Config.Admit admits the connection.
func (f *Front) admitted(c *Conn) bool {
	return f.cfg.Admit == nil || f.cfg.Admit(c.Origin) == nil
}

// look finds the protocol of the client and passes the connection on. depth is the number of
// tunnels around it.
func (f *Front) look(ctx context.Context, c *Conn, speaks Protocol, depth int) {
	for ; ; depth++ {
		expect := Expectation{Speaks: speaks}
		if f.cfg.Expect != nil {
			expect = f.cfg.Expect(c.Origin)
			if speaks != Any {
				expect.Speaks = speaks
			}
		}
		inner, kind := f.step(ctx, c, expect, depth)
		switch kind {
		case again:
			c = inner
		case gone:
			_ = c.Close()
			return
		case request:
			if !f.ready.give(c) {
				c.Abort()
			}
			return
		case stream:
			f.cfg.Stream(ctx, c)
			return
		}
	}
}

// kind is what a look at a connection found.
type kind int

const (
	gone    kind = iota // the client is gone, or sent something invalid
	again               // it is a tunnel or TLS: look inside
	request             // HTTP
	stream              // something else
)

// step finds the outermost protocol of the connection.
func (f *Front) step(ctx context.Context, c *Conn, expect Expectation, depth int) (*Conn, kind) {
	wait := firstByteTime
	if expect.ServerFirst && !c.TLS { // in TLS the client has spoken already
		if wait = patience; expect.Speaks == TCP && len(c.Head()) == 0 {
			wait = time.Millisecond
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	head, err := c.First(maxFirst)
	for err == nil && !decided(head) {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if more, slow := c.Fill(maxFirst); slow == nil {
			head = more
		} else {
			break // decide by what has arrived
		}
	}
	c.Resume()
	var silent net.Error
	switch {
	case err != nil && errors.As(err, &silent) && silent.Timeout() && expect.ServerFirst:
		return c, stream
	case err != nil:
		return nil, gone
	}
	switch {
	case depth == maxDepth:
		return nil, gone
	case c.Via == Direct && depth == 0 && (head[0] == socks.Version4 || head[0] == socks.Version5):
		return f.socks(c)
	case intercept.LooksLikeTLS(head) && f.cfg.Authority != nil:
		return f.endTLS(ctx, c, expect)
	case expect.Speaks == TCP:
		return c, stream
	case expect.Speaks == HTTP || LooksLikeHTTP(head):
		// Empty lines before a request are to be ignored (RFC 9112 section 2.2).
		blank := len(head) - len(bytes.TrimLeft(head, "\r\n"))
		_, _ = io.CopyN(io.Discard, c, int64(blank)) // already buffered
		return c, request
	}
	return c, stream
}

// socks opens the tunnel of a SOCKS client.
func (f *Front) socks(c *Conn) (*Conn, kind) {
	_ = c.SetDeadline(time.Now().Add(handshakeTime))
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	r := bufio.NewReaderSize(c.Conn, 512)
	q, err := socks.Accept(r, c.Conn)
	if err != nil {
		return nil, gone
	}
	rest, _ := r.Peek(r.Buffered())
	c.Unread(rest)
	c.Via, c.Host, c.Port = SOCKS5, q.Host, q.Port
	if q.Version == socks.Version4 {
		c.Via = SOCKS4
	}
	if !f.admitted(c) {
		_ = q.Reply(c.Conn, socks.ConnectionRefused, netip.AddrPort{})
		return nil, gone
	}
	if q.Reply(c.Conn, socks.Granted, netip.AddrPort{}) != nil {
		return nil, gone
	}
	return c, again
}

// endTLS terminates the client's TLS with a certificate for the name that it asks for.
func (f *Front) endTLS(ctx context.Context, c *Conn, expect Expectation) (*Conn, kind) {
	hello, err := intercept.PeekHello(c.Conn, handshakeTime)
	if err != nil {
		return c, stream // it only looked like TLS
	}
	name := hello.SNI
	if name == "" {
		name = c.Host
	}
	if name == "" { // direct connection to an IP address
		name, _, _ = net.SplitHostPort(c.LocalAddr().String())
	}
	leaf, err := f.cfg.Authority.Leaf(strings.ToLower(name))
	if err != nil {
		return nil, gone
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12, NextProtos: agree(expect.ALPN, hello.ALPN)}
	cfg.SetSessionTicketKeys([][32]byte{f.ticket})
	secured := tls.Server(c.Conn, cfg)
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		if f.cfg.Distrusted != nil {
			f.cfg.Distrusted(name, err)
		}
		return nil, gone
	}
	inner := c.within(pump.NewConn(secured, nil))
	inner.TLS, inner.SNI, inner.ALPN = true, hello.SNI, secured.ConnectionState().NegotiatedProtocol
	return inner, again
}

// agree returns the protocols for ALPN that the client offers too: the expected ones in their
// order, then h2 and http/1.1. It returns nil if the client offers none of them: an answer without
// ALPN is better than an alert.
func agree(expected, offered []string) (both []string) {
	for _, p := range append(slices.Clip(expected), http2.NextProtoTLS, "http/1.1") {
		if slices.Contains(offered, p) && !slices.Contains(both, p) {
			both = append(both, p)
		}
	}
	return both
}

// maxMethod bounds the length of a method.
const maxMethod = 24

// decided reports whether the first bytes are enough to identify the protocol.
func decided(head []byte) bool {
	switch {
	case len(head) == 0:
		return false
	case len(head) < 5 && intercept.LooksLikeTLS(head):
		return false
	case len(head) <= maxMethod+1 && isMethod(head):
		return false
	}
	return true
}

// isMethod reports whether p can be a method or a part of one. The methods of HTTP, and all
// registered ones, are in capitals.
func isMethod(p []byte) bool {
	for _, c := range p {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return len(p) > 0 && len(p) <= maxMethod
}

// LooksLikeHTTP reports whether a connection's first bytes are HTTP: a method and the
// beginning of a target, or the preface of HTTP/2.
func LooksLikeHTTP(head []byte) bool {
	method, target, ok := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte(" "))
	switch {
	case !ok || !isMethod(method):
		return false
	case len(target) == 0:
		return true
	}
	switch c := target[0]; {
	case c == '/' || c == '*' || c == '[':
		return true
	default: // a URL, or an authority
		return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
	}
}
