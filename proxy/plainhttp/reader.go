package plainhttp

import (
	"bytes"
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// reader reads a connection through a pooled buffer, of which it holds none
// while there is nothing to read.
type reader struct {
	conn  *pump.Conn
	pool  *tap.Pool
	class tap.Class
	buf   *tap.Buffer
	r, w  int // unread bytes are buf.B[r:w]
	// before is called before the connection is read, and before the bytes
	// that were used are gone.
	before func() error
}

var (
	errHeadTooLong = errors.New("head longer than 64 KiB")
	errBareLF      = errors.New("a line that ends in LF without CR")
)

// unread returns what has been read from the connection and not been used.
func (d *reader) unread() []byte {
	if d.buf == nil {
		return nil
	}
	return d.buf.B[d.r:d.w]
}

func (d *reader) use(n int) { d.r += n }

// release gives the buffer back if it is empty.
func (d *reader) release() {
	if d.buf != nil && d.r == d.w {
		d.buf.Release()
		d.buf, d.r, d.w = nil, 0, 0
	}
}

// take takes a buffer if there is none.
func (d *reader) take() {
	if d.buf == nil {
		d.class = d.pool.Allow(d.class)
		d.buf = d.pool.Get(d.class)
	}
}

// await waits until something has been read, without a buffer meanwhile where
// that is possible.
func (d *reader) await() error {
	if d.r < d.w {
		return nil
	}
	if err := d.settle(); err != nil {
		return err
	}
	d.release()
	n, err := d.conn.AwaitRead(func() []byte {
		d.take()
		return d.buf.B
	}, d.release)
	if d.w = n; n > 0 {
		return nil
	}
	return err
}

func (d *reader) settle() error {
	if d.before == nil {
		return nil
	}
	return d.before()
}

// used returns the last n bytes that were used.
func (d *reader) used(n int) []byte { return d.buf.B[d.r-n : d.r] }

// fill reads more behind what is unread, into a larger buffer if that is full.
// io.ErrShortBuffer means that the largest one is.
func (d *reader) fill() error {
	if err := d.settle(); err != nil {
		return err
	}
	d.release()
	d.take()
	if d.r > 0 && d.w == len(d.buf.B) {
		d.w = copy(d.buf.B, d.buf.B[d.r:d.w])
		d.r = 0
	}
	if d.w == len(d.buf.B) {
		if d.class.Fit(d.w) == d.class {
			return io.ErrShortBuffer
		}
		d.class = d.class.Fit(d.w)
		larger := d.pool.Get(d.class)
		d.w = copy(larger.B, d.buf.B[d.r:d.w])
		d.r = 0
		d.buf.Release()
		d.buf = larger
	}
	n, err := d.conn.Read(d.buf.B[d.w:])
	d.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// some returns unread bytes, reading if there are none.
func (d *reader) some() ([]byte, error) {
	if d.r == d.w {
		if d.buf != nil {
			d.class = d.class.Fit(d.w)
		}
		if err := d.fill(); err != nil {
			return nil, err
		}
	}
	return d.unread(), nil
}

// skipEmptyLines skips those before a request, which some clients send behind a body
// (RFC 9112 section 2.2).
func (d *reader) skipEmptyLines() {
	for bytes.HasPrefix(d.unread(), []byte("\r\n")) {
		d.use(len("\r\n"))
	}
}

// head reads up to and with the empty line that ends a head. strict demands
// CRLF at the end of every line, as in a request, and skips empty lines before it. The bytes are unread until they are used, and
// valid until the next read.
func (d *reader) head(strict bool) ([]byte, error) {
	for seen := 0; ; {
		if strict && seen == 0 {
			d.skipEmptyLines()
		}
		end, lines, err := headEnd(d.unread(), seen, strict)
		if err != nil || end > 0 {
			return d.unread()[:end], err
		}
		seen = lines
		err = d.fill()
		switch {
		case err == io.ErrShortBuffer:
			return nil, errHeadTooLong
		case err == io.EOF && len(d.unread()) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
	}
}

// headEnd returns where the head ends that p begins with, 0 if more is to come:
// then all up to lines was looked at, and seen may be that the next time.
func headEnd(p []byte, seen int, strict bool) (end, lines int, err error) {
	for {
		i := bytes.IndexByte(p[seen:], '\n')
		if i < 0 {
			return 0, seen, nil
		}
		at := seen + i
		cr := at > 0 && p[at-1] == '\r'
		if strict && !cr {
			return 0, seen, errBareLF
		}
		line := bytes.TrimSuffix(p[seen:at], []byte("\r"))
		seen = at + 1
		if len(line) == 0 && at > 1 {
			return seen, seen, nil
		}
	}
}
