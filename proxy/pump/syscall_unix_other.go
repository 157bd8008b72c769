//go:build unix && !linux

package pump

import "syscall"

func read(fd int, p []byte) (int, error) { return syscall.Read(fd, p) }

func peek(fd int) (int, error) {
	var one [1]byte
	n, _, err := syscall.Recvfrom(fd, one[:], syscall.MSG_PEEK)
	return n, err
}

func write(fd int, p []byte) (int, error) { return syscall.Write(fd, p) }
