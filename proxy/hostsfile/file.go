package hostsfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxFile bounds what is read of a file: more than any pod's spec has room for.
const maxFile = 2 << 20

// Read returns the content of a file, and "" if there is none.
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

// Write makes content the file's. An existing file is written over and not replaced: who
// has it mounted by a subPath would keep the old one. It is cut last, so nobody finds it
// empty. Everyone in the pod may read it, under whatever user.
func Write(path, content string) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.IsDir():
		// The kubelet makes a directory of a subPath that does not exist when the container
		// starts, which then fails; its next attempt finds the file.
		if err := os.Remove(path); err != nil {
			return err
		}
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("write %s: it is no regular file: %w", path, fs.ErrInvalid)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(content), 0)
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	_ = f.Chmod(0o644) // whatever the umask is; who does not own it has to take it as it is
	return errors.Join(err, f.Close())
}
