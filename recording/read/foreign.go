package read

import (
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/recording"
)

// Foreign reads files of other tools. [convert.Files] is one. It is passed in, so that the
// sidecar, which lists its own segments, links none of the formats.
//
// [convert.Files]: https://pkg.go.dev/github.com/tapedeck/tapedeck/convert#Files
type Foreign interface {
	// IsName reports whether a file is looked at, by its name.
	IsName(name string) bool
	// Open finds out by a file's beginning what it is. It returns the file from there on,
	// decompressed, and the reader of its format; nil if recording reads that. The error is
	// [ErrNotForeign] if the file has no exchanges, by its name and what is in it. beside
	// opens files that this one refers to.
	Open(file io.Reader, name string, beside func(name string) (io.ReadCloser, error)) (io.Reader, ForeignReader, error)
}

// ForeignReader reads the exchanges of one file.
type ForeignReader interface {
	// Next reads the next one into e, overwriting all of it, and names what of it could not
	// be kept. At the end it returns [io.EOF], or [recording.ErrTorn]. After a
	// [recording.LineError], a record that can't be read, and a [recording.LeftOutError], one
	// that a recording has no place for, reading can go on.
	Next(e *recording.Exchange) (recording.LossList, error)
}

// ErrNotForeign says that a file has no exchanges.
var ErrNotForeign = errors.New("a file without exchanges")
