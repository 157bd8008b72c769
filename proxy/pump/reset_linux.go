package pump

import (
	"net"

	"golang.org/x/sys/unix"
)

// passResetOn waits until the client, which has already half-closed, resets the connection, and
// passes the reset on. It returns when the client is closed.
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
		_ = server.Close() // the server gets the reset with its next write
	}
}

// awaitReset waits until the connection is closed or reset by the peer, and reports whether it
// was reset.
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

// delivered reports whether the peer has acknowledged all bytes and the end. If not, it might
// lose the rest to a reset.
func delivered(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return err == nil && n == 0
}

// saidAll reports whether the peer has half-closed or reset the connection. It is true for a
// closed connection.
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
