package pod

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repo is the module under test.
const repo = "../.."

// bin is the directory of the programs: those of cmd, and an image's root with the
// program under test in it.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if missing() != "" {
			return m.Run() // every test says so
		}
		dir, err := os.MkdirTemp("", "tapedeck-pod-")
		if err == nil {
			defer os.RemoveAll(dir)
			bin = dir
			err = build()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "pod:", err)
			return 1
		}
		return m.Run()
	}())
}

// missing returns what pods lack on this machine, or "" if nothing is missing.
func missing() string {
	if os.Getuid() != 0 {
		return "network namespaces need root"
	}
	for program, pkg := range map[string]string{"ip": "iproute2", "iptables-save": "iptables", "ip6tables-save": "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("%s is not here: apt-get install %s", program, pkg)
		}
	}
	return ""
}

// build makes the programs, and gets the image's root.
func build() error {
	// Containers run as other users, which read this directory.
	if err := os.Chmod(bin, 0o755); err != nil {
		return err
	}
	if err := execute("go", "build", "-trimpath", "-o", bin+"/", "./cmd/..."); err != nil {
		return err
	}
	if why := noEngine(); why != "" {
		fmt.Fprintf(os.Stderr, "pod: the sidecar is a binary built as the image's is, not the image's own: %s\n", why)
		return execute("go", "-C", repo, "build", "-trimpath", "-o", filepath.Join(bin, "image")+"/", "./cmd/tapedeck", "./cmd/tapedeck-proxy")
	}
	if err := execute("make", "-C", repo, "image", "IMAGE="+image, "VERSION=test"); err != nil {
		return err
	}
	container := fmt.Sprintf("td%d-image", os.Getpid())
	if err := execute("docker", "create", "--name", container, image+":test"); err != nil {
		return err
	}
	return errors.Join(
		execute("docker", "cp", container+":/.", filepath.Join(bin, "image")),
		execute("docker", "rm", container),
	)
}

// image is the image under test. Its name is separate, so that an image which somebody built for
// use stays.
const image = "localhost/tapedeck-pod"

// noEngine returns the reason why there is no container engine, or "" if there is one.
func noEngine() string {
	if err := execute("docker", "version", "--format", "{{.Server.Version}}"); err != nil {
		return fmt.Sprintf("no Docker engine answers: %v", err)
	}
	return ""
}

func execute(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// run runs a program to its end.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
