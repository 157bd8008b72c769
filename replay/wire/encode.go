package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// Reasons for which [Append] rejects an exchange. Its errors wrap one of them.
var (
	// ErrOpaque means that the exchange is a stream of an unknown protocol, in which the client's
	// bytes may depend on the server's.
	ErrOpaque = errors.New("not HTTP, gRPC or WebSocket")
	// ErrIncomplete means that the recording has only a part of the request.
	ErrIncomplete = errors.New("the request was not recorded completely")
	// ErrCut means that a limit of the recorder cut the request.
	ErrCut = errors.New("a limit cut the request")
	// ErrUnsupported means that the request is complete, but this client can't send it.
	ErrUnsupported = errors.New("not supported by replay")
	// ErrMalformed means that a field or the request line has bytes that would change how the request
	// is read.
	ErrMalformed = errors.New("the request is malformed")
)

type kind byte

const (
	plain  kind = iota + 1
	call        // of gRPC
	socket      // WebSocket
)

// version is a version of HTTP.
type version byte

const (
	version10 version = iota + 1
	version11
	version2
)

func (v version) String() string { return [...]string{"", "1.0", "1.1", "2.0"}[v&3] }

// flags of a request.
type flags byte

const (
	chunked    flags = 1 << iota
	expects          // expects 100 Continue
	closes           // asks to close the connection
	idempotent       // may be sent twice
	bodyless         // HEAD: the answer has no body
	cancels          // the client gave up before the end of the answer
)

// place is a part of the head.
type place struct{ at, n int }

func (p place) end() int { return p.at + p.n }

// form is a request as Append encodes it:
//
//	a checksum of the rest, because it may have been on a disk
//	kind, version, flags
//	12 numbers of 4 bytes: three places (2 each), silence and took in ms, enough, sizes of head, trailers and body
//	head: the request line and the fields, each with its CRLF, as in HTTP/1
//	trailers: the same
//	body: without framing
//	script: of a conversation
//
// HTTP/2 has the same head; its sender reads it.
type form struct {
	kind    kind
	version version
	flags   flags
	// host is the place of Host's value, authority the place of the host in an absolute-form
	// target, and key the place of a WebSocket handshake's key. A place without a value has no
	// bytes.
	host, authority, key place
	// silence is the longest pause within the recorded answer.
	silence time.Duration
	// took is the total time of the recorded request.
	took time.Duration
	// enough is the number of bytes of the answer that the client had read before it gave up, if
	// cancels is set and this is not a conversation.
	enough   int64
	head     []byte
	trailers []byte
	body     []byte
	script   []byte
}

const (
	numbers = 12
	prefix  = 7 + 4*numbers
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *form) has(x flags) bool { return f.flags&x != 0 }

// decode reads what Append wrote. The form refers to b.
func (f *form) decode(b []byte) error {
	if len(b) < prefix || binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return fail(Damaged, "encoded request: %d bytes that Append did not write", len(b))
	}
	*f = form{kind: kind(b[4]), version: version(b[5]), flags: flags(b[6])}
	at := 7
	next := func() int {
		n := binary.LittleEndian.Uint32(b[at:])
		at += 4
		return int(n)
	}
	for _, p := range [...]*place{&f.host, &f.authority, &f.key} {
		p.at, p.n = next(), next()
	}
	f.silence = time.Duration(next()) * time.Millisecond
	f.took = time.Duration(next()) * time.Millisecond
	f.enough = int64(next())
	head, trailers, body := next(), next(), next()
	rest := b[prefix:]
	f.head, rest = rest[:head], rest[head:]
	f.trailers, rest = rest[:trailers], rest[trailers:]
	f.body, f.script = rest[:body], rest[body:]
	return nil
}

