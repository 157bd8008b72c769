package traffic

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Variables by which the process that makes the namespace configures the one that runs in it.
const (
	envPrograms = "TRAFFIC_PROGRAMS" // directory of the program under test and of h2spec
	envEcho     = "TRAFFIC_ECHO"     // this process is the server of idle_test.go
)

// outside is an address of the namespace that is not on loopback: clients have
// rules for reaching loopback without a proxy.
const outside = "192.0.2.1"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(envEcho) != "":
		serveEcho()
	case os.Getenv(envCalls) != "":
		makeCalls()
	case os.Getenv(envGateway) != "":
		serveGateway()
	case os.Getenv(envPrograms) != "":
		if err := linkUp(); err != nil {
			fmt.Fprintln(os.Stderr, "traffic:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	os.Exit(enclosed())
}

// enclosed builds the programs, runs this one again in a network namespace,
// where there is nothing to download from, and returns its exit code.
func enclosed() int {
	dir, err := os.MkdirTemp("", "tapedeck-traffic-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := linkTools(dir, "podinfo", "go-httpbin"); err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		return 1
	}
	for pkg, in := range map[string]string{"./cmd/tapedeck-proxy": "../..", "./cmd/tapedeck": "../..",
		"./examples/shop/checkout": "../..", "./examples/shop/prices": "../..", "github.com/summerwind/h2spec/cmd/h2spec": "."} {
		build := exec.Command("go", "build", "-trimpath", fmt.Sprintf("-race=%v", raceEnabled), "-o", dir+"/", pkg)
		build.Dir = in
		if !raceEnabled { // the race detector needs cgo, but the image's programs are built without
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
		}
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "traffic: go build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Stdout, self.Stderr = os.Stdout, os.Stderr
	self.Env = append(os.Environ(), envPrograms+"="+dir, "HTTPS_PROXY=http://"+outTee, "NO_PROXY=")
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		self.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		self.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		self.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err = self.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case errors.Is(err, syscall.EPERM):
		fmt.Fprintln(os.Stderr, "traffic: skipped: a network namespace needs root, or kernel.unprivileged_userns_clone:", err)
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "traffic:", err)
		return 1
	}
	return 0
}

// linkTools builds servers, which other tests use as well, and links them.
func linkTools(dir string, names ...string) error {
	for _, name := range names {
		cmd := exec.Command("go", "-C", "..", "run", "./cmd/tools", name)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
		if err := os.Symlink(strings.TrimSpace(string(out)), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// linkUp makes the namespace's loopback work and gives it more addresses.
func linkUp() error {
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"address", "add", outside, "dev", "lo"}, {"address", "add", imds, "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v (Debian: iproute2): %w\n%s", args, err, out)
		}
	}
	return nil
}
