package convert

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// request is what a tool sends that builds its messages by itself.
type request struct {
	method, url string
	headers     recording.Headers
	body        []byte
}

// newRequest takes a request of an exchange, without the fields that belong to a connection or
// to the body's framing. The error is a [recording.LeftOutError].
func newRequest(e *recording.Exchange, losses *recording.LossList) (q request, err error) {
	left := func(why string) (request, error) {
		return q, &recording.LeftOutError{Where: e.UUID.String(), What: why}
	}
	q.url = web.URL(e)
	switch {
	case q.url == "":
		return left("no request of HTTP with a URL")
	case e.WebSocket != nil || e.GRPC != nil:
		return left("a conversation, which is no request with a body")
	case !strings.HasPrefix(q.url, "http://") && !strings.HasPrefix(q.url, "https://"):
		return left("no URL of http or https")
	}
	h := e.Request()
	if q.method = e.HTTP.Req.Method; q.method == "" {
		q.method = "GET"
	}
	if !web.IsToken(q.method) || strings.ContainsFunc(q.url, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		return left("a method or a URL that HTTP can't have")
	}
	body := web.BodyOf(h)
	if q.body = body.Bytes; h.Cut() {
		losses.Add("request.body", "is cut in the recording")
	}
	for _, f := range h.Headers {
		switch f.Name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect":
			continue
		case "Content-Encoding":
			if body.Decoded {
				losses.Add("request.headers", "Content-Encoding is left out, as the recording has the body decoded")
				continue
			}
		}
		if !web.IsToken(f.Name) || !web.IsValue(f.Value) {
			losses.Add("request.headers", "one that HTTP can't have, not kept")
			continue
		}
		q.headers = append(q.headers, f)
	}
	return q, nil
}

// targets writes vegeta's targets, one on each line.
type targets struct {
	w   *bufio.Writer
	buf []byte
}

func newTargets(w io.Writer, _ string) Writer { return &targets{w: bufio.NewWriterSize(w, 64<<10)} }

func (t *targets) Write(e *recording.Exchange) (losses recording.LossList, err error) {
	q, err := newRequest(e, &losses)
	if err != nil {
		return nil, err
	}
	b := append(t.buf[:0], `{"method":`...)
	b = append(recording.AppendString(b, q.method), `,"url":`...)
	b = recording.AppendString(b, q.url)
	if len(q.body) > 0 {
		b = append(b, `,"body":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, q.body), '"')
	}
	if len(q.headers) > 0 {
		text, err := q.headers.MarshalJSON()
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"header":`...), text...)
	}
	t.buf = append(b, "}\n"...)
	_, err = t.w.Write(t.buf)
	return losses, err
}

func (t *targets) Close() error { return t.w.Flush() }

// maxArgument is how long a body may be in a command: Linux takes 128 KiB for an argument.
const maxArgument = 100 << 10

// script writes a shell script that calls curl.
type script struct{ w *bufio.Writer }

func newScript(w io.Writer, _ string) Writer {
	s := &script{bufio.NewWriterSize(w, 64<<10)}
	_, _ = s.w.WriteString("#!/bin/sh\n") // Close has the error
	return s
}

// Write adds a command. Its words are quoted, and curl finds none of its own signs in them:
// neither a file's name nor a pattern of URLs, nor a configuration beside the command.
func (s *script) Write(e *recording.Exchange) (losses recording.LossList, err error) {
	q, err := newRequest(e, &losses)
	if err != nil {
		return nil, err
	}
	left := func(why string) (recording.LossList, error) {
		return nil, &recording.LeftOutError{Where: e.UUID.String(), What: why}
	}
	switch {
	case len(q.body) > maxArgument:
		return left(fmt.Sprintf("a body of %d bytes; a command holds %d", len(q.body), maxArgument))
	case !isPlain(string(q.body), "\t\r\n"):
		return left("a binary body, or one with signs that hide others, which a command can't show")
	case !isPlain(q.url, ""):
		return left("a URL with signs that hide others")
	}
	words := []string{"--globoff", "--path-as-is", "--proto", "=http,https"}
	if q.method == "HEAD" {
		words = append(words, "--head")
	} else {
		words = append(words, "--request", q.method)
	}
	for _, h := range q.headers {
		if !isPlain(h.Value, "\t") {
			losses.Add("request.headers", "one with signs that a command can't show, not kept")
			continue
		}
		if value := strings.TrimSpace(h.Value); value == "" {
			words = append(words, "--header", h.Name+";") // curl's sign for an empty field
		} else {
			words = append(words, "--header", h.Name+": "+value)
		}
	}
	if len(q.body) > 0 {
		words = append(words, "--data-raw", string(q.body))
		if q.headers.Get("Content-Type") == "" { // or else curl says that it is a form
			words = append(words, "--header", "Content-Type:")
		}
	}
	words = append(words, "--url", q.url)
	fmt.Fprintf(s.w, "\n# %s %s\ncurl --disable", e.TS.UTC().Format(time.RFC3339Nano), e.UUID)
	for _, word := range words {
		fmt.Fprintf(s.w, " %s", quote(word))
	}
	_, err = s.w.WriteString("\n")
	return losses, err
}

func (s *script) Close() error { return s.w.Flush() }

// isPlain tells whether a text shows what it is: it is UTF-8, and nothing in it controls a
// terminal or the order in which text is shown.
func isPlain(text, allowed string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return !strings.ContainsRune(allowed, r) && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029')
	})
}

// quote has a shell take a text as one word, as it is.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
