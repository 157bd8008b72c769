package http1

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/internal/httphead"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// position is the part of a message to which a half's next byte belongs.
type position uint8

const (
	inHead      position = iota
	inBody               // of known length
	inRest               // a body that ends with the connection
	inChunkSize          // a chunk's first line
	inChunk              // a chunk's data
	inChunkEnd           // the empty line after a chunk's data
	inTrailers           // the fields after the last chunk, and the empty line
)

// half parses the messages that one side sends.
type half struct {
	*conn
	response bool
	position position
	left     int64               // bytes of the body or chunk that are still to come
	room     int                 // bytes of Limits.Head that the trailers may take
	bare     bool                // the head or the trailers are too large to be kept
	cutting  bool                // the next bytes are dropped, up to the end of the line
	carry    framework.Body      // an unfinished head, line or trailers
	x        *framework.Exchange // the exchange of the message that is being read
	now      time.Time
}

const maxChunkLine = 4 << 10

// read reads at least one byte of p and returns how many it read.
func (h *half) read(at time.Time, p []byte) (n int, err error) {
	h.now = at
	if h.response && (h.position == inBody || h.position == inChunk || h.position == inRest) {
		h.x.Flows(at)
	}
	switch h.position {
	case inHead:
		return h.readHead(at, p)
	case inBody, inChunk:
		n = int(min(h.left, int64(len(p))))
		h.x.Keep(h.body(), p[:n])
		h.advance(int64(n))
		return n, nil
	case inRest:
		h.x.Keep(h.body(), p)
		return len(p), nil
	case inTrailers:
		return h.readTrailers(p)
	default:
		return h.readLine(p)
	}
}

// advance records that n bytes of a body or chunk have been read or lost.
func (h *half) advance(n int64) {
	h.left -= n
	switch {
	case h.left > 0:
	case h.position == inChunk:
		h.position = inChunkEnd
	default:
		h.end()
	}
}

func (h *half) body() *framework.Body {
	if h.response {
		return &h.x.Response
	}
	return &h.x.Request
}

var (
	errHead  = errors.New("head is too large")
	errChunk = errors.New("chunk is malformed")
	errGap   = errors.New("bytes lost outside of a body")
)

func (h *half) readHead(at time.Time, p []byte) (n int, err error) {
	if h.x == nil {
		if !h.response { // empty lines before a request are ignored (RFC 9112, section 2.2)
			skip := len(p) - len(bytes.TrimLeft(p, "\r\n"))
			if skip > 0 {
				return skip, nil
			}
			if h.x, err = h.begin(at); err != nil {
				return 0, err
			}
		} else {
			h.x = h.waiting[0]
			h.x.Answered = at
		}
	}
	head, n, err := h.large(p, h.state.Limits.Head, httphead.End)
	if head == nil {
		return n, err
	}
	h.room = h.state.Limits.Head - len(head)
	text := string(head) // names and values are slices of this one copy
	h.carry.Free(h.state)
	if h.response {
		return n, h.openResponse(text)
	}
	return n, h.openRequest(text)
}

// until collects bytes until end finds the end of a part of a message. Then it returns the
// part as whole. Before that, whole is nil. n is how many bytes of p it has used.
func (h *half) until(p []byte, limit int, end func(p []byte, from int) int) (whole []byte, n int, err error) {
	old := len(h.carry.Bytes())
	if old == 0 {
		if i := end(p, 0); i >= 0 && i <= limit {
			return p[:i], i, nil
		}
	}
	if old+len(p) > limit {
		p = p[:limit-old]
	}
	if len(p) == 0 {
		return nil, 0, errHead
	}
	if !h.carry.Append(h.state, p) {
		return nil, 0, framework.ErrMemory
	}
	if i := end(h.carry.Bytes(), max(0, old-3)); i >= 0 {
		return h.carry.Bytes()[:i], i - old, nil
	}
	return nil, len(p), nil
}

// endOfTrailers is httphead.End for trailers, which may have no fields.
func endOfTrailers(p []byte, from int) int {
	switch {
	case p[0] == '\n':
		return 1
	case len(p) > 1 && p[0] == '\r' && p[1] == '\n':
		return 2
	}
	return httphead.End(p, from)
}

func endOfLine(p []byte, from int) int {
	if i := bytes.IndexByte(p[from:], '\n'); i >= 0 {
		return from + i + 1
	}
	return -1
}

// readTrailers reads the fields after the last chunk. They don't affect the framing.
func (h *half) readTrailers(p []byte) (n int, err error) {
	trailers, n, err := h.large(p, max(h.room, maxChunkLine)+len("\r\n"), endOfTrailers)
	if trailers == nil {
		return n, err
	}
	h.bare = h.bare || len(trailers) > h.room+len("\r\n")
	fields, text := h.x.Fields(h.side()), string(trailers)
	first := len(*fields)
	over, err := parseFields(text, fields, h.state.Limits.Headers)
	h.weigh(first, text)
	h.leave(over, first)
	h.x.Trailers(h.side(), first)
	h.carry.Free(h.state)
	if err == nil {
		h.end()
	}
	return n, err
}

