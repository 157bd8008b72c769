package plainhttp

import (
	"errors"
	"io"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// relay carries one side's bytes to the other. What came together leaves
// together: bytes that are passed on stay in the reader's buffer until it reads
// again, or the message ends.
type relay struct {
	side   tap.Side
	from   *reader
	to     *pump.Conn
	stream *tap.Stream
	meter  *pump.Meter
	held   int // bytes that were passed on and not sent yet
}

// pass passes on the next n bytes that were read.
func (l *relay) pass(n int) {
	l.from.use(n)
	l.held += n
}

// flush sends what was passed on.
func (l *relay) flush() error {
	if l.held == 0 {
		return nil
	}
	p := l.from.used(l.held)
	l.held = 0
	return l.send(p)
}

// send passes bytes on that came from the side; the tap sees them first.
func (l *relay) send(p []byte) error {
	now := time.Now()
	l.meter.Add(l.side, now, len(p))
	l.stream.Copy(l.side, now, p)
	return l.write(p)
}

func (l *relay) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if err := l.meter.Write(l.to, l.side, p); err != nil {
		return &writeError{err}
	}
	return nil
}

// writeError tells a failure of the receiver from one of the sender.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// body passes a body on, as it is framed, and flushes.
func (l *relay) body(b *body) (err error) {
	if b.close {
		err = l.rest()
	}
	for b.open && !b.close && err == nil {
		var p []byte
		if p, err = l.from.some(); err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			var n int
			n, err = b.take(p)
			l.pass(n)
		}
	}
	return errors.Join(err, l.flush())
}

// rest passes on what comes until the side ends.
func (l *relay) rest() error {
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
