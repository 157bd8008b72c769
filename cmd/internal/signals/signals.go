// Package signals defines how commands end, and how they handle SIGINT and SIGTERM. The
// sidecar drains. Commands that write to a place clean up first. Every other command ends
// at once, whatever it is waiting for: a pipe that nobody writes to, a terminal, a reader
// that does not read.
//
//	                 sidecar   draining sidecar   writer      writer cleaning up   other commands
//	SIGTERM          drains    keeps draining     cleans up   keeps cleaning up    end
//	SIGINT           drains    ends               cleans up   ends                 end
//
// A second SIGTERM does not cut a drain short, because a kubelet that restarts
// sends one. A person who presses Ctrl-C twice does not want to wait.
//
// A command kills itself with the signal, so that a shell sees 130 or 143 and knows that its own loop
// was interrupted, too. If the signal does not end the command, as in the first process of a
// container, it exits with that code.
//
// The package imports only the standard library. Apart from main, only this package exits the
// process.
package signals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// received is the cause of a context that a signal ended.
type received struct{ syscall.Signal }

func (r received) Error() string { return r.Signal.String() }

// Notify returns a context that ends with the first SIGINT or SIGTERM. A SIGINT
// after that ends the process. release stops it; it must be called.
func Notify(parent context.Context) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	got := make(chan os.Signal, 8)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM)
	released := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-got:
				sig, _ := s.(syscall.Signal)
				if ctx.Err() != nil && sig == syscall.SIGINT {
					endBy(sig)
				}
				cancel(received{sig})
			case <-released:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		close(released)
		cancel(context.Canceled)
	}
}

// Received returns the signal that ended ctx, which Notify made; ok is false if none did.
func Received(ctx context.Context) (s syscall.Signal, ok bool) {
	var r received
	ok = errors.As(context.Cause(ctx), &r)
	return r.Signal, ok
}

// AtOnce makes the signal that ends ctx, which Notify made, end the process at once. The context
// that it returns does not end with ctx, because a command that saw it end would report that
// instead.
func AtOnce(ctx context.Context) context.Context {
	context.AfterFunc(ctx, func() { Follow(ctx) })
	return context.WithoutCancel(ctx)
}

// Follow ends the process with the signal that ended ctx, which Notify made. It returns if no
// signal did. Commands call it after they have cleaned up.
func Follow(ctx context.Context) {
	var r received
	if errors.As(context.Cause(ctx), &r) {
		endBy(r.Signal)
	}
}

// LastWords writes why a command failed. It gives up after a second, because the command must end
// even if nobody reads the text.
func LastWords(w io.Writer, program string, err error) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		fmt.Fprintln(w, program+":", err)
	}()
	select {
	case <-said:
	case <-time.After(time.Second):
	}
}

// endBy ends the process with a signal.
func endBy(sig syscall.Signal) {
	signal.Reset(sig)
	if self, err := os.FindProcess(os.Getpid()); err == nil && os.Getpid() != 1 && self.Signal(sig) == nil {
		time.Sleep(100 * time.Millisecond) // the signal needs time to arrive, and may be ignored
	}
	os.Exit(128 + int(sig))
}
