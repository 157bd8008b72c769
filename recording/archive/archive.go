// Package archive copies the segments of a directory out of a pod as a tar archive on standard output,
// because the image has neither a shell nor tar.
//
//	/tapedeck-proxy export ──▶ Write ──▶ kubectl exec ──▶ Read ──▶ tapedeck pull
//
// It promises:
//
//   - Write sends the bytes that each segment has so far. It holds one buffer in memory, but no segment.
//     Recording continues meanwhile.
//   - The last entry is a mark. If it is missing, Read knows that the archive ended early.
//   - Read trusts nothing. An archive has regular files with the names of segments, each once and within
//     limits, and the mark. Anything else is an error that names the entry.
//
// It imports only recording and the standard library, because the sidecar links it.
package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// markName is the name of the last entry.
const markName = "export.json"

// format is the version of the archive's format.
const format = 1

// Mark is the content of the last entry, in JSON.
type Mark struct {
	// Format is the version of the archive's format.
	Format int `json:"format"`
	// Version is the version of the program that wrote the archive.
	Version string `json:"version"`
	// Segments counts the segments before the mark, and Bytes their size.
	Segments int   `json:"segments"`
	Bytes    int64 `json:"bytes"`
	// Parts counts those that were still being written, or whose writer was killed.
	Parts int `json:"parts"`
	// Removed counts segments that were deleted to make room before they could be sent.
	Removed int `json:"removed"`
	// Skipped counts the other files in the directory.
	Skipped int `json:"skipped"`
}

// ErrCutBack means that a segment became shorter while it was sent, because the disk was full. A second
// attempt succeeds.
var ErrCutBack = errors.New("the sidecar shortened the segment while it was being sent, because the disk is full; try again")

// Write writes the segments below the directory to w, in the order of their keys, and then the mark.
// After an error the archive is unusable. version is the version of the program.
func Write(ctx context.Context, w io.Writer, dir, version string) (Mark, error) {
	m := Mark{Format: format, Version: version}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return m, fmt.Errorf("export recordings: %w", err)
	}
	defer root.Close()
	a := &writer{Mark: m, root: root, tar: tar.NewWriter(w), buf: make([]byte, 64<<10)}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && errors.Is(err, fs.ErrNotExist) && name != ".":
			return nil // the folder became empty and was removed
		case err != nil:
			return err
		case d.IsDir():
			return nil
		}
		return a.add(ctx, name)
	})
	if err == nil {
		err = a.end()
	}
	if err != nil {
		return a.Mark, fmt.Errorf("export recordings in %s: %w", dir, err)
	}
	return a.Mark, nil
}

type writer struct {
	Mark
	root *os.Root
	tar  *tar.Writer
	buf  []byte
	last string // the name of the last segment that was sent
}

// add sends a segment. If the segment was completed since it was listed, its name has changed.
func (a *writer) add(ctx context.Context, name string) error {
	if _, err := recording.ParseSegmentKey(name); err != nil {
		if base := path.Base(name); base[0] != '.' && base[0] != '_' { // these names are hidden from readers and query engines
			a.Skipped++
		}
		return nil
	}
	whole, part := strings.CutSuffix(name, recording.PartSuffix)
	if part && a.last == whole {
		return nil // the list has both names, because the segment was completed meanwhile
	}
	f, err := a.open(name)
	if part && errors.Is(err, fs.ErrNotExist) {
		name, part = whole, false
		f, err = a.open(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		a.Removed++
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		a.Skipped++
		return nil
	}
	if err := a.head(name, info.Size()); err != nil {
		return err
	}
	n, err := io.CopyBuffer(a.tar, io.LimitReader(reader{ctx, f}, info.Size()), a.buf)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n < info.Size() {
		return fmt.Errorf("%s: %w", name, ErrCutBack)
	}
	a.Segments++
	a.Bytes += n
	if part {
		a.Parts++
	}
	a.last = name
	return nil
}

// open opens a file without following a link or blocking on a pipe.
func (a *writer) open(name string) (*os.File, error) {
	info, err := a.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return a.root.Open(name)
}

func (a *writer) head(name string, size int64) error {
	return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, Format: tar.FormatPAX})
}

func (a *writer) end() error {
	mark, err := json.Marshal(a.Mark)
	if err != nil {
		return err
	}
	if err := a.head(markName, int64(len(mark))); err != nil {
		return err
	}
	if _, err := a.tar.Write(mark); err != nil {
		return err
	}
	return a.tar.Close()
}

// reader returns an error once the context has ended.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// Limits bound the archives that [Read] accepts.
type Limits struct {
	// Segments is how many segments an archive may have.
	Segments int
	// Segment limits the size of each segment, and Bytes that of all together.
	Segment, Bytes int64
}

// DefaultLimits allow 16 times the largest spool that a rendered pod has by default.
func DefaultLimits() Limits { return Limits{Segments: 1 << 20, Segment: 2 << 30, Bytes: 16 << 30} }

