package plainhttp

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	maxChunkLine = 4 << 10
	maxTrailer   = 16 << 10
)

// link carries one side's bytes to the other. What came together leaves
// together: bytes that are passed on stay in the reader's buffer until it reads
// again, or the message ends.
type link struct {
	side   tap.Side
	from   *reader
	to     *pump.Conn
	stream *tap.Stream
	meter  *pump.Meter
	held   int // bytes that were passed on and not sent yet
}

// pass passes on the next n bytes that were read.
func (l *link) pass(n int) {
	l.from.use(n)
	l.held += n
}

// flush sends what was passed on.
func (l *link) flush() error {
	if l.held == 0 {
		return nil
	}
	p := l.from.used(l.held)
	l.held = 0
	return l.send(p)
}

// send passes bytes on that came from the side; the tap sees them first.
func (l *link) send(p []byte) error {
	now := time.Now()
	l.meter.Add(l.side, now, len(p))
	l.stream.Copy(l.side, now, p)
	return l.write(p)
}

func (l *link) write(p []byte) error {
	if _, err := l.to.Write(p); err != nil {
		return &writeError{err}
	}
	return nil
}

// writeError tells a failure of the receiver from one of the sender.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// body passes a body on, as it is framed, and flushes.
func (l *link) body(f framing) (err error) {
	switch {
	case f.chunked:
		err = l.chunks()
	case f.close:
		err = l.rest()
	default:
		err = l.count(f.length)
	}
	return errors.Join(err, l.flush())
}

// count passes n bytes on.
func (l *link) count(n int64) error {
	for n > 0 {
		p, err := l.from.some(n)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		l.pass(len(p))
		n -= int64(len(p))
	}
	return nil
}

// rest passes on what comes until the side ends.
func (l *link) rest() error {
	for {
		err := l.from.await()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		l.pass(len(l.from.unread()))
	}
}

// chunks passes a chunked body on as it was sent, extensions and trailers
// included (RFC 9112 section 7.1), and refuses one that could be read
// differently.
func (l *link) chunks() error {
	for {
		line, err := l.from.line(maxChunkLine)
		if err != nil {
			return malformed(err)
		}
		n, err := chunkSize(line)
		if err != nil {
			return err
		}
		l.pass(len(line))
		if n == 0 {
			return l.trailer()
		}
		if err := l.count(n); err != nil {
			return err
		}
		end, err := l.from.line(2)
		if err != nil {
			return malformed(err)
		}
		if len(end) != 2 {
			return bad("a chunk that is longer than it says")
		}
		l.pass(len(end))
	}
}

// malformed makes a refusal of an error about a line.
func malformed(err error) error {
	if errors.Is(err, errBareLF) {
		return bad("in a chunked body: %v", err)
	}
	return err
}

// chunkSize parses a chunk's first line.
func chunkSize(line []byte) (int64, error) {
	size, extension, _ := strings.Cut(strings.TrimSuffix(string(line), "\r\n"), ";")
	if strings.ContainsFunc(extension, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return 0, bad("a chunk extension with a control character")
	}
	size = strings.TrimRight(size, " \t") // RFC 9112 section 7.1.1: BWS, before an extension
	n, err := strconv.ParseUint(size, 16, 62)
	if err != nil || strings.ContainsAny(size, "+_xX") {
		return 0, bad("chunk size %.20q is not a hexadecimal number", size)
	}
	return int64(n), nil
}

// trailer passes on the lines after the last chunk, up to the empty one.
func (l *link) trailer() error {
	for size := 0; size <= maxTrailer; {
		line, err := l.from.line(maxTrailer)
		if err != nil {
			return malformed(err)
		}
		if len(line) > 2 {
			fields, err := parseFields(append(bytes.Clone(line), "\r\n"...))
			if err != nil {
				return err
			}
			for _, name := range []string{"Content-Length", "Transfer-Encoding", "Host"} {
				if fields[0].is(name) {
					return bad("%s in a trailer", name)
				}
			}
		}
		size += len(line)
		l.pass(len(line))
		if len(line) == 2 {
			return nil
		}
	}
	return bad("a trailer longer than %d bytes", maxTrailer)
}
