// Package http2 decodes HTTP/2 (RFC 9113) and gRPC over it. A connection may begin with
// HTTP/2 by prior knowledge or ALPN, or upgrade from HTTP/1.
//
//	bytes ─▶ half: frames ─▶ HEADERS, CONTINUATION ─▶ HPACK ─┐
//	                    └──▶ DATA ─▶ body, or gRPC messages ─┴─▶ stream ─▶ exchange
//
// Each side has a half. They share the table of open streams.
//
// The package imports framework, tap, recording, and x/net's http2 and hpack.
package http2

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Protocol returns the entry for the table of decoders.
func Protocol() framework.Protocol {
	return framework.Protocol{Name: "http2", Detect: detect, New: newConn, Resume: resume}
}

func detect(_ *tap.Flow, first []byte) framework.Verdict {
	switch {
	case bytes.HasPrefix(first, []byte(http2.ClientPreface)):
		return framework.Yes
	case bytes.HasPrefix([]byte(http2.ClientPreface), first):
		return framework.Maybe
	}
	return framework.No
}

// maxTable bounds the size of an HPACK table, whatever size the peer allows.
const maxTable = 64 << 10

var (
	errPreface = errors.New("preface is malformed")
	errFrame   = errors.New("frame is malformed")
	errBlock   = errors.New("header block is malformed")
	errOrder   = errors.New("header block is interrupted")
	errLarge   = errors.New("frame or header block is too large")
	errGap     = errors.New("bytes lost outside of a body")
)

// conn is the decoder of one connection.
type conn struct {
	state   *framework.FlowState
	sides   [2]half
	streams map[uint32]*stream
	newest  [2]uint32 // number of the latest stream that each side opened
	ignored bool      // a stream was ignored, so streams may be open that are not in streams
	muted   bool      // new streams are not recorded, because bytes of the other side are lost
	calls   bool      // a request was a gRPC call
	others  bool      // a request was not a gRPC call
}

// newConn returns a decoder. x, if not nil, is the request that was upgraded. It becomes
// stream 1.
func newConn(state *framework.FlowState, x *framework.Exchange) framework.Decoder {
	c := &conn{state: state, streams: make(map[uint32]*stream)}
	for side := range c.sides {
		c.sides[side].init(c, tap.Side(side))
	}
	c.sides[tap.FromClient].preface = len(http2.ClientPreface)
	if x != nil {
		if settings, err := base64.RawURLEncoding.DecodeString(x.HTTP.Req.Headers.Get("Http2-Settings")); err == nil {
			c.settings(tap.FromClient, settings) // malformed settings change nothing
		}
		x.SetTag(recording.TagUpgrade, "h2c")
		r := &x.HTTP.Res
		r.StatusCode, r.StatusMessage, r.Headers = 0, "", r.Headers[:0]
		x.Empty(&x.Response)
		x.ResponseDone, x.Answered, x.Ended = false, time.Time{}, time.Time{}
		s := &stream{x: x}
		s.sides[tap.FromClient].opened = true
		s.sides[tap.FromClient].ended = x.RequestDone
		c.streams[1], c.newest[tap.FromClient] = s, 1
	}
	return c
}

