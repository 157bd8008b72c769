package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// writeWhole writes a file at once: under its name there is all of it, or what was there
// before. A file that is no regular one, such as a pipe, is written to as it is.
func writeWhole(name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".tapedeck-*")
	if err != nil {
		return err
	}
	if err = errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
