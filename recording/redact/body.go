package redact

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

const (
	// DefaultMaxBody is the default of Options.MaxBody.
	DefaultMaxBody = 1 << 20
	// maxGrowth limits a decoded body to this many times MaxBody.
	maxGrowth = 8
)

// work is the memory that a search in one exchange needs. A pool keeps it for the next search.
type work struct{ places }

var works = sync.Pool{New: func() any { return new(work) }}

// bodies redacts the bodies of a request and of its answer.
func (r *Sink) bodies(e *recording.Exchange, found *places) {
	h := e.HTTP
	if len(h.Req.Body) > 0 {
		q := search{r: r, places: found, at: "req.body", request: true, max: r.maxBody}
		r.body(e, &q, &h.Req.Body, h.Req.Headers, h.Req.Headers.Get("Content-Type"))
	}
	if len(h.Res.Body) > 0 {
		q := search{r: r, places: found, at: "res.body", max: r.maxBody}
		r.body(e, &q, &h.Res.Body, h.Res.Headers, h.Res.ContentType)
	}
}

// body redacts one body.
func (r *Sink) body(e *recording.Exchange, q *search, body *[]byte, headers recording.Headers, mediaType string) {
	sent := *body
	codings := codingsOf(headers)
	if isDecoded(e, q.request, codings, sent) {
		codings = nil
	}
	known := r.plain.of(sent, mediaType, codings, q.request)
	if known.is() {
		return
	}
	var out []byte
	if len(codings) > 0 {
		out = q.coded(sent, codings, mediaType)
	} else {
		out = q.settled(view(sent), mediaType)
	}
	if out == nil {
		known.learn()
		return
	}
	*body = out
	side := sides[q.request]
	if len(codings) > 0 && len(out) > 0 {
		value := side.name
		if e.Tags.Get(recording.TagDecoded) != "" {
			value = "true"
		}
		e.Tags.Set(recording.TagDecoded, value)
	}
	switch cut := e.Tags.Get(side.cut) != ""; {
	case cut:
	case q.cut:
		e.Tags.Set(side.cut, strconv.Itoa(len(sent)))
		e.Tags.Set(recording.TagTruncated, "true")
	case len(out) != len(sent):
		e.Tags.Set(side.sent, strconv.Itoa(len(sent)))
	}
}

// sides are the tags of the request and of its answer.
var sides = map[bool]struct{ name, cut, sent string }{
	true:  {"request", recording.TagRequestBodySize, recording.TagRequestSentSize},
	false: {"response", recording.TagResponseBodySize, recording.TagResponseSentSize},
}

// codingsOf returns the codings of the body, in the order in which they were applied.
func codingsOf(headers recording.Headers) []string {
	var all []string
	for i := range headers {
		if f := &headers[i]; len(f.Name) == len("Content-Encoding") && strings.EqualFold(f.Name, "Content-Encoding") {
			all = append(all, coding.Split(f.Value)...)
		}
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "aws-chunked" }) // framing in clear text
}

// isDecoded reports whether the body is stored without the codings that its headers name.
func isDecoded(e *recording.Exchange, request bool, codings []string, body []byte) bool {
	if len(codings) == 0 {
		return false
	}
	switch e.Tags.Get(recording.TagDecoded) {
	case "true", sides[request].name:
		return true
	}
	return !coding.Applied(codings[len(codings)-1], body)
}

// inflater decodes bodies. A pool keeps it, because its tables and windows are large.
type inflater struct {
	coding.Decoder
	room []byte
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// maxRoom is the most memory that an inflater keeps for the next body.
const maxRoom = 256 << 10

// coded redacts a body that has codings. The body remains as it was sent only if all of it could be
// decoded and has no secrets. Otherwise the part that could be decoded is kept, without secrets. A
// body that can't be decoded is left out, because it may have secrets.
func (q *search) coded(body []byte, codings []string, mediaType string) (out []byte) {
	d := inflaters.Get().(*inflater)
	text, err := d.Decode(d.room[:0], codings, body, int64(maxGrowth*q.max))
	out = q.settled(view(text), mediaType)
	switch {
	case out != nil:
	case err == nil:
		d.room = text[:0]
	default:
		out = bytes.Clone(text[:min(len(text), q.max)])
		q.cut = true
		if out == nil {
			out = []byte{}
		}
	}
	if cap(d.room) <= maxRoom && len(text) <= maxRoom {
		inflaters.Put(d)
	} else {
		d.Close()
	}
	if len(out) > q.max {
		out, q.cut = out[:q.max], true
	}
	return out
}

// plainBodies remembers bodies that have no secrets, by keyed hashes. Pages, programs and answers to
// probes are sent many times, but need to be decoded and searched only once.
type plainBodies struct {
	seed   maphash.Seed
	hashes [1 << 10]atomic.Uint64
}

// plainBody is the slot of one body in plainBodies.
type plainBody struct {
	place *atomic.Uint64
	hash  uint64
}

func (p *plainBodies) of(body []byte, mediaType string, codings []string, request bool) plainBody {
	hash := maphash.Bytes(p.seed, body) ^ 31*maphash.String(p.seed, mediaType)
	for _, c := range codings {
		hash = 31*hash ^ maphash.String(p.seed, c)
	}
	if request {
		hash++
	}
	return plainBody{&p.hashes[hash%uint64(len(p.hashes))], hash}
}

func (b plainBody) is() bool { return b.place.Load() == b.hash }
func (b plainBody) learn()   { b.place.Store(b.hash) }
