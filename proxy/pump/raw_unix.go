//go:build unix

package pump

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// readable calls got after each read from c, and with an error at the end, until got
// returns false. It takes a buffer only when there is something to read, so an idle
// connection holds none.
func readable(c *net.TCPConn, buffer func() []byte, got func(n int, err error) bool, idle func()) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		for {
			n, err := read(int(fd), buffer())
			switch {
			case err == syscall.EAGAIN:
				idle()
				return false
			case err == syscall.EINTR:
				continue
			case err != nil:
				got(0, os.NewSyscallError("read", err))
				return true
			case n == 0:
				got(0, io.EOF)
				return true
			case !got(n, nil):
				return true
			}
		}
	})
}

const canAwait = true

// SetBuffers limits the kernel's buffer for each direction of a connection to size
// bytes, including the kernel's bookkeeping. Connections inherit the limit of their
// listener. 0 leaves the socket unchanged.
func SetBuffers(raw syscall.RawConn, size int) {
	if size == 0 {
		return
	}
	_ = raw.Control(func(fd uintptr) { // if it fails, the socket still works
		for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, size/2) // the kernel doubles it
		}
	})
}

// read reads once.
func (c *Conn) read(p []byte) (int, error) {
	if _, ok := c.Conn.(*net.TCPConn); !ok || len(p) == 0 {
		n, err := c.Conn.Read(p)
		return n, c.told(err)
	}
	return c.AwaitRead(func() []byte { return p }, func() {})
}

// AwaitRead waits for bytes and reads once. It calls buffer before each attempt, and
// idle to give the buffer back if nothing has arrived. In TLS, which can't tell whether
// anything has arrived, it holds the buffer while it waits.
func (c *Conn) AwaitRead(buffer func() []byte, idle func()) (n int, err error) {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || len(c.head) > 0 {
		return c.Read(buffer())
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, failed = read(int(fd), buffer())
			switch failed {
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				idle()
				return false
			}
			return true
		}
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, c.told(os.NewSyscallError("read", failed))
	case n == 0:
		return 0, c.told(io.EOF)
	}
	return n, nil
}

// write writes all of p.
func (c *Conn) write(p []byte) (n int, err error) {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return c.Conn.Write(p)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for n < len(p) && failed == nil {
			m, err := write(int(fd), p[n:])
			switch err {
			case nil:
				n += m
			case syscall.EINTR:
			case syscall.EAGAIN:
				return false
			default:
				failed = os.NewSyscallError("write", err)
			}
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return n, err
}

// Arrived reports whether anything can be read from the TCP connection: bytes, or the end or a reset. In
// TLS, the bytes may be a record without data. It works only on Unix. Close the connection after an end,
// because the system reports a reset only once.
func (c *Conn) Arrived() (bytes, end bool) {
	tcp := c.TCP()
	if tcp == nil {
		return false, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false, true
	}
	err = raw.Control(func(fd uintptr) {
		n, err := peek(int(fd))
		bytes = err == nil && n > 0
		end = err == nil && n == 0 || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	})
	return bytes, end || err != nil
}

// Await waits, without a buffer, until a byte or the end can be read. In TLS, which
// can't tell, it returns immediately.
func (c *Conn) Await() error {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || len(c.head) > 0 {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		for {
			_, err := peek(int(fd))
			switch err {
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				return false
			}
			_ = c.told(err) // the system reports a reset only once, even to a peek
			return true
		}
	})
}

// hungUp reports whether a connection has ended in both directions.
func hungUp(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	hup := false
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		hup = err == nil && n > 0 && p[0].Revents&unix.POLLHUP != 0
	})
	return hup
}
