package plainhttp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/address"
)

const (
	maxTarget = 60 << 10
	maxFields = 256
)

// badRequest is the reason why a request is rejected. It goes to the client and to the log, so it
// quotes nothing of the message, which may have a token at any place if it can't be parsed.
type badRequest struct {
	status int
	reason string
	method string // the request's method; "" if it is not known
	many   bool   // the reason is that there are too many fields
}

func refuseWith(status int, reason string) *badRequest {
	return &badRequest{status: status, reason: reason}
}

// about adds the method of the request to err.
func about(method string, err error) error {
	var bad *badRequest
	if errors.As(err, &bad) {
		bad.method = method
	}
	return err
}

func (e *badRequest) Error() string { return e.reason }

func bad(format string, args ...any) error {
	return refuseWith(http.StatusBadRequest, fmt.Sprintf(format, args...))
}

// field is a header field: its name and value, and its line as it was sent.
type field struct{ name, value, line []byte }

func (f field) is(name string) bool {
	return len(f.name) == len(name) && strings.EqualFold(string(f.name), name)
}

// request is a parsed head. It points into the reader's buffer.
type request struct {
	method, target string
	minor          int // minor version of HTTP/1.x
	fields         []field
	body           framing
	// hostless says that only the target names the host. Then host is the Host field that
	// the server gets.
	hostless bool
	host     string
	private  bool // see Target
	// long says that the head does not fit into a buffer, or has too many fields, so that not
	// all fields are known yet. authority is the host and port in the target.
	long      bool
	authority string
	// recoded says that Transfer-Encoding had names that are not codings. The server gets only
	// the codings.
	recoded bool
}

// Target is the destination of a request.
type Target struct {
	Host string
	Port int
	// TLS says that the proxy speaks TLS to it.
	TLS bool
	// Private says that the request's Host field names a cloud's metadata server, whatever
	// its destination. The request and its answer must not be recorded.
	Private bool
}

// framing says how a body ends (RFC 9112 section 6).
type framing struct {
	chunked bool
	close   bool  // the body ends with the connection; only in responses
	length  int64 // length of the body in the other cases
}

// parseRequest parses a head strictly. It rejects heads that two parsers could read differently,
// because the server has another parser (RFC 9112 section 11.2).
func parseRequest(head []byte) (*request, error) {
	q, rest, err := parseLine(head)
	if err != nil {
		return nil, err
	}
	if q.fields, err = parseFields(rest); err != nil {
		return nil, err
	}
	return q, q.check()
}

// parseLine parses a head's first line and returns what follows it.
func parseLine(head []byte) (q *request, rest []byte, err error) {
	head = bytes.TrimPrefix(head, []byte("\r\n"))
	line, rest, ok := bytes.Cut(head, []byte("\r\n"))
	if !ok && len(head) > maxTarget {
		return nil, nil, refuseWith(http.StatusRequestURITooLong, fmt.Sprintf("a first line of more than %d bytes", maxTarget))
	}
	if !ok {
		return nil, nil, bad("a request without a request line")
	}
	q = &request{}
	var version string
	q.method, version, _ = strings.Cut(string(line), " ")
	q.target, version, ok = strings.Cut(version, " ")
	if !ok || strings.Contains(version, " ") || !isToken(q.method) || q.target == "" || !isVisible(q.target) {
		return nil, nil, bad("a malformed request line: want METHOD, target and version, separated by one space")
	}
	if len(q.target) > maxTarget {
		return nil, nil, refuseWith(http.StatusRequestURITooLong, fmt.Sprintf("a target of %d bytes, the limit is %d", len(q.target), maxTarget))
	}
	switch version {
	case "HTTP/1.1":
		q.minor = 1
	case "HTTP/1.0":
	default:
		return nil, nil, refuseWith(http.StatusHTTPVersionNotSupported, "an unknown version: want HTTP/1.0 or HTTP/1.1")
	}
	return q, rest, nil
}

// check checks the fields that decide where the request goes and how it ends.
func (q *request) check() error {
	hosts := q.all("Host")
	if len(hosts) > 1 || len(hosts) == 0 && q.minor == 1 {
		return bad("%d Host fields, want one", len(hosts))
	}
	if len(hosts) == 1 && strings.ContainsAny(hosts[0], " \t,/@?#") {
		return bad("a Host that is not a host and port")
	}
	q.hostless = len(hosts) == 0 || hosts[0] == ""
	q.private = !q.hostless && address.IsMetadata(address.HostOf(hosts[0]))
	return q.frame()
}

// parseFields parses header or trailer lines up to the empty line.
func parseFields(p []byte) ([]field, error) {
	fields := make([]field, 0, min(bytes.Count(p, []byte("\n")), maxFields))
	for len(p) > 0 {
		line, rest, ok := bytes.Cut(p, []byte("\r\n"))
		if !ok {
			return nil, bad("a field line without an end")
		}
		if len(line) == 0 {
			break
		}
		if len(fields) == maxFields {
			many := refuseWith(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("more than %d fields", maxFields))
			many.many = true
			return nil, many
		}
		if line[0] == ' ' || line[0] == '\t' {
			return nil, bad("a field that is folded over lines")
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) {
			return nil, bad("a malformed field line: want a name, a colon and a value")
		}
		value = bytes.Trim(value, " \t")
		if !httpguts.ValidHeaderFieldValue(string(value)) {
			return nil, bad("a field with a control character in its value")
		}
		fields = append(fields, field{name, value, p[:len(line)+2]})
		p = rest
	}
	return fields, nil
}

