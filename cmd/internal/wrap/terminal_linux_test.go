package wrap

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/cmd/internal/signals"
)

// atTerminal, when set, makes the test binary a program that runs a script, as Tapedeck's commands
// do. With "detached" it does so as tapedeck replay does.
const atTerminal = "TAPEDECK_TEST_TERMINAL"

func TestMain(m *testing.M) {
	if as := os.Getenv(atTerminal); as != "" {
		ctx, release := signals.Notify(context.Background())
		c := Command{Args: []string{"sh", "-c", os.Args[1]}, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Environ()}
		if as == "detached" {
			c.Detached, c.Stdin = true, strings.NewReader("")
		}
		status, err := Run(ctx, c, time.Second)
		s, _ := signals.Received(ctx)
		fmt.Printf("%v, %v, got %v\n", status, err, s)
		release()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// At a terminal the command is in the foreground: it can read, and Ctrl-C reaches it and this
// process. A command that needs no terminal gets Ctrl-C from this process.
func TestAtATerminal(t *testing.T) {
	for as, script := range map[string]string{
		"attached": `read line; echo "read $line"; trap "echo interrupted; exit 7" INT; echo ready; while :; do sleep 0.01; done`,
		"detached": `echo "read hello"; sh -c 'echo ready; while :; do sleep 0.01; done' & trap "echo interrupted; exit 7" INT; wait`,
	} {
		t.Run(as, func(t *testing.T) {
			ours, theirs := terminalPair(t)
			self := exec.Command(os.Args[0], script)
			self.Env = append(os.Environ(), atTerminal+"="+as)
			self.Stdin, self.Stdout, self.Stderr = theirs, theirs, theirs
			self.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := self.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			defer self.Process.Kill()
			said := make(chan string, 100)
			go func() {
				defer close(said)
				for lines := bufio.NewScanner(ours); lines.Scan(); {
					said <- strings.TrimSpace(lines.Text())
				}
			}()
			expect := func(want string) {
				t.Helper()
				for deadline := time.After(20 * time.Second); ; {
					select {
					case line, ok := <-said:
						if strings.HasSuffix(line, want) {
							return
						}
						if !ok {
							t.Fatalf("it ended without saying %q", want)
						}
					case <-deadline:
						t.Fatalf("it never said %q", want)
					}
				}
			}
			fmt.Fprint(ours, "hello\n")
			expect("read hello")
			expect("ready")
			fmt.Fprint(ours, "\x03") // Ctrl-C
			expect("interrupted")
			expect("exit code 7, <nil>, got interrupt")
			if err := self.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// terminalPair opens a pseudo-terminal.
func terminalPair(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there are no terminals here: ", err)
	}
	t.Cleanup(func() { ours.Close() })
	raw, err := ours.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	_ = raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}
