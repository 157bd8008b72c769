// Package plainhttp is the forward proxy for clients that speak HTTP/1 to it without TLS. It
// forwards requests in absolute-form, whose request line names the destination, and reads
// the CONNECT request of a tunnel. A request in absolute-form may ask for https: the caller's
// Dial then begins TLS with the host.
//
//	client ── GET http://host/path ──▶ parse ── GET /path ──▶ host
//	client ◀── answer, unchanged ─────────── its framing ◀── host
//
// The package parses before it forwards, so it is strict: it rejects requests that two
// parsers could read differently (RFC 9112 sections 6.3 and 11.2). Forwarded header fields
// keep their order, case and spacing, and Host is not changed, because meshes route by it.
// Each client connection has one connection to the host. So keep-alive,
// pipelining, 100-continue, early answers and the end of a connection mean the same as
// without a proxy. An upgrade turns the two connections into a tunnel.
//
// A head that is longer than a buffer passes in pieces, in bounded memory. The same checks
// apply before the server gets the end of it.
//
// The package imports contract, proxy/address, proxy/pump, proxy/tap, proxy/upstream,
// x/net's httpguts and the standard library.
package plainhttp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

const (
	// headTime is the time for a client to send a head after its first byte.
	headTime = 30 * time.Second
	// linger is the time, and lingerBytes the number of bytes, for which a rejected client
	// is read, so that it can read the answer.
	linger      = time.Second
	lingerBytes = 1 << 20
	// maxBegun is the maximum part of a body that is sent together with its head.
	maxBegun = 4 << 10
	// connectPort is the port of a CONNECT request without one. A port is required (RFC 9110
	// section 9.3.6), but some clients, such as gRPC for Go, omit that of https.
	connectPort = "443"
	// maxPipeline is the maximum number of unanswered requests.
	maxPipeline = 64
)

// Handler serves one client's connection.
type Handler struct {
	// Dial connects to a request's destination. The URL is not nil if the connection is to a
	// proxy that accepts requests in absolute-form.
	Dial func(ctx context.Context, to Target) (*pump.Conn, *url.URL, error)
	// Tap begins the tap's flow for the last connection of Dial.
	Tap func() *tap.Stream
	// Meter counts the bytes.
	Meter *pump.Meter
	// Pool provides the buffers.
	Pool *tap.Pool

	open atomic.Int64 // unanswered requests
}

// Idle reports whether all requests are answered.
func (h *Handler) Idle() bool { return h.open.Load() == 0 }

// Serve serves requests until the client or a server closes the connection. If the client
// asks for a tunnel, Serve returns the tunnel's target. The bytes after that request are
// unread, and the caller uses the connection from then on. The caller always closes client.
func (h *Handler) Serve(ctx context.Context, client *pump.Conn) (*Target, error) {
	s := &session{Handler: h, client: client, in: &reader{conn: client, pool: h.Pool}}
	var tunnel *Target
	err := pump.Guard(func() (err error) {
		tunnel, err = s.serve(ctx)
		return err
	})
	var refused *badRequest
	aborted := false
	if up := s.up; up != nil && tunnel == nil {
		if err == nil {
			_ = up.conn.CloseWrite() // the client has; answers may still come
		} else if aborted = !errors.As(err, &refused); aborted {
			up.conn.Abort()
		}
	}
	final, owing := s.leave()
	if aborted && errors.Is(owing, errUnanswered) {
		owing = nil // the abort caused it
	}
	if final {
		tunnel = nil // the client can't be told that it is open
	}
	first := cmp.Or(owing, err) // what the server owes was asked for earlier
	if err = errors.Join(owing, err); err == nil && tunnel != nil {
		client.Unread(s.in.unread())
	}
	s.in.use(len(s.in.unread()))
	s.in.release()
	switch {
	case errors.As(first, &refused) && !s.dirty:
		return nil, refuse(client, refused.method, refused.status, err)
	case errors.Is(first, errUnanswered), err == nil && tunnel == nil:
		lingerClose(client)
	}
	if err != nil {
		return nil, err
	}
	return tunnel, nil
}

