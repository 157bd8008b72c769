package web

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
)

// Request is a request for a tool that builds the HTTP message itself.
type Request struct {
	Method, URL string
	Headers     recording.Headers
	Body        []byte
}

// NewRequest returns the request of an exchange, without the header fields that belong to the
// connection or to the framing of the body. The error is a [recording.LeftOutError].
func NewRequest(e *recording.Exchange, losses *recording.LossList) (q Request, err error) {
	left := func(why string) (Request, error) {
		return q, &recording.LeftOutError{Where: e.UUID.String(), What: why}
	}
	q.URL = URL(e)
	switch {
	case q.URL == "":
		return left("not an HTTP request with a URL")
	case e.WebSocket != nil || e.GRPC != nil:
		return left("a conversation, which is not a request with a body")
	case !strings.HasPrefix(q.URL, "http://") && !strings.HasPrefix(q.URL, "https://"):
		return left("a URL whose scheme is not http or https")
	}
	h := e.Request()
	if q.Method = e.HTTP.Req.Method; q.Method == "" {
		q.Method = "GET"
	}
	if !IsToken(q.Method) || strings.ContainsFunc(q.URL, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		return left("a method or a URL that HTTP can't have")
	}
	body := BodyOf(h)
	if q.Body = body.Bytes; h.Cut() {
		losses.Add("request.body", "is cut in the recording")
	}
	hops := hopFields(h.Headers)
	for _, f := range h.Headers {
		if slices.Contains(hops, f.Name) {
			continue
		}
		switch f.Name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect":
			continue
		case "Content-Encoding":
			if body.Decoded {
				losses.Add("request.headers", "Content-Encoding is left out, because the recording has the body decoded")
				continue
			}
		}
		if !IsToken(f.Name) || !IsValue(f.Value) {
			losses.Add("request.headers", "a field that HTTP can't have, not kept")
			continue
		}
		q.Headers = append(q.Headers, f)
	}
	return q, nil
}

// hopFields returns the fields that Connection names. Like Connection itself, they apply to one
// connection only (RFC 9110, section 7.6.1).
func hopFields(h recording.Headers) (names []string) {
	for value := range h.Values("Connection") {
		for name := range strings.SplitSeq(value, ",") {
			names = append(names, Name(strings.TrimSpace(name)))
		}
	}
	return names
}
