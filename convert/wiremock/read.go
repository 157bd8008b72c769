package wiremock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// Bounds of what is read.
const (
	// MaxFile is the largest size of a file of mappings, in bytes.
	MaxFile = recording.MaxLine
	// MaxBody is the largest size of a file in __files, in bytes. Base64 adds a third.
	MaxBody = recording.MaxLine / 2
	// maxMappings is the largest number of mappings in a file.
	maxMappings = 100_000
)

// extraMember is the member of an exchange for parts of a mapping that it has no field for.
const extraMember = "wiremock"

// Reader reads the mappings of one file. It isn't safe for concurrent use.
type Reader struct {
	in      io.Reader
	open    Opener
	all     []json.RawMessage
	started bool
	n       int // number of mappings that were read
	losses  recording.LossList
}

// Opener opens a file that a mapping refers to. The path is relative to the folder of mappings and
// __files. The error wraps [fs.ErrNotExist] if there is none.
type Opener func(name string) (io.ReadCloser, error)

// NewReader returns a reader of a file of mappings.
func NewReader(r io.Reader, open Opener) *Reader { return &Reader{in: r, open: open} }

// Next reads the next mapping into e, which it overwrites, and returns what it could not keep. At the
// end it returns [io.EOF], or [recording.ErrTorn] if the file ends early. After a
// [recording.LineError] or a [recording.LeftOutError], the caller can continue.
func (r *Reader) Next(e *recording.Exchange) (recording.LossList, error) {
	if !r.started {
		r.started = true
		if err := r.begin(); err != nil {
			return nil, err
		}
	}
	if r.n == len(r.all) {
		if len(r.losses) > 0 {
			what := strings.Join(r.losses, ", ")
			r.losses = nil
			return nil, &recording.LeftOutError{Where: "file", What: what}
		}
		return nil, io.EOF
	}
	raw := r.all[r.n]
	r.n++
	m := &mapping{e: e, n: r.n, open: r.open, losses: r.losses}
	err := m.read(raw)
	var left *recording.LeftOutError
	switch {
	case errors.As(err, &left):
		return nil, left
	case err != nil:
		return nil, &recording.LineError{Err: fmt.Errorf("mapping %d: %w", r.n, err)}
	}
	r.losses = nil // reported with this mapping
	return m.losses, nil
}

// begin reads the file: one mapping, or an object with several.
func (r *Reader) begin() error {
	text, err := io.ReadAll(io.LimitReader(r.in, MaxFile+1))
	if err != nil {
		return err
	}
	bad := func(err error) error { return &recording.LineError{Err: err} }
	if len(text) > MaxFile {
		return bad(fmt.Errorf("more than %d MiB of mappings", MaxFile>>20))
	}
	var whole json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && syntax.Offset >= int64(len(text)) {
			return recording.ErrTorn
		}
		return bad(err)
	}
	several := false
	err = recording.EachMember(whole, recording.MaxMembers, func(name string, raw []byte) error {
		switch name {
		case "mappings":
			several = true
			return recording.EachElement(raw, maxMappings, func(raw []byte) error {
				r.all = append(r.all, raw)
				return nil
			})
		case "meta", "importOptions":
		default:
			r.losses.Add(name, "not kept")
		}
		return nil
	})
	if err != nil {
		return bad(err)
	}
	if !several {
		r.all, r.losses = []json.RawMessage{whole}, nil
	}
	return nil
}
