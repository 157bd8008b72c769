package wire

import (
	"bytes"
	"io"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/httphead"
	"github.com/tapedeck/tapedeck/recording"
)

// framing says what marks the end of an answer's body (RFC 9112, section 6.3).
type framing byte

const (
	byNothing framing = iota // there is no body
	byLength
	byChunks
	byClose
)

// read reads the final answer.
func (cn *conn) read() error {
	r := cn.into
	for interim := 0; ; interim++ {
		if err := cn.readHead(); err != nil {
			return err
		}
		status := r.http.Res.StatusCode
		if status/100 != 1 || status == 101 {
			break
		}
		if interim == maxInterim {
			return fail(Protocol, "more than %d interim answers", maxInterim)
		}
		r.Live.Tags.Set(recording.TagInterim, strconv.Itoa(status))
		clear(r.http.Res.Headers)
		r.http.Res = recording.HTTPResponse{Headers: r.http.Res.Headers[:0]}
		r.FirstByte = time.Time{}
	}
	if err := cn.readBody(); err != nil {
		cn.last = true
		return err
	}
	cn.last = cn.last || cn.r < cn.w // the bytes that follow are unexpected
	return nil
}

// peekHead waits for a head and returns it. It leaves the head in the buffer.
func (cn *conn) peekHead() ([]byte, error) {
	for seen := 0; ; {
		text := cn.buf[cn.r:cn.w]
		if n := httphead.End(text, seen); n >= 0 {
			cn.note()
			return text[:n], nil
		}
		seen = max(0, len(text)-3)
		if len(text) > maxHead {
			return nil, fail(TooLarge, "the head of the answer has more than %d bytes", maxHead)
		}
		if err := cn.fill(); err != nil {
			if cn.began && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		cn.note()
	}
}

// note records when the first byte of an answer arrived.
func (cn *conn) note() {
	if cn.r < cn.w && cn.into.FirstByte.IsZero() {
		cn.began = true
		cn.into.FirstByte = time.Now()
	}
}

func (cn *conn) readHead() error {
	head, err := cn.peekHead()
	if err != nil {
		return err
	}
	cn.r += len(head)
	if _, err := statusOf(head); err != nil {
		return err
	}
	// All names and values share one string.
	return cn.parse(string(head))
}

// statusOf parses the status in a status line.
func statusOf(head []byte) (int, error) {
	const begin = "HTTP/1.x 200"
	if len(head) < len(begin) || string(head[:7]) != begin[:7] || head[8] != ' ' || head[7] < '0' || head[7] > '9' {
		return 0, fail(Protocol, "the answer does not begin with a status line of HTTP/1")
	}
	n := 0
	for _, c := range head[9:12] {
		if c < '0' || c > '9' {
			return 0, fail(Protocol, "the status line has no status of three digits")
		}
		n = 10*n + int(c-'0')
	}
	if c := head[12]; n < 100 || c != ' ' && c != '\r' && c != '\n' {
		return 0, fail(Protocol, "the status line has no status of three digits")
	}
	return n, nil
}

// parse reads a head whose status line is valid.
func (cn *conn) parse(head string) error {
	r := &cn.into.http.Res
	line, rest, _ := strings.Cut(head, "\n")
	r.StatusMessage = strings.TrimRight(line[len("HTTP/1.1 "):], "\r ")
	r.StatusCode, _ = strconv.Atoi(line[9:12])
	if err := cn.fields(rest); err != nil {
		return err
	}
	return cn.frame(line[7] == '0')
}

// frame finds how the body is framed, and whether the connection can be reused.
func (cn *conn) frame(old bool) error {
	r := &cn.into.http.Res
	cn.length = -1
	coding, persists, ends := "", !old, false
	for i := range r.Headers {
		switch value := r.Headers[i].Value; r.Headers[i].Name {
		case "Content-Type":
			if r.ContentType == "" {
				r.ContentType = value
			}
		case "Content-Length":
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil || cn.length >= 0 && cn.length != int64(n) {
				return fail(Protocol, "the answer's Content-Length is not a number, or there are two")
			}
			cn.length = int64(n)
		case "Transfer-Encoding":
			if !strings.EqualFold(value, "identity") {
				coding = value
			}
		case "Connection":
			ends = ends || hasToken(value, "close")
			persists = persists || hasToken(value, "keep-alive")
		}
	}
	switch last := strings.TrimSpace(coding[strings.LastIndexByte(coding, ',')+1:]); {
	case strings.EqualFold(last, "chunked"):
		cn.framing = byChunks
	case coding != "" || cn.length < 0:
		cn.framing = byClose
	default:
		cn.framing = byLength
	}
	if coding != "" && (cn.length >= 0 || old) { // two framings, or chunks in HTTP/1.0, may be request smuggling
		ends = true
	}
	status := r.StatusCode
	if cn.f.has(bodyless) || status < 200 || status == 204 || status == 304 {
		cn.framing = byNothing
	}
	cn.last = cn.last || ends || !persists || cn.framing == byClose || status == 101
	return nil
}

// fields adds the fields of a head, or of trailers, up to an empty line.
func (cn *conn) fields(lines string) error {
	for {
		end := strings.IndexByte(lines, '\n')
		if end < 0 {
			return fail(Protocol, "a field of the answer has no end")
		}
		text := strings.TrimSuffix(lines[:end], "\r")
		if text == "" {
			return nil
		}
		lines = lines[end+1:]
		for lines != "" && (lines[0] == ' ' || lines[0] == '\t') { // obsolete folding (RFC 9112, section 5.2)
			more, rest, _ := strings.Cut(lines, "\n")
			text, lines = text+" "+strings.Trim(more, " \t\r"), rest
		}
		colon := strings.IndexByte(text, ':')
		if colon < 0 || !isToken(text[:colon]) {
			return fail(Protocol, "a field of the answer is malformed")
		}
		name := textproto.CanonicalMIMEHeaderKey(text[:colon])
		if err := cn.into.field(name, strings.Trim(text[colon+1:], " \t")); err != nil {
			return err
		}
	}
}

func (cn *conn) readBody() error {
	if err := cn.into.enough(cn.f); err != nil {
		return err
	}
	switch cn.framing {
	case byLength:
		return unexpected(cn.readPart(cn.length))
	case byChunks:
		return unexpected(cn.readChunks())
	case byClose:
		if err := cn.readPart(-1); err != io.EOF {
			return err
		}
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readPart reads n bytes of the body. If n is negative, it reads up to an error.
func (cn *conn) readPart(n int64) error {
	r, max := cn.into, cn.c.o.MaxBody
	for n != 0 && r.enough(cn.f) == nil {
		if cn.r < cn.w {
			have := cn.buf[cn.r:cn.w]
			if n > 0 {
				have = have[:min(n, int64(len(have)))]
			}
			cn.r += len(have)
			r.keep(have, max)
			if n > 0 {
				n -= int64(len(have))
			}
			continue
		}
		room := max - int64(len(r.body))
		if n < readSize && n > 0 || room < readSize { // the same read may also return the bytes that follow
			if err := cn.fill(); err != nil {
				return err
			}
			r.flows(time.Now())
			continue
		}
		r.body = slices.Grow(r.body, readSize)
		free := r.body[len(r.body):cap(r.body)]
		free = free[:min(int64(len(free)), room)]
		if n > 0 {
			free = free[:min(int64(len(free)), n)]
		}
		got, err := cn.receive(free)
		if err != nil {
			return err
		}
		r.flows(time.Now())
		r.body = r.body[:len(r.body)+got]
		r.BytesIn += int64(got)
		if n > 0 {
			n -= int64(got)
		}
	}
	return r.enough(cn.f)
}

// readChunks reads a chunked body and its trailers.
func (cn *conn) readChunks() error {
	for {
		line, err := cn.readLine()
		if err != nil {
			return err
		}
		n, ok := chunkSize(line)
		if !ok {
			return fail(Protocol, "the size of a chunk is malformed")
		}
		if n == 0 {
			return cn.readTrailers()
		}
		if err := cn.readPart(n); err != nil {
			return err
		}
		if line, err = cn.readLine(); err != nil {
			return err
		}
		if len(line) > 0 {
			return fail(Protocol, "a chunk is longer than its size")
		}
	}
}

// readLine reads a line of the framing. The line is valid until the next read.
func (cn *conn) readLine() ([]byte, error) {
	for seen := 0; ; {
		text := cn.buf[cn.r:cn.w]
		if i := bytes.IndexByte(text[seen:], '\n'); i >= 0 {
			cn.r += seen + i + 1
			return bytes.TrimRight(text[:seen+i], "\r \t"), nil
		}
		if seen = len(text); seen > readSize {
			return nil, fail(TooLarge, "the line of a chunk has more than %d bytes", readSize)
		}
		if err := cn.fill(); err != nil {
			return nil, err
		}
		cn.into.flows(time.Now())
	}
}

// chunkSize reads the size of a chunk. Extensions are ignored.
func chunkSize(line []byte) (n int64, ok bool) {
	digits := line
	if i := bytes.IndexAny(line, "; \t"); i >= 0 {
		digits = line[:i]
	}
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		if n >= 1<<58 {
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, len(digits) > 0
}

// readTrailers reads the fields after the last chunk, up to the empty line.
func (cn *conn) readTrailers() error {
	first := len(cn.into.http.Res.Headers)
	for size := 0; ; {
		text := cn.buf[cn.r:cn.w]
		end := -1
		switch {
		case bytes.HasPrefix(text, []byte("\r\n")):
			end = 2
		case bytes.HasPrefix(text, []byte("\n")):
			end = 1
		default:
			end = httphead.End(text, max(0, size-3))
		}
		if end >= 0 {
			cn.r += end
			if err := cn.fields(string(text[:end])); err != nil {
				return err
			}
			cn.into.trailers(first)
			return nil
		}
		if size = len(text); size > maxHead {
			return fail(TooLarge, "the trailers of the answer have more than %d bytes", maxHead)
		}
		if err := cn.fill(); err != nil {
			return err
		}
	}
}
