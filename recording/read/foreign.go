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
	// Open detects the format of a file by its beginning. It returns the decompressed file, and the
	// reader of its format, or nil if package recording reads it. The error is
	// [ErrNotForeign] if the file has no exchanges, by its name and what is in it. beside
	// opens files that this one refers to.
	Open(file io.Reader, name string, beside func(name string) (io.ReadCloser, error)) (io.Reader, ForeignReader, error)
}

// ForeignReader reads the exchanges of one file.
type ForeignReader interface {
	// Next reads the next one into e, overwriting all of it, and names the data that could
	// not be kept. At the end it returns [io.EOF], or [recording.ErrTorn]. After a
	// [recording.LineError] and a [recording.LeftOutError] reading can continue.
	Next(e *recording.Exchange) (recording.LossList, error)
}

// ErrNotForeign says that a file has no exchanges.
var ErrNotForeign = errors.New("a file without exchanges")
