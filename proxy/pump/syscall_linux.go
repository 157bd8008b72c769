package pump

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These are the system calls of the data path. None of them waits: the sockets
// are non-blocking, and epoll_pwait has no timeout. So they don't tell the scheduler.
// Otherwise its monitor thread would wake every 20 µs to check whether they are stuck,
// which would cost a tenth of the processor time.

// read reads the bytes that have arrived. It returns EAGAIN if there are none, and 0 at
// the end.
func read(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return result(n, errno)
}

// peek reads one byte like read, but leaves it to be read again.
func peek(fd int) (int, error) {
	var one [1]byte
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&one[0])), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return result(n, errno)
}

// write writes as many bytes as the socket's buffer has room for. It returns EAGAIN if the
// buffer is full.
func write(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	return result(n, errno)
}

// ready fills events with the events that have happened.
func ready(epoll int, events []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return result(n, errno)
}

func result(n uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
