package plainhttp

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// upstreamConn is a connection to a server. Once it is started, a goroutine forwards the
// answers in the order of the requests.
type upstreamConn struct {
	session *session
	conn    *pump.Conn
	via     *url.URL
	target  Target
	stream  *tap.Stream
	in      reader
	out     relay // client to server, run by the request side
	back    relay // server to client
	pending chan *exchange
	// Only the request side uses these:
	last    *exchange // the last request
	started bool
	asked   int64 // number of requests

	answered atomic.Int64

	mu      sync.Mutex // also held while run announces its end
	current *exchange  // the exchange whose answer is next
	waiting bool       // run waits for the server to send something
	parting bool       // only the request side sets it

	done  chan struct{} // closed when no more answers come; the fields below are set by then
	err   error
	dirty bool // an answer was begun and not finished
	final bool // nothing can follow what the client was sent
}

// errUnanswered ends a client's connection if a server closes with outstanding answers. The
// client would take the next server's answers for them (RFC 9112 section 9.3.2).
var errUnanswered = errors.New("the server closed the connection before it answered")

var errTruncated = errors.New("the server's TLS ended without close_notify, in an answer that ends with the connection")

// expect announces a request before it is written. It returns false if the server has
// closed.
func (u *upstreamConn) expect(x *exchange) bool {
	if u.ended() {
		return false
	}
	select {
	case u.pending <- x:
		u.last = x
		u.asked++
		return true
	case <-u.done:
		return false
	}
}

// begin announces a request like expect, or as the first one.
func (u *upstreamConn) begin(x *exchange) bool {
	if u.started {
		return u.expect(x)
	}
	u.started, u.last = true, x
	u.asked++
	go u.run(x)
	return true
}

// missed returns the error for a request that the server's end prevented.
func (u *upstreamConn) missed() error {
	if u.final {
		return nil // the client has seen the end
	}
	return errUnanswered
}

// idle reports whether all requests are answered, as far as is known now.
func (u *upstreamConn) idle() bool { return u.answered.Load() == u.asked }

func (u *upstreamConn) ended() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// run forwards answers until the request side parts, the server closes, or an error occurs.
// In the last two cases the client's connection ends, too, as without a proxy.
func (u *upstreamConn) run(x *exchange) {
	over := true
	u.err = pump.Guard(func() (err error) {
		over, err = u.answers(x)
		return err
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.done)
	if over {
		u.session.client.Interrupt()
	}
}

func (u *upstreamConn) answers(x *exchange) (over bool, err error) {
	for {
		over, err := u.answer(x)
		if u.isVoid(x) {
			u.conn.Abort() // it has a part of a request
			over, err = true, nil
		}
		if err != nil {
			return true, about(x.method, err)
		}
		u.answered.Add(1)
		if u.session.open.Add(-1); over {
			return true, nil
		}
		spoke, err := u.wait()
		if err != nil {
			return true, gone(err)
		}
		select {
		case x = <-u.pending:
		default:
			if spoke { // without a request: usually it closes the connection
				_, err := u.in.some()
				return true, gone(err)
			}
			x = <-u.pending
		}
		if x == nil { // closed: the request side parts
			return false, nil
		}
	}
}

// due records that the answer to x is next. It returns true if x is void.
func (u *upstreamConn) due(x *exchange) (void bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current = x
	return x.voided
}

func (u *upstreamConn) isVoid(x *exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return x.voided
}

// claim reports whether the client may get the server's answer to x.
func (u *upstreamConn) claim(x *exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	x.claimed = !x.voided
	return x.claimed
}

// void gives up the last request, of which the server has only a part. Earlier requests are
// still answered. It returns false if the client already has the answer or its beginning.
func (u *upstreamConn) void() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	x := u.last
	if x.claimed {
		u.conn.Abort()
		return false
	}
	if x.voided = true; u.current == x {
		u.conn.Abort()
	}
	return true
}