// Append appends the request of a recorded exchange in the form that [Client.Send] takes. The form
// is compact and contains no pointers. It may be kept on disk while the program runs.
//
// The request that is sent differs from the recorded one as follows:
//
//   - Content-Length is the size of the body that is sent. It is left out if the body is chunked.
//   - A body that is stored without its content coding is encoded again, because the header
//     that names the coding is sent. The compressed bytes are those of this encoder.
//   - A chunked body is sent in one chunk, because chunk boundaries are not recorded.
//   - An offer to upgrade to HTTP/2 (Upgrade: h2c) is removed.
//   - Sec-WebSocket-Key is new, and contract.HeaderReplay is added.
//   - Several Cookie lines of HTTP/2 are joined.
//   - HTTP/2 loses the order of different fields, and the fields that describe the connection.
//
// If the exchange can't be sent, Append returns dst unchanged, and an error that wraps one of the
// Err variables.
func Append(dst []byte, e *recording.Exchange) ([]byte, error) {
	if err := fit(e); err != nil {
		return dst, err
	}
	w := writer{out: dst, start: len(dst) + prefix, e: e, req: e.Request()}
	w.out = append(w.out, make([]byte, prefix)...)
	if err := w.request(); err != nil {
		return dst, err
	}
	if len(w.out)-len(dst) > math.MaxInt32 {
		return dst, fmt.Errorf("%w: it has more than 2 GiB", ErrUnsupported)
	}
	return w.out, nil
}

// fit returns an error if an exchange can't be sent.
func fit(e *recording.Exchange) error {
	if e.HTTP == nil || e.TCP != nil {
		return fmt.Errorf("%s: %w", e.L7Protocol, ErrOpaque)
	}
	req := &e.HTTP.Req
	_, whole := e.RequestEnd()
	c := e.Conversation()
	// If the client gave up the stream, the client's side is complete.
	gaveUp := c != nil && left(e)
	switch why := e.Incomplete(); {
	case req.Method == "":
		return fmt.Errorf("no request line: %w", ErrIncomplete)
	case why == recording.NoAnswer && c == nil, gaveUp:
	case why != "" && (!whole || c != nil):
		return fmt.Errorf("%s: %w", why, ErrIncomplete)
	case e.Tags.Get(recording.TagUndecoded) != "" && !whole:
		return fmt.Errorf("undecoded: %w", ErrIncomplete)
	}
	switch {
	case c != nil && c.Part != 1, c != nil && !c.Last && !gaveUp:
		return fmt.Errorf("the exchange is one part of a conversation: %w", ErrIncomplete)
	case e.Request().Cut():
		return fmt.Errorf("body: %w", ErrCut)
	case req.BodyLeft > 0:
		return fmt.Errorf("body: %w: it was read without bodies", ErrIncomplete)
	case e.Truncated() && c == nil && !e.Response().Cut():
		return fmt.Errorf("fields: %w", ErrCut)
	case e.Truncated() && c != nil && lacks(c):
		return fmt.Errorf("messages: %w", ErrCut)
	case req.Method == "CONNECT":
		return fmt.Errorf("CONNECT: %w", ErrUnsupported)
	case e.Tags.Get(recording.TagPush) != "":
		return fmt.Errorf("a server push: %w", ErrUnsupported)
	}
	return nil
}

// lacks reports whether a part of the client's side is missing.
func lacks(c *recording.Conversation) bool {
	left := c.ClientBytes
	for i := range c.Messages {
		m := &c.Messages[i]
		if m.From != recording.Client {
			continue
		}
		if m.Size > int64(len(m.Data)) {
			return true
		}
		left -= max(m.Size, int64(len(m.Data)))
	}
	return left > 0
}

// left reports whether the client had sent everything and gave up before the end of the answer: of
// a call, or of an event stream. An event stream that ended with the connection also counts,
// because it may be endless. If the connection ended within another answer, it is unknown which
// side closed it.
func left(e *recording.Exchange) bool {
	switch e.Incomplete() {
	case "":
		return e.Conversation() == nil && e.Response().Framing() == recording.FramingClose && recording.IsEvents(e.Response().Headers.Get("Content-Type"))
	case recording.Reset:
		return e.WebSocket == nil && strings.HasPrefix(e.Tags.Get(recording.TagReset), recording.Client)
	case recording.CutOff:
		return e.Conversation() == nil && recording.IsEvents(e.Response().Headers.Get("Content-Type"))
	}
	return false
}

// writer writes one form.
type writer struct {
	out   []byte
	start int // of the head
	e     *recording.Exchange
	req   recording.Half
	f     form
}

// here returns the offset of the next byte in the head.
func (w *writer) here() int { return len(w.out) - w.start }

