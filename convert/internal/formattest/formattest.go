// Package formattest has what the tests of all formats share. It imports recording and the
// standard library.
package formattest

import (
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/recording"
)

// Reader is the reader of a format, as convert has it.
type Reader interface {
	Next(e *recording.Exchange) (recording.LossList, error)
}

// Read returns the exchanges that r reads, and says in words what was lost and what was wrong.
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
