// Package http1 decodes HTTP/1.0 and HTTP/1.1 (RFC 9112): keep-alive, pipelining, every
// framing of a body, trailers, interim answers, and the switch to another protocol by
// Upgrade or CONNECT.
//
//	client's bytes ─▶ half ─▶ requests: oldest … newest
//	                            ▲ each answer belongs to the oldest
//	server's bytes ─▶ half ─────┘
//
// The package imports framework, tap, recording and internal/httphead.
package http1

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Protocol returns the entry for the table of decoders.
func Protocol() framework.Protocol {
	return framework.Protocol{
		Name:   "http1",
		Detect: detect,
		Resume: resume,
		New:    func(state *framework.FlowState, _ *framework.Exchange) framework.Decoder { return newConn(state) },
	}
}

const (
	maxMethod = 32
	maxLine   = 8 << 10
)

// detect waits for the whole request line. The method alone is not enough, because other
// protocols begin with a word in capitals, too. A request line that names HTTP is enough,
// even if the rest turns out to be malformed: secrets in a stream of an unknown protocol
// would not be redacted.
func detect(_ *tap.Flow, first []byte) framework.Verdict {
	first = bytes.TrimLeft(first, "\r\n") // RFC 9112, section 2.2
	first = first[:min(len(first), maxLine+1)]
	method := bytes.IndexByte(first, ' ')
	if method < 0 && len(first) <= maxMethod {
		method = len(first)
	}
	if method > maxMethod || method < 0 || method == 0 && len(first) > 0 {
		return framework.No
	}
	for _, c := range first[:method] {
		if !isToken(c) {
			return framework.No
		}
	}
	line, _, ended := bytes.Cut(first, []byte("\n"))
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return framework.No
	case !ended && len(first) <= maxLine:
		return framework.Maybe
	case !ended && (first[method+1] == '/' || first[method+1] == 'h'):
		return framework.Yes // a long line, with a path or a URL
	case bytes.Contains(line[method:], []byte(" HTTP/")):
		return framework.Yes
	case bytes.HasPrefix(line, []byte("GET /")), bytes.HasPrefix(line, []byte("GET http")):
		return framework.Yes // HTTP/0.9 (RFC 1945, section 4.1), which has no version
	}
	return framework.No
}

// conn is the decoder of one connection.
type conn struct {
	state  *framework.FlowState
	client half
	server half
	// waiting holds the requests whose answers haven't ended, oldest first. The last one
	// may not have ended either.
	waiting []*framework.Exchange
	// early holds bytes of the server for which there is no request yet.
	early framework.Body
	// fork is the last request of waiting if it asks for another protocol: its answer
	// decides in which protocol the next bytes of the client are. after holds those until
	// then.
	fork  *framework.Exchange
	after framework.Body
	gone  bool // another decoder has taken over

	ambiguous bool // a request had two framings, so the server may see its end at another place
	stray     bool // bytes followed that request before its answer ended
	ends      bool // the flow is closing: no more bytes come
}

var (
	errPatience = errors.New("too many bytes that belong to no known message")
	errEarly    = errors.New("an answer came before the request to change the protocol")
	errStray    = errors.New("bytes after a request with two framings")
	errMany     = errors.New("too many requests before an answer")
)

func newConn(state *framework.FlowState) *conn {
	c := &conn{state: state}
	c.client.conn, c.server.conn = c, c
	c.server.response = true
	return c
}

// Data implements [framework.Decoder].
func (c *conn) Data(side tap.Side, at time.Time, p []byte) error {
	if side == tap.FromClient {
		return c.ask(at, p)
	}
	return c.answer(at, p)
}

// ask decodes bytes of the client.
func (c *conn) ask(at time.Time, p []byte) error {
	for len(p) > 0 && !c.gone {
		if c.fork != nil && c.fork.RequestDone {
			return c.hold(&c.after, p)
		}
		if c.ambiguous && c.client.x == nil {
			if len(c.early.Bytes()) > 0 {
				c.state.Pipelined = true // it is, if the server reads the other framing
				return errStray
			}
			c.stray = c.stray || len(c.waiting) > 0
		}
		if c.stray {
			return nil
		}
		n, err := c.client.read(at, p)
		p = p[n:]
		if err == nil && len(c.early.Bytes()) > 0 && c.awaited() {
			if c.fork != nil {
				return errEarly
			}
			if err := c.answer(at, c.take(&c.early)); err != nil {
				return err
			}
		}
		if err != nil && !c.gone {
			return fmt.Errorf("request: %w", err)
		}
	}
	return nil
}