func (w *writer) request() error {
	e, f := w.e, &w.f
	f.kind = plain
	switch {
	case e.GRPC != nil:
		f.kind = call
	case e.WebSocket != nil:
		f.kind = socket
	}
	switch v := e.HTTP.Req.Version; {
	case v == "1.0":
		f.version = version10
	case strings.HasPrefix(v, "2"), strings.HasPrefix(v, "3"), f.kind == call:
		f.version = version2
	default:
		f.version = version11
	}
	if f.kind == socket && f.version != version11 {
		return fmt.Errorf("WebSocket over HTTP/%s: %w", e.HTTP.Req.Version, ErrUnsupported)
	}
	body, err := w.body()
	if err != nil {
		return err
	}
	framing := w.req.Framing()
	var behind []string
	if framing == recording.FramingChunked || framing == recording.FramingStream {
		behind = w.req.Trailers()
	}
	if err := w.line(); err != nil {
		return err
	}
	if err := w.fields(framing, int64(len(body)), behind); err != nil {
		return err
	}
	head := w.here()
	for _, h := range w.req.Headers {
		if slices.Contains(behind, h.Name) {
			if err := w.field(h.Name, h.Value); err != nil {
				return err
			}
		}
	}
	trailers := w.here() - head
	w.out = append(w.out, body...)
	if c := e.Conversation(); c != nil {
		if err := w.script(c); err != nil {
			return err
		}
	}
	f.silence, f.took = silence(e), min(max(0, e.End()), maxTook)
	if left(e) {
		f.flags |= cancels
		f.enough = min(e.Response().Size(), math.MaxUint32)
	}
	w.seal(head, trailers, len(body))
	return nil
}

// seal writes the form's numbers.
func (w *writer) seal(sizes ...int) {
	f, b := &w.f, w.out[w.start-prefix:w.start]
	b[4], b[5], b[6] = byte(f.kind), byte(f.version), byte(f.flags)
	all := [numbers]int{f.host.at, f.host.n, f.authority.at, f.authority.n, f.key.at, f.key.n, int(f.silence.Milliseconds()), int(f.took.Milliseconds()), int(f.enough)}
	copy(all[9:], sizes)
	for i, n := range all {
		binary.LittleEndian.PutUint32(b[7+4*i:], uint32(n))
	}
	binary.LittleEndian.PutUint32(b, crc32.Checksum(w.out[w.start-prefix+4:], castagnoli))
}

// body returns the body as it is sent, without its framing.
func (w *writer) body() ([]byte, error) {
	if w.e.Conversation() != nil {
		return nil, nil
	}
	if !w.req.Decoded() {
		return w.req.Body, nil
	}
	body, err := coding.Append(nil, w.req.Codings(), w.req.Body)
	if err != nil {
		return nil, fmt.Errorf("body: %w: %w", ErrUnsupported, err)
	}
	return body, nil
}

// line writes the request line.
func (w *writer) line() error {
	req := &w.e.HTTP.Req
	target := req.URI
	if target == "" {
		target = req.URL
	}
	if target == "" {
		target = "/"
	}
	if !isToken(req.Method) || !isText(target) || strings.HasPrefix(target, " ") || strings.HasSuffix(target, " ") {
		return fmt.Errorf("request line: %w", ErrMalformed)
	}
	switch req.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		w.f.flags |= idempotent
	}
	if req.Method == "HEAD" {
		w.f.flags |= bodyless
	}
	w.out = append(append(w.out, req.Method...), ' ')
	if scheme, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") { // absolute-form
		n := len(rest)
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			n = i
		}
		w.f.authority = place{w.here() + len(scheme) + len("://"), n}
	}
	w.out = append(w.out, target...)
	if w.f.version == version10 {
		w.out = append(w.out, " HTTP/1.0\r\n"...)
	} else {
		w.out = append(w.out, " HTTP/1.1\r\n"...)
	}
	if req.Host != "" && w.req.Headers.Get("Host") == "" { // an HTTP/2 exchange has no such line
		return w.hostField("Host", req.Host)
	}
	return nil
}

func (w *writer) hostField(name, value string) error {
	if err := w.field(name, value); err != nil {
		return err
	}
	if w.f.host.n == 0 {
		w.f.host = place{w.here() - len("\r\n") - len(value), len(value)}
	}
	return nil
}

