package upstream

import "golang.org/x/sys/unix"

// portAtConnect has connect choose the port. Linux before 4.2 cannot.
func portAtConnect(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}