// answer decodes bytes of the server.
func (c *conn) answer(at time.Time, p []byte) error {
	for len(p) > 0 && !c.gone {
		if !c.awaited() {
			return c.hold(&c.early, p)
		}
		n, err := c.server.read(at, p)
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if c.stray && len(c.waiting) == 0 {
			c.state.Pipelined = true
			return errStray
		}
		p = p[n:]
		if c.fork != nil && c.fork.ResponseDone {
			if p, err = c.decide(at, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaited reports whether the server's next bytes answer a known request. A request is
// known once its head is complete, or when the flow closes.
func (c *conn) awaited() bool {
	if len(c.waiting) == 0 || c.waiting[0].ResponseDone {
		return false
	}
	return c.ends || c.client.x != c.waiting[0] || c.client.position != inHead
}

// hold keeps bytes that can't be decoded yet. If there are too many, it keeps as many as
// the limit allows, so that the result does not depend on how they were split.
func (c *conn) hold(b *framework.Body, p []byte) error {
	room := c.state.Limits.Head - len(b.Bytes())
	switch {
	case !b.Append(c.state, p[:min(room, len(p))]):
		return framework.ErrMemory
	case len(p) > room:
		return errPatience
	}
	return nil
}

// take returns the bytes that hold has kept, and frees them.
func (c *conn) take(b *framework.Body) []byte {
	p := b.Bytes()
	b.Free(c.state)
	return p
}

// decide switches the protocol if the answer to fork agrees to it. It returns the bytes of
// the server that this decoder still has to read.
func (c *conn) decide(at time.Time, rest []byte) ([]byte, error) {
	x, after := c.fork, c.take(&c.after)
	c.fork = nil
	status, method := x.HTTP.Res.StatusCode, x.HTTP.Req.Method
	switch {
	case status == 101:
		protocol := upgraded(x)
		c.gone, c.waiting = true, nil
		if protocol == "" { // unknown; the handshake is a record by itself
			x.End(at)
			return nil, c.state.Switch("opaque", nil, at, after, rest)
		}
		return nil, c.state.Switch(protocol, x, at, after, rest)
	case method == "CONNECT" && status/100 == 2:
		c.gone, c.waiting = true, nil
		id := x.UUID.String()
		x.End(at)
		c.state.Tags.Set(recording.TagTunnel, id) // for every exchange in the tunnel
		return nil, c.state.Switch("", nil, at, after, rest)
	}
	if x.RequestDone {
		c.waiting = c.waiting[:0]
		x.End(at)
	}
	return rest, c.ask(at, after)
}

// upgraded returns the name of the protocol that the server has switched to; "" if there
// is no decoder for it.
func upgraded(x *framework.Exchange) string {
	switch to := x.HTTP.Res.Headers; {
	case framework.AnyHasToken(to, "Upgrade", "websocket"):
		return "websocket"
	case framework.AnyHasToken(to, "Upgrade", "h2c"):
		return "http2"
	}
	return ""
}

// Gap implements [framework.Decoder]. Decoding continues after bytes that were lost within
// a body, and fails if they were lost anywhere else.
func (c *conn) Gap(side tap.Side, _ time.Time, n int64) error {
	if side == tap.FromServer {
		return c.server.skip(n)
	}
	h := &c.client
	if c.awaited() { // the lost bytes belong to a request after one that isn't answered
		c.state.Pipelined = c.state.Pipelined || h.x == nil
	}
	err := h.skip(n)
	c.state.Partial = err != nil && h.x != nil
	return err
}

// Close implements [framework.Decoder].
func (c *conn) Close(at time.Time) {
	if c.gone {
		return
	}
	c.ends = true
	if len(c.early.Bytes()) > 0 && c.awaited() && c.fork == nil {
		c.answer(at, c.take(&c.early)) // an error ends the same way
	}
	timeout := len(c.early.Bytes()) > statusAt && bytes.HasPrefix(c.early.Bytes()[statusAt:], []byte("408"))
	if len(c.early.Bytes()) > 0 && len(c.waiting) == 0 && (timeout || !c.ambiguous) { // such as a server's 408 without a request
		x := c.state.Begin(at)
		x.UseHTTP()
		x.RequestDone = true
		x.Incomplete = c.state.Failed // the request may have been lost
		c.waiting = append(c.waiting, x)
		c.answer(at, c.take(&c.early)) // an error ends the same way
	}
	for _, x := range c.waiting {
		if c.server.untilClose(x) {
			x.ResponseDone = true
		}
		switch {
		case !x.RequestDone:
			x.Incomplete = framework.Cut
		case x.ResponseDone:
		case x.HTTP.Res.StatusCode == 0:
			x.Incomplete = framework.NoAnswer
		default:
			x.Incomplete = framework.Cut
		}
		if x.HTTP.Req.Method == "" && x.HTTP.Res.StatusCode == 0 {
			x.Release() // not even a head
			continue
		}
		x.End(at)
	}
	c.waiting = nil
	for _, b := range []*framework.Body{&c.early, &c.after, &c.client.carry, &c.server.carry} {
		b.Free(c.state)
	}
}

// begin starts the exchange of the next request.
func (c *conn) begin(at time.Time) (*framework.Exchange, error) {
	x := c.state.Begin(at)
	switch {
	case x == nil && len(c.waiting) < c.state.Limits.Streams:
		return nil, framework.ErrMemory
	case x == nil:
		return nil, errMany
	}
	if n := len(c.waiting); n > 0 && c.waiting[n-1].Asked.Equal(at) { // it came in the same chunk
		c.state.Pipelined = true
	}
	x.UseHTTP()
	c.waiting = append(c.waiting, x)
	return x, nil
}

// done ends the oldest exchange if its request and its answer have ended.
func (c *conn) done(x *framework.Exchange, at time.Time) {
	if !x.RequestDone || !x.ResponseDone || x == c.fork {
		return
	}
	n := copy(c.waiting, c.waiting[1:])
	c.waiting[n] = nil
	c.waiting = c.waiting[:n]
	if n > 0 {
		c.state.Pipelined = true
	} else {
		c.state.Waited++
	}
	x.End(at)
}
