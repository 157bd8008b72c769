package hostsfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxFile is the maximum size of a file that is read, which is more than a pod's spec can
// fill.
const maxFile = 2 << 20

// Read returns the content of a file, or "" if the file does not exist.
func Read(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxFile {
		return "", fmt.Errorf("read %s: it has more than %d bytes", path, maxFile)
	}
	return string(content), nil
}

// Write writes content to the file. It overwrites an existing file and does not replace it,
// because a container that has it mounted by a subPath would keep the old one. It truncates
// the file last, so no reader finds it empty. All users in the pod may read it.
func Write(path, content string) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.IsDir():
		// If the subPath does not exist when a container starts, the kubelet makes a
		// directory there, and the start fails. Its next attempt finds the file.
		if err := os.Remove(path); err != nil {
			return err
		}
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("write %s: it is not a regular file: %w", path, fs.ErrInvalid)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(content), 0)
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	_ = f.Chmod(0o644) // despite the umask; it fails if another user owns the file
	return errors.Join(err, f.Close())
}
