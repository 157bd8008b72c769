// Package websocket decodes WebSocket frames (RFC 6455) after an HTTP/1 upgrade. Each frame
// becomes a message. Payloads are unmasked and otherwise kept as they were sent. With
// permessage-deflate (RFC 7692) they remain compressed, and the message is marked as such.
//
// The package imports framework, tap and recording.
package websocket

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Protocol returns the entry for the table of decoders. It has no Detect: only an upgrade
// leads to it.
func Protocol() framework.Protocol {
	return framework.Protocol{Name: "websocket", New: newConn}
}

type conn struct {
	x     *framework.Exchange
	sides [2]side
}

// side parses the frames that one side sends.
type side struct {
	head [14]byte // of a frame
	have int      // bytes of head that have come
	body *framework.Body
	// Of the frame whose payload is being read:
	message recording.Message
	left    int64 // bytes of the payload that are still to come
	masked  bool
	mask    [4]byte
	pos     int  // position in the payload
	opened  bool // the head is complete

	deflated bool // the message is compressed, in all its frames
}

func newConn(_ *framework.FlowState, x *framework.Exchange) framework.Decoder {
	x.Converse(recording.WebSocket)
	x.Empty(&x.Request)
	x.Empty(&x.Response)
	c := &conn{x: x}
	c.sides[tap.FromClient].body = &x.Request
	c.sides[tap.FromServer].body = &x.Response
	return c
}

// types has the names of the opcodes. Those without a name are reserved.
var types = [16]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}

var (
	errOpcode  = errors.New("opcode is reserved")
	errControl = errors.New("control frame is too long, or in fragments")
	errLength  = errors.New("payload length is malformed")
	errGap     = errors.New("bytes lost outside of a payload")
)

// Data implements [framework.Decoder].
func (c *conn) Data(from tap.Side, at time.Time, p []byte) error {
	s := &c.sides[from]
	for len(p) > 0 {
		if !s.opened {
			n, err := s.readHead(p)
			if err != nil {
				return err
			}
			p = p[n:]
		}
		if !s.opened {
			break
		}
		n := int(min(s.left, int64(len(p))))
		c.keep(s, p[:n])
		p = p[n:]
		if s.left -= int64(n); s.left == 0 {
			c.end(from, at)
		}
	}
	return nil
}

// readHead reads bytes of a frame's head (RFC 6455, section 5.2).
func (s *side) readHead(p []byte) (n int, err error) {
	for ; n < len(p) && !s.opened; n++ {
		s.head[s.have] = p[n]
		s.have++
		if err := s.open(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// open begins the frame once its head is complete.
func (s *side) open() error {
	if s.have < 2 {
		return nil
	}
	h := s.head[:s.have]
	op, fin := h[0]&0x0f, h[0]&0x80 != 0
	if types[op] == "" {
		return errOpcode
	}
	masked, length := h[1]&0x80 != 0, int64(h[1]&0x7f)
	if op >= 8 && (length > 125 || !fin) {
		return errControl
	}
	need := 2
	switch {
	case length == 126:
		need += 2
	case length == 127:
		need += 8
	}
	if masked {
		need += 4
	}
	if s.have < need {
		return nil
	}
	switch length {
	case 126:
		length = int64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		length = int64(binary.BigEndian.Uint64(h[2:]))
	}
	if length < 0 {
		return errLength
	}
	if s.masked = masked; masked {
		copy(s.mask[:], h[need-4:])
	}
	if op == 1 || op == 2 { // the first frame's flag is for the whole message
		s.deflated = h[0]&0x40 != 0
	}
	s.message = recording.Message{Type: types[op], More: !fin, Compressed: s.deflated && op < 8}
	s.left, s.pos, s.opened = length, 0, true
	return nil
}

// keep adds payload to the frame.
func (c *conn) keep(s *side, p []byte) {
	start := len(s.body.Bytes())
	c.x.Keep(s.body, p)
	if s.masked {
		for i, b := range s.body.Bytes()[start:] {
			s.body.Bytes()[start+i] = b ^ s.mask[(s.pos+i)&3]
		}
	}
	s.pos += len(p)
}

// end completes the frame.
func (c *conn) end(from tap.Side, at time.Time) {
	s := &c.sides[from]
	c.x.Say(from, at, s.message, s.body, 0)
	s.opened, s.have = false, 0
}

// Gap implements [framework.Decoder].
func (c *conn) Gap(from tap.Side, _ time.Time, n int64) error {
	s := &c.sides[from]
	if !s.opened || n >= s.left { // the loss reaches the end of the frame, and may include the next head
		return errGap
	}
	s.body.Lose(n)
	s.left -= n
	s.pos += int(n & 3)
	return nil
}

// Close implements [framework.Decoder].
func (c *conn) Close(at time.Time) {
	for i := range c.sides {
		s := &c.sides[i]
		if s.have > 0 {
			c.x.Incomplete = framework.Cut
		}
		if s.opened {
			c.x.Say(tap.Side(i), at, s.message, s.body, s.left)
		}
	}
	c.x.End(at)
}
