// Package http1 decodes HTTP/1.0 and HTTP/1.1 (RFC 9112): keep-alive,
// pipelining, every framing of a body, trailers, interim answers, and the changes to
// other protocols by Upgrade and CONNECT.
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

// Protocol is the table's entry.
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

// detect waits for the whole request line: a method alone proves nothing, for
// other protocols begin with a word in capitals as well. What claims to be HTTP
// is taken for it, even if it can't be parsed then: in a stream that nobody
// knows, its secrets would not be redacted.
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
		return framework.Yes // a long one, of what can only be a path or a URL
	case bytes.Contains(line[method:], []byte(" HTTP/")):
		return framework.Yes
	case bytes.HasPrefix(line, []byte("GET /")), bytes.HasPrefix(line, []byte("GET http")):
		return framework.Yes // HTTP/0.9 (RFC 1945, section 4.1), in which no version is claimed
	}
	return framework.No
}

// conn is the decoder of one connection.
type conn struct {
	state  *framework.FlowState
	client half
	server half
	// waiting are the requests whose answers haven't ended, oldest first;
	// the last may still be arriving.
	waiting []*framework.Exchange
	// early are bytes of the server for which there is no request yet.
	early framework.Body
	// fork is the last of waiting if its answer decides what the client's bytes
	// after it are; after holds them till then.
	fork  *framework.Exchange
	after framework.Body
	gone  bool // another decoder has taken over

	ambiguous bool // a request had two framings: the server may have taken its end for another one
	stray     bool // something followed it before it was answered
	ends      bool // no more comes
}

var (
	errPatience = errors.New("too many bytes that belong to nothing known")
	errEarly    = errors.New("an answer that came before the request to change the protocol")
	errStray    = errors.New("bytes behind a request with two framings")
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

// ask takes bytes of the client.
func (c *conn) ask(at time.Time, p []byte) error {
	for len(p) > 0 && !c.gone {
		if c.fork != nil && c.fork.RequestDone {
			return c.hold(&c.after, p)
		}
		if c.ambiguous && c.client.x == nil {
			if len(c.early.Bytes()) > 0 {
				c.state.Pipelined = true // as it is for a server that reads the other framing
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

// answer takes bytes of the server.
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

// awaited tells whether the server's next bytes belong to a request that is known:
// its head is, unless that will never be.
func (c *conn) awaited() bool {
	if len(c.waiting) == 0 || c.waiting[0].ResponseDone {
		return false
	}
	return c.ends || c.client.x != c.waiting[0] || c.client.position != inHead
}

// hold keeps bytes whose meaning isn't known yet. Of too many it keeps those that
// it may, so that it makes no difference how they came.
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

// take returns what was held.
func (c *conn) take(b *framework.Body) []byte {
	p := b.Bytes()
	b.Free(c.state)
	return p
}

// decide looks at the answer of a request that asked for another protocol. It
// returns the bytes of the server that are still to be read.
func (c *conn) decide(at time.Time, rest []byte) ([]byte, error) {
	x, after := c.fork, c.take(&c.after)
	c.fork = nil
	status, method := x.HTTP.Res.StatusCode, x.HTTP.Req.Method
	switch {
	case status == 101:
		protocol := upgraded(x)
		c.gone, c.waiting = true, nil
		if protocol == "" { // whatever comes, the handshake is a record
			x.End(at)
			return nil, c.state.Switch("opaque", nil, at, after, rest)
		}
		return nil, c.state.Switch(protocol, x, at, after, rest)
	case method == "CONNECT" && status/100 == 2:
		c.gone, c.waiting = true, nil
		id := x.UUID.String()
		x.End(at)
		c.state.Tags.Set(recording.TagTunnel, id) // on all that the tunnel brings
		return nil, c.state.Switch("", nil, at, after, rest)
	}
	if x.RequestDone {
		c.waiting = c.waiting[:0]
		x.End(at)
	}
	return rest, c.ask(at, after)
}

// upgraded names the decoder for what the server has switched to.
func upgraded(x *framework.Exchange) string {
	switch to := x.HTTP.Res.Headers; {
	case framework.AnyHasToken(to, "Upgrade", "websocket"):
		return "websocket"
	case framework.AnyHasToken(to, "Upgrade", "h2c"):
		return "http2"
	}
	return ""
}

// Gap implements [framework.Decoder]: a hole in a body of known length is a hole,
// anywhere else the thread is lost.
func (c *conn) Gap(side tap.Side, _ time.Time, n int64) error {
	if side == tap.FromServer {
		return c.server.skip(n)
	}
	h := &c.client
	if c.awaited() { // what was lost is of a request behind one that isn't answered
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
	if len(c.early.Bytes()) > 0 && len(c.waiting) == 0 && (timeout || !c.ambiguous) { // as a server's 408 to nobody's question
		x := c.state.Begin(at)
		x.UseHTTP()
		x.RequestDone = true
		x.Incomplete = c.state.Failed // the question may have been lost
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
	if n := len(c.waiting); n > 0 && c.waiting[n-1].Asked.Equal(at) { // in one go
		c.state.Pipelined = true
	}
	x.UseHTTP()
	c.waiting = append(c.waiting, x)
	return x, nil
}

// done ends the oldest exchange, if both its halves are there.
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
