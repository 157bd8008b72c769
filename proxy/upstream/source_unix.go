//go:build unix

package upstream

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// bindTo binds a socket to an address, and lets connect choose the port. A port that bind
// chooses serves one connection of the whole host. A port that connect chooses serves one
// connection to each server.
func bindTo(fd int, addr netip.Addr) error {
	portAtConnect(fd)
	var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: addr.As16()}
	if addr.Is4() {
		sa = &unix.SockaddrInet4{Addr: addr.As4()}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}
