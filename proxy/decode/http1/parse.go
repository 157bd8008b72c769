package http1

import (
	"errors"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/recording"
)

// framing holds the fields of a head that describe the body (RFC 9112, section 6).
type framing struct {
	length  int64  // Content-Length, -1 without one
	coding  string // Transfer-Encoding
	chunked bool   // coding ends in chunked, so length doesn't count
	upgrade bool   // the head asks for another protocol
	over    bool   // fields were left out
}

// framingOf reads the framing from a head's fields.
func framingOf(h recording.Headers) (framing, error) {
	f := framing{length: -1}
	upgrade, connection := false, false
	for i := range h {
		switch value := h[i].Value; h[i].Name {
		case "Content-Length":
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil || f.length >= 0 && f.length != int64(n) {
				return f, errLength
			}
			f.length = int64(n)
		case "Transfer-Encoding":
			if strings.EqualFold(value, "identity") { // no coding (RFC 2616, section 3.6)
				continue
			}
			f.coding = value
			last := value[strings.LastIndexByte(value, ',')+1:]
			f.chunked = strings.EqualFold(strings.Trim(last, " \t"), "chunked")
		case "Upgrade":
			upgrade = true
		case "Connection":
			connection = connection || framework.HasToken(value, "upgrade")
		}
	}
	f.upgrade = upgrade && connection
	return f, nil
}

// Errors quote nothing of the message, because they become tags, and a quoted part might be
// a secret.
var (
	errLine    = errors.New("first line is malformed")
	errVersion = errors.New("version isn't HTTP/1")
	errField   = errors.New("header field is malformed")
	errCoding  = errors.New("last transfer coding isn't chunked")
	errLength  = errors.New("content length is malformed, or there are several")
)

// parseRequest parses a request's head, including the empty line at its end.
func parseRequest(head string, h *recording.HTTP, limit int) (framing, error) {
	line, rest, _ := strings.Cut(head, "\n")
	line = strings.TrimSuffix(line, "\r")
	method, target, ok := strings.Cut(line, " ")
	i := strings.LastIndexByte(target, ' ')
	if !ok || i < 0 || !isTokens(method) {
		return framing{}, errLine
	}
	version, ok := strings.CutPrefix(target[i+1:], "HTTP/")
	if !ok || version != "1.1" && version != "1.0" {
		return framing{}, errVersion
	}
	r := &h.Req
	r.Method, r.URI, r.Version = method, target[:i], version
	over, err := parseFields(rest, &r.Headers, limit)
	if err != nil {
		return framing{}, err
	}
	r.Host = r.Headers.Get("Host")
	f, err := framingOf(r.Headers)
	f.over = over
	return f, err
}

// parseResponse parses an answer's head, including the empty line at its end.
func parseResponse(head string, h *recording.HTTP, limit int) (framing, error) {
	line, rest, _ := strings.Cut(head, "\n")
	line = strings.TrimRight(line, "\r ")
	status, ok := strings.CutPrefix(line, "HTTP/1.")
	if !ok || len(status) < 5 || status[1] != ' ' || len(status) > 5 && status[5] != ' ' {
		return framing{}, errLine
	}
	r := &h.Res
	code, err := strconv.Atoi(status[2:5])
	if err != nil || code < 100 {
		return framing{}, errLine
	}
	r.StatusCode, r.StatusMessage = code, status[2:]
	over, err := parseFields(rest, &r.Headers, limit)
	if err != nil {
		return framing{}, err
	}
	f, err := framingOf(r.Headers)
	f.over = over
	return f, err
}

// parseFields appends field lines to h, up to the empty line that ends them.
// Every line ends in a newline. Beyond the limit it appends only the fields that decide
// about the message. over says that it has left out fields, or may have.
func parseFields(lines string, h *recording.Headers, limit int) (over bool, err error) {
	for {
		end := strings.IndexByte(lines, '\n')
		line := strings.TrimSuffix(lines[:end], "\r")
		if line == "" {
			return over, nil
		}
		folded := false
		for end+1 < len(lines) && isSpace(lines[end+1]) { // obsolete folding: the field continues
			folded = true
			end += 1 + strings.IndexByte(lines[end+1:], '\n')
		}
		colon := strings.IndexByte(line, ':')
		if colon < 0 || !isTokens(line[:colon]) {
			return over, errField
		}
		name := framework.CanonicalName(line[:colon])
		if len(*h) >= limit {
			over = true
			if !decides(name) {
				lines = lines[end+1:]
				continue
			}
		}
		value := trim(line[colon+1:])
		if folded {
			value = unfold(lines[colon+1 : end])
		}
		*h = append(*h, recording.Header{Name: name, Value: value})
		lines = lines[end+1:]
	}
}

// decides reports whether a field decides how the message is framed, which protocol follows
// it, or for which host it is.
func decides(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Host":
		return true
	}
	return false
}

// unfold joins the lines of a folded value with single spaces (RFC 9112, section 5.2).
func unfold(value string) string {
	var b strings.Builder
	b.Grow(len(value))
	for line := range strings.SplitSeq(value, "\n") {
		if line = trim(strings.TrimSuffix(line, "\r")); line == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(line)
	}
	return b.String()
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// trim removes the optional whitespace around a value.
func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// token marks the characters of a token (RFC 9110, section 5.6.2).
var token = func() (t [256]bool) {
	for c := '0'; c <= 'z'; c++ {
		t[c] = c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

func isToken(c byte) bool { return token[c] }

func isTokens(s string) bool {
	for i := range len(s) {
		if !token[s[i]] {
			return false
		}
	}
	return s != ""
}
