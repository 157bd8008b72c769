package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/e2e/internal/tools"
)

const (
	// repo is the module under test; corpus is next to it on machines that have it.
	repo   = ".."
	corpus = "../../shared/corpus"
)

// The program under test, as `make` builds it. TAPEDECK and TAPEDECK_IMAGE
// point the tests at a released one instead.
var (
	tapedeck = os.Getenv("TAPEDECK")
	image    = os.Getenv("TAPEDECK_IMAGE")
)

func TestMain(m *testing.M) {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// build makes the binary and, if there is an engine, the image.
func build() (err error) {
	if tapedeck == "" {
		if tapedeck, err = filepath.Abs(filepath.Join(repo, "bin/tapedeck")); err != nil {
			return err
		}
		if err := makeGoal("build"); err != nil {
			return err
		}
	}
	if image == "" && noDocker() == "" {
		image = testImage + ":" + testVersion
		return makeGoal("image", "IMAGE="+testImage, "VERSION="+testVersion)
	}
	return nil
}

// The image under test has a separate name, so that it does not replace an image that somebody built for use.
const (
	testImage   = "localhost/tapedeck-e2e"
	testVersion = "test"
)

func makeGoal(args ...string) error {
	out, err := exec.Command("make", append([]string{"-C", repo}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// noDocker returns the reason why containers can't run here, or "" if they can.
func noDocker() string {
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return fmt.Sprintf("no Docker engine answers: %s", bytes.TrimSpace(out))
	}
	return ""
}

func needDocker(t *testing.T) {
	t.Helper()
	if why := noDocker(); why != "" {
		t.Skip(why)
	}
}

// needCorpus returns the path of part of the corpus.
func needCorpus(t *testing.T, part string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(corpus, part))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the corpus of real manifests is not next to the repository: %v", err)
	}
	return dir
}

// needPath returns the path of a program that the tests can't build.
func needPath(t *testing.T, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not on the PATH, and no module of it can be built", name)
	}
	return file
}

// tool returns the path of a program from the tools' table.
func tool(t *testing.T, name string) string {
	t.Helper()
	file, err := tools.Find(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// result is the output of a program.
type result struct {
	stdout, stderr []byte
	err            error
}

// run runs a program in dir, with stdin, to its end.
func run(t *testing.T, dir string, stdin []byte, name string, args ...string) result {
	t.Helper()
	return runEnv(t, dir, nil, stdin, name, args...)
}

func runEnv(t *testing.T, dir string, env []string, stdin []byte, name string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	// The test's own context ends before its clean-ups, which run programs, too, and remove the
	// containers.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.Bytes())
	}
	return result{stdout.Bytes(), stderr.Bytes(), err}
}

// ok returns standard output, and fails the test if the program failed.
func (r result) ok(t *testing.T) []byte {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.stdout
}

// write writes files, given as path and content, below dir.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// read returns a file's content.
func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// copyDir copies a folder of the corpus into dir.
func copyDir(t *testing.T, dir, from string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
