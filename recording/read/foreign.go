package read

import (
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/recording"
)

// Foreign reads files of other tools; [convert.Files] implements it. It is a parameter so that the
// sidecar, which lists its own segments, links none of the formats.
//
// [convert.Files]: https://pkg.go.dev/github.com/tapedeck/tapedeck/convert#Files
type Foreign interface {
	// IsName reports whether a file with this name should be opened.
	IsName(name string) bool
	// Open detects the format of a file from its beginning. It returns the decompressed file, and a
	// reader for its format, or nil if package recording reads it. The error is [ErrNotForeign] if
	// the name and the content show that the file has no exchanges. beside opens files to which
	// this one refers.
	Open(file io.Reader, name string, beside func(name string) (io.ReadCloser, error)) (io.Reader, ForeignReader, error)
}

// ForeignReader reads the exchanges of one file.
type ForeignReader interface {
	// Next reads the next exchange into e, overwriting all of it, and names the data that could not
	// be kept. At the end it returns [io.EOF], or [recording.ErrTorn]. Reading can continue after a
	// [recording.LineError] or a [recording.LeftOutError].
	Next(e *recording.Exchange) (recording.LossList, error)
}

// ErrNotForeign means that a file has no exchanges.
var ErrNotForeign = errors.New("a file without exchanges")