// session is a client's connection. Its goroutine, the request side, reads requests from the
// client and writes them to the current upstream connection. Each upstream connection has a
// goroutine for the answers.
type session struct {
	*Handler
	client *pump.Conn
	in     *reader
	up     *upstreamConn
	// dirty says that the client got only a part of an answer.
	dirty bool
	// scratch is the buffer for rewritten heads.
	scratch []byte
}

func (s *session) serve(ctx context.Context) (*Target, error) {
	for {
		q, err := s.next()
		if err != nil || q == nil {
			return nil, err
		}
		if q.method == http.MethodConnect {
			if q.long {
				if err := s.skipLong(q); err != nil {
					return nil, about(q.method, err)
				}
			}
			t, err := ParseConnect(q.target)
			return &t, err
		}
		done, err := s.exchange(ctx, q)
		if err != nil || done {
			return nil, about(q.method, err)
		}
	}
}

// next reads the head of a request. It returns nil if there are no more requests.
func (s *session) next() (*request, error) {
	for {
		head, err := s.head()
		if s.up != nil && s.up.ended() {
			// The server closed the connection, which interrupted the read. An idle
			// client's connection is closed, too. A client that has begun a request
			// gets a new connection to the server.
			idle := len(s.in.unread()) == 0
			if final, gone := s.leave(); gone != nil || final || idle {
				return nil, gone
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
		}
		switch {
		case errors.Is(err, errHeadTooLong):
			return s.in.long()
		case errors.Is(err, errBareLF):
			return nil, bad("%v", err)
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed) && len(s.in.unread()) == 0: // a drain closes idle connections
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("read from the client: %w", err)
		}
		q, err := parseRequest(head)
		var refused *badRequest
		if errors.As(err, &refused) && refused.many {
			return s.in.long()
		}
		s.in.use(len(head))
		return q, err
	}
}

// long begins a request with a long head, whose beginning has been read.
func (d *reader) long() (*request, error) {
	q, used, err := parseLong(d.unread())
	d.use(used)
	return q, err
}

// head waits for a request without a time limit, and then for its head.
func (s *session) head() ([]byte, error) {
	if err := s.in.await(); err != nil {
		return nil, err
	}
	for s.in.skipEmptyLines(); len(s.in.unread()) == 0; s.in.skipEmptyLines() {
		if err := s.in.await(); err != nil {
			return nil, err
		}
	}
	if bytes.Contains(s.in.unread(), []byte("\r\n\r\n")) {
		return s.in.head(true) // complete: no deadline necessary
	}
	_ = s.client.SetReadDeadline(time.Now().Add(headTime))
	defer s.client.Resume()
	if s.up != nil && s.up.ended() {
		s.client.Interrupt() // which may have come before the deadline
	}
	return s.in.head(true)
}

// exchange forwards a request. done means that the connection has ended. leave finds out
// whether all requests are answered.
func (s *session) exchange(ctx context.Context, q *request) (done bool, err error) {
	s.open.Add(1)
	t, origin, err := q.destination()
	if err != nil {
		return false, err
	}
	if s.up != nil && s.up.target != t {
		if final, err := s.leave(); err != nil || final {
			return true, err
		}
	}
	if s.up == nil {
		if err := s.connect(ctx, t); err != nil {
			// The record has the request, without an answer.
			stream := s.Tap()
			if !q.long {
				stream.Copy(tap.FromClient, time.Now(), q.write(nil, origin))
			}
			stream.Close(time.Now())
			return true, err
		}
	}
	if q.long {
		return s.long(q, origin)
	}
	b := newBody(q.body)
	come, err := b.take(s.in.unread())
	if err != nil {
		return true, err
	}
	x := newExchange(q.method)
	if q.upgrades() {
		x = newUpgrade(q.method)
		defer close(x.finished)
	}
	if !s.up.begin(x) {
		return true, s.up.missed()
	}
	if err = s.ask(q, origin, come); err == nil {
		err = s.up.out.body(&b)
	}
	if err != nil {
		return true, s.broken(err)
	}
	if !x.upgrade {
		return false, nil
	}
	return s.upgraded(x)
}

