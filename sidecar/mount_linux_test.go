package sidecar

import (
	"syscall"
	"testing"
)

// mountSmall mounts a disk of 128 KiB on dir.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("a disk to fill up is mounted, which needs root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
}
