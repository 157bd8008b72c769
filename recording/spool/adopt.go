package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/recording"
)

// Adopted counts what became of segments whose writer was killed.
type Adopted struct {
	// Completed is how many are complete now.
	Completed int
	// Empty is how many had no complete line and were removed.
	Empty int
	// Aside is how many could not be read and were renamed.
	Aside int
}

// errLocked means that a segment has a writer.
var errLocked = errors.New("locked by its writer")

// damage means that the content of a segment can't be read.
type damage struct{ error }

// Adopt completes the segments whose writer was killed. It rewrites their complete records into one
// frame, without the incomplete end. After that, their bytes don't change, so a sender can use their
// hash in the key and retry as often as necessary.
//
// Adopt skips segments that any process is writing, because the writer holds a lock. On file
// systems without locks, a segment counts as abandoned if it has not changed for ten minutes. Adopt
// may be killed at any time, and called again or concurrently. It leaves segments that it can't
// complete, for example because the disk is full, and returns an error.
func (d Dir) Adopt() (sum Adopted, err error) {
	found, err := d.Segments()
	if err != nil {
		return sum, err
	}
	var failed []error
	for _, s := range found {
		if s.State != Part {
			continue
		}
		switch n, err := d.adopt(s); {
		case errors.Is(err, errLocked) || errors.Is(err, fs.ErrNotExist): // another process is writing or has completed it
		case err != nil:
			failed = append(failed, fmt.Errorf("adopt %s: %w", s.Name, err))
		default:
			sum.Completed += n.Completed
			sum.Empty += n.Empty
			sum.Aside += n.Aside
		}
	}
	return sum, errors.Join(failed...)
}

func (d Dir) adopt(s Segment) (n Adopted, err error) {
	part := d.Path(s.Name)
	f, err := os.OpenFile(part, os.O_RDWR, 0) // some file systems allow locks only on writable files
	if err != nil {
		return n, err
	}
	defer f.Close()
	switch err := lock(f, false); {
	case errors.Is(err, errLocked), err != nil && time.Since(s.changed) < abandonedAfter:
		return n, errLocked
	}
	if leadsTo(part, f) != nil {
		return n, errLocked // another process has completed or removed it
	}
	name := strings.TrimSuffix(part, recording.PartSuffix)
	folder, base := filepath.Split(name)
	made := filepath.Join(folder, "."+base+".adopted") // only the holder of the lock writes it; an earlier holder may have left one
	if _, e := os.Lstat(name); errors.Is(e, fs.ErrNotExist) {
		n, err = rewrite(f, made, name)
	} // otherwise a writer or an earlier Adopt was killed after it gave the segment this name, but before it removed the old one

	if !hasLocks { // some systems can't remove an open file
		f.Close()
	}
	switch {
	case errors.As(err, new(damage)):
		_ = os.Remove(made)
		return Adopted{Aside: 1}, d.SetAside(s.Name)
	case err != nil:
		_ = os.Remove(made)
		return Adopted{}, err
	}
	_ = os.Remove(made)
	if err := d.Remove(s.Name); err != nil {
		return n, err
	}
	if n.Empty > 0 {
		return n, nil // the folder may be gone
	}
	return n, syncDir(folder)
}

// rewrite writes the complete lines of a segment to the file made, and renames it to its final
// name. The error is damage if the segment can't be read.
func rewrite(part *os.File, made, name string) (n Adopted, err error) {
	whole, err := wholeLines(part)
	if err != nil {
		return n, err
	}
	if whole == 0 {
		return Adopted{Empty: 1}, nil
	}
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return n, err
	}
	in, err := newDecoder(part)
	if err != nil {
		return n, err
	}
	defer in.Close()
	out, err := os.OpenFile(made, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return n, err
	}
	defer out.Close()
	buffered := bufio.NewWriterSize(out, writeBytes)
	enc, err := newEncoder(buffered)
	if err != nil {
		return n, err
	}
	_, err = io.CopyN(enc, in, whole)
	for _, step := range []func() error{enc.Close, buffered.Flush, out.Sync, out.Close} {
		err = errors.Join(err, step())
	}
	if err != nil {
		return n, err
	}
	return Adopted{Completed: 1}, publish(made, name)
}

// wholeLines returns where the last complete line of a segment ends in its text. A truncated segment
// is not an error, because its writer was killed.
func wholeLines(part io.Reader) (whole int64, err error) {
	in, err := newDecoder(part)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	text := bufio.NewReaderSize(in, writeBytes)
	for read := int64(0); ; {
		chunk, err := text.ReadSlice('\n')
		read += int64(len(chunk))
		switch {
		case read > recording.MaxSegment:
			return 0, damage{fmt.Errorf("more than %d bytes when decompressed", int64(recording.MaxSegment))}
		case err == nil:
			whole = read
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return whole, nil
		case errors.As(err, new(*fs.PathError)): // the disk failed, but the segment may be fine
			return 0, err
		default:
			return 0, damage{err}
		}
	}
}

func newDecoder(r io.Reader) (*zstd.Decoder, error) {
	in, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return in, nil
}
