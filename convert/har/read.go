package har

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// Limits of an entry.
const (
	maxEntries = 100_000_000 // so that errors show the whole number
	// maxMillis is the longest plausible time: a year.
	maxMillis = 366 * 24 * 3600 * 1000
)

// Reader reads the entries of a file one after the other. The file has one log, or several logs in
// a row. The reader holds one entry in memory. It isn't safe for concurrent use.
type Reader struct {
	in      *budget
	json    *json.Decoder
	state   state
	nested  int  // number of open objects outside the log
	logs    int  // number of complete logs
	log     bool // the member log was found
	listed  bool // the log has entries
	n       int  // number of the entry, from 1
	source  string
	pending recording.LossList // of the log
}

type state int

const (
	before  state = iota // the log
	members              // of the log
	entries
	ended
)

// NewReader returns a reader of a file.
func NewReader(r io.Reader) *Reader {
	in := &budget{r: bufio.NewReader(r)}
	return &Reader{in: in, json: json.NewDecoder(in)}
}

// Next reads the next entry into e, which it overwrites, and returns what it could not keep. At the
// end it returns [io.EOF], or [recording.ErrTorn] if the file ends early. After a
// [recording.LineError] or a [recording.LeftOutError], the caller can continue.
func (r *Reader) Next(e *recording.Exchange) (recording.LossList, error) {
	for {
		if r.state == entries && r.json.More() {
			return r.entry(e)
		}
		if r.state == ended {
			return nil, io.EOF
		}
		err := r.step()
		switch {
		case err == nil:
		case err == io.EOF && r.state == before && r.nested == 0 && r.logs > 0:
			if r.state = ended; len(r.pending) > 0 { // no entry is left to report it with
				return nil, &recording.LeftOutError{Where: "log", What: strings.Join(r.pending, ", ")}
			}
		default:
			r.state = ended
			return nil, r.failed(fmt.Errorf("after entry %d: %w", r.n, err))
		}
	}
}

// step reads the next token outside an entry.
func (r *Reader) step() error {
	t, err := r.token()
	if err != nil {
		return err
	}
	switch r.state {
	case entries: // the end of the array
		r.state = members
	case before:
		return r.outside(t)
	case members:
		name, ok := t.(string)
		if !ok { // the end of the log
			if !r.listed {
				r.pending.Add("log.entries", "is missing")
			}
			r.state = before
			return nil
		}
		if name == "entries" {
			r.listed = true
			if t, err = r.token(); err == nil && t != json.Delim('[') {
				err = fmt.Errorf("log.entries is %v, want an array", t)
			}
			r.state = entries
			return err
		}
		raw, err := r.value()
		if err != nil {
			return err
		}
		r.member(name, raw)
	}
	return nil
}

// outside reads a token outside a log. The log may be nested in another object, as some extractors
// write it. Another log may follow it.
func (r *Reader) outside(t json.Token) error {
	switch t {
	case json.Delim('{'):
		r.nested++
		return nil
	case json.Delim('}'):
		if r.nested--; r.nested == 0 {
			if !r.log {
				return errors.New("there is no member log: want a HAR")
			}
			r.logs++
			r.log = false
		}
		return nil
	}
	name, ok := t.(string)
	if !ok || r.nested == 0 {
		return fmt.Errorf("found %v, want a HAR: an object with the member log", t)
	}
	if name == "log" {
		t, err := r.token()
		if err == nil && t != json.Delim('{') {
			err = fmt.Errorf("log is %v, want an object", t)
		}
		r.log, r.listed, r.state = true, false, members
		return err
	}
	if r.nested == 1 && !r.log {
		raw, err := r.peekObject()
		if raw == nil {
			return err
		}
	}
	_, err := r.value()
	if err == nil {
		r.pending.Add(name, "not kept")
	}
	return err
}

// peekObject enters the next value if it is an object, and skips it otherwise.
func (r *Reader) peekObject() (raw json.RawMessage, err error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		r.nested++
		return nil, nil
	case json.Delim('['):
		for r.json.More() {
			if _, err := r.value(); err != nil {
				return nil, err
			}
		}
		_, err = r.token()
	}
	return nil, err
}

// member handles a member of the log.
func (r *Reader) member(name string, raw []byte) {
	switch name {
	case "version":
	case "creator":
		var c struct{ Name, Version any }
		if json.Unmarshal(raw, &c) == nil {
			text, _ := c.Name.(string)
			r.source = strings.ToValidUTF8(text[:min(len(text), 100)], "")
		}
	case "browser": // nearly always the creator
	default:
		if s := string(bytes.TrimSpace(raw)); s != "[]" && s != "null" && s != `""` {
			r.pending.Add("log."+name, "not kept")
		}
	}
}

// entry reads the next entry.
func (r *Reader) entry(e *recording.Exchange) (recording.LossList, error) {
	if r.n++; r.n > maxEntries {
		r.state = ended
		return nil, &recording.LineError{Err: fmt.Errorf("more than %d entries", maxEntries)}
	}
	raw, err := r.value()
	if err != nil {
		r.state = ended
		return nil, r.failed(fmt.Errorf("entry %d: %w", r.n, err))
	}
	p := &parser{e: e, source: r.source}
	p.losses = r.pending
	err = p.entry(raw, r.n)
	var left *recording.LeftOutError
	switch {
	case errors.As(err, &left):
		return nil, left
	case err != nil:
		return nil, &recording.LineError{Err: fmt.Errorf("entry %d: %w", r.n, err)}
	}
	r.pending = nil // reported with this entry
	return p.losses, nil
}

// failed returns the error for the caller: that of the file, or ErrTorn if the log ends early, or a
// LineError for invalid JSON.
func (r *Reader) failed(err error) error {
	switch {
	case r.in.failed != nil:
		return r.in.failed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return recording.ErrTorn
	}
	return &recording.LineError{Err: err}
}

func (r *Reader) token() (json.Token, error) {
	r.in.left = recording.MaxLine
	return r.json.Token()
}

func (r *Reader) value() (raw json.RawMessage, err error) {
	r.in.left = recording.MaxLine
	err = r.json.Decode(&raw)
	return raw, err
}

// budget bounds the bytes of one value, because the decoder holds all of them.
type budget struct {
	r      *bufio.Reader
	left   int64
	began  bool
	failed error // of r
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	if !b.began {
		b.began = true
		if mark, _ := b.r.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
			_, _ = b.r.Discard(len(byteOrderMark)) // it was peeked
		}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}

const byteOrderMark = "\ufeff"

var errLong = fmt.Errorf("more than %d MiB without an end", recording.MaxLine>>20)
