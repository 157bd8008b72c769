package framework

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Exchange is a record that a decoder fills. [FlowState.Begin] starts it, and End writes
// it. After End the decoder must not use it.
type Exchange struct {
	recording.Exchange
	// Start and Asked are when the request began and ended. Answered and Ended are when
	// the answer began and ended. A time that isn't known is zero.
	Start, Asked, Answered, Ended time.Time
	// Request and Response collect bodies, or the message that is being received.
	Request, Response Body
	// Plain says that Response is a body although the request began a conversation.
	Plain bool
	// RequestDone and ResponseDone are used only by the decoder.
	RequestDone, ResponseDone bool
	// Incomplete is the code of the missing part; "" if the exchange is complete.
	Incomplete string

	state     *FlowState
	choice    choice
	held      int  // bytes of Limits.Memory
	allowance int  // remaining bytes for heads that need no Hold
	bare      bool // some fields were dropped, because there was no room
	http      recording.HTTP
	talk      talk
	link      link
	truncated bool
	own       recording.Tags // those that the decoder set
	pace      pace
}

// Codes for [Exchange.Incomplete].
const (
	// NoAnswer: the connection ended without an answer.
	NoAnswer = recording.NoAnswer
	// Cut: the connection ended in the middle of the request or of the answer.
	Cut = recording.CutOff
	// Reset: one side reset the stream.
	Reset = recording.Reset
	// Lost: the tap dropped bytes.
	Lost = recording.BytesLost
	// HeadersLost: some field names are unknown, because an earlier header block was lost.
	HeadersLost = recording.HeadersLost
	// Malformed: the decoder could not parse the bytes that followed.
	Malformed = recording.Malformed
	// NoMemory: the decoder had no memory to buffer the bytes that followed.
	NoMemory = recording.NoMemory
)

// ErrMemory is wrapped by the error of a decoder that gives up because other flows
// have used up the memory.
var ErrMemory = errors.New("no memory is left")

// UseHTTP adds the HTTP part to the record and returns it.
func (x *Exchange) UseHTTP() *recording.HTTP {
	x.HTTP = &x.http
	return x.HTTP
}

// Opened is called once the request's head is known. It registers an inbound exchange, so
// that the outbound ones that it causes find it, and looks up the cause of an outbound
// one. Then it decides whether the exchange is captured.
func (x *Exchange) Opened() {
	f := x.state.Filter.Load()
	x.state.links.open(x, f.Sampling())
	if x.choice == unchosen {
		x.choose(f)
	}
}

// FieldCost is the size of a field in bytes without its text: in memory, and as HTTP/2
// counts it (RFC 9113, section 6.5.2).
const FieldCost = 32

// Fields returns the header fields of the message that the side sends.
func (x *Exchange) Fields(side tap.Side) *recording.Headers {
	if side == tap.FromServer {
		return &x.http.Res.Headers
	}
	return &x.http.Req.Headers
}

// allowance is how many bytes of heads an exchange may have without a call of Hold. Most
// heads fit, so they don't touch the counter that all flows share.
const allowance = 2 << 10

// Weigh takes n bytes of memory for a head or for trailers, until the exchange is
// released. Their fields are those of the message from index first on. If there is no
// room, Weigh drops these fields and keeps only the short parts of the first line.
func (x *Exchange) Weigh(side tap.Side, first, n int) {
	if n <= x.allowance {
		x.allowance -= n
		return
	}
	if x.state.Hold(n) {
		x.held += n
		return
	}
	x.Forget(side, first)
	req := &x.http.Req
	line := []*string{&req.Method, &req.URI, &req.Version, &req.Host, &x.link.peer}
	switch {
	case first > 0:
		line = nil
	case side == tap.FromServer:
		line = []*string{&x.http.Res.StatusMessage}
	}
	for _, s := range line {
		if len(*s) > short {
			*s = ""
		}
		*s = strings.Clone(*s) // so that the rest of the head can be freed
	}
}

// short is the maximum length of a string that is kept without memory taken for it. A few
// such strings are less than the allowance.
const short = 128

// Forget drops the message's fields from index first on.
func (x *Exchange) Forget(side tap.Side, first int) {
	fields := x.Fields(side)
	clear((*fields)[first:])
	*fields = (*fields)[:first]
	x.bare = true
}

// SetTag sets a tag of this exchange.
func (x *Exchange) SetTag(name, value string) { x.own.Set(name, value) }

// pace records when the answer's body continued after pauses, in the format of the tag.
type pace struct {
	text  []byte
	marks int
	last  time.Time // when bytes of the body last came; zero: none have come
}

const (
	// pause is the minimum time without bytes after which a mark is added.
	pause    = 5 * time.Millisecond
	maxMarks = 512
)

// Flows records that bytes of the answer's body came at that time. It is called before Keep.
func (x *Exchange) Flows(at time.Time) {
	p := &x.pace
	last := p.last
	if last.IsZero() {
		last = x.Answered
	}
	p.last = at
	if at.Sub(last) < pause || p.marks == maxMarks || x.left() {
		return
	}
	if p.marks++; p.marks > 1 {
		p.text = append(p.text, ',')
	}
	p.text = append(strconv.AppendInt(p.text, x.Response.size, 10), ':')
	p.text = strconv.AppendInt(p.text, micros(at, x.Start), 10)
}

