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

// Conn is a TCP connection, or TLS over another Conn, of which the first bytes
// may have been read already. Only one goroutine may read from it at a time.
type Conn struct {
	net.Conn
	head []byte

	mu     sync.Mutex
	closed bool
	owner  owner // who has taken the connection over, nil if nobody has

	writing sync.Mutex
	reset   atomic.Bool // by the peer, as somebody was told
	ended   atomic.Bool // as a read has found
}

// owner has taken a connection over, and ends it.
type owner interface{ end(reset bool) }

// taken notes that the connection is being closed and returns who is to do it;
// nil: the caller.
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

// NewConn wraps c, of which head was read already.
func NewConn(c net.Conn, head []byte) *Conn { return &Conn{Conn: c, head: slices.Clip(head)} }

// Read reads, the bytes that were read already first.
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

// Write writes.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.write(p)
	return n, c.told(err)
}

// told takes note of an error that says that the peer has reset the connection,
// and returns what another stands for. The system says it once, to whoever is
// the first to read, write or look. Who reads later is shown an orderly end.
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

// wasReset reports whether an end is the end of a connection that was reset.
func (c *Conn) wasReset() bool {
	if tcp, ok := c.Conn.(*net.TCPConn); ok && hungUp(tcp) {
		// A write that is under way may have been told, and returns soon.
		c.writing.Lock()
		defer c.writing.Unlock()
	}
	return c.reset.Load()
}

// HungUp reports whether the peer says no more, or has reset the connection, as far as
// the system tells without anything being read: Linux does. It is true of a connection
// that is closed.
func (c *Conn) HungUp() bool {
	tcp := c.TCP()
	return tcp != nil && saidAll(tcp)
}

// Head returns the bytes that were read already.
func (c *Conn) Head() []byte { return c.head }

// Fill reads once more and returns all that can be read without waiting again,
// which later calls of Read return too. It reads at most limit bytes in all.
func (c *Conn) Fill(limit int) ([]byte, error) {
	if len(c.head) >= limit {
		return c.head, io.ErrShortBuffer
	}
	have := len(c.head)
	if have == cap(c.head) { // a client that sends single bytes shall not cost a copy for each
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

// First returns the bytes that were read already, or, when there are none, what
// the next read brings, which later calls of Read return too.
func (c *Conn) First(limit int) ([]byte, error) {
	if len(c.head) > 0 {
		return c.head, nil
	}
	return c.Fill(limit)
}

// CloseWrite says to the peer that no more will come, in TLS with close_notify.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// TCP returns the TCP connection underneath, nil if there is none.
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

// Abort closes the connection with a TCP reset, so that the peer cannot take
// what it got for the whole.
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

// Truncated reports whether TLS over another Conn has ended without close_notify
// (RFC 8446 section 6.1). crypto/tls makes that an end like any other where it
// falls between two records; but only after close_notify it reads no further.
func (c *Conn) Truncated() bool {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return false
	}
	under, ok := t.NetConn().(*Conn)
	return ok && under.ended.Load()
}

// finish passes the end of src's bytes on to c.
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

// past is a deadline that has passed: it ends a blocked read at once.
var past = time.Unix(1, 0)

// Interrupt ends a Read or Await that another goroutine is blocked in;
// Resume makes reading possible again.
func (c *Conn) Interrupt() { _ = c.SetReadDeadline(past) }

// Resume takes back what Interrupt or a deadline did.
func (c *Conn) Resume() { _ = c.SetReadDeadline(time.Time{}) }

// Unread puts bytes back, in front of what is read next. It keeps a copy.
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
