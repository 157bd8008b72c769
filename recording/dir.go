package recording

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// partSuffix marks a segment that is still being written, or whose writer was
// killed. Readers read it all the same.
const partSuffix = ".part"

// Dir is a [Store] in a directory, which it makes when it needs it. A segment
// appears under its own name only once it is on the disk. Nobody but the writer's
// user may read it: bodies are kept as they are.
type Dir string

// Try implements [Store], with a file that it removes.
func (d Dir) Try() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(string(d), ".try-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Create implements [Store].
func (d Dir) Create(key string) (Segment, error) {
	name := filepath.Join(string(d), filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	f, err := os.OpenFile(name+partSuffix, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &file{File: f, name: name}, nil
}

type file struct {
	*os.File
	name string
}

// Truncate implements [Segment].
func (f *file) Truncate(n int64) error {
	if err := f.File.Truncate(n); err != nil {
		return err
	}
	_, err := f.Seek(n, 0)
	return err
}

// Check implements [Segment]: a file that was removed, or moved away, takes
// writes without complaint and loses them.
func (f *file) Check() error {
	have, err := os.Lstat(f.Name())
	if err != nil {
		return err
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(have, mine) {
		return fmt.Errorf("%s: replaced by another file", f.Name())
	}
	return nil
}

// Commit implements [Segment].
func (f *file) Commit() error {
	err := f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), f.name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.name))
}

// Discard implements [Segment].
func (f *file) Discard() error {
	f.Close()
	return os.Remove(f.Name())
}

// syncDir makes a rename in the directory durable.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
