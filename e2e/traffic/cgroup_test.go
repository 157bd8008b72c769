package traffic

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// container is a memory cgroup with a limit, like the one that a kubelet makes for
// a container. Version 1 counts the buffers of sockets separately, version 2
// together with the rest.
type container struct {
	dir   string
	v2    bool
	limit int64
}

// contained makes a container with a limit of limit bytes, and skips the test if that isn't
// possible.
func contained(t *testing.T, limit int64) *container {
	t.Helper()
	c, err := newContainer(limit)
	if err != nil {
		t.Skipf("a memory cgroup can't be made (it needs root, and a /sys/fs/cgroup that may be written to): %v", err)
	}
	t.Cleanup(func() {
		eventually(t, "the cgroup is removed", func() bool {
			err := os.Remove(c.dir)
			return err == nil || errors.Is(err, os.ErrNotExist)
		})
	})
	return c
}

func newContainer(limit int64) (*container, error) {
	const root = "/sys/fs/cgroup"
	c := &container{limit: limit}
	max, swap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	parent := filepath.Join(root, "memory")
	if controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err == nil {
		c.v2, parent, max, swap = true, root, "memory.max", "memory.swap.max"
		if !bytes.Contains(controllers, []byte("memory")) {
			return nil, errors.New("cgroup v2 without a memory controller")
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
			return nil, err
		}
	}
	var err error
	if c.dir, err = os.MkdirTemp(parent, "tapedeck-traffic-"); err != nil {
		return nil, err
	}
	value := strconv.FormatInt(limit, 10)
	if err := os.WriteFile(filepath.Join(c.dir, max), []byte(value), 0); err != nil {
		return nil, errors.Join(err, os.Remove(c.dir))
	}
	if c.v2 {
		value = "0"
	}
	_ = os.WriteFile(filepath.Join(c.dir, swap), []byte(value), 0) // there may be no swap to limit
	if !c.v2 {
		// The kernel counts this memory only if it is limited. Twice the limit never takes effect.
		_ = os.WriteFile(filepath.Join(c.dir, "memory.kmem.tcp.limit_in_bytes"), []byte(strconv.FormatInt(2*limit, 10)), 0)
	}
	return c, nil
}

// enter runs a command in the container.
func (c *container) enter(cmd *exec.Cmd) {
	args := append([]string{"sh", "-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(c.dir, "cgroup.procs")}, cmd.Args...)
	cmd.Path, cmd.Args = "/bin/sh", args
}

// killed returns how many processes the kernel killed because memory ran out.
func (c *container) killed() int64 {
	if c.v2 {
		return c.stat("memory.events", "oom_kill")
	}
	return c.stat("memory.oom_control", "oom_kill")
}

// used returns the memory of the container that the kernel can't reclaim: neither the page cache
// nor programs' text.
func (c *container) used() int64 {
	if c.v2 {
		s := c.stat
		return s("memory.stat", "anon") + s("memory.stat", "kernel") + s("memory.stat", "sock") + s("memory.stat", "shmem")
	}
	return c.stat("memory.stat", "rss") + c.stat("memory.stat", "shmem") + c.number("memory.kmem.usage_in_bytes") + c.number("memory.kmem.tcp.usage_in_bytes")
}

// parts describes what used consists of.
func (c *container) parts() string {
	anon, kernel, sockets := c.stat("memory.stat", "anon"), c.stat("memory.stat", "kernel"), c.stat("memory.stat", "sock")
	if !c.v2 {
		anon, kernel, sockets = c.stat("memory.stat", "rss"), c.number("memory.kmem.usage_in_bytes"), c.number("memory.kmem.tcp.usage_in_bytes")
	}
	return fmt.Sprintf("%d MiB of the process, %d MiB of the kernel, %d MiB in sockets", anon>>20, kernel>>20, sockets>>20)
}

// number reads a file that holds one number.
func (c *container) number(file string) int64 {
	text, _ := os.ReadFile(filepath.Join(c.dir, file))
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// stat reads the number of a name from a file of names and numbers.
func (c *container) stat(file, name string) int64 {
	text, _ := os.ReadFile(filepath.Join(c.dir, file))
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			n, _ := strconv.ParseInt(number, 10, 64)
			return n
		}
	}
	return 0
}

// watch measures the container's memory until stop is called, which returns the highest value and
// its parts.
func (c *container) watch() (stop func() (most int64, parts string)) {
	quit, done := make(chan struct{}), make(chan struct{})
	var most int64
	var parts string
	go func() {
		defer close(done)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			if now := c.used(); now > most {
				most, parts = now, c.parts()
			}
			select {
			case <-quit:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return func() (int64, string) {
		close(quit)
		<-done
		return most, parts
	}
}
