package sidecar

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// inMemory reports whether files in dir are in memory. If dir does not exist yet, it looks at the
// nearest parent that does.
func inMemory(dir string) bool {
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		if err == nil {
			return s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC
		}
		above := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || above == dir {
			return false
		}
		dir = above
	}
}
