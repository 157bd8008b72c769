//go:build unix

package pump

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// readable calls got with what can be read from c, and with nil and an error at
// the end, until got returns false. It takes a buffer only once there is
// something to read, so an idle connection costs none.
func readable(c *net.TCPConn, buffer func() []byte, got func(n int, err error) bool, idle func()) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		for {
			n, err := syscall.Read(int(fd), buffer())
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

// SetBuffers bounds what the kernel may hold of a connection in either direction
// to size bytes, its own book-keeping included. What a listener is given, its
// connections inherit. 0 leaves the socket as it is.
func SetBuffers(raw syscall.RawConn, size int) {
	if size == 0 {
		return
	}
	_ = raw.Control(func(fd uintptr) { // a socket that keeps its size works as well
		for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, size/2) // the kernel doubles it
		}
	})
}

// AwaitRead reads once into the buffer that is handed out once there is
// something to read, and taken back by idle when there isn't. Where that cannot
// be known, as in TLS, the buffer is held meanwhile.
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
			n, failed = syscall.Read(int(fd), buffer())
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

// Await waits, without holding a buffer, until a byte or the end can be read.
// Where that cannot be known, as in TLS, it returns at once.
func (c *Conn) Await() error {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || len(c.head) > 0 {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var one [1]byte
	return raw.Read(func(fd uintptr) bool {
		for {
			_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
			switch err {
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				return false
			}
			_ = c.told(err) // for looking, too, uses it up
			return true
		}
	})
}

// hungUp reports whether a connection has ended both ways, so that nobody can
// be waiting to write to it.
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
