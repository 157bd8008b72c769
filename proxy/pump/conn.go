// Package pump moves bytes between two connections. It does not parse, change or delay
// them.
//
//	client ──read──▶ buffer ──▶ tap (by reference) ──▶ write ──▶ server
//	client ◀─write── buffer ◀── tap (by reference) ◀── read ─── server
//
// It passes on what each side does: bytes in order, a half-close as a half-close, a reset
// as a reset, a slow reader as backpressure. An idle TCP connection holds no buffer and, on
// Linux, no goroutine, because [Loops] serve pairs of plain TCP connections. Goroutines
// serve the others.
//
// The package imports proxy/tap, golang.org/x/sys/unix and the standard library.
package pump

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a TCP connection, or TLS over another Conn. Bytes that were read can be put back.
// Only one goroutine may read from it at a time.
type Conn struct {
	net.Conn
	head []byte

	mu     sync.Mutex
	closed bool
	owner  owner // the pair that has taken over the connection; may be nil

	writing sync.Mutex
	reset   atomic.Bool // the system has reported a reset by the peer
	ended   atomic.Bool // a read has found the end
}

// owner has taken over a connection, and closes it.
type owner interface{ end(reset bool) }

// taken marks the connection as closed, and returns the owner that must close it; nil: the
// caller must.
func (c *Conn) taken() owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.owner
}

// Close closes the connection.
func (c *Conn) Close() error {
	if o := c.taken(); o != nil {
		o.end(false)
		return nil
	}
	return c.Conn.Close()
}

// NewConn wraps c. The bytes in head are read again.
func NewConn(c net.Conn, head []byte) *Conn { return &Conn{Conn: c, head: slices.Clip(head)} }

// Read returns the bytes that were put back, and then new ones.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		if c.head = c.head[n:]; len(c.head) == 0 {
			c.head = nil
		}
		return n, nil
	}
	return c.read(p)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.write(p)
	return n, c.told(err)
}

// told records a reset by the peer. The system reports a reset only to the first read, write
// or peek, and then an orderly end. told returns a reset for such an end, too.
func (c *Conn) told(err error) error {
	switch {
	case err == nil:
	case errors.Is(err, syscall.ECONNRESET):
		c.reset.Store(true)
	case err == io.EOF && c.wasReset():
		return errReset
	case err == io.EOF:
		c.ended.Store(true)
	}
	return err
}

var errReset = os.NewSyscallError("read", syscall.ECONNRESET)

// wasReset reports whether the peer has reset the connection.
func (c *Conn) wasReset() bool {
	if tcp, ok := c.Conn.(*net.TCPConn); ok && hungUp(tcp) {
		// A concurrent write may have got the reset, and returns soon.
		c.writing.Lock()
		defer c.writing.Unlock()
	}
	return c.reset.Load()
}

// HungUp reports whether the peer has ended or reset the connection, without reading from
// it. Only Linux can tell. It is true for a closed connection.
func (c *Conn) HungUp() bool {
	tcp := c.TCP()
	return tcp != nil && saidAll(tcp)
}

// Head returns the bytes that were put back.
func (c *Conn) Head() []byte { return c.head }

// Fill reads once more, and returns all bytes that were put back and read. Later calls of
// Read return them again. They are at most limit bytes.
func (c *Conn) Fill(limit int) ([]byte, error) {
	if len(c.head) >= limit {
		return c.head, io.ErrShortBuffer
	}
	have := len(c.head)
	if have == cap(c.head) { // grow by doubling, for clients that send single bytes
		grown := make([]byte, have, min(max(2*have, 2<<10), limit))
		copy(grown, c.head)
		c.head = grown
	}
	n, err := c.Conn.Read(c.head[have:min(cap(c.head), limit)])
	c.head = c.head[:have+n]
	err = c.told(err)
	if n > 0 {
		err = nil
	}
	return c.head, err
}

// First returns the bytes that were put back. If there are none, it reads once, and later
// calls of Read return these bytes again.
func (c *Conn) First(limit int) ([]byte, error) {
	if len(c.head) > 0 {
		return c.head, nil
	}
	return c.Fill(limit)
}

// CloseWrite half-closes the connection, in TLS with close_notify.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// TCP returns the underlying TCP connection; nil if there is none.
func (c *Conn) TCP() *net.TCPConn {
	switch n := c.Conn.(type) {
	case *net.TCPConn:
		return n
	case *tls.Conn:
		if under, ok := n.NetConn().(*Conn); ok {
			return under.TCP()
		}
	}
	return nil
}

// Abort closes the connection with a TCP reset, so that the peer does not take incomplete
// data for complete data.
func (c *Conn) Abort() {
	if o := c.taken(); o != nil {
		o.end(true)
		return
	}
	if tcp := c.TCP(); tcp != nil {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
		return
	}
	_ = c.Close()
}

// Truncated reports whether TLS over another Conn has ended without close_notify (RFC 8446
// section 6.1). Between two records, crypto/tls reports that as an ordinary end. But it
// stops reading the underlying Conn only after close_notify.
func (c *Conn) Truncated() bool {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return false
	}
	under, ok := t.NetConn().(*Conn)
	return ok && under.ended.Load()
}

// finish sends c the end of src's bytes.
func (c *Conn) finish(src *Conn, readErr error) {
	switch {
	case errors.Is(readErr, io.ErrUnexpectedEOF), readErr == nil && src.Truncated():
		// The peer must be able to tell this from the end of TLS.
		if tcp := c.TCP(); tcp != nil {
			_ = tcp.CloseWrite()
		}
	case readErr == nil:
		_ = c.CloseWrite()
	default:
		c.Abort()
	}
}

// past is a deadline in the past, which ends a blocked read immediately.
var past = time.Unix(1, 0)

// Interrupt ends a blocked Read or Await of another goroutine. Resume makes reading possible
// again.
func (c *Conn) Interrupt() { _ = c.SetReadDeadline(past) }

// Resume undoes Interrupt, or a read deadline.
func (c *Conn) Resume() { _ = c.SetReadDeadline(time.Time{}) }

// Unread puts a copy of p back, before the bytes that are read next.
func (c *Conn) Unread(p []byte) {
	if len(p) > 0 {
		c.head = append(bytes.Clone(p), c.head...)
	}
}

// CanAwait reports whether Await can wait.
func (c *Conn) CanAwait() bool {
	_, ok := c.Conn.(*net.TCPConn)
	return ok && canAwait
}
