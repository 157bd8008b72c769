package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/columns"
)

// Dir is [Files] in a directory, which it creates if necessary. A segment gets its final name only once
// it is on disk. Only the writer's user may read it, because bodies may be private. With the first
// segment, Dir also writes the file [columns.Name] to the root. While a segment is open, its writer
// holds the file's advisory lock, which shows other processes that the writer is alive.
type Dir string

// Try implements [Files]. It creates a file and removes it.
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

// Create implements [Files].
func (d Dir) Create(key string) (File, error) {
	name := d.Path(key)
	if _, err := os.Lstat(name); err == nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	f, err := createLocked(name + recording.PartSuffix)
	if err != nil {
		return nil, err
	}
	d.putColumns()
	return &file{File: f, name: name}, nil
}

// createLocked creates a new file and locks it. It handles concurrent changes: senders of segments
// remove empty folders, and Adopt may consider the file abandoned until it is locked.
func createLocked(name string) (f *os.File, err error) {
	for range 1000 { // each takes microseconds
		if err = os.MkdirAll(filepath.Dir(name), 0o700); err == nil {
			f, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_ = lock(f, true) // file systems without locks: see [Dir.Adopt]
		if err = leadsTo(name, f); err == nil {
			return f, nil
		}
		f.Close()
	}
	return nil, err
}

// putColumns writes the columns file to the root, unless it exists. A failure doesn't affect the
// segment. The next segment tries again.
func (d Dir) putColumns() {
	name := filepath.Join(string(d), columns.Name)
	if _, err := os.Lstat(name); err == nil {
		return
	}
	f, err := os.CreateTemp(string(d), ".columns-*")
	if err != nil {
		return
	}
	_, err = f.Write(columns.File())
	if errors.Join(err, f.Close()) != nil || publish(f.Name(), name) != nil {
		os.Remove(f.Name())
	}
}

type file struct {
	*os.File
	name string
}

// Truncate implements [File].
func (f *file) Truncate(n int64) error {
	if err := f.File.Truncate(n); err != nil {
		return err
	}
	_, err := f.Seek(n, 0)
	return err
}

// Check implements [File]. Writes to a file that was removed or renamed succeed, but are lost.
func (f *file) Check() error { return leadsTo(f.Name(), f.File) }

// leadsTo checks that a name still refers to an open file.
func leadsTo(name string, f *os.File) error {
	have, err := os.Lstat(name)
	if err != nil {
		return err
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(have, mine) {
		return fmt.Errorf("%s: replaced by another file", name)
	}
	return nil
}

// Commit implements [File]. It holds the lock until the segment has its final name, so that Adopt
// doesn't consider it abandoned.
func (f *file) Commit() error {
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if !hasLocks { // some systems can't rename an open file
		f.Close()
	}
	if err := publish(f.Name(), f.name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.name))
}

// publish gives a file its final name, which must not be in use. It uses a link, which fails if the
// name is taken, whereas a rename would replace the other file. It renames only on file systems
// without links.
func publish(part, name string) error {
	err := os.Link(part, name)
	switch {
	case err == nil:
		return os.Remove(part)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	if _, err := os.Lstat(name); err == nil {
		return &fs.PathError{Op: "rename", Path: name, Err: fs.ErrExist}
	}
	return os.Rename(part, name)
}

// Discard implements [File].
func (f *file) Discard() error {
	defer f.Close()
	if !hasLocks {
		f.Close()
	}
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
