package http2

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// isGRPC reports whether the message that h has begun belongs to a gRPC call. If some of its
// fields are unknown, the content type may be one of them. Then isGRPC reports whether all
// known requests of the connection were gRPC calls.
func (c *conn) isGRPC(fields recording.Headers, h *half) bool {
	contentType := fields.Get("Content-Type")
	if contentType == "" && h.lost > 0 {
		return c.calls && !c.others
	}
	is := isGRPC(contentType)
	if h.side == tap.FromClient {
		c.calls, c.others = c.calls || is, c.others || !is
	}
	return is
}

// messages splits one side of a gRPC call into messages. Each message has a flag, four bytes
// of length, and the payload. Messages may begin and end anywhere in frames of HTTP/2.
type messages struct {
	head [5]byte
	have int   // bytes of head that have come
	left int64 // bytes of the payload that are still to come
	lost bool  // where the next message begins is unknown
}

// read reads bytes that the side sends.
func (m *messages) read(x *framework.Exchange, side tap.Side, at time.Time, p []byte) {
	for len(p) > 0 {
		if m.lost {
			x.Heard(side, int64(len(p)))
			return
		}
		if m.have < len(m.head) {
			n := copy(m.head[m.have:], p)
			m.have += n
			p = p[n:]
			if m.have < len(m.head) {
				return
			}
			m.left = int64(binary.BigEndian.Uint32(m.head[1:]))
		}
		n := min(m.left, int64(len(p)))
		x.Keep(body(x, side), p[:n])
		p = p[n:]
		if m.left -= n; m.left == 0 {
			m.end(x, side, at)
		}
	}
}

func (m *messages) end(x *framework.Exchange, side tap.Side, at time.Time) {
	m.say(x, side, at)
	m.have = 0
}

// stop adds the part of an incomplete message that came.
func (m *messages) stop(x *framework.Exchange, side tap.Side, at time.Time) {
	if m.have == 0 || m.lost {
		return
	}
	if x.Incomplete == "" {
		x.Incomplete = framework.Cut
	}
	if m.have == len(m.head) {
		m.say(x, side, at)
	}
}

func (m *messages) say(x *framework.Exchange, side tap.Side, at time.Time) {
	x.Say(side, at, recording.Message{Compressed: m.head[0]&1 != 0}, body(x, side), m.left)
}

// lose skips n lost bytes. If they reach the end of the message, the beginning of the next
// one is unknown.
func (m *messages) lose(x *framework.Exchange, side tap.Side, n int64) {
	if m.have < len(m.head) || n >= m.left {
		m.lost = true
		x.Heard(side, n)
		x.Empty(body(x, side))
		return
	}
	m.left -= n
	body(x, side).Lose(n)
}
