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

// AsideSuffix ends the name of a segment that can't be read. It stays where it is, for
// somebody to look at it, until it makes room for others.
const AsideSuffix = ".corrupt"

// State is what a segment's name says of it.
type State uint8

const (
	// Complete: it has its own name.
	Complete State = iota
	// Part: it is being written, or its writer was killed.
	Part
	// Aside: it can't be read, or nobody takes it.
	Aside
)

// Segment is a segment's file in a [Dir].
type Segment struct {
	// Name is the path below the directory, with slashes: that of a complete segment is
	// its key.
	Name string
	// Size is that of the file, in bytes.
	Size  int64
	State State

	changed time.Time
}

// suffixes tell the states apart.
var suffixes = []struct {
	suffix string
	state  State
}{
	{recording.SegmentSuffix, Complete},
	{recording.SegmentSuffix + recording.PartSuffix, Part},
	{recording.SegmentSuffix + AsideSuffix, Aside},
	{recording.SegmentSuffix + recording.PartSuffix + AsideSuffix, Aside},
}

// Segments lists the segments in the directory, whoever wrote them, the oldest first. Of
// a segment that is being completed, both names may be there.
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
				break // another writer has ended, or removed it
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

// Path returns where a file of the directory is.
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

// SetAside gives a segment that can't be read, or that nobody takes, a name by which it is
// not read again.
func (d Dir) SetAside(name string) error { return os.Rename(d.Path(name), d.Path(name)+AsideSuffix) }
