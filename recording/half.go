package recording

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/recording/coding"
)

// Half is the request or the answer of an HTTP exchange. It is a view of the exchange, and copies
// nothing. Without [Exchange.HTTP] it is empty.
type Half struct {
	// Headers has the fields, including trailers.
	Headers Headers
	// Body is the body as it is stored: see [Half.Decode].
	Body []byte

	e      *Exchange
	answer bool
	left   int64 // the size of the body that Decoder.Light left out
}

// Request returns the request's half.
func (e *Exchange) Request() Half {
	if e.HTTP == nil {
		return Half{e: e}
	}
	return Half{e.HTTP.Req.Headers, e.HTTP.Req.Body, e, false, e.HTTP.Req.BodyLeft}
}

// Response returns the answer's half, which is empty if there was no answer.
func (e *Exchange) Response() Half {
	if e.HTTP == nil {
		return Half{e: e, answer: true}
	}
	return Half{e.HTTP.Res.Headers, e.HTTP.Res.Body, e, true, e.HTTP.Res.BodyLeft}
}

// Size returns the size of the body, without its framing, before a limit cut it or redaction
// changed it. If the body is stored decoded, this is the stored size; Content-Length may then
// have the size that was sent.
func (h Half) Size() int64 {
	if n, cut := h.sent(); cut {
		return n
	}
	if n, changed := h.number(TagRequestSentSize, TagResponseSentSize); changed {
		return n
	}
	return int64(len(h.Body)) + h.left
}

// Cut reports whether a part of the body is missing because of a limit.
func (h Half) Cut() bool {
	_, cut := h.sent()
	return cut
}

func (h Half) sent() (n int64, cut bool) { return h.number(TagRequestBodySize, TagResponseBodySize) }

// number reads a number from the tag for the request, or from the tag for the answer.
func (h Half) number(request, response string) (n int64, ok bool) {
	tag := request
	if h.answer {
		tag = response
	}
	text := h.e.Tags.Get(tag)
	if text == "" { // as in nearly all exchanges
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0
}

// Codings returns the codings that Content-Encoding lists, in the order in which they were applied.
func (h Half) Codings() []string {
	return coding.Split(slices.Collect(h.Headers.Values("Content-Encoding"))...)
}

// Decoded reports whether the body is stored without its codings, though the header
// names them. The tag `decoded` says so, or else the body's first bytes show it.
func (h Half) Decoded() bool {
	codings := h.Codings()
	if len(codings) == 0 || len(h.Body) == 0 {
		return false
	}
	side := "request"
	if h.answer {
		side = "response"
	}
	switch h.e.Tags.Get(TagDecoded) {
	case "true", side:
		return true
	}
	outer := codings[len(codings)-1]
	return coding.Known(outer) && !coding.Applied(outer, h.Body)
}

// Decode appends the body without its codings to dst, at most max bytes of it. It
// fails with [coding.ErrTooLarge] if there is more, with [io.ErrUnexpectedEOF] if the
// body was cut, with a [coding.UnknownError], or with an error about the body. Even then, it
// appends the part that it could decode. If d is not nil, its buffers are used.
func (h Half) Decode(d *coding.Decoder, dst []byte, max int64) ([]byte, error) {
	codings := h.Codings()
	if len(codings) == 0 || h.Decoded() {
		if int64(len(h.Body)) > max {
			return append(dst, h.Body[:max]...), coding.ErrTooLarge
		}
		return append(dst, h.Body...), nil
	}
	if d == nil {
		d = new(coding.Decoder)
		defer d.Close()
	}
	return d.Decode(dst, codings, h.Body, max)
}

// Framing is how the end of a body was marked.
type Framing string

// Framings. The first that applies counts, as in RFC 9112, section 6.3.
const (
	// FramingNone: there can't be a body.
	FramingNone Framing = ""
	// FramingStream: HTTP/2's frames carried it, with or without Content-Length.
	FramingStream Framing = "stream"
	// FramingChunked: HTTP/1's chunks carried it.
	FramingChunked Framing = "chunked"
	// FramingLength: Content-Length gave the size.
	FramingLength Framing = "length"
	// FramingClose: the answer ended with the connection.
	FramingClose Framing = "close"
)

// Framing returns how the body was framed.
func (h Half) Framing() Framing {
	http := h.e.HTTP
	switch {
	case http == nil, h.answer && http.Res.StatusCode == 0:
		return FramingNone
	case h.answer && (http.Req.Method == "HEAD" || http.Res.StatusCode < 200 || http.Res.StatusCode == 204 || http.Res.StatusCode == 304),
		h.answer && http.Req.Method == "CONNECT" && http.Res.StatusCode < 300:
		return FramingNone
	case strings.HasPrefix(http.Req.Version, "2") || strings.HasPrefix(http.Req.Version, "3"):
		return FramingStream
	}
	if values := slices.Collect(h.Headers.Values("Transfer-Encoding")); len(values) > 0 {
		all := coding.Split(values...)
		if len(all) > 0 && all[len(all)-1] == "chunked" {
			return FramingChunked
		}
		if h.answer {
			return FramingClose
		}
	}
	switch _, ok := h.contentLength(); {
	case ok:
		return FramingLength
	case h.answer:
		return FramingClose
	}
	return FramingNone
}

func (h Half) contentLength() (int64, bool) {
	for v := range h.Headers.Values("Content-Length") {
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return n, err == nil && n >= 0
	}
	return 0, false
}

// grpcTrailers are known to be trailers even if they are not announced.
var grpcTrailers = [...]string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"}

// Trailers returns the names of the known trailers: those that the field Trailer announces,
// those that a tag lists, and gRPC's own.
func (h Half) Trailers() []string {
	var names []string
	add := func(name string) {
		for i := range h.Headers {
			if have := h.Headers[i].Name; strings.EqualFold(have, name) && !slices.Contains(names, have) {
				names = append(names, have)
			}
		}
	}
	tag := TagRequestTrailers
	if h.answer {
		tag = TagResponseTrailers
	}
	for name := range strings.SplitSeq(h.e.Tags.Get(tag), ",") {
		add(name)
	}
	for list := range h.Headers.Values("Trailer") {
		for name := range strings.SplitSeq(list, ",") {
			add(strings.TrimSpace(name))
		}
	}
	if h.answer && h.e.GRPC != nil {
		for _, name := range grpcTrailers {
			add(name)
		}
	}
	return names
}
