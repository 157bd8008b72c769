//go:build unix

package signals

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// asProcess, when set, makes the test binary a process that ends in the way that it names.
const asProcess = "TAPEDECK_TEST_SIGNALS"

func TestMain(m *testing.M) {
	switch os.Getenv(asProcess) {
	case "drains": // says that it was told to stop; does not stop when told again
		ctx, release := Notify(context.Background())
		defer release()
		fmt.Println("runs")
		<-ctx.Done()
		fmt.Println("drains")
		select {}
	case "at once":
		ctx, release := Notify(context.Background())
		defer release()
		ctx = AtOnce(ctx)
		fmt.Println("runs")
		<-ctx.Done()
	}
	os.Exit(m.Run())
}

func TestWhatSignalsDo(t *testing.T) {
	const sigterm, sigint = syscall.SIGTERM, syscall.SIGINT
	for _, c := range []struct {
		as   string
		send []syscall.Signal // the last one ends it
	}{
		{"at once", []syscall.Signal{sigterm}},
		{"at once", []syscall.Signal{sigint}},
		{"drains", []syscall.Signal{sigterm, sigterm, sigterm, sigint}},
		{"drains", []syscall.Signal{sigint, sigterm, sigint}},
	} {
		t.Run(fmt.Sprint(c.as, " ", c.send), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), asProcess+"="+c.as)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said := bufio.NewScanner(out)
			expect := func(want string) {
				if !said.Scan() || said.Text() != want {
					t.Errorf("said %q, want %q", said.Text(), want)
				}
			}
			expect("runs")
			last := c.send[len(c.send)-1]
			for i, sig := range c.send {
				cmd.Process.Signal(sig)
				if i == 0 && c.as == "drains" {
					expect("drains")
				}
			}
			var ended *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != last {
				t.Errorf("ended with %v, want by %v", err, last)
			}
		})
	}
}

func TestLastWordsDoNotWaitForAReader(t *testing.T) {
	read, write := io.Pipe()
	LastWords(write, "tapedeck", errors.New("it failed"))
	if said, err := bufio.NewReader(read).ReadString('\n'); said != "tapedeck: it failed\n" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
}

func TestAContextThatEndsOtherwiseEndsNothing(t *testing.T) {
	ctx, release := Notify(t.Context())
	inner := AtOnce(ctx)
	release()
	<-ctx.Done()
	if inner.Err() != nil {
		t.Error(inner.Err())
	}
}