// Trailers sets the tag that names the fields that came after the body: those of the
// side's message from index first on. It omits gRPC's own trailers, and names that a
// Trailer field has announced.
func (x *Exchange) Trailers(side tap.Side, first int) {
	fields := *x.Fields(side)
	var names []byte
	for i := first; i < len(fields); i++ {
		switch name := fields[i].Name; {
		case name == "Grpc-Status", name == "Grpc-Message", name == "Grpc-Status-Details-Bin", name == recording.UnknownName:
		case AnyHasToken(fields[:first], "Trailer", name):
		default:
			if len(names) > 0 {
				names = append(names, ',')
			}
			names = append(names, name...)
		}
	}
	switch {
	case len(names) == 0:
	case side == tap.FromServer:
		x.SetTag(recording.TagResponseTrailers, string(names))
	default:
		x.SetTag(recording.TagRequestTrailers, string(names))
	}
}

// Keep adds as much of p to a body as the limits allow.
func (x *Exchange) Keep(b *Body, p []byte) {
	if b.cut() || x.left() {
		b.Lose(int64(len(p)))
		return
	}
	kept := min(len(p), max(0, x.state.Limits.Body-len(b.buf)))
	b.Append(x.state, p[:kept])
	b.Lose(int64(len(p) - kept))
}

// Empty drops the body's content.
func (x *Exchange) Empty(b *Body) { b.Reset(x.state) }

// End completes the exchange, hands it to the sink and releases it.
func (x *Exchange) End(at time.Time) {
	state := x.state
	x.Choose()
	if x.left() {
		state.Counters.leave(x)
		x.Release()
		return
	}
	if x.talk.kind != nil {
		x.talk.Last = true
		if x.Plain {
			x.http.Res.Body = x.Response.buf
		}
		x.part(at)
	} else {
		if h := x.HTTP; h != nil {
			h.Req.Body, h.Res.Body = x.Request.buf, x.Response.buf
		}
		if !x.Ended.IsZero() { // the request may have ended after its answer
			at = x.Ended
		}
		x.finish(at)
		state.write(x, at)
	}
	x.Release()
}

// Release discards the exchange without writing it. The next exchange reuses its slices.
func (x *Exchange) Release() {
	state := x.state
	state.open--
	state.links.close(x)
	state.Release(x.held + x.talk.held)
	x.Request.Reset(state)
	x.Response.Reset(state)
	x.talk.arena.Reset(state)
	clear(x.Tags)
	clear(x.own)
	clear(x.http.Req.Headers)
	clear(x.http.Res.Headers)
	clear(x.talk.Messages)
	tags, own := x.Tags[:0], x.own[:0]
	asked, answered := x.http.Req.Headers[:0], x.http.Res.Headers[:0]
	request, response, arena := x.Request.buf, x.Response.buf, x.talk.arena.buf
	messages, ends := x.talk.Messages[:0], x.talk.ends[:0]
	marks := x.pace.text[:0]
	*x = Exchange{}
	x.pace.text = marks
	x.Tags, x.own = tags, own
	x.http.Req.Headers, x.http.Res.Headers = asked, answered
	x.Request.buf, x.Response.buf, x.talk.arena.buf = request, response, arena
	x.talk.Messages, x.talk.ends = messages, ends
	state.pool.Put(x)
}

// finish sets the fields of the record that are derived from others.
func (x *Exchange) finish(at time.Time) {
	h := x.HTTP
	if h == nil {
		return
	}
	if x.L7Protocol == recording.HTTP1 && x.state.Flow.TLS {
		x.L7Protocol = recording.HTTPS
	}
	h.Req.URL = path(h.Req.URI)
	x.Command, x.Location = h.Req.Method, h.Req.URL
	// A gRPC call has the status that gRPC gives in the trailers. Only an HTTP status other
	// than 200 takes its place.
	if x.Status == "" && len(h.Res.StatusMessage) >= 3 && (x.GRPC == nil || h.Res.StatusCode != 200) {
		x.Status = h.Res.StatusMessage[:3]
	}
	h.Res.ContentType = h.Res.Headers.Get("Content-Type")
	if x.Tech = tech(h.Res.ContentType); x.Tech == "" {
		x.Tech = tech(h.Req.Headers.Get("Content-Type"))
	}
}

// path returns the path of a request target in origin-form or absolute-form, or `*`. A target
// in authority-form has no path.
func path(target string) string {
	if i := strings.Index(target, "://"); i > 0 && target[0] != '/' {
		rest := target[i+3:]
		slash := strings.IndexAny(rest, "/?")
		if slash < 0 {
			return "/"
		}
		target = rest[slash:]
	} else if target != "" && target[0] != '/' && target != "*" {
		return ""
	}
	p, _, query := strings.Cut(target, "?")
	if p == "" && query { // an absolute-form without a path
		return "/"
	}
	return p
}

