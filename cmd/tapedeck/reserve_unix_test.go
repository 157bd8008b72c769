//go:build unix

package main

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// reservedPort returns an address of loopback at which nobody listens, and a function that listens
// there. No other process is given the port until the test ends. A listener that is closed would leave
// its port to the next process that asks for a free one.
func reservedPort(t *testing.T) (address string, listen func() (net.Listener, error)) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "reserved port")
	t.Cleanup(func() { file.Close() })
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port)), func() (net.Listener, error) {
		if err := syscall.Listen(fd, syscall.SOMAXCONN); err != nil {
			return nil, err
		}
		return net.FileListener(file)
	}
}
