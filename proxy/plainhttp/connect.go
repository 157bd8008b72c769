package plainhttp

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// IsConnect reports whether bytes may begin a CONNECT request.
func IsConnect(head []byte) bool {
	const method = "CONNECT "
	return len(head) > 0 && bytes.HasPrefix(head, []byte(method)[:min(len(head), len(method))])
}

// ParseConnect parses the target of a CONNECT request. The default port is 443. The error says
// what is wrong with the target, and wraps nothing.
func ParseConnect(target string) (Target, error) { return parseAuthority(target, connectPort) }

// ReadConnect reads a CONNECT request, and leaves later bytes unread. It answers a request that
// it rejects.
func ReadConnect(client *pump.Conn) (Target, error) {
	_ = client.SetReadDeadline(time.Now().Add(headTime))
	defer client.Resume()
	s := &session{client: client, in: &reader{conn: client, pool: new(tap.Pool)}}
	q, err := s.next()
	if q == nil && err == nil {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && q.long {
		err = s.skipLong(q)
	}
	var t Target
	if err == nil {
		t, err = ParseConnect(q.target)
	}
	var refused *badRequest
	if errors.As(err, &refused) {
		return t, Refuse(client, refused.status, err)
	}
	if err != nil {
		return t, err
	}
	client.Unread(s.in.unread())
	return t, nil
}
