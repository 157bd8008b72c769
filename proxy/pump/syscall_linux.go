package pump

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The three system calls of the data path, none of which waits: the sockets
// are non-blocking, and epoll is asked for what is ready now. So the scheduler
// isn't told of them. If it were, its monitor thread would wake every 20 µs to
// see whether they are stuck, which cost a tenth of the processor time.

// read reads what is there: EAGAIN if nothing is, 0 at the end.
func read(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return result(n, errno)
}

// write writes what there is room for: EAGAIN if there is none.
func write(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	return result(n, errno)
}

// ready fills events with what has happened.
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
