package inspect

import (
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/show"
)

// maxShown is how much of a body, or of a message, is decompressed and shown; maxJoined is how much
// is held of a conversation that is decompressed, in the container of a sidecar.
const (
	maxShown  = 1 << 20
	maxJoined = 8 << 20
)

// Show writes all of an exchange: bodies decoded and indented, what isn't text as a dump.
func Show(w io.Writer, e *recording.Exchange) error {
	return show.New(e, show.Options{MaxBody: maxShown, MaxMessage: maxShown, MaxJoined: maxJoined}).Write(w)
}

// Clean escapes in a text from outside what a terminal would obey, or not show.
func Clean(s string) string { return show.Clean(s) }

// CleanJSON is Clean for a line of JSON, which stays JSON of the same meaning.
func CleanJSON(p []byte) []byte { return show.CleanJSON(p) }

// printf is fmt.Fprintf to a person: text that comes from a recording is cleaned.
func printf(w io.Writer, format string, args ...any) error {
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			args[i] = Clean(v)
		case error:
			args[i] = Clean(v.Error())
		case fmt.Stringer:
			args[i] = Clean(v.String())
		}
	}
	_, err := fmt.Fprintf(w, format, args...)
	return err
}
