// Command contain runs one container as a kubelet's runtime would: with an
// image's root, mounts, a user, an environment and a command, and nothing
// else. `ip netns exec` calls it, in a mount namespace of its own.
//
//	ip netns exec POD contain '{"root":"/image","user":2102,"args":["/tapedeck","proxy"],…}'
//
// The process becomes the container's: its ID, exit code and signals are those
// of the command.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// spec is what to run.
type spec struct {
	// Root is the image's root; with "/", the container runs on the machine's root, with mounts.
	Root string
	// ReadOnly makes the root read-only.
	ReadOnly    bool
	Mounts      []mount
	User, Group int
	Env, Args   []string
}

// mount mounts the directory From at To.
type mount struct {
	From, To string
	ReadOnly bool
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "contain:", err)
		os.Exit(125)
	}
}

func run(text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("read the container's description: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if s.Root != "/" {
		if err := bind(s.Root, s.Root, false); err != nil {
			return err
		}
		// The kubelet mounts these into every container.
		for _, file := range []string{"/etc/hosts", "/etc/resolv.conf"} {
			s.Mounts = append(s.Mounts, mount{file, file, true})
		}
	}
	for _, m := range s.Mounts {
		at := filepath.Join(s.Root, m.To)
		if err := makePoint(s.Root, at, m.From); err != nil {
			return fmt.Errorf("mount at %s: %w", m.To, err)
		}
		if err := bind(m.From, at, m.ReadOnly); err != nil {
			return err
		}
	}
	if s.ReadOnly {
		if err := unix.Mount("", s.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
	}
	if err := errors.Join(unix.Chroot(s.Root), unix.Chdir("/")); err != nil {
		return fmt.Errorf("enter %s: %w", s.Root, err)
	}
	if err := errors.Join(unix.Setgroups(nil), unix.Setresgid(s.Group, s.Group, s.Group), unix.Setresuid(s.User, s.User, s.User)); err != nil {
		return fmt.Errorf("become %d:%d: %w", s.User, s.Group, err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	// The process that started the container may crash, and must not leave it behind.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", s.Args[0], unix.Exec(s.Args[0], s.Args, s.Env))
}

// bind mounts a file or directory at another path.
func bind(from, to string, readOnly bool) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", from, to, err)
	}
	if readOnly {
		if err := unix.Mount("", to, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("mount %s read-only: %w", to, err)
		}
	}
	return nil
}

// makePoint makes the mount point if it is missing. On the machine's root it
// mounts an overlay, so that the root does not change.
func makePoint(root, at, from string) error {
	if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if root == "/" {
		if err := cover(at); err != nil {
			return err
		}
	}
	if info, err := os.Stat(from); err != nil || info.IsDir() {
		return errors.Join(err, os.MkdirAll(at, 0o755))
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.WriteFile(at, nil, 0o644)
}

// cover mounts an overlay in memory over the nearest directory that exists.
func cover(at string) error {
	dir := filepath.Dir(at)
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
	}
	tmp, err := os.MkdirTemp("", "contain-")
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", tmp, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	upper, work := filepath.Join(tmp, "upper"), filepath.Join(tmp, "work")
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	options := []string{"lowerdir=" + dir, "upperdir=" + upper, "workdir=" + work}
	if err := unix.Mount("overlay", dir, "overlay", 0, strings.Join(options, ",")); err != nil {
		return err
	}
	// The overlay keeps what it needs, so the folder can be removed.
	return errors.Join(unix.Unmount(tmp, unix.MNT_DETACH), os.Remove(tmp))
}
