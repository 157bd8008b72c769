package inspect

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// Options say what Run shows, and how.
type Options struct {
	// Filter picks exchanges.
	Filter Filter
	// Output is how they are listed: one of Outputs.
	Output string
	// Show, unless "", picks the exchange whose UUID begins so, and shows all of
	// it.
	Show string
}

// Outputs are the ways to list exchanges; the first is the default.
func Outputs() []string { return []string{"table", "json"} }

// Flag is a command-line flag that fills in a field of Options.
type Flag struct {
	// Name is the long name, Short the letter, "" where there is none.
	Name, Short string
	// Value is the field, Default its value unless the flag is given.
	Value   *string
	Default string
	// Usage says what the flag does, Allowed what may be completed.
	Usage   string
	Allowed []string
}

// Flags is the table from which the commands that inspect make their flags.
func (o *Options) Flags() []Flag {
	return []Flag{
		{"output", "o", &o.Output, Outputs()[0], "how to list: " + strings.Join(Outputs(), " or "), Outputs()},
		{"show", "", &o.Show, "", "show all of the exchange with this UUID, or with one that begins so", nil},
		{"direction", "", &o.Filter.Direction, "", "only exchanges of this direction: in or out", Directions()},
		{"host", "", &o.Filter.Host, "", "only exchanges with a host that contains this", nil},
		{"path", "", &o.Filter.Path, "", "only exchanges with a path that contains this", nil},
		{"status", "", &o.Filter.Status, "", "only exchanges of this status: a code, or a class as 5xx", Classes()},
		{"protocol", "", &o.Filter.Protocol, "", "only exchanges of this protocol: " + strings.Join(Protocols(), ", "), Protocols()},
	}
}

// ErrUnreadable says that some of the input could not be read; what that is
// went to the notes already.
var ErrUnreadable = errors.New("some of the recording can't be read")

// Run writes the exchanges in paths, which are directories of recordings or
// single segments, to w. Input that can't be read is named in notes, a line
// each that starts with prefix; the rest is shown, and the error is
// ErrUnreadable. A torn end of a segment is normal: it is noted, and no error. So
// is what the processes that recorded left out.
func Run(w, notes io.Writer, prefix string, paths []string, o Options) error {
	if err := o.Filter.Check(); err != nil {
		return err
	}
	add, end, err := view(w, o)
	if err != nil {
		return err
	}
	unreadable := false
	var tally recording.Tally
	for e, err := range exchanges(paths, tally.Add) {
		switch {
		case errors.Is(err, recording.ErrTorn):
			_ = printf(notes, "note: %s\n", err)
		case err != nil:
			unreadable = true
			_ = printf(notes, "%s %s\n", prefix, err)
		case o.Filter.Match(e):
			if err := add(e); err != nil {
				return err
			}
		}
	}
	if err := end(); err != nil {
		return err
	}
	if sum, processes := tally.Sum(); sum.LeftOut() > 0 {
		_ = printf(notes, "note: not in the recording: %d dropped, %d filtered, %d sampled out; %d recorded by %d processes, by the last complete segment of each\n",
			sum.Dropped, sum.Filtered, sum.SampledOut, sum.Recorded, processes)
	}
	if unreadable {
		return ErrUnreadable
	}
	return nil
}

// view returns what to do with each exchange, and at the end.
func view(w io.Writer, o Options) (add func(*recording.Exchange) error, end func() error, err error) {
	asJSON := func(e *recording.Exchange) error {
		_, err := w.Write(append(cleanJSON(e.AppendJSON(nil)), '\n'))
		return err
	}
	switch {
	case o.Output != "table" && o.Output != "json":
		return nil, nil, fmt.Errorf("output %q: want %s", o.Output, strings.Join(Outputs(), " or "))
	case o.Show != "":
		found := false
		add = func(e *recording.Exchange) error {
			if !strings.HasPrefix(e.UUID.String(), strings.ToLower(o.Show)) {
				return nil
			}
			found = true
			if o.Output == "json" {
				return asJSON(e)
			}
			return Show(w, e)
		}
		return add, func() error {
			if !found {
				return fmt.Errorf("show %q: no exchange has a UUID that begins so", o.Show)
			}
			return nil
		}, nil
	case o.Output == "json":
		return asJSON, func() error { return nil }, nil
	}
	table := NewTable(w)
	return table.Add, table.Close, nil
}

// exchanges reads what the paths name, directories or files, and gives count the
// counters that it meets.
func exchanges(paths []string, count func(recording.Counters)) iter.Seq2[*recording.Exchange, error] {
	return func(yield func(*recording.Exchange, error) bool) {
		for _, path := range paths {
			dir, name := path, "."
			info, err := os.Stat(path)
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if !info.IsDir() {
				dir, name = filepath.Split(path)
			}
			for e, err := range recording.AllCounted(os.DirFS(cmp.Or(dir, ".")), name, count) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}
