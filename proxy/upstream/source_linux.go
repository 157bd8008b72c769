package upstream

import "golang.org/x/sys/unix"

// portAtConnect makes connect choose the port, and not bind. Linux before 4.2 can't do that.
func portAtConnect(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}