// Data implements [framework.Decoder].
func (c *conn) Data(side tap.Side, at time.Time, p []byte) error {
	h := &c.sides[side]
	h.now = at
	for len(p) > 0 {
		n, err := h.read(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// Gap implements [framework.Decoder]. Decoding continues after bytes that were lost within
// a body. Elsewhere, the loss includes frames and the state of HPACK, and Gap fails.
func (c *conn) Gap(side tap.Side, _ time.Time, n int64) error { return c.sides[side].skip(n) }

// Suspend implements [framework.Resumer].
func (c *conn) Suspend(at time.Time) {
	for _, id := range c.open() {
		c.unfinished(id, c.streams[id], at)
	}
	c.ignored = false
}

// Close implements [framework.Decoder].
func (c *conn) Close(at time.Time) {
	c.Suspend(at)
	for i := range c.sides {
		c.sides[i].payload.Free(c.state)
		c.sides[i].fragments.Free(c.state)
	}
}

// unfinished ends a stream that is still open at the end of the connection.
func (c *conn) unfinished(id uint32, s *stream, at time.Time) {
	switch {
	case s.x.Incomplete != "" && s.x.Incomplete != framework.HeadersLost:
	case s.sides[tap.FromClient].ended && s.x.HTTP.Res.StatusCode == 0:
		s.x.Incomplete = framework.NoAnswer
	default:
		s.x.Incomplete = framework.Cut
	}
	c.end(id, s, at)
}

// end writes the stream's exchange.
func (c *conn) end(id uint32, s *stream, at time.Time) {
	delete(c.streams, id)
	if s.grpc {
		for side := range s.sides {
			if s.sides[side].grpc {
				s.sides[side].stop(s.x, tap.Side(side), at)
			}
		}
		s.x.Plain = s.sides[tap.FromServer].opened && !s.sides[tap.FromServer].grpc
		if status := s.x.HTTP.Res.Headers.Get("Grpc-Status"); status != "" {
			s.x.Status = status
		}
	}
	s.x.End(at)
}

// stream is one request and its answer.
type stream struct {
	x     *framework.Exchange
	grpc  bool // the request is a gRPC call
	sides [2]struct {
		opened bool // the side has sent its header list: the next one is trailers
		grpc   bool // the side sends gRPC messages, and not a body
		ended  bool
		weight int // size of its header lists
		messages
	}
}

// open lists the open streams in order. Its cost depends only on how many there are, because
// the peer chooses their numbers.
func (c *conn) open() []uint32 { return slices.Sorted(maps.Keys(c.streams)) }

// create opens a stream if the side may use the number. The numbers are odd for the client
// and even for the server, and only grow (RFC 9113, section 5.1.1).
func (c *conn) create(side tap.Side, id uint32, at time.Time) *stream {
	if (id%2 == 1) != (side == tap.FromClient) || id <= c.newest[side] {
		return nil // the stream has probably ended
	}
	c.newest[side] = id
	if c.muted {
		c.state.Counters.Missed.Add(1)
		return nil
	}
	x := c.state.Begin(at)
	if x == nil {
		c.state.Counters.Ignored.Add(1)
		c.ignored = true
		return nil
	}
	s := &stream{x: x}
	s.x.UseHTTP().Req.Version = "2.0"
	c.streams[id] = s
	return s
}

// fields handles a header list that from has read. side is the side whose message it is. A
// peer may send any number of them.
func (c *conn) fields(side tap.Side, id uint32, from *half, bare bool, at time.Time) {
	list, pseudo, weight := from.list, &from.pseudo, from.weight
	s := c.streams[id]
	if s == nil && side == tap.FromClient {
		s = c.create(side, id, at)
	}
	if s == nil {
		return
	}
	part, h, fields := &s.sides[side], s.x.HTTP, s.x.Fields(side)
	first := len(*fields)
	*fields = append(*fields, list...)
	if from.lost > 0 && s.x.Incomplete == "" {
		s.x.Incomplete = framework.HeadersLost
	}
	trailers := false
	switch {
	case part.opened && (pseudo.status == "" || side == tap.FromClient):
		trailers = true
	case side == tap.FromClient:
		part.opened = true
		h.Req.Method, h.Req.URI, h.Req.Host = pseudo.method, pseudo.path, pseudo.authority
		if h.Req.Host == "" {
			h.Req.Host = h.Req.Headers.Get("Host")
		}
		if c.isGRPC(h.Req.Headers, from) {
			s.grpc, part.grpc = true, true
			s.x.Converse(recording.GRPC)
		}
		s.x.Opened()
	case len(pseudo.status) == 3 && pseudo.status[0] == '1': // an interim answer
		s.x.SetTag(recording.TagInterim, pseudo.status)
		clear((*fields)[first:])
		*fields, weight = (*fields)[:first], 0
	default:
		part.opened = true
		s.x.Answered = at
		part.grpc = s.grpc && c.isGRPC(h.Res.Headers, from)
		h.Res.StatusCode, _ = strconv.Atoi(pseudo.status)
		h.Res.StatusMessage = pseudo.status
		if text := http.StatusText(h.Res.StatusCode); text != "" {
			h.Res.StatusMessage += " " + text
		}
	}
	if bare { // only the pseudo-header fields are kept
		s.x.Weigh(side, first, len(pseudo.method)+len(pseudo.path)+len(pseudo.authority)+len(pseudo.status))
		s.x.Forget(side, first)
	} else if part.weight += weight; part.weight > c.state.Limits.Head || len(*fields) > c.state.Limits.Headers {
		s.x.Forget(side, first)
	} else {
		s.x.Weigh(side, first, weight)
		if trailers {
			s.x.Trailers(side, first)
		}
	}
	if from.ends {
		c.endSide(side, id, s, at)
	}
}

// endSide ends a side's half of a stream, after a frame with END_STREAM.
func (c *conn) endSide(side tap.Side, id uint32, s *stream, at time.Time) {
	part := &s.sides[side]
	if part.ended {
		return
	}
	part.ended = true
	if side == tap.FromClient {
		s.x.Asked = at
	} else {
		s.x.Ended = at
	}
	if s.sides[tap.FromClient].ended && s.sides[tap.FromServer].ended {
		c.end(id, s, at)
	}
}

// data handles bytes of a DATA frame's content.
func (c *conn) data(side tap.Side, id uint32, p []byte, at time.Time) {
	s := c.streams[id]
	switch {
	case s == nil || s.sides[side].ended:
	case s.sides[side].grpc:
		s.sides[side].read(s.x, side, at, p)
	default:
		if side == tap.FromServer {
			s.x.Flows(at)
		}
		s.x.Keep(body(s.x, side), p)
	}
}

func body(x *framework.Exchange, side tap.Side) *framework.Body {
	if side == tap.FromServer {
		return &x.Response
	}
	return &x.Request
}

// reset handles RST_STREAM.
func (c *conn) reset(side tap.Side, id uint32, code http2.ErrCode, at time.Time) {
	s := c.streams[id]
	if s == nil {
		return
	}
	// A server that has answered may reset the stream because it does not need the rest of
	// the request (RFC 9113, section 8.1).
	if !s.sides[tap.FromServer].ended || code != http2.ErrCodeNo {
		s.x.Incomplete = framework.Reset
		s.x.SetTag(recording.TagReset, side.String()+": "+code.String())
	}
	c.end(id, s, at)
}

// settings handles SETTINGS of a side: the maximum sizes of the table and of the frames that
// the other side uses.
func (c *conn) settings(side tap.Side, p []byte) error {
	if len(p)%6 != 0 {
		return errFrame
	}
	for ; len(p) > 0; p = p[6:] {
		other, value := &c.sides[1-side], binary.BigEndian.Uint32(p[2:])
		switch http2.SettingID(binary.BigEndian.Uint16(p)) {
		case http2.SettingHeaderTableSize:
			other.allows = int(min(value, maxTable))
			other.hpack.SetAllowedMaxDynamicTableSize(min(value, maxTable))
			if other.table != nil {
				other.table.limit = other.allows
			}
		case http2.SettingMaxFrameSize:
			other.frame = int(min(value, 1<<24-1))
		}
	}
	return nil
}

// goAway handles GOAWAY of the server, which has not processed streams above last.
func (c *conn) goAway(last uint32, code http2.ErrCode, at time.Time) {
	for _, id := range c.open() {
		if s := c.streams[id]; id > last && id%2 == 1 {
			s.x.Incomplete = framework.Reset
			s.x.SetTag(recording.TagReset, "server: goaway: "+code.String())
			c.end(id, s, at)
		}
	}
}