// maxMark limits the size of a mark. Later versions may add fields.
const maxMark = 64 << 10

// Read reads an archive, and calls take with the key, the size and the content of each segment. take
// need not read all of the content. If Read fails, the segments for which take returned nil are complete.
func Read(ctx context.Context, r io.Reader, limits Limits, take func(key recording.SegmentKey, size int64, content io.Reader) error) (Mark, error) {
	// A tar header has 512 bytes. Content is padded to a multiple of that. A long name takes two more
	// headers and content of its own.
	stream := &limited{r: reader{ctx, r}, left: limits.Bytes + int64(limits.Segments+2)*8*512 + maxMark}
	a := archive{tar: tar.NewReader(stream), limits: limits, seen: map[string]bool{}}
	m, err := a.read(take)
	if err == nil {
		err = nothingMore(stream)
	}
	if err != nil {
		return m, fmt.Errorf("archive, after %d segments: %w", a.segments, err)
	}
	return m, nil
}

type archive struct {
	tar      *tar.Reader
	limits   Limits
	segments int
	bytes    int64
	seen     map[string]bool
}

func (a *archive) read(take func(recording.SegmentKey, int64, io.Reader) error) (Mark, error) {
	for {
		h, err := a.tar.Next()
		switch {
		case err == io.EOF && a.segments == 0:
			return Mark{}, errors.New("it is empty; want the output of tapedeck-proxy export")
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return Mark{}, errEarly
		case err != nil:
			return Mark{}, fmt.Errorf("it is not a tar archive, or is damaged; want the output of tapedeck-proxy export: %w", err)
		}
		if err := check(h); err != nil {
			return Mark{}, fmt.Errorf("entry %.300q: %w", h.Name, err)
		}
		if h.Name == markName {
			return a.mark(h)
		}
		if err := a.segment(h, take); err != nil {
			return Mark{}, fmt.Errorf("entry %.300q: %w", h.Name, err)
		}
	}
}

var errEarly = errors.New("it ended early, so segments may be missing; those that arrived are kept; try again")

// check rejects entries that Write never writes: links, devices, folders, and sparse files, which can
// claim a large size with few bytes.
func check(h *tar.Header) error {
	switch {
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("found the type %q; an archive has only regular files", h.Typeflag)
	case h.Linkname != "" || h.Devmajor != 0 || h.Devminor != 0:
		return errors.New("found a link or a device; an archive has only regular files")
	case h.Mode&^0o777 != 0:
		return fmt.Errorf("found the mode %#o; want only permissions", h.Mode)
	}
	for name := range h.PAXRecords {
		if name != "path" {
			return fmt.Errorf("found the record %.100q; only path is allowed", name)
		}
	}
	return nil
}

func (a *archive) segment(h *tar.Header, take func(recording.SegmentKey, int64, io.Reader) error) error {
	key, err := recording.ParseSegmentKey(h.Name)
	switch {
	case err != nil:
		return err
	case a.seen[h.Name]:
		return errors.New("it is in the archive twice")
	case h.Size > a.limits.Segment:
		return fmt.Errorf("it has %d bytes; a segment may have %d", h.Size, a.limits.Segment)
	case a.bytes+h.Size > a.limits.Bytes:
		return fmt.Errorf("with it, the archive has more than %d bytes, which is the limit", a.limits.Bytes)
	case a.segments == a.limits.Segments:
		return fmt.Errorf("with it, the archive has more than %d segments, which is the limit", a.limits.Segments)
	}
	a.seen[h.Name] = true
	content := &io.LimitedReader{R: a.tar, N: h.Size}
	if err := take(key, h.Size, content); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errEarly
		}
		return err
	}
	a.segments++
	a.bytes += h.Size
	return nil
}

// mark reads the mark and compares its counts with those of the archive.
func (a *archive) mark(h *tar.Header) (m Mark, err error) {
	if h.Size > maxMark {
		return m, fmt.Errorf("the mark has %d bytes; at most %d are allowed", h.Size, maxMark)
	}
	text, err := io.ReadAll(a.tar)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return m, errEarly
	}
	if err != nil {
		return m, fmt.Errorf("read the mark: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("read the mark: %w", err)
	}
	if m.Format != format {
		return m, fmt.Errorf("found format %d, but this version reads only %d", m.Format, format)
	}
	if m.Segments != a.segments || m.Bytes != a.bytes {
		return m, fmt.Errorf("%d segments with %d bytes arrived, but %d with %d were sent", a.segments, a.bytes, m.Segments, m.Bytes)
	}
	if _, err := a.tar.Next(); err != io.EOF {
		return m, errors.New("found data after the mark")
	}
	return m, nil
}

// nothingMore rejects anything but padding after the archive.
func nothingMore(r io.Reader) error {
	buf := make([]byte, 4<<10)
	for range 16 {
		n, err := r.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return errors.New("found data after the end of the archive")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("found data after the end of the archive")
}

// limited is a stream that fails after left bytes.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("the archive is longer than the limits allow")
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
