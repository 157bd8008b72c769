//go:build !unix

package pump

import (
	"net"
	"syscall"
)

// readable calls got after each read from c, and with an error at the end, until got returns
// false.
func readable(c *net.TCPConn, buffer func() []byte, got func(n int, err error) bool, idle func()) error {
	defer idle()
	for {
		n, err := c.Read(buffer())
		if n > 0 && !got(n, nil) {
			return nil
		}
		if err != nil {
			got(0, err)
			return nil
		}
	}
}

const canAwait = false

// AwaitRead reads once. It holds the buffer while it waits, because waiting without one needs
// Unix.
func (c *Conn) AwaitRead(buffer func() []byte, _ func()) (n int, err error) {
	return c.Read(buffer())
}

// Arrived works only on Unix.
func (c *Conn) Arrived() (bytes, end bool) { return false, false }

// Await returns immediately, because waiting without a buffer needs Unix.
func (c *Conn) Await() error { return nil }

// hungUp returns false: only Unix can tell.
func hungUp(*net.TCPConn) bool { return false }

// SetBuffers is not implemented on this system.
func SetBuffers(syscall.RawConn, int) {}

func (c *Conn) write(p []byte) (int, error) { return c.Conn.Write(p) }

func (c *Conn) read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.told(err)
}
