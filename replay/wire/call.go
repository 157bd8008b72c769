package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// call performs a gRPC call of any kind.
func (c *Client) call(ctx context.Context, f *form, into *Result) error {
	w := c.watch(ctx, f)
	defer w.end()
	into.Sent = time.Now()
	t := c.talk(f, into, w)
	defer t.stop()
	body := &callBody{talk: t}
	defer func() { into.talk.ClientBytes, into.BytesOut = body.count(), body.count() }()
	req := c.request(w.ctx, f)
	req.ContentLength, req.Body = -1, body
	into.Live.L7Protocol, into.Live.GRPC = recording.GRPC, &into.talk
	resp, err := c.h2.RoundTrip(req)
	if err != nil {
		return w.cause(c.streams.cause(w.ctx, err))
	}
	defer w.closes(resp.Body)()
	if err := into.head(resp); err != nil {
		return err
	}
	w.moved()
	if !strings.HasPrefix(into.http.Res.ContentType, "application/grpc") { // a proxy sent the answer
		into.Live.GRPC, into.talk.Part = nil, 0
		err = c.receive(resp, f, into, w)
	} else {
		err = t.listen(resp.Body)
	}
	if err != nil {
		return err
	}
	if err := into.tail(resp); err != nil {
		return err
	}
	into.Live.Status = into.http.Res.Headers.Get("Grpc-Status")
	return nil
}

// listen reads the server's messages.
func (t *talk) listen(from io.Reader) error {
	r := t.into
	var head [5]byte
	for {
		switch _, err := io.ReadFull(from, head[:]); {
		case err == io.EOF:
			return nil
		case err != nil:
			return t.watch.cause(err)
		}
		size := int64(binary.BigEndian.Uint32(head[1:]))
		begin := len(r.body)
		for left := size; left > 0; {
			r.grow()
			at := len(r.body)
			n, err := from.Read(r.body[at:min(int64(cap(r.body)), int64(at)+left)])
			if n > 0 {
				t.watch.moved()
				r.keep(r.body[at:at+n], t.max)
				left -= int64(n)
			}
			if err != nil && left > 0 {
				return t.watch.cause(unexpected(err))
			}
		}
		m := recording.Message{Compressed: head[0]&1 != 0}
		if int64(len(r.body)-begin) < size {
			m.Size = size
		}
		t.heard(m, true)
	}
}

// callBody reads the client's messages of a call in gRPC's framing: a flag and the size precede each
// message.
type callBody struct {
	*talk
	line  line
	head  [5]byte
	sent  int // bytes that were sent of head and data
	bytes int64
	busy  bool
}

// errOver ends the transport's reads when the call is over.
var errOver = errors.New("the call is over")

// Read implements io.Reader. The transport calls it from another goroutine.
func (b *callBody) Read(p []byte) (int, error) {
	if !b.busy {
		l, ok := b.turn()
		switch {
		case ok:
		case b.stays:
			b.waitOver()
			return 0, errOver
		case !b.wait(b.closing, b.gap):
			return 0, errOver
		default:
			return 0, io.EOF
		}
		if !b.wait(l.after, l.gap) {
			return 0, errOver
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errOver
	}
	n := 0
	if b.sent < len(b.head) {
		n = copy(p, b.head[b.sent:])
	}
	if at := b.sent + n - len(b.head); at >= 0 {
		m := copy(p[n:], b.line.data[at:])
		b.bytes += int64(m)
		n += m
	}
	b.sent += n
	b.watch.moved()
	if b.busy = b.sent < len(b.head)+len(b.line.data); !b.busy && b.lines == 0 && !b.stays && b.closing <= b.line.after {
		return n, io.EOF // together with the last frame, as clients do
	}
	return n, nil
}

// turn takes the next message of the client.
func (b *callBody) turn() (line, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return line{}, false
	}
	l, ok := b.next()
	if ok {
		b.line, b.sent, b.busy = l, 0, true
		b.head[0] = 0
		if l.what&compressed != 0 {
			b.head[0] = 1
		}
		binary.BigEndian.PutUint32(b.head[1:], uint32(len(l.data)))
	}
	return l, ok
}

func (b *callBody) count() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

// Close implements io.Closer. The transport calls it after its last read.
func (b *callBody) Close() error {
	b.stop()
	return nil
}
