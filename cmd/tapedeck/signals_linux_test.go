package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/recording"
)

// pipeSize is how many bytes a pipe holds before a writer has to wait.
const pipeSize = 64 << 10

// holds returns how many bytes of a pipe were written and not read.
func holds(t *testing.T, pipe *os.File) (n int) {
	t.Helper()
	raw, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A signal ends a command at once, even while it waits for input, and while nobody reads its
// output.
func TestCommandsEndAtOnce(t *testing.T) {
	dir := t.TempDir()
	large := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: large\ndata:\n" + strings.Repeat("  # "+strings.Repeat("x", 60)+"\n", 4<<10) + "  a: b\n"
	manifest := filepath.Join(dir, "large.yaml")
	list := filepath.Join(dir, "list.yaml")
	segment := filepath.Join(dir, "segment.jsonl")
	fifo := filepath.Join(dir, "fifo.jsonl")
	e := recording.Exchange{Location: strings.Repeat("/a", 100)}
	for name, text := range map[string]string{
		manifest: large,
		list:     "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- " + strings.ReplaceAll(large, "\n", "\n  ") + "\n",
		segment:  strings.Repeat(string(e.AppendJSON(nil))+"\n", 2000),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		stdin string // a file, or "" for a pipe that is never closed
		args  []string
	}{
		{"a call without a command that reads", "", nil},
		{"render that reads", "", []string{"render"}},
		{"fn that reads", "", []string{"fn"}},
		{"uninject that reads", "", []string{"uninject"}},
		{"render that writes", os.DevNull, []string{"render", manifest}},
		{"fn that writes", list, []string{"fn"}},
		{"uninject that writes", manifest, []string{"uninject"}},
		{"inspect that writes a table", os.DevNull, []string{"inspect", segment}},
		{"inspect that writes JSON", os.DevNull, []string{"inspect", "-o", "json", segment}},
		{"inspect that opens", os.DevNull, []string{"inspect", fifo}},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			for _, ignored := range []bool{false, true} { // as in background jobs of a shell
				t.Run(fmt.Sprintf("%s, %v, ignored %v", c.name, sig, ignored), func(t *testing.T) {
					cmd := &exec.Cmd{Path: os.Args[0], Args: append([]string{"tapedeck"}, c.args...)}
					if ignored {
						cmd = exec.Command("bash", append([]string{"-c", `trap "" INT TERM; exec -a tapedeck "$0" "$@"`, os.Args[0]}, c.args...)...)
					}
					var in, inWrite *os.File
					var err error
					if c.stdin == "" {
						in, inWrite, err = os.Pipe()
					} else {
						in, err = os.Open(c.stdin)
					}
					if err != nil {
						t.Fatal(err)
					}
					defer in.Close()
					out, outWrite, err := os.Pipe()
					if err != nil {
						t.Fatal(err)
					}
					defer out.Close()
					cmd.Stdin, cmd.Stdout = in, outWrite
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					defer cmd.Process.Kill()
					outWrite.Close()
					blocked := func() bool { return holds(t, out) > pipeSize*3/4 }
					switch {
					case inWrite != nil:
						defer inWrite.Close()
						io.WriteString(inWrite, "apiVersion: v1\n")
						blocked = func() bool { return holds(t, in) == 0 }
					case strings.HasSuffix(c.name, "opens"):
						f, err := os.OpenFile(fifo, os.O_WRONLY, 0) // returns once a reader has opened it
						if err != nil {
							t.Fatal(err)
						}
						defer f.Close()
						blocked = func() bool { return true }
					}
					for deadline := time.Now().Add(20 * time.Second); !blocked(); time.Sleep(time.Millisecond) {
						if time.Now().After(deadline) {
							t.Fatal("it never waits")
						}
					}
					began := time.Now()
					cmd.Process.Signal(sig)
					var ended *exec.ExitError
					if err := cmd.Wait(); !errors.As(err, &ended) {
						t.Fatalf("ended with %v", err)
					}
					how := ended.Sys().(syscall.WaitStatus)
					if by := how.Signaled() && how.Signal() == sig; !by && (!ignored || how.ExitStatus() != 128+int(sig)) {
						t.Errorf("ended with %v", ended)
					}
					if took := time.Since(began); took > 5*time.Second {
						t.Errorf("it took %v", took)
					}
				})
			}
		}
	}
}
