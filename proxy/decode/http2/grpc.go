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

// isGRPC tells whether the message that h has begun is of a gRPC call. If fields of
// it are unknown, the content type may be among them. It is then what it was on the
// rest of the connection.
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

// messages splits one side of a gRPC call: each message has a flag, four bytes
// of length, and the payload. Frames of HTTP/2 don't matter to it.
type messages struct {
	head [5]byte
	have int
	left int64
	lost bool // the thread
}

// read takes some of what the side sends.
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

// stop adds what there is of a message that was never completed.
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

// lose goes over n lost bytes. If they were more than the rest of a message,
// where the next one begins can't be known.
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
