package spool

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// AsideSuffix ends the name of a segment that can't be read or sent. The file is kept for
// inspection until its space is needed.
const AsideSuffix = ".corrupt"

// State is the state of a segment, as its name shows.
type State uint8

const (
	// Complete: it has its final name.
	Complete State = iota
	// Part: it is being written, or its writer was killed.
	Part
	// Aside: it can't be read, or the collector refuses it.
	Aside
)

// Segment is a segment's file in a [Dir].
type Segment struct {
	// Name is the path below the directory, with slashes. For a complete segment it is the key.
	Name string
	// Size is the file's size in bytes.
	Size  int64
	State State

	changed time.Time
}

// suffixes are the suffixes of the states.
var suffixes = []struct {
	suffix string
	state  State
}{
	{recording.SegmentSuffix, Complete},
	{recording.SegmentSuffix + recording.PartSuffix, Part},
	{recording.SegmentSuffix + AsideSuffix, Aside},
	{recording.SegmentSuffix + recording.PartSuffix + AsideSuffix, Aside},
}

// Segments lists all segments in the directory, the oldest first. A segment that is being completed
// may have both names.
func (d Dir) Segments() (found []Segment, err error) {
	fsys := os.DirFS(string(d))
	names, err := fs.Glob(fsys, "cluster=*/namespace=*/workload=*/date=*/hour=*/*")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		for _, s := range suffixes {
			if !strings.HasSuffix(name, s.suffix) {
				continue
			}
			info, err := fs.Stat(fsys, name)
			if errors.Is(err, fs.ErrNotExist) {
				break // its writer completed or removed it
			}
			if err != nil {
				return nil, err
			}
			found = append(found, Segment{name, info.Size(), s.state, info.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b Segment) int { return strings.Compare(path.Base(a.Name), path.Base(b.Name)) })
	return found, nil
}

// Path returns the path of a file in the directory.
func (d Dir) Path(name string) string { return filepath.Join(string(d), filepath.FromSlash(name)) }

// Remove removes a segment, and its folders if nothing else is in them. The error wraps
// [fs.ErrNotExist] if it is not there.
func (d Dir) Remove(name string) error {
	if err := os.Remove(d.Path(name)); err != nil {
		return err
	}
	for folder := path.Dir(name); folder != "."; folder = path.Dir(folder) {
		if os.Remove(d.Path(folder)) != nil { // not empty
			break
		}
	}
	return nil
}

// SetAside renames a segment that can't be read or that the collector refuses, so that it is not read
// again.
func (d Dir) SetAside(name string) error { return os.Rename(d.Path(name), d.Path(name)+AsideSuffix) }
