package replay

import (
	"cmp"
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
	timer             // for waits below shortWait
	undo  func() bool // of what the end of the context does
	file  *os.File
	fd    int // of file
	conn  syscall.RawConn
}

// shortWait is the wait below which a timer of the runtime is better. Requests then follow so closely
// that the runtime is busy, and it looks at its own timers whenever it switches goroutines.
const shortWait = 300 * time.Microsecond

// newExactAlarm returns the alarm of this system that is the least late.
func newExactAlarm(ctx context.Context) (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wait for a timer: %w", err), file.Close())
	}
	end := func() { _ = file.SetReadDeadline(time.Unix(0, 1)) } // ends a wait, now and later
	return &kernelTimer{newTimer(ctx), context.AfterFunc(ctx, end), file, fd, conn}, nil
}

func (t *kernelTimer) until(when time.Time) error {
	left := time.Until(when)
	if left <= 0 {
		return t.ctx.Err()
	}
	if left < shortWait {
		return t.timer.until(when)
	}
	err := t.wait(left)
	return cmp.Or(t.ctx.Err(), err)
}

// wait waits for a time above zero.
func (t *kernelTimer) wait(d time.Duration) error {
	set := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if _, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(t.fd), 0, uintptr(unsafe.Pointer(&set)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("set a timer: %w", errno)
	}
	var failed error
	err := t.conn.Read(func(fd uintptr) (done bool) {
		var count [8]byte // how often it went off
		_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&count)), uintptr(len(count)))
		if errno != 0 && errno != unix.EAGAIN {
			failed = fmt.Errorf("read a timer: %w", errno)
		}
		return errno != unix.EAGAIN
	})
	return errors.Join(err, failed)
}

func (t *kernelTimer) stop() {
	t.timer.stop()
	t.undo()
	_ = t.file.Close()
}