// fields writes the fields, except for trailers.
func (w *writer) fields(framing recording.Framing, size int64, behind []string) error {
	f := &w.f
	h2c := w.e.Tags.Get(recording.TagUpgrade) == "h2c"
	length, coded, persists, cookies := false, false, false, false
	for _, h := range w.req.Headers {
		name, value := h.Name, h.Value
		switch name {
		case "Host":
			if err := w.hostField(name, value); err != nil {
				return err
			}
			continue
		case "Content-Length":
			if length || framing == recording.FramingChunked {
				continue
			}
			length, value = true, strconv.FormatInt(size, 10)
		case "Transfer-Encoding":
			if framing != recording.FramingChunked {
				continue
			}
			coded = true
		case "Connection":
			if h2c {
				value = without(value, "upgrade", "http2-settings")
			}
			if value == "" {
				continue
			}
			if hasToken(value, "close") {
				f.flags |= closes
			}
			persists = persists || hasToken(value, "keep-alive")
		case "Cookie":
			if f.version == version2 { // HTTP/2 allows several lines (RFC 9113, section 8.2.3)
				if cookies {
					continue
				}
				cookies, value = true, strings.Join(slices.Collect(w.req.Headers.Values(name)), "; ")
			}
		case "Upgrade", "Http2-Settings":
			if h2c {
				continue
			}
		case "Expect":
			if size > 0 && f.version == version11 && strings.EqualFold(value, "100-continue") {
				f.flags |= expects
			}
		case "Idempotency-Key", "X-Idempotency-Key":
			f.flags |= idempotent
		case "Sec-Websocket-Key":
			if f.kind == socket && f.key.n == 0 {
				value = blankKey
				f.key = place{w.here() + len(name) + len(": "), len(value)}
			}
		case recording.UnknownName:
			return fmt.Errorf("names of fields: %w", ErrIncomplete)
		case contract.HeaderReplay:
			continue
		}
		if slices.Contains(behind, name) {
			continue
		}
		if err := w.field(name, value); err != nil {
			return err
		}
	}
	if f.kind == socket && f.key.n == 0 {
		return fmt.Errorf("a WebSocket's handshake without a key: %w", ErrMalformed)
	}
	if f.version == version10 && !persists {
		f.flags |= closes
	}
	switch {
	case coded, framing == recording.FramingStream && !length && f.kind == plain && (size > 0 || len(behind) > 0):
		f.flags |= chunked
		if !coded {
			return w.field("Transfer-Encoding", "chunked")
		}
	case !length && size > 0: // such as records of other tools
		return w.field("Content-Length", strconv.FormatInt(size, 10))
	}
	return nil
}

// blankKey reserves the space for a key.
const blankKey = "AAAAAAAAAAAAAAAAAAAAAA=="

// field writes a field line.
func (w *writer) field(name, value string) error {
	if !isToken(name) || !isText(value) {
		return fmt.Errorf("field %q: %w", name, ErrMalformed)
	}
	w.out = append(append(append(append(w.out, name...), ": "...), value...), "\r\n"...)
	return nil
}

// maxTook bounds the recorded time of a request.
const maxTook = 24 * time.Hour

// silence returns the longest pause within the recorded answer.
func silence(e *recording.Exchange) time.Duration {
	const limit = time.Hour
	longest, last := time.Duration(0), time.Duration(0)
	step := func(at time.Duration) {
		longest, last = max(longest, at-last), max(last, at)
	}
	if c := e.Conversation(); c != nil {
		for i := range c.Messages {
			step(time.Duration(min(max(0, c.Messages[i].At), limit.Microseconds())) * time.Microsecond)
		}
	} else {
		start, known := e.ResponseStart()
		if !known {
			return 0
		}
		last = start
		for _, m := range e.Pace() {
			step(m.At)
		}
	}
	step(e.End())
	return min(longest, limit)
}

// isToken reports whether s can be a name or a method (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isText reports whether s can be in a line without ending it.
func isText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// hasToken reports whether a list contains the token, in any case.
func hasToken(list, token string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(item), token) {
			return true
		}
	}
	return false
}

// without returns a list without these tokens.
func without(list string, tokens ...string) string {
	var kept []string
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); !slices.Contains(tokens, strings.ToLower(item)) {
			kept = append(kept, item)
		}
	}
	return strings.Join(kept, ", ")
}

// lineEnd returns the end of the head's first line.
func lineEnd(head []byte) int {
	return bytes.IndexByte(head, '\r')
}
