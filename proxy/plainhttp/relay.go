package plainhttp

import (
	"errors"
	"io"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// relay forwards one side's bytes to the other. Bytes that were read together are written
// together: they remain in the reader's buffer until the next read or the end of the message.
type relay struct {
	side   tap.Side
	from   *reader
	to     *pump.Conn
	stream *tap.Stream
	meter  *pump.Meter
	held   int // bytes that were passed on and are not written yet
}

// pass passes on the next n bytes of the reader.
func (l *relay) pass(n int) {
	l.from.use(n)
	l.held += n
}

// flush writes the held bytes.
func (l *relay) flush() error {
	if l.held == 0 {
		return nil
	}
	p := l.from.used(l.held)
	l.held = 0
	return l.send(p)
}

// send gives bytes of the side to the tap, and then writes them.
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

// writeError marks a failure of the receiver.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// body forwards a body with its framing.
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

// rest forwards all bytes until the side ends.
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
