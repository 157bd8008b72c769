package gor

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// message is a message of HTTP/1.
type message struct {
	method, target string // of a request
	version        string
	status         int // of an answer
	interim        int // the status of the last interim answer before it
	reason         string
	headers        recording.Headers
	trailers       string // names, separated by commas
	body           []byte
	size           int   // in memory, roughly
	cut            int64 // length of the whole body, if a part of it is missing
	truncated      bool  // a part of the body is missing, and its length is unknown
	losses         []string
}

func (m *message) lose(format string, args ...any) {
	m.losses = append(m.losses, fmt.Sprintf(format, args...))
}

// parse reads a message. The result does not share memory with the text.
func parse(text []byte) (m message, err error) {
	m.size = len(text)
	rest := text
	for {
		var first []byte
		if first, rest = cutLine(rest); m.first(first) != nil {
			return m, m.first(first)
		}
		if m.headers, rest, err = m.fields(rest); err != nil {
			return m, err
		}
		if !m.isInterim() || !bytes.HasPrefix(rest, []byte("HTTP/")) { // otherwise the final answer follows
			break
		}
		m.interim = m.status
	}
	m.body = bytes.Clone(rest)
	switch n, ok := length(m.headers); {
	case chunked(m.headers):
		m.dechunk(rest)
	case ok && n != int64(len(rest)) && len(rest) > 0:
		m.lose("Content-Length is %d, but %d bytes are there; those are kept", n, len(rest))
		if n > int64(len(rest)) {
			m.cut = n
		}
	case !ok && m.status == 0 && len(rest) > 0:
		m.lose("no field declares a body, but %d bytes are there; those are kept", len(rest))
	}
	if len(m.body) == 0 {
		m.body = nil
	}
	return m, nil
}

// isInterim reports whether the message is an interim answer, which another one follows.
func (m *message) isInterim() bool { return m.status >= 100 && m.status < 200 && m.status != 101 }

// first reads the first line.
func (m *message) first(line []byte) error {
	f := strings.SplitN(string(line[:min(len(line), 1<<20)]), " ", 3)
	bad := fmt.Errorf("found %.80q, want a request line or a status line of HTTP/1", line)
	if len(f) < 2 {
		return bad
	}
	if version, ok := strings.CutPrefix(f[0], "HTTP/"); ok {
		code, err := strconv.Atoi(f[1])
		if err != nil || len(f[1]) != 3 || code < 100 {
			return bad
		}
		m.version, m.status = version, code
		if len(f) == 3 {
			m.reason = strings.ToValidUTF8(f[2], "\ufffd")
		}
		return nil
	}
	version, ok := "", false
	if len(f) == 3 {
		version, ok = strings.CutPrefix(f[2], "HTTP/")
	}
	if !ok || !web.IsToken(f[0]) || f[1] == "" || len(version) > 3 {
		return bad
	}
	m.method, m.target, m.version = f[0], f[1], version
	if strings.ToValidUTF8(m.target, "") != m.target {
		m.target = strings.ToValidUTF8(m.target, "\ufffd")
		m.lose("the target is not UTF-8; U+FFFD replaces the invalid bytes")
	}
	return nil
}

// fields reads fields up to an empty line or the end.
func (m *message) fields(text []byte) (h recording.Headers, rest []byte, err error) {
	for len(text) > 0 {
		var line []byte
		if line, text = cutLine(text); len(line) == 0 {
			return h, text, nil
		}
		if (line[0] == ' ' || line[0] == '\t') && len(h) > 0 { // obsolete line folding
			h[len(h)-1].Value += " " + strings.ToValidUTF8(strings.Trim(string(line), " \t"), "\ufffd")
			m.lose("a folded field is joined to one line")
			continue
		}
		name, value, ok := strings.Cut(string(line), ":")
		if !ok || !web.IsToken(strings.TrimRight(name, " ")) {
			m.lose("found %.40q, which is not a field, not kept", line)
			continue
		}
		if len(h) == recording.MaxHeaders {
			return nil, nil, fmt.Errorf("more than %d fields", recording.MaxHeaders)
		}
		value = strings.Trim(value, " \t")
		if valid := strings.ToValidUTF8(value, "\ufffd"); valid != value {
			value = valid
			m.lose("a value of %.40s is not UTF-8; U+FFFD replaces the invalid bytes", name)
		}
		h = append(h, recording.Header{Name: web.Name(strings.TrimRight(name, " ")), Value: value})
	}
	return h, nil, nil
}

// cutLine cuts off the first line, and removes its line end.
func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

func chunked(h recording.Headers) bool {
	last := ""
	for v := range h.Values("Transfer-Encoding") {
		last = v
	}
	if i := strings.LastIndexByte(last, ','); i >= 0 {
		last = last[i+1:]
	}
	return strings.EqualFold(strings.TrimSpace(last), "chunked")
}

func length(h recording.Headers) (int64, bool) {
	for v := range h.Values("Content-Length") {
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return n, err == nil && n >= 0
	}
	return 0, false
}

// dechunk joins the chunks of a body, up to the first incomplete one. GoReplay may have done so
// before, so a text that doesn't begin with a chunk is the body itself.
func (m *message) dechunk(text []byte) {
	whole := text
	var body []byte
	for first := true; ; first = false {
		line, rest, ok := bytes.Cut(text, []byte("\n"))
		size, _, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\r")), []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 63)
		switch {
		case err != nil && first && len(text) > 0:
			m.body = bytes.Clone(whole)
			m.lose("the body is not in chunks, though Transfer-Encoding says so; it is kept unchanged")
			return
		case err != nil || !ok:
			m.body, m.truncated = body, true
			m.lose("the chunks end early, after %d bytes", len(body))
			return
		case n == 0:
			m.body = body
			m.trailing(rest)
			return
		case n > uint64(len(rest)):
			m.body, m.truncated = append(body, rest...), true
			m.lose("a chunk of %d bytes has %d", n, len(rest))
			return
		}
		body = append(body, rest[:n]...)
		text = bytes.TrimPrefix(bytes.TrimPrefix(rest[n:], []byte("\r")), []byte("\n"))
	}
}

// trailing reads the trailers.
func (m *message) trailing(text []byte) {
	h, rest, err := m.fields(text)
	if err != nil || len(h)+len(m.headers) > recording.MaxHeaders {
		m.lose("too many trailers, not kept")
		return
	}
	if len(rest) > 0 {
		m.lose("%d bytes after the last chunk, not kept", len(rest))
	}
	var names []string
	for _, one := range h {
		names = append(names, one.Name)
	}
	m.headers = append(m.headers, h...)
	m.trailers = strings.Join(names, ",")
}
