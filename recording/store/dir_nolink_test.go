package store

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A volume without hard links, such as exFAT or one that an object store's driver provides.
func TestDirNamesAVolumeWithoutHardLinks(t *testing.T) {
	for _, errno := range []error{syscall.EPERM, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		dir := t.TempDir()
		err := Dir(dir).put(t.Context(), "a/b", strings.NewReader("x"), func(_ *os.Root, from, to string) error {
			return &os.LinkError{Op: "linkat", Old: from, New: to, Err: errno}
		})
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), "has no hard links") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v: got %v", errno, err)
		}
		if entries, _ := os.ReadDir(dir + "/a"); len(entries) != 0 {
			t.Errorf("%v: left %v", errno, entries)
		}
	}
}
