package pump

import (
	"net"

	"golang.org/x/sys/unix"
)

// passResetOn waits until the client, which has said all it had to say, resets
// the connection, and passes that on. It returns when the client is closed.
func passResetOn(client, server *Conn) {
	from, to := client.TCP(), server.TCP()
	if from == nil || to == nil || !awaitReset(from) {
		return
	}
	got := false
	if raw, err := to.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { got = delivered(int(fd)) })
	}
	if got {
		server.Abort()
	} else {
		_ = server.Close() // it learns of it when it speaks
	}
}

// awaitReset reports whether the peer resets a connection before it is closed.
func awaitReset(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		return err == nil && n > 0 && p[0].Revents&unix.POLLERR != 0
	}) == nil
}

// delivered reports whether the peer has acknowledged all that was written, the
// end included. If not, a reset might cost it the rest.
func delivered(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return err == nil && n == 0
}

// saidAll reports whether the peer of a connection says no more, or has reset it. It is
// true of one that is closed.
func saidAll(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	said := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		said = err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return said || err != nil
}
