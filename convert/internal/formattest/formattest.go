// Package formattest has helpers for the tests of all formats. It imports recording and the
// standard library.
package formattest

import (
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/recording"
)

// Reader is the reader of a format, as in package convert.
type Reader interface {
	Next(e *recording.Exchange) (recording.LossList, error)
}

// Read returns the exchanges that r reads, and its losses and errors as text.
func Read(r Reader) (all []*recording.Exchange, said []string) {
	for {
		e := new(recording.Exchange)
		losses, err := r.Next(e)
		said = append(said, losses...)
		switch {
		case err == io.EOF:
			return all, said
		case errors.Is(err, recording.ErrTorn):
			return all, append(said, "torn")
		case err != nil:
			said = append(said, err.Error())
		default:
			all = append(all, e)
		}
	}
}
