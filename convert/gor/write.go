package gor

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// Writer writes exchanges to a file. It isn't safe for concurrent use.
type Writer struct {
	w   *bufio.Writer
	buf []byte
}

// NewWriter returns a writer. Close flushes it.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Close flushes the writer. It doesn't close the underlying one.
func (w *Writer) Close() error { return w.w.Flush() }

// Write adds an exchange, and returns what it could not write of it. The error is a
// [recording.LeftOutError] if the exchange can't be written as records.
func (w *Writer) Write(e *recording.Exchange) (losses recording.LossList, err error) {
	left := func(why string) (recording.LossList, error) {
		return nil, &recording.LeftOutError{Where: e.UUID.String(), What: why}
	}
	if e.HTTP == nil {
		return left("not HTTP")
	}
	q := &e.HTTP.Req
	target := cmp.Or(q.URI, q.URL, e.Location)
	isAlone := q.Method == "" && target == "" && e.HTTP.Res.StatusCode > 0 // an answer without its request
	switch {
	case isAlone:
	case q.Method == "" || target == "":
		return left("not an HTTP request")
	case !web.IsToken(q.Method) || strings.ContainsAny(target, " \t\r\n\x00"):
		return left("a request line that is not valid in HTTP/1")
	}
	if e.Conversation() != nil {
		losses.Add("messages", "GoReplay has no conversations; not kept")
	}
	ns := e.TS.UnixNano()
	if year := e.TS.Year(); year < 1970 || year > 2261 {
		losses.Add("ts", "is outside the range of GoReplay's nanoseconds; 0 replaces it")
		ns = 0
	}
	id := identity(e)
	w.buf = w.buf[:0]
	if !isAlone {
		w.buf = fmt.Appendf(w.buf, "1 %s %d 0\n", id, ns)
		w.buf = fmt.Appendf(w.buf, "%s %s HTTP/%s\r\n", q.Method, target, version(q.Version, &losses))
		h := e.Request()
		if h.Headers.Get("Host") == "" && q.Host != "" {
			h.Headers = append(recording.Headers{{Name: "Host", Value: q.Host}}, h.Headers...)
		}
		if w.message("request", h, true, &losses); bytes.Contains(w.buf, []byte(Separator)) {
			return left("it has GoReplay's separator in it")
		}
		w.buf = append(w.buf, "\n"+Separator+"\n"...)
	}
	end := len(w.buf)
	if s := &e.HTTP.Res; s.StatusCode > 0 {
		start, ok := e.ResponseStart()
		if !ok {
			start = e.End()
		}
		reason := strings.TrimPrefix(strings.TrimPrefix(s.StatusMessage, strconv.Itoa(s.StatusCode)), " ")
		if reason == "" || !web.IsValue(reason) {
			if reason != "" {
				losses.Add("response.statusMessage", "is not valid in HTTP/1, not kept")
			}
			reason = http.StatusText(s.StatusCode)
		}
		from := len(w.buf)
		w.buf = fmt.Appendf(w.buf, "2 %s %d %d\n", id, ns+start.Nanoseconds(), start.Nanoseconds())
		w.buf = fmt.Appendf(w.buf, "HTTP/%s %03d %s\r\n", version(q.Version, &recording.LossList{}), s.StatusCode, reason)
		h := e.Response()
		w.message("response", h, !bodiless(q.Method, s.StatusCode), &losses)
		if bytes.Contains(w.buf[from:], []byte(Separator)) {
			if isAlone {
				return left("it has GoReplay's separator in it")
			}
			losses.Add("response", "it has GoReplay's separator in it, not kept")
			w.buf = w.buf[:end]
		} else {
			w.buf = append(w.buf, "\n"+Separator+"\n"...)
		}
	}
	_, err = w.w.Write(w.buf)
	return losses, err
}

// bodiless reports whether an answer has no body, whatever its fields say.
func bodiless(method string, code int) bool {
	return method == "HEAD" || code < 200 || code == 204 || code == 304
}

// identity returns the exchange's ID in GoReplay's form.
func identity(e *recording.Exchange) string {
	if id := e.Tags.Get(tagID); id != "" && len(id) <= 64 && strings.Trim(id, "0123456789abcdefABCDEF") == "" {
		return id
	}
	return hex.EncodeToString(e.UUID[:12])
}

func version(text string, losses *recording.LossList) string {
	switch text {
	case "1.0", "1.1":
		return text
	case "":
	default:
		losses.Add("version", "written as HTTP/1.1")
	}
	return "1.1"
}

// message appends the fields and the body of a message. It corrects the framing to fit the body.
func (w *Writer) message(side string, h recording.Half, may bool, losses *recording.LossList) {
	body := web.BodyOf(h)
	trailers := h.Trailers()
	isChunked := chunked(h.Headers) && may
	lengths := 0
	for _, f := range h.Headers {
		switch {
		case !web.IsToken(f.Name) || !web.IsValue(f.Value):
			losses.Add(side+".headers", "a field is not valid in HTTP/1, not kept")
			continue
		case slices.Contains(trailers, f.Name):
			continue
		case body.Decoded && f.Name == "Content-Encoding":
			losses.Add(side+".headers", "Content-Encoding is left out, because the recording has the decoded body")
			continue
		case f.Name == "Content-Length" && may:
			if lengths++; lengths > 1 || isChunked {
				continue
			}
			if n, ok := length(recording.Headers{f}); !ok || n != int64(len(body.Bytes)) {
				f.Value = strconv.Itoa(len(body.Bytes))
				if !body.Decoded {
					losses.Add(side+".headers", "Content-Length is corrected to the length of the recorded body")
				}
			}
		}
		w.buf = fmt.Appendf(w.buf, "%s: %s\r\n", f.Name, f.Value)
	}
	if may && !isChunked && lengths == 0 && len(body.Bytes) > 0 {
		w.buf = fmt.Appendf(w.buf, "Content-Length: %d\r\n", len(body.Bytes))
	}
	w.buf = append(w.buf, "\r\n"...)
	switch {
	case !may:
		if len(body.Bytes) > 0 {
			losses.Add(side+".body", "this message can't have one, not kept")
		}
		return
	case isChunked:
		if len(body.Bytes) > 0 {
			w.buf = fmt.Appendf(w.buf, "%x\r\n%s\r\n", len(body.Bytes), body.Bytes)
		}
		w.buf = append(w.buf, "0\r\n"...)
		for _, name := range trailers {
			for value := range h.Headers.Values(name) {
				if web.IsToken(name) && web.IsValue(value) {
					w.buf = fmt.Appendf(w.buf, "%s: %s\r\n", name, value)
				}
			}
		}
		w.buf = append(w.buf, "\r\n"...)
	default:
		if len(trailers) > 0 {
			losses.Add(side+".trailers", "HTTP/1 has none without chunks, not kept")
		}
		w.buf = append(w.buf, body.Bytes...)
	}
}
