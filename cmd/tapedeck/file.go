package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// writeWhole writes a file in one step: readers see all of it, or what was there before. If the name
// belongs to something other than a regular file, such as a pipe, it writes to that directly. A new file
// gets the mode; a replaced file keeps its own.
func writeWhole(name string, mode os.FileMode, write func(io.Writer) error) error {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	if err == nil {
		mode = info.Mode().Perm()
	}
	if _, err := os.Stat(filepath.Dir(name)); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".tapedeck-*")
	if err != nil {
		return err
	}
	if err = errors.Join(write(tmp), tmp.Chmod(mode), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
