package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// conn is an HTTP/1 connection. Only one request at a time uses it.
type conn struct {
	net.Conn
	under  *pump.Conn // the TCP connection, or nil if Conn is of another kind
	c      *Client
	buf    []byte // buf[r:w] was read, but not used yet
	r, w   int
	out    []byte
	used   bool // an earlier request used it
	direct int  // the largest request that is written before the answer is read

	ctx  context.Context // the end of ctx closes the connection
	stop func() bool

	key   string // of a WebSocket's handshake
	watch *watch // ends the conversation; the connection then has no deadlines
	// The fields below describe the current request.
	f       *form
	into    *Result
	end     time.Time // the deadline of the request
	began   bool      // a byte of an answer has arrived
	reads   int
	length  int64
	framing framing
	last    bool // the connection can't be used after this answer
}

const (
	// readSize is the size of a read, except for bodies.
	readSize = 4 << 10
	// maxHead bounds the head of an answer, and its trailers.
	maxHead = 1 << 20
	// patience is how long a request that expects 100 Continue waits for it.
	patience = time.Second
	// maxInterim is how many interim answers may precede the final one.
	maxInterim = 100
)

// exchange sends a request over HTTP/1.
func (c *Client) exchange(ctx context.Context, f *form, into *Result) error {
	for fresh := false; ; fresh = true {
		cn, err := c.conn(ctx, f, into, fresh)
		if err != nil {
			return err
		}
		err = cn.exchange(f, into)
		again := cn.used && !cn.began && f.has(idempotent) && ctx.Err() == nil && isClosed(err)
		c.release(cn, err == nil && !cn.last)
		if err == nil || fresh || !again {
			return err
		}
	}
}

// isClosed reports whether an error means that the target has closed the connection.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// conn returns a connection for a request.
func (c *Client) conn(ctx context.Context, f *form, into *Result, fresh bool) (*conn, error) {
	cn, err := c.pool.get(ctx, fresh)
	if err != nil {
		return nil, err
	}
	if into.Sent.IsZero() {
		into.Sent = time.Now()
	}
	if cn != nil && cn.ready(ctx) {
		return cn, nil
	}
	if cn != nil {
		cn.close() // a new connection replaces it
	}
	var config *tls.Config
	if c.secure {
		config = c.tls1
	}
	nc, err := c.dial(ctx, config)
	if err != nil {
		c.pool.done()
		return nil, err
	}
	cn = c.wrap(nc)
	cn.ready(ctx)
	return cn, nil
}

// wrap returns a connection for HTTP/1.
func (c *Client) wrap(nc net.Conn) *conn {
	cn := &conn{Conn: nc, c: c, buf: make([]byte, readSize), direct: readSize}
	under := nc
	if t, ok := nc.(*tls.Conn); ok {
		under = t.NetConn()
	}
	if p, ok := under.(*pump.Conn); ok && p.TCP() != nil {
		cn.direct = 64 << 10 // the kernel buffers this much
		cn.under = p
	}
	return cn
}

// release returns a connection to the pool, or closes it.
func (c *Client) release(cn *conn, reusable bool) {
	cn.f, cn.into = nil, nil
	if !reusable {
		cn.close()
		c.pool.done()
		return
	}
	cn.used = true
	if cap(cn.out) > 4*readSize {
		cn.out = nil
	}
	if len(cn.buf) > 4*readSize {
		cn.buf = make([]byte, readSize) // the buffer is empty
		cn.r, cn.w = 0, 0
	}
	c.pool.put(cn)
}

func (cn *conn) close() {
	if cn.stop != nil {
		cn.stop()
	}
	_ = cn.Conn.Close()
}

// ready prepares the connection for a request, and reports whether it can be used. The end of ctx
// closes it. Most requests of a run have the same ctx.
func (cn *conn) ready(ctx context.Context) bool {
	if cn.used && !cn.alive() {
		return false
	}
	if cn.ctx == ctx {
		return true
	}
	if cn.stop != nil && !cn.stop() {
		return false // it is or will be closed
	}
	cn.ctx, cn.stop = ctx, nil
	if ctx.Done() != nil {
		cn.stop = context.AfterFunc(ctx, func() { _ = cn.Conn.Close() })
	}
	return true
}

// alive reports whether an idle connection is still open, as far as the kernel knows, and has received
// nothing. The next request would mistake unsolicited bytes for its answer. In TLS, such bytes may also
// announce the end.
func (cn *conn) alive() bool {
	if cn.under == nil {
		return true
	}
	bytes, end := cn.under.Arrived()
	return !bytes && !end
}

// exchange sends a request and reads the answer.
func (cn *conn) exchange(f *form, into *Result) error {
	cn.f, cn.into, cn.began, cn.reads, cn.last = f, into, false, 0, f.has(closes)
	into.BytesOut, cn.end = 0, cn.c.end(f)
	if err := cn.SetDeadline(time.Now().Add(cn.c.o.Timeout)); err != nil {
		return err
	}
	wait, err := cn.write()
	if err != nil && !isClosed(err) {
		return err
	}
	// The target may have answered before it closed its side.
	answer := cn.read()
	if wait != nil && !wait() {
		cn.last = true
	}
	if answer != nil {
		if err != nil && !cn.began {
			return err
		}
		return answer
	}
	cn.last = cn.last || err != nil
	return nil
}

