package pod

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tapedeck/tapedeck/internal/logbuffer"
)

// spec is one container, as cmd/contain reads it.
type spec struct {
	Root        string
	ReadOnly    bool
	Mounts      []mount
	User, Group int
	Env, Args   []string
}

type mount struct {
	From, To string
	ReadOnly bool
}

// with returns the container with another command.
func (s spec) with(args ...string) spec {
	s.Args = args
	return s
}

// process is a running container.
type process struct {
	*exec.Cmd
	name string
	out  logbuffer.Buffer
	done chan struct{} // closed when it ended
	err  error         // of its end
}

// start runs a container in the namespace, until it ends or the test does.
func (n namespace) start(t *testing.T, name string, s spec) *process {
	t.Helper()
	p := &process{name: name, done: make(chan struct{})}
	p.Cmd = exec.Command("ip", "netns", "exec", string(n), filepath.Join(bin, "contain"), toJSON(t, s))
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := p.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text := p.out.String()
			t.Logf("%s wrote:\n%s", name, text[max(0, len(text)-1500):])
		}
	})
	return p
}

// run runs a container to its end and returns what it wrote.
func (n namespace) run(t *testing.T, name string, s spec) (string, error) {
	t.Helper()
	p := n.start(t, name, s)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.kill()
		return p.out.String(), errors.New(name + " did not end within a minute")
	}
	return p.out.String(), p.err
}

// ended reports whether a process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends a process like the kernel's out-of-memory kill.
func (p *process) kill() {
	if !p.ended() {
		_ = p.Process.Kill()
	}
	<-p.done
}

// stop ends a process like the kubelet, and returns how it ended.
func (p *process) stop(t *testing.T) error {
	t.Helper()
	if !p.ended() {
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second): // terminationGracePeriodSeconds
		t.Fatalf("%s did not end within the grace period", p.name)
	}
	return p.err
}

// volumes are the volumes of a pod, with a folder for each.
type volumes map[string]string

// newVolumes makes the folders: an emptyDir is open to every user, and each Secret
// holds the same files.
func newVolumes(t *testing.T, of corev1.PodSpec, secret map[string]string) volumes {
	t.Helper()
	root := openDir(t)
	v := volumes{}
	for _, volume := range of.Volumes {
		dir := filepath.Join(root, volume.Name)
		v[volume.Name] = dir
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if volume.Secret == nil {
			continue
		}
		// The volume of a Secret has the keys that it lists, or all keys if it lists none.
		paths := map[string]string{}
		for _, item := range volume.Secret.Items {
			paths[item.Key] = item.Path
		}
		for name, text := range secret {
			path, listed := paths[name]
			if len(paths) > 0 && !listed {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, cmp.Or(path, name)), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return v
}

// spec returns how a runtime starts a rendered container in a pod with these facts. The image
// provides its root, its command and PATH.
func (v volumes) spec(c corev1.Container, pod facts, root string, entrypoint ...string) spec {
	env, expand := environment(c, pod)
	s := spec{Root: root, Env: append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, env...)}
	if len(c.Command) == 0 {
		s.Args = append(s.Args, entrypoint...)
	}
	for _, arg := range slices.Concat(c.Command, c.Args) {
		s.Args = append(s.Args, expand(arg))
	}
	for _, m := range c.VolumeMounts {
		s.Mounts = append(s.Mounts, mount{filepath.Join(v[m.Name], m.SubPath), m.MountPath, m.ReadOnly})
	}
	if sc := c.SecurityContext; sc != nil && sc.RunAsUser != nil {
		s.User, s.Group = int(*sc.RunAsUser), int(*sc.RunAsGroup)
		s.ReadOnly = sc.ReadOnlyRootFilesystem != nil && *sc.ReadOnlyRootFilesystem
	}
	return s
}

// imageRoot returns the image's root for one container.
func imageRoot(t *testing.T) string {
	t.Helper()
	root := openDir(t)
	if err := os.CopyFS(root, os.DirFS(filepath.Join(bin, "image"))); err != nil {
		t.Fatal(err)
	}
	return root
}

// openDir makes a folder that every user can enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(bin, "test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	return dir
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// eventually waits for a condition, and fails the test if it is not met.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, 30*time.Second, what, ok)
}

// within is like eventually, but waits up to limit.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// lines returns the lines of a text that contain all the parts.
func lines(text string, parts ...string) (out []string) {
next:
	for line := range strings.Lines(text) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		out = append(out, line)
	}
	return out
}
