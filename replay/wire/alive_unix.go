//go:build unix

package wire

import (
	"net"

	"golang.org/x/sys/unix"
)

// prepare sets the fields that alive needs.
func (cn *conn) prepare(t *net.TCPConn) {
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	var one [1]byte
	_, secure := cn.Conn.(interface{ NetConn() net.Conn })
	cn.raw = raw
	cn.peek = func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		// With TLS, bytes may be a session ticket. Without TLS, no bytes are expected.
		cn.gone = err == nil && (n == 0 || !secure) || err != nil && err != unix.EAGAIN && err != unix.EINTR
		return true
	}
}

// alive reports whether an idle connection is still open, as far as the kernel knows.
func (cn *conn) alive() bool {
	if cn.raw == nil {
		return true
	}
	return cn.raw.Read(cn.peek) == nil && !cn.gone
}
