package plainhttp

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// deciding are the fields that decide where a request goes, how it ends and what
// follows it.
var deciding = []string{"Host", "Content-Length", "Transfer-Encoding", "Upgrade"}

func isOneOf(names []string, name []byte) bool {
	return slices.ContainsFunc(names, field{name: name}.is)
}

func requestFate(name []byte) fate {
	switch {
	case isOneOf(hopByHop, name):
		return dropped
	case isOneOf(deciding, name):
		return heldBack
	}
	return passed
}

func responseFate(name []byte) fate {
	if isOneOf(framingFields, name) {
		return heldBack
	}
	return passed
}

// parseLong parses of a long head what must be known before it is passed on: the
// line, and Host, if that is among the first fields. It returns how long the line is.
// Who does not say soon which host it means may mean a metadata server.
func parseLong(head []byte) (q *request, used int, err error) {
	q, rest, err := parseLine(head)
	if err != nil {
		return nil, 0, err
	}
	q.long, q.private = true, true
	for fields := rest; ; {
		line, behind, ok := bytes.Cut(fields, []byte("\r\n"))
		if !ok || len(line) == 0 {
			break
		}
		fields = behind
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Host")) && len(line) < maxHeld {
			q.private = address.IsMetadata(address.HostOf(string(bytes.Trim(value, " \t"))))
			break
		}
	}
	return q, len(head) - len(rest), nil
}

// readLong reads what is still to come of a long head and judges it. emit is given
// what passes, and then what is still to be written: the held fields and the empty
// line, with more lines between them on the way to a proxy.
func (q *request) readLong(in *reader, emit func(p []byte, last bool) error) error {
	h := longHead{fate: requestFate}
	var out []byte
	for done := false; !done; {
		p, err := in.some()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		var n int
		out, n, done, err = h.take(out[:0], p[:min(len(p), longStep)])
		in.use(n)
		if err != nil {
			return err
		}
		if !done {
			if err := emit(out, false); err != nil {
				return err
			}
		}
	}
	q.fields = h.held
	if err := q.check(); err != nil {
		return err
	}
	if q.hostless {
		q.host = q.authority
	}
	return emit(q.appendFields(out), true)
}

// long forwards a request with a long head, once it is connected to where that goes.
// No other request is sent before it is answered: whether it asks for an upgrade is
// known only when the server may have answered already.
func (s *session) long(q *request, origin string) (done bool, err error) {
	x := newUpgrade(q.method)
	x.asked.Store(false)
	defer close(x.finished)
	if !s.up.begin(x) {
		return true, s.up.missed()
	}
	var b body
	err = s.askLong(q, origin)
	if err == nil {
		b = newBody(q.body)
		err = s.up.out.body(&b)
	}
	if err != nil {
		return true, s.broken(err)
	}
	return s.upgraded(x)
}

// askLong passes a long head on.
func (s *session) askLong(q *request, origin string) error {
	_ = s.client.SetReadDeadline(time.Now().Add(headTime))
	interrupt := func() { // again, for a deadline takes it back
		if s.up.ended() {
			s.client.Interrupt()
		}
	}
	interrupt()
	defer func() { s.client.Resume(); interrupt() }()
	target, auth := origin, ""
	if s.up.via != nil {
		target, auth = q.target, upstream.Authorization(s.up.via)
	}
	send := func(record, wire []byte) error {
		now := time.Now()
		s.Meter.Add(tap.FromClient, now, len(record))
		s.up.stream.Copy(tap.FromClient, now, record)
		return s.up.out.write(wire)
	}
	if err := send(q.appendLine(nil, origin), q.appendLine(nil, target)); err != nil {
		return err
	}
	return q.readLong(s.in, func(p []byte, last bool) error {
		if !last {
			return send(p, p)
		}
		s.up.last.asked.Store(q.upgrades()) // before the server has the end of the head
		wire := p
		if auth != "" {
			wire = append(slices.Clip(p), "Proxy-Authorization: "+auth+"\r\n"...)
		}
		return send(append(slices.Clip(p), "\r\n"...), append(slices.Clip(wire), "\r\n"...))
	})
}

// longAnswer passes on a long head of an answer, of which the first line has been
// read, and returns what it says of the body.
func (u *upstreamConn) longAnswer(line []byte, method string) (*response, error) {
	line = slices.Clone(line)
	u.in.use(len(line))
	if err := u.back.send(line); err != nil {
		return nil, err
	}
	h := longHead{lenient: true, fate: responseFate}
	var out []byte
	for {
		p, err := u.in.some()
		if err != nil {
			return nil, errors.Join(err, errUnanswered)
		}
		var n int
		var done bool
		out, n, done, err = h.take(out[:0], p[:min(len(p), longStep)])
		u.in.use(n)
		if err != nil {
			return nil, err
		}
		if !done {
			if err := u.back.send(out); err != nil {
				return nil, err
			}
			continue
		}
		// What was held back is a head of its own.
		head := slices.Clone(line)
		for _, f := range h.held {
			head = append(head, f.line...)
		}
		r, err := parseResponse(append(head, "\r\n"...), method)
		if err != nil {
			return nil, err
		}
		return r, u.back.send(append(out, r.head[len(line):]...))
	}
}

// skipLong reads the rest of a long head that goes no further.
func (s *session) skipLong(q *request) error {
	_ = s.client.SetReadDeadline(time.Now().Add(headTime))
	defer s.client.Resume()
	return q.readLong(s.in, func([]byte, bool) error { return nil })
}
