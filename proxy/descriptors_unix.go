//go:build unix

package proxy

import (
	"math"

	"golang.org/x/sys/unix"
)

// descriptorLimit returns RLIMIT_NOFILE; 0 if it is not known.
func descriptorLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return int(min(uint64(r.Cur), math.MaxInt32))
}

// nextDescriptor returns the number that the next descriptor will have. The kernel gives the
// lowest free number, so all below it are taken. fd is any open descriptor.
func nextDescriptor(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return math.MaxInt // none is left
	}
	_ = unix.Close(n)
	return n
}

// readable reports whether a read, or an accept, would not block.
func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}
