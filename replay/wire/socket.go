package wire

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// socket runs a conversation over a WebSocket (RFC 6455).
func (c *Client) socket(ctx context.Context, f *form, into *Result) error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	cn, err := c.conn(ctx, f, into, true)
	if err != nil {
		return err
	}
	cn.key = key
	if err = cn.exchange(f, into); err != nil || into.http.Res.StatusCode != 101 {
		c.release(cn, err == nil && !cn.last)
		return err
	}
	defer c.release(cn, false)
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if into.http.Res.Headers.Get("Sec-Websocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return fail(Protocol, "the answer to the WebSocket handshake does not match its key")
	}
	into.Live.L7Protocol, into.Live.WebSocket = recording.WebSocket, &into.talk
	w := c.watch(ctx, f)
	defer w.end()
	stop := context.AfterFunc(w.ctx, func() { _ = cn.Conn.Close() })
	defer stop()
	t := c.talk(f, into, w)
	s := &socketConn{talk: t, cn: cn, done: make(chan struct{})}
	s.inflates = into.http.Res.Headers.Get(extensions) != string(t.agreed)
	_ = cn.SetDeadline(time.Time{}) // w watches the time instead
	cn.watch = w
	go s.speak()
	err = s.listen()
	t.stop()
	_ = cn.Conn.Close()
	<-s.done
	into.talk.ClientBytes, into.BytesOut = s.bytes, s.bytes
	if err != nil || w.ctx.Err() != nil { // the end of w.ctx closes the connection
		return w.cause(err)
	}
	return nil
}

// socketConn is a WebSocket.
type socketConn struct {
	*talk
	cn   *conn
	done chan struct{} // closed when speak has returned

	// inflates means that the target has not agreed to the recorded compression, so messages are
	// sent uncompressed. whole has the fragments of the current message.
	inflates bool
	whole    line
	plain    coding.Messages

	write sync.Mutex // guards the fields below, and writing
	out   []byte
	bytes int64 // bytes of payload
	shut  bool  // a close frame was sent, or the conversation ends without one
	why   error // the reason, or nil if the recorded conversation ended in the same way
}

// speak sends the client's frames.
func (s *socketConn) speak() {
	defer close(s.done)
	for {
		s.mu.Lock()
		l, ok := line{}, false
		if !s.ended {
			l, ok = s.next()
		}
		s.mu.Unlock()
		if !ok {
			break
		}
		switch op := l.what & 15; {
		case op == opPong && s.pings > 0, op == opClose && s.shutBy: // listen sends these
			continue
		case s.inflates && l.what&compressed != 0:
			var err error
			if l, err = s.inflate(l); err != nil {
				s.end(fail(Damaged, "a recorded message: %w", err))
				return
			}
			if l.what&more != 0 {
				continue
			}
		}
		if !s.wait(l.after, l.gap) || s.say(l) != nil {
			return // listen returns the reason
		}
	}
	if s.closed || !s.wait(s.total, s.last) {
		return
	}
	s.end(nil) // as the recorded conversation ended
}

// end closes the connection without a close frame.
func (s *socketConn) end(why error) {
	s.write.Lock()
	s.shut, s.why = true, why
	s.write.Unlock()
	_ = s.cn.Conn.Close()
}

// inflate adds a frame of a compressed message. For the last frame, it returns the whole message
// uncompressed.
func (s *socketConn) inflate(l line) (line, error) {
	if l.what&15 != 0 {
		s.whole = line{}
	}
	s.whole = line{s.whole.what | l.what&15, append(s.whole.data, l.data...), l.after, l.gap}
	if l.what&more != 0 {
		return l, nil
	}
	whole := s.whole
	s.whole = line{}
	var err error
	whole.data, err = s.plain.Inflate(whole.data, maxMessage)
	return whole, err
}

// maxMessage bounds a decompressed message.
const maxMessage = 64 << 20

// say sends a frame.
func (s *socketConn) say(l line) error {
	s.write.Lock()
	defer s.write.Unlock()
	op := l.what & 15
	if s.shut {
		return nil
	}
	s.shut = op == opClose
	b := append(s.out[:0], op)
	if l.what&more == 0 {
		b[0] |= 0x80
	}
	if l.what&compressed != 0 && op != 0 { // the flag of the first frame applies to the whole message
		b[0] |= 0x40
	}
	switch n := len(l.data); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	b = append(b, mask[:]...)
	for i, c := range l.data {
		b = append(b, c^mask[i&3])
	}
	s.out = b[:0]
	s.bytes += int64(len(l.data))
	_, err := s.cn.Write(b)
	s.watch.moved()
	return err
}

// names of opcodes in recordings.
var names = [16]string{0: "continuation", 1: "text", 2: "binary", opClose: "close", opPing: "ping", opPong: "pong"}

// listen reads the server's frames, and answers pings and close frames.
func (s *socketConn) listen() error {
	deflated := false
	for {
		var head [2]byte
		if err := s.read(head[:]); err != nil {
			return s.lost(err)
		}
		op, fin, size := head[0]&15, head[0]&0x80 != 0, int64(head[1]&0x7f)
		wide := 0
		switch size {
		case 126:
			wide = 2
		case 127:
			wide = 8
		}
		switch {
		case names[op] == "", head[0]&0x30 != 0, head[1]&0x80 != 0, op >= opClose && (!fin || wide > 0):
			return fail(Protocol, "a frame of the WebSocket is malformed")
		case wide > 0:
			var long [8]byte
			if err := s.read(long[8-wide:]); err != nil {
				return unexpected(err)
			}
			if size = int64(binary.BigEndian.Uint64(long[:])); size < 0 {
				return fail(Protocol, "a frame of the WebSocket is malformed")
			}
		}
		if op == 1 || op == 2 {
			deflated = head[0]&0x40 != 0
		}
		begin := len(s.into.body)
		if err := s.cn.readPart(size); err != nil {
			return unexpected(err)
		}
		data := s.into.body[begin:]
		m := recording.Message{Type: names[op], More: !fin, Compressed: deflated && op < opClose}
		if int64(len(data)) < size {
			m.Size = size
		}
		s.heard(m, fin && op < opClose)
		switch op {
		case opPing:
			_ = s.say(line{what: opPong, data: data}) // the next read returns the error
		case opClose:
			_ = s.say(line{what: opClose, data: data[:min(2, len(data))]})
			return nil
		}
	}
}

// read reads a part of a frame's header.
func (s *socketConn) read(p []byte) error {
	for len(p) > 0 {
		if s.cn.r == s.cn.w {
			if err := s.cn.fill(); err != nil {
				return err
			}
		}
		n := copy(p, s.cn.buf[s.cn.r:s.cn.w])
		s.cn.r += n
		p = p[n:]
	}
	return nil
}

// lost returns the error of a conversation that ended without a close frame. It returns nil if the
// recorded one had none either.
func (s *socketConn) lost(err error) error {
	s.write.Lock()
	defer s.write.Unlock()
	if s.why != nil || !s.closed && (s.shut || isClosed(err)) {
		return s.why
	}
	return unexpected(err)
}