// ask writes a request to the server, with the part of its body that has arrived.
func (s *session) ask(q *request, origin string, come int) error {
	out := &s.up.out
	begun := s.in.unread()[:min(come, maxBegun)] // is sent with the head
	s.scratch = append(q.write(s.scratch[:0], origin), begun...)
	now := time.Now()
	s.Meter.Add(tap.FromClient, now, len(s.scratch))
	s.up.stream.Copy(tap.FromClient, now, s.scratch)
	if via := s.up.via; via != nil {
		// The next proxy gets the whole target and the credentials. Neither is recorded.
		var extra []string
		if auth := upstream.Authorization(via); auth != "" {
			extra = append(extra, "Proxy-Authorization: "+auth)
		}
		s.scratch = append(q.write(s.scratch[:0], q.target, extra...), begun...)
	}
	if err := out.write(s.scratch); err != nil {
		return err
	}
	s.in.use(len(begun))
	out.pass(come - len(begun))
	return out.flush()
}

// broken returns the error for a request that could not be forwarded. It is nil if the
// server has closed the connection.
func (s *session) broken(err error) error {
	var write *writeError
	if errors.As(err, &write) || s.up.ended() {
		// The server closed early, maybe with an answer. The answer decides, and not the
		// failed write.
		return nil
	}
	var refused *badRequest
	if errors.As(err, &refused) {
		if s.up.void() {
			return err
		}
		return fmt.Errorf("after the server has answered: %s", refused.reason)
	}
	s.up.conn.Abort() // it has a part of a request
	return err
}

// upgraded turns the connections into a tunnel if the server accepts the upgrade that x
// asks for.
func (s *session) upgraded(x *exchange) (done bool, err error) {
	select {
	case switched := <-x.verdict:
		if !switched {
			return false, nil
		}
	case <-s.up.done:
		return true, nil
	}
	err = s.up.out.rest()
	var write *writeError
	switch {
	case errors.As(err, &write):
		return true, nil // the other direction sees the server's end
	case err == nil:
		_ = s.up.conn.CloseWrite()
		return true, nil
	}
	s.up.conn.Abort()
	return true, err
}

// connect connects to a request's destination.
func (s *session) connect(ctx context.Context, t Target) error {
	c, via, err := s.Dial(ctx, t)
	if err != nil {
		return refuseWith(DialStatus(err), fmt.Sprintf("connect to %s: %v", t.Host, err))
	}
	up := &upstreamConn{
		session: s, conn: c, via: via, target: t, stream: s.Tap(),
		in:      reader{conn: c, pool: s.Pool},
		pending: make(chan *exchange, maxPipeline), done: make(chan struct{}),
	}
	up.out = relay{side: tap.FromClient, from: s.in, to: c, stream: up.stream, meter: s.Meter}
	up.back = relay{side: tap.FromServer, from: &up.in, to: s.client, stream: up.stream, meter: s.Meter}
	s.in.before, up.in.before = up.out.flush, up.back.flush
	s.up = up
	return nil
}

// leave waits for the outstanding answers, and closes the upstream connection. final means
// that the client's connection can't be used for another answer. Without an error, the
// client got all answers.
func (s *session) leave() (final bool, err error) {
	up := s.up
	if up == nil {
		return false, nil
	}
	s.up, s.in.before = nil, nil
	err = up.part()
	s.client.Resume()
	s.dirty = up.dirty
	up.in.use(len(up.in.unread()))
	up.in.release()
	up.stream.Close(time.Now())
	_ = up.conn.Close()
	return up.final, err
}