// write sends the request. A large body continues in the background, because the target may read it
// only while its answer is read. In this case, wait ends the write and reports whether everything
// was sent.
func (cn *conn) write() (wait func() bool, err error) {
	f := cn.f
	cn.out = cn.head(cn.out[:0])
	if f.has(expects) {
		if _, err := cn.Write(cn.out); err != nil {
			return nil, err
		}
		if answered, err := cn.invited(); answered || err != nil {
			cn.last = true // the target may still wait for the body
			return nil, err
		}
		cn.out = cn.out[:0]
	}
	if len(f.body)+len(f.trailers) <= cn.direct {
		cn.into.BytesOut = int64(len(f.body))
		cn.out = cn.framed(cn.out)
		_, err = cn.Write(cn.out)
		return nil, err
	}
	sent := make(chan error, 1)
	go func() { sent <- cn.upload() }()
	return func() bool {
		grace := time.NewTimer(uploadGrace)
		defer grace.Stop()
		select {
		case err := <-sent:
			return err == nil
		case <-grace.C: // the answer is complete, so the target does not need the rest
			_ = cn.Conn.Close()
			<-sent
			return false
		}
	}, nil
}

// upload writes a large request.
func (cn *conn) upload() error {
	before, behind := cn.out, []byte(nil)
	if cn.f.has(chunked) {
		before = append(strconv.AppendInt(before, int64(len(cn.f.body)), 16), "\r\n"...)
		behind = append(append([]byte("\r\n0\r\n"), cn.f.trailers...), "\r\n"...)
	}
	for i, part := range [...][]byte{before, cn.f.body, behind} {
		for len(part) > 0 {
			n, err := cn.Write(part[:min(len(part), uploadSize)])
			if i == 1 {
				cn.into.BytesOut += int64(n)
			}
			if err != nil {
				return err
			}
			part = part[n:]
			_ = cn.SetDeadline(cn.within(cn.c.o.Timeout)) // there is progress
		}
	}
	return nil
}

const (
	// uploadSize is the size of one write of a large body.
	uploadSize = 256 << 10
	// uploadGrace is how long the rest of a body may take after the answer is complete.
	uploadGrace = 50 * time.Millisecond
)

// head appends the head.
func (cn *conn) head(dst []byte) []byte {
	f := cn.f
	from := 0
	for _, put := range cn.puts() {
		if put.n > 0 {
			dst = append(append(dst, f.head[from:put.at]...), put.value...)
			from = put.end()
		}
	}
	dst = append(append(dst, f.head[from:]...), cn.c.runField...)
	return append(dst, "\r\n"...)
}

// put is a value to write at a place in the head.
type put struct {
	place
	value string
}

// puts returns the values for the request's head, in the order of their places.
func (cn *conn) puts() (all [3]put) {
	f := cn.f
	if cn.c.o.RewriteHost {
		all[0], all[1] = put{f.authority, cn.c.host}, put{f.host, cn.c.host}
	}
	if all[2] = (put{f.key, cn.key}); f.key.at < all[1].at {
		all[1], all[2] = all[2], all[1]
	}
	return all
}

// framed appends the body in its framing.
func (cn *conn) framed(dst []byte) []byte {
	f := cn.f
	if !f.has(chunked) {
		return append(dst, f.body...)
	}
	if len(f.body) > 0 {
		dst = append(strconv.AppendInt(dst, int64(len(f.body)), 16), "\r\n"...)
		dst = append(append(dst, f.body...), "\r\n"...)
	}
	dst = append(append(dst, "0\r\n"...), f.trailers...)
	return append(dst, "\r\n"...)
}

// invited waits until the target asks for the body, or until patience has passed. answered means
// that the target sent a final answer instead, which has not been read yet.
func (cn *conn) invited() (answered bool, err error) {
	_ = cn.SetReadDeadline(time.Now().Add(min(patience, cn.c.o.Timeout)))
	head, err := cn.peekHead()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return false, cn.SetDeadline(time.Now().Add(cn.c.o.Timeout))
	}
	if err != nil {
		return false, err
	}
	status, err := statusOf(head)
	return err != nil || status/100 != 1, nil // reading the answer returns the error
}

// fill reads more into the buffer.
func (cn *conn) fill() error {
	if cn.r == cn.w {
		cn.r, cn.w = 0, 0
	}
	if cn.w == len(cn.buf) {
		if cn.r > 0 {
			cn.w = copy(cn.buf, cn.buf[cn.r:cn.w])
			cn.r = 0
		} else {
			cn.buf = slices.Grow(cn.buf, len(cn.buf))[:2*len(cn.buf)]
		}
	}
	n, err := cn.receive(cn.buf[cn.w:])
	cn.w += n
	return err
}

// receive reads some bytes. Each read may take the whole timeout, because earlier bytes were
// progress, and also as long as the recorded answer paused.
func (cn *conn) receive(p []byte) (int, error) {
	if cn.reads++; cn.reads > 1 && cn.watch == nil {
		_ = cn.SetReadDeadline(cn.within(cn.c.o.Timeout + cn.f.silence))
	}
	for {
		switch n, err := cn.Conn.Read(p); {
		case n > 0:
			return n, nil // the next read returns the error
		case err != nil:
			if errors.Is(err, os.ErrDeadlineExceeded) && cn.watch == nil && !time.Now().Before(cn.end) {
				err = cn.c.tooLong()
			}
			return 0, err
		}
	}
}

// within returns the time in d, or the request's deadline if that is earlier.
func (cn *conn) within(d time.Duration) time.Time {
	if t := time.Now().Add(d); t.Before(cn.end) {
		return t
	}
	return cn.end
}
