package plainhttp

import (
	"bytes"
	"errors"
	"io"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// reader reads a connection through a pooled buffer. It holds no buffer while there is
// nothing to read.
type reader struct {
	conn  *pump.Conn
	pool  *tap.Pool
	class tap.Class
	buf   *tap.Buffer
	r, w  int // unread bytes are buf.B[r:w]
	// before is called before each read of the connection, while the used bytes are still
	// in the buffer.
	before func() error
}

var (
	errHeadTooLong = errors.New("head longer than 64 KiB")
	errBareLF      = errors.New("a line that ends in LF without CR")
)

// unread returns the bytes that were read and are not used yet.
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

// take gets a buffer if there is none.
func (d *reader) take() {
	if d.buf == nil {
		d.class = d.pool.Allow(d.class)
		d.buf = d.pool.Get(d.class)
	}
}

// await waits until something has been read. If possible, it holds no buffer meanwhile.
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

// fill appends more bytes to the unread ones, in a larger buffer if necessary. It returns
// io.ErrShortBuffer if the largest buffer is full.
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

// skipEmptyLines skips empty lines before a request, which some clients send after a body
// (RFC 9112 section 2.2).
func (d *reader) skipEmptyLines() {
	for bytes.HasPrefix(d.unread(), []byte("\r\n")) {
		d.use(len("\r\n"))
	}
}

// head reads a head up to and including its final empty line. strict, for requests, requires
// CRLF at the end of every line, and skips empty lines before the head. The bytes remain
// unread until they are used, and are valid until the next read.
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

// headEnd returns the length of the head at the beginning of p; 0 if it is incomplete. In
// that case lines is how much of p was checked; pass it as seen in the next call.
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