// wait waits until the server sends something. It returns false if the request side parts.
func (u *upstreamConn) wait() (spoke bool, err error) {
	u.mu.Lock()
	if u.waiting = !u.parting; !u.waiting {
		u.mu.Unlock()
		return false, nil
	}
	u.mu.Unlock()
	err = u.in.await()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting = false
	if u.parting {
		u.conn.Resume()
		return false, nil
	}
	return true, err
}

// part makes run end after the last answer, and waits for that. Without an error, all
// requests are answered.
func (u *upstreamConn) part() error {
	if !u.started {
		return nil
	}
	if !u.parting {
		close(u.pending)
		u.mu.Lock()
		u.parting = true
		if u.waiting {
			u.conn.Interrupt()
		}
		u.mu.Unlock()
	}
	<-u.done
	u.mu.Lock() // run interrupts the client under this lock; a later interrupt would hit the next server's request
	defer u.mu.Unlock()
	if u.err == nil && !u.idle() {
		return errUnanswered
	}
	return u.err
}

// answer forwards the answer to x. over means that the connection ends with it.
func (u *upstreamConn) answer(x *exchange) (over bool, err error) {
	if u.due(x) {
		return true, nil
	}
	for {
		if err := u.in.await(); err != nil {
			return true, unanswered(err)
		}
		head, err := u.in.head(false)
		long := errors.Is(err, errHeadTooLong)
		switch {
		case long:
			line, _, ok := bytes.Cut(u.in.unread(), []byte("\n"))
			if !ok {
				return true, refuseWith(http.StatusBadGateway, "the server's first line is longer than 64 KiB")
			}
			head = u.in.unread()[:len(line)+1]
		case err != nil:
			// As without a proxy, the connection ends, and the client may retry.
			return true, unanswered(err)
		}
		r, err := parseResponse(head, x.method)
		if err != nil {
			return true, refuseWith(http.StatusBadGateway, err.Error())
		}
		switched := r.status == http.StatusSwitchingProtocols
		if switched && !x.asked.Load() {
			return true, refuseWith(http.StatusBadGateway, "the server switches protocols without being asked")
		}
		if r.status >= http.StatusOK && !u.claim(x) {
			return true, errUnanswered
		}
		u.dirty = true
		switch {
		case long:
			if r, err = u.longAnswer(head, x.method); err != nil {
				u.session.client.Abort() // the client must not take the part for the whole
				return true, fmt.Errorf("pass on the answer: %w", err)
			}
		case r.rewritten:
			err = u.back.send(r.head)
			u.in.use(len(head))
		default:
			u.back.pass(len(head))
		}
		if r.status < 200 {
			err = errors.Join(err, u.back.flush()) // the client may wait for it
		}
		if err != nil {
			return true, err
		}
		if r.status < 200 && !switched {
			u.dirty = false
			continue
		}
		if x.upgrade {
			x.verdict <- switched
		}
		if switched {
			r.body.close = true
		}
		b := newBody(r.body)
		if err := u.body(&b); err != nil {
			return true, err
		}
		if r.body.close && !switched && u.conn.Truncated() {
			// RFC 9112 section 9.8: the answer is incomplete.
			u.session.client.Abort()
			return true, errTruncated
		}
		if r.body.close {
			u.final = true
			_ = u.session.client.CloseWrite()
		}
		if switched {
			<-x.finished
		}
		return r.body.close, nil
	}
}

// body forwards the body of an answer.
func (u *upstreamConn) body(b *body) error {
	u.dirty = true
	if err := u.back.body(b); err != nil {
		// The client must not take the part for the whole.
		u.session.client.Abort()
		return fmt.Errorf("pass on the answer: %w", err)
	}
	u.dirty = false
	return nil
}

// unanswered returns the error for an answer that could not be read. In TLS, a server may
// send an alert with the reason, usually that it wants a client certificate. In TLS 1.3 that
// alert comes after the handshake.
func unanswered(err error) error {
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return refuseWith(http.StatusBadGateway, fmt.Sprintf("the server ended TLS: %v", alert.Err))
	}
	return cmp.Or(gone(err), errUnanswered)
}

// gone returns nil for a server that closed the connection.
func gone(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("read from the server: %w", err)
}
