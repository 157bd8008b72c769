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

// deciding lists the fields that decide where a request goes, how it ends, and which protocol
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

// parseLong parses the parts of a long head that are needed before the proxy forwards it: the first
// line, and Host if it is among the first fields. used is the length of the line. If Host comes
// later, it may name a metadata server, so the request counts as private.
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

// readLong reads the rest of a long head and checks it. It calls emit with the bytes that are
// forwarded, and the last time with the fields that were held back. After those, emit writes
// additional lines for a proxy, and the empty line.
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

// long forwards a request with a long head, once the session is connected to its destination. No
// other request is sent before its answer, because the server may have answered before it is known
// whether the request asks for an upgrade.
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

// askLong forwards a long head.
func (s *session) askLong(q *request, origin string) error {
	_ = s.client.SetReadDeadline(time.Now().Add(headTime))
	interrupt := func() { // setting a deadline undoes an interrupt, so it is repeated
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

// longAnswer forwards a long head of an answer whose first line has been read. It returns how the
// body is framed.
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
		// The fields that were held back are parsed as a separate head.
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

// skipLong reads the rest of a long head that is not forwarded.
func (s *session) skipLong(q *request) error {
	_ = s.client.SetReadDeadline(time.Now().Add(headTime))
	defer s.client.Resume()
	return q.readLong(s.in, func([]byte, bool) error { return nil })
}