// leave drops fields that exceed a limit: all from index first on if they are too large
// together, or those beyond the limit if there are too many.
func (h *half) leave(over bool, first int) {
	switch {
	case h.bare:
		h.x.Forget(h.side(), first)
	case over:
		h.x.Forget(h.side(), min(h.state.Limits.Headers, len(*h.x.Fields(h.side()))))
	}
	h.bare = false
}

// weigh takes memory for text, which has the message's fields from index first on.
func (h *half) weigh(first int, text string) {
	count := len(*h.x.Fields(h.side())) - first
	h.x.Weigh(h.side(), first, len(text)+count*framework.FieldCost)
}

func (h *half) side() tap.Side {
	if h.response {
		return tap.FromServer
	}
	return tap.FromClient
}

// readLine reads a line of the chunked framing.
func (h *half) readLine(p []byte) (n int, err error) {
	line, n, err := h.until(p, maxChunkLine, endOfLine)
	if line == nil {
		return n, err
	}
	line = bytes.TrimRight(line, "\r\n")
	switch h.position {
	case inChunkSize:
		h.left, err = chunkSize(line)
		h.position = inChunk
		if h.left == 0 {
			h.position = inTrailers
		}
	case inChunkEnd:
		if len(line) > 0 {
			err = errChunk
		}
		h.position = inChunkSize
	}
	h.carry.Free(h.state)
	return n, err
}

// chunkSize parses a chunk's size and ignores chunk extensions.
func chunkSize(line []byte) (size int64, err error) {
	digits := 0
	for ; digits < len(line); digits++ {
		var d byte
		switch c := line[digits]; {
		case '0' <= c && c <= '9':
			d = c - '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			d = c | 0x20 - 'a' + 10
		case (c == ';' || c == ' ' || c == '\t') && digits > 0:
			return size, nil
		default:
			return 0, errChunk
		}
		if size >= 1<<58 {
			return 0, errChunk
		}
		size = size<<4 | int64(d)
	}
	if digits == 0 {
		return 0, errChunk
	}
	return size, nil
}

func (h *half) openRequest(head string) error {
	x := h.x
	f, err := parseRequest(head, x.HTTP, h.state.Limits.Headers)
	if err != nil {
		return err
	}
	x.Opened()
	h.weigh(0, head)
	h.leave(f.over, 0)
	if f.coding != "" && f.length >= 0 {
		x.SetTag(recording.TagFraming, "both")
		h.ambiguous = true
	}
	if f.upgrade || x.HTTP.Req.Method == "CONNECT" {
		h.fork = x
	}
	switch {
	case x.HTTP.Req.Method == "CONNECT":
		h.end()
	case f.coding != "" && !f.chunked:
		return errCoding
	case f.chunked:
		h.position = inChunkSize
	default:
		h.openBody(max(0, f.length))
	}
	return nil
}

func (h *half) openResponse(head string) error {
	x, r := h.x, &h.x.HTTP.Res
	f, err := parseResponse(head, x.HTTP, h.state.Limits.Headers)
	if err != nil {
		return err
	}
	status, method := r.StatusCode, x.HTTP.Req.Method
	if status/100 == 1 && status != 101 { // an interim answer: the final one follows
		x.SetTag(recording.TagInterim, strconv.Itoa(status))
		clear(r.Headers)
		r.StatusCode, r.StatusMessage, r.Headers = 0, "", r.Headers[:0]
		h.x, h.bare = nil, false
		return nil
	}
	h.weigh(0, head)
	h.leave(f.over, 0)
	switch {
	case status == 101:
		h.end()
	case method == "HEAD", status == 204, status == 304, method == "CONNECT" && status/100 == 2:
		h.end()
	case f.chunked:
		h.position = inChunkSize
	case f.coding != "" || f.length < 0:
		h.position = inRest
	default:
		h.openBody(f.length)
	}
	return nil
}

// openBody begins a body of n bytes.
func (h *half) openBody(n int64) {
	h.position, h.left = inBody, n
	if n == 0 {
		h.end()
	}
}

// end ends the message after its last byte.
func (h *half) end() {
	x := h.x
	h.position, h.x = inHead, nil
	if h.response {
		x.Ended = h.now
		x.ResponseDone = true
	} else {
		x.Asked = h.now
		x.RequestDone = true
	}
	h.done(x, h.now)
}

// skip skips n lost bytes. It fails if they are not all within a body.
func (h *half) skip(n int64) error {
	switch {
	case (h.position == inBody || h.position == inChunk) && n <= h.left:
	case h.position == inRest:
	default:
		return errGap
	}
	h.body().Lose(n)
	h.x.Incomplete = framework.Lost
	if h.position != inRest {
		h.advance(n)
	}
	return nil
}

// untilClose reports whether the answer to x ends with the connection.
func (h *half) untilClose(x *framework.Exchange) bool { return h.x == x && h.position == inRest }