// techs maps a part of a media type to the name of the payload. The first match counts.
var techs = [...]struct{ part, name string }{
	{"grpc", "gRPC"}, {"json", "JSON"}, {"html", "HTML"}, {"xml", "XML"}, {"x-www-form-urlencoded", "Form"},
	{"graphql", "GraphQL"}, {"protobuf", "Protobuf"}, {"yaml", "YAML"}, {"event-stream", "SSE"},
	{"multipart/", "Multipart"}, {"javascript", "JavaScript"}, {"image/", "Image"}, {"text/", "Text"},
}

func tech(contentType string) string {
	if contentType == "" {
		return ""
	}
	contentType = strings.ToLower(contentType)
	for i := range techs {
		if strings.Contains(contentType, techs[i].part) {
			return techs[i].name
		}
	}
	return ""
}

// tag sets the record's tags: those of the process, of the flow, and of the exchange. All
// numbers share one string, so that they take one allocation.
func (x *Exchange) tag(state *FlowState) {
	t := append(x.Tags[:0], state.Origin.Tags...)
	t = append(t, state.Tags...)
	if state.Undecoded != "" {
		t = append(t, recording.Tag{Name: recording.TagUndecoded, Value: state.Undecoded})
	}
	t = append(t, recording.Tag{Name: recording.TagProxyLocation, Value: state.location}, recording.Tag{Name: recording.TagVia, Value: string(state.Flow.Via)})

	var room [96]byte
	var ends [5]int
	names := [5]string{recording.TagSequence, recording.TagRequestEnd, recording.TagResponseStart,
		recording.TagRequestBodySize, recording.TagResponseBodySize}
	values := [5]int64{int64(state.sequence.Add(1)), micros(x.Asked, x.Start), micros(x.Answered, x.Start), -1, -1}
	if x.talk.kind == nil && x.Request.cut() {
		values[3] = x.Request.size
	}
	if (x.talk.kind == nil || x.Plain) && x.Response.cut() {
		values[4] = x.Response.size
	}
	b := room[:0]
	for i, v := range values {
		if v >= 0 {
			b = strconv.AppendInt(b, v, 10)
		}
		ends[i] = len(b)
	}
	numbers, start := string(b), 0
	for i, end := range ends {
		if end > start {
			t = append(t, recording.Tag{Name: names[i], Value: numbers[start:end]})
		}
		start = end
	}
	if x.pace.marks > 0 && (x.talk.kind == nil || x.Plain) {
		t = append(t, recording.Tag{Name: recording.TagPace, Value: string(x.pace.text)})
	}
	if x.truncated || x.bare || values[3] >= 0 || values[4] >= 0 {
		t = append(t, recording.Tag{Name: recording.TagTruncated, Value: "true"})
		state.Counters.Truncated.Add(1)
	}
	if x.Incomplete != "" {
		if state.Failed != "" {
			x.Incomplete = state.Failed
		}
		t = append(t, recording.Tag{Name: recording.TagIncomplete, Value: x.Incomplete})
		state.Counters.Incomplete.Add(1)
	}
	t = x.link.tags(state, t)
	x.Tags = append(t, x.own...)
}

func micros(t, since time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return max(0, t.Sub(since).Microseconds())
}

// Body collects bytes up to a limit.
type Body struct {
	buf  []byte
	size int64
	held int // of Limits.Memory
}

// keepCap is the maximum size of a buffer that the next body reuses.
const keepCap = 16 << 10

// Bytes returns the bytes that were kept.
func (b *Body) Bytes() []byte { return b.buf }

// Size returns how many bytes there were, kept or not.
func (b *Body) Size() int64 { return b.size }

func (b *Body) cut() bool { return b.size > int64(len(b.buf)) }

// Lose counts n bytes that were lost or are not kept. Later bytes are not kept either,
// because a kept body has no holes.
func (b *Body) Lose(n int64) { b.size += n }

// Append adds p and returns true, or returns false if there is not enough memory. It does
// not check Limits.Body: a caller has its own limit.
func (b *Body) Append(state *FlowState, p []byte) bool {
	b.size += int64(len(p))
	need := len(b.buf) + len(p)
	grown := cap(b.buf)
	if need > grown {
		grown = max(need, 2*grown, 512)
	}
	if grown > b.held {
		if !state.Hold(grown - b.held) {
			return false
		}
		b.held = grown
	}
	if grown > cap(b.buf) {
		b.buf = append(make([]byte, 0, grown), b.buf...)
	}
	b.buf = append(b.buf, p...)
	return true
}

// Reset drops the content. It keeps a small buffer for reuse.
func (b *Body) Reset(state *FlowState) {
	buf := b.buf[:0]
	if cap(buf) > keepCap {
		buf = nil
	}
	b.Free(state)
	b.buf = buf
}

// Free drops the content and gives back all of its memory. A slice that Bytes returned
// remains valid.
func (b *Body) Free(state *FlowState) {
	state.Release(b.held)
	*b = Body{}
}

// sender returns the name of a side in a record.
func sender(s tap.Side) string {
	if s == tap.FromServer {
		return recording.Server
	}
	return recording.Client
}
