package plainhttp

import (
	"net/http"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// follower is what an event loop asks while it moves the bytes of a client and
// the server that its requests go to, which is where most of them pass:
//
//	client ── GET http://host/path ──▶ loop: follower ── GET /path ──▶ host
//	client ◀── answer, as it is ────── loop: follower ◀── answer ───── host
//
// It takes one exchange after the other, each with a head that comes in one
// piece, to the one server. Anything else, and anything that is wrong, it
// leaves to the session, which can wait, refuse and connect elsewhere.
type follower struct {
	target  Target
	method  string // of the last request
	request body
	answer  body
	// waiting says that the answer to the last request has not ended, begun
	// that it has begun.
	waiting, begun bool
	open           *atomic.Int64 // see [Handler]
	scratch        []byte
}

// Pass is the [pump.Filter].
func (f *follower) Pass(side tap.Side, p []byte) (instead []byte, used int) {
	if side == tap.FromServer {
		return nil, f.answered(p)
	}
	return f.asked(p)
}

// asked follows what the client says.
func (f *follower) asked(p []byte) (instead []byte, used int) {
	if f.request.open {
		n, _ := f.request.take(p)
		return nil, n
	}
	if f.waiting {
		return nil, 0
	}
	end, _, err := headEnd(p, 0, true)
	if err != nil || end == 0 {
		return nil, 0
	}
	q, err := parseRequest(p[:end])
	if err != nil {
		return nil, 0
	}
	t, origin, err := q.destination()
	if err != nil || t != f.target || !q.ordinary() {
		return nil, 0
	}
	f.method, f.request, f.waiting = q.method, newBody(q.body), true
	f.open.Add(1)
	n, _ := f.request.take(p[end:])
	f.scratch = append(q.write(f.scratch[:0], origin), p[end:end+n]...)
	return f.scratch, end + n
}

// answered follows what the server says, and returns how much of it passes.
func (f *follower) answered(p []byte) (used int) {
	if !f.waiting {
		return 0
	}
	if !f.begun {
		end, _, err := headEnd(p, 0, false)
		if err != nil || end == 0 {
			return 0
		}
		r, err := parseResponse(p[:end], f.method)
		if err != nil || r.rewritten || r.status < http.StatusOK || r.body.close {
			return 0
		}
		used, f.answer, f.begun = end, newBody(r.body), true
	}
	n, _ := f.answer.take(p[used:])
	if f.waiting, f.begun = f.answer.open, f.answer.open; !f.waiting {
		f.open.Add(-1)
	}
	return used + n
}

// ordinary reports whether a request is one that a follower can follow.
func (q *request) ordinary() bool { return q.method != http.MethodConnect && !q.upgrades() }

// follows reports whether an event loop is to move a request and what comes
// after it; come is how much of the request's body has come.
func (s *session) follows(q *request, come int) bool {
	up := s.up
	if s.Loops == nil || up.via != nil || up.target.TLS || !up.idle() || !q.ordinary() || come != len(s.in.unread()) {
		return false
	}
	up.ordinary++
	return up.ordinary > up.patience
}

// follow has an event loop move this exchange, of which the server was sent the
// beginning, and those that follow it. It returns when that has come to its end:
// over says that the connection has, otherwise the session goes on from there,
// and of the last request b is what is still to come.
func (s *session) follow(x *exchange, b *body) (over bool, err error) {
	s.in.release()
	s.up.ordinary, s.up.patience = 0, 2*s.up.patience // who comes back once may do so again
	f := &follower{target: s.up.target, method: x.method, request: *b, waiting: true, open: &s.open}
	p := pump.Pump{Pool: s.Pool, Stream: s.up.stream, Meter: s.Meter, Loops: s.Loops}
	left, ok, err := p.Follow(s.client, s.up.conn, f)
	switch {
	case !ok:
		s.up.start(x, nil)
		return false, nil
	case err != nil || left == nil:
		return true, err
	}
	*b = f.request
	var last *exchange
	if f.waiting {
		last = newExchange(f.method)
		if f.begun {
			last.begun, last.claimed = &f.answer, true
		}
	}
	s.up.last = last
	owed := left.Owed[tap.FromClient]
	if last != nil || len(owed) > 0 || left.Side == tap.FromServer {
		s.up.start(last, owed)
	}
	return false, s.up.out.write(left.Owed[tap.FromServer])
}
