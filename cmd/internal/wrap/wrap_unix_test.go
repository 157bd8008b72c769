//go:build unix

package wrap

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A service manager or a CI job gives /dev/null as standard input and sends signals to this
// process alone: the command gets each of them.
func TestSignalsArePassedOn(t *testing.T) {
	fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	null := os.NewFile(uintptr(fd), "/dev/stdin") // the name of os.Stdin, whatever file it is
	defer null.Close()
	for _, signal := range forwarded {
		t.Run(signal.String(), func(t *testing.T) {
			out, said := io.Pipe()
			type result struct {
				status Status
				err    error
			}
			done := make(chan result, 1)
			go func() {
				const script = `for s in HUP INT QUIT TERM USR1 USR2; do trap "exit 7" $s; done; echo ready; while :; do sleep 0.01; done`
				status, err := Run(t.Context(), Command{Args: []string{"sh", "-c", script}, Stdin: null, Stdout: said, Stderr: io.Discard, Env: os.Environ()}, time.Second)
				said.Close()
				done <- result{status, err}
			}()
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
			if err := syscall.Kill(os.Getpid(), signal.(syscall.Signal)); err != nil {
				t.Fatal(err)
			}
			select {
			case r := <-done:
				if r.err != nil || r.status.Code != 7 {
					t.Errorf("%v, %v", r.status, r.err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the command did not get it")
			}
		})
	}
}

// The exit status of the command is reported as a shell does.
func TestStatus(t *testing.T) {
	for script, want := range map[string]string{"exit 0": "exit code 0", "exit 3": "exit code 3", "kill -9 $$": "was ended by a signal: killed"} {
		var out bytes.Buffer
		status, err := Run(t.Context(), Command{Args: []string{"sh", "-c", script}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Env: os.Environ()}, time.Second)
		if err != nil || status.String() != want {
			t.Errorf("%s: %v, %v", script, status, err)
		}
	}
}

// A command that ignores signals ends all the same when its caller can't wait.
func TestKillEndsACommandThatIgnoresSignals(t *testing.T) {
	out, said := io.Pipe()
	kill := make(chan struct{})
	done := make(chan Status, 1)
	go func() {
		status, err := Run(t.Context(), Command{Args: []string{"sh", "-c", `trap "" TERM INT; echo ready; while :; do sleep 0.01; done`}, Stdin: strings.NewReader(""), Stdout: said, Stderr: io.Discard, Env: os.Environ(), Kill: kill}, time.Hour)
		if err != nil {
			t.Error(err)
		}
		done <- status
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	close(kill)
	select {
	case status := <-done:
		if status.Code != 128+int(syscall.SIGKILL) {
			t.Error(status)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it is still running")
	}
}

// The processes that a command has started end with it. That holds when the command is stopped
// and when it ends by itself, and also for children that ignore signals.
func TestNothingOutlivesACommand(t *testing.T) {
	const child = `sh -c 'echo ready; while :; do sleep 0.01; done' & `
	const deaf = `sh -c 'trap "" TERM; echo ready; while :; do sleep 0.01; done' & `
	for name, c := range map[string]struct {
		script string
		stop   func(cancel, kill func())
	}{
		"the run is over":                      {child + "wait", func(cancel, _ func()) { cancel() }},
		"the run is over, and a child is deaf": {deaf + "wait", func(cancel, _ func()) { cancel() }},
		"it is killed":                         {deaf + "wait", func(_, kill func()) { kill() }},
		"a signal came":                        {child + "wait", func(_, _ func()) { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) }},
		"it ends by itself":                    {child + "sleep 0.1", func(_, _ func()) {}},
	} {
		t.Run(name, func(t *testing.T) {
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			kill, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				_, err := Run(ctx, Command{Args: []string{"sh", "-c", c.script}, Stdin: strings.NewReader(""), Stdout: write, Stderr: io.Discard, Env: os.Environ(), Kill: kill}, 200*time.Millisecond)
				if err != nil {
					t.Error(err)
				}
				write.Close()
			}()
			out := bufio.NewReader(read)
			if line, err := out.ReadString('\n'); line != "ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
			c.stop(cancel, func() { close(kill) })
			<-done
			_ = read.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.Copy(io.Discard, out); err != nil { // ends when no process can write any more
				t.Errorf("something is still running: %v", err)
			}
		})
	}
}
