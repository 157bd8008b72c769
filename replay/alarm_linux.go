package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelTimer is an alarm that goes off within microseconds. It is a timerfd (timerfd_create(2)), which
// the runtime's poller waits for as it waits for a socket.
//
// Its system calls bypass the scheduler, because none of them blocks. Otherwise each call would wake
// the scheduler's monitor thread after an idle moment.
type kernelTimer struct {
	file *os.File
	conn syscall.RawConn
}

// newExactAlarm returns the most accurate alarm of this system.
func newExactAlarm() (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wait for a timer: %w", err), file.Close())
	}
	return &kernelTimer{file, conn}, nil
}

func (t *kernelTimer) until(ctx context.Context, when time.Time) error {
	left := time.Until(when)
	if left <= 0 {
		return ctx.Err()
	}
	cancelled := make(chan struct{})
	undo := context.AfterFunc(ctx, func() {
		defer close(cancelled)
		_ = t.file.SetReadDeadline(time.Unix(0, 1)) // ends the wait
	})
	err := t.wait(left)
	if undo() {
		return err
	}
	<-cancelled
	return errors.Join(ctx.Err(), t.file.SetReadDeadline(time.Time{}))
}

// wait waits for d, which must be positive.
func (t *kernelTimer) wait(d time.Duration) error {
	var failed error
	set := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := t.conn.Control(func(fd uintptr) {
		if _, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&set)), 0, 0, 0); errno != 0 {
			failed = fmt.Errorf("set a timer: %w", errno)
		}
	}); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	var count [8]byte // how often the timer went off
	err := t.conn.Read(func(fd uintptr) (done bool) {
		_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&count)), uintptr(len(count)))
		if errno != 0 && errno != unix.EAGAIN {
			failed = fmt.Errorf("read a timer: %w", errno)
		}
		return errno != unix.EAGAIN
	})
	return errors.Join(err, failed)
}

func (t *kernelTimer) stop() { _ = t.file.Close() }
