package sidecar

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mountSmall mounts a disk of 128 KiB on dir.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("a disk to fill up is mounted, which needs root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
}

// mountFreezable mounts a disk on dir, which takes no write between freeze and thaw.
func mountFreezable(t *testing.T, dir string) (freeze, thaw func()) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("a disk to freeze is mounted, which needs root: %s: %v: %s", args[0], err, out)
		}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	do := func(request uint) {
		if err := unix.IoctlSetInt(int(d.Fd()), request, 0); err != nil {
			t.Errorf("freeze or thaw: %v", err)
		}
	}
	const fifreeze, fithaw = 0xc0045877, 0xc0045878 // linux/fs.h
	frozen := false
	freeze = func() { do(fifreeze); frozen = true }
	thaw = func() { do(fithaw); frozen = false }
	t.Cleanup(func() {
		if frozen {
			thaw()
		}
	})
	return freeze, thaw
}