// all returns the values of a field.
func (q *request) all(name string) []string { return values(q.fields, name) }

func values(fields []field, name string) (all []string) {
	for _, f := range fields {
		if f.is(name) {
			all = append(all, string(f.value))
		}
	}
	return all
}

// frame determines how the body ends.
func (q *request) frame() error {
	coding, length := q.all("Transfer-Encoding"), q.all("Content-Length")
	if len(coding) > 1 || len(length) > 1 {
		return bad("a repeated framing field")
	}
	coding, q.recoded = codings(coding)
	switch {
	case len(coding) > 0 && len(length) > 0:
		return bad("both Transfer-Encoding and Content-Length")
	case len(coding) > 0 && q.minor == 0:
		return bad("Transfer-Encoding in HTTP/1.0")
	case len(coding) > 1 || len(coding) == 1 && coding[0] != chunked:
		return refuseWith(http.StatusNotImplemented, "an unknown Transfer-Encoding: want chunked")
	case len(coding) == 1:
		q.body.chunked = true
	case len(length) == 1:
		n, err := parseLength(length[0])
		if err != nil {
			return err
		}
		q.body.length = n
	}
	return nil
}

func parseLength(v string) (int64, error) {
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		return 0, bad("a Content-Length that is not a number")
	}
	return int64(n), nil
}

// upgrades reports whether the request asks to change the protocol.
func (q *request) upgrades() bool { return len(q.all("Upgrade")) > 0 }

// schemes has the schemes of targets in absolute-form, with the default port and whether the proxy
// speaks TLS to the host. Clients that do not use CONNECT send https in this way.
var schemes = map[string]struct {
	port string
	tls  bool
}{
	"http":  {"80", false},
	"https": {"443", true},
	"ws":    {"80", false},
	"wss":   {"443", true},
}

// destination parses a target in absolute-form. It returns the destination, and the target in
// origin-form for the server.
func (q *request) destination() (t Target, origin string, err error) {
	name, rest, ok := strings.Cut(q.target, "://")
	if !ok {
		return t, "", bad("a target without a host: this is a forward proxy, want http://host/path or CONNECT host:port")
	}
	scheme, ok := schemes[strings.ToLower(name)]
	if !ok {
		return t, "", refuseWith(http.StatusNotImplemented, "a target with an unknown scheme: want http, https, ws or wss")
	}
	authority, origin := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, origin = rest[:i], rest[i:]
	}
	if strings.Contains(origin, "#") {
		return t, "", bad("a fragment in the target")
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return t, "", bad("a user name in the target")
	}
	switch {
	case origin == "" && q.method == http.MethodOptions:
		origin = "*" // RFC 9112 section 3.2.4
	case !strings.HasPrefix(origin, "/"):
		origin = "/" + origin
	}
	if q.authority = authority; q.hostless {
		q.host = authority // RFC 9112 section 3.2.2
	}
	t, err = parseAuthority(authority, scheme.port)
	t.TLS, t.Private = scheme.tls, q.private
	return t, origin, err
}

// parseAuthority parses host:port. port is the default port. An IPv6 address must have brackets,
// because its last group may otherwise be a port.
func parseAuthority(s, port string) (t Target, err error) {
	host, bracketed := s, strings.HasPrefix(s, "[")
	if h, p, err := net.SplitHostPort(s); err == nil {
		host = h
		if p != "" {
			port = p
		}
	} else if bracketed && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
	}
	if host == "" || bracketed != strings.Contains(host, ":") {
		return t, bad("a target that is not a host and port")
	}
	if err := contract.CheckHostName(host); err != nil {
		return t, bad("a target with %v", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return t, bad("a target with an invalid port: want 1 to 65535")
	}
	return Target{Host: host, Port: int(n)}, nil
}

// hopByHop lists the fields that are for this proxy and are not forwarded. Connection and the
// fields that it names are forwarded, because each client connection has one connection to the
// server, for which they mean the same.
var hopByHop = []string{"Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate"}

// write appends the head for the next hop. It keeps the order, case and spacing of the fields that
// it forwards.
func (q *request) write(p []byte, target string, extra ...string) []byte {
	p = q.appendFields(q.appendLine(p, target))
	for _, line := range extra {
		p = append(append(p, line...), "\r\n"...)
	}
	return append(p, "\r\n"...)
}

// appendLine appends the first line.
func (q *request) appendLine(p []byte, target string) []byte {
	p = append(append(append(p, q.method...), ' '), target...)
	return append(append(p, " HTTP/1."...), byte('0'+q.minor), '\r', '\n')
}

// appendFields appends the fields that are forwarded.
func (q *request) appendFields(p []byte) []byte {
	if q.host != "" {
		p = append(append(append(p, "Host: "...), q.host...), "\r\n"...)
	}
	for _, f := range q.fields {
		switch {
		case slices.ContainsFunc(hopByHop, f.is), q.host != "" && f.is("Host"):
		case q.recoded && f.is("Transfer-Encoding"):
			if q.body.chunked {
				p = append(p, "Transfer-Encoding: chunked\r\n"...)
			}
		default:
			p = append(p, f.line...)
		}
	}
	return p
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken[T string | []byte](s T) bool { return httpguts.ValidHeaderFieldName(string(s)) }

func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
