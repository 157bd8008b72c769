package pod

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repo is the module under test.
const repo = "../.."

// bin is where the programs are: those of cmd, and an image's root with the
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

// missing says what pods can't do without here, "" if all is there.
func missing() string {
	if os.Getuid() != 0 {
		return "network namespaces need root"
	}
	for program, pkg := range map[string]string{"ip": "iproute2", "iptables-save": "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("%s is not here: apt-get install %s", program, pkg)
		}
	}
	return ""
}

// build makes the programs, and the root of the image as `make image` lays it
// out.
func build() error {
	// Containers run as users of their own, and read what is here.
	if err := os.Chmod(bin, 0o755); err != nil {
		return err
	}
	for _, b := range []struct{ dir, out, pkg string }{
		{".", bin + "/", "./cmd/..."},
		{repo, filepath.Join(bin, "image", "tapedeck"), "./cmd/tapedeck"},
	} {
		cmd := exec.Command("go", "build", "-o", b.out, b.pkg)
		cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", b.pkg, err, out)
		}
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
