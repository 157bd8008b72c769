package inspect

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// maxShown is how many bytes of a body or a message are decompressed and shown, and maxDump how many
// bytes of binary content. maxIndented is how many bytes the indented text may have.
const (
	maxShown    = 1 << 20
	maxDump     = 4 << 10
	maxIndented = 4 << 20
)

// Plain writes an exchange in a plain form: fields, and bodies without their content codings. It indents
// JSON, writes UTF-8 as text, and other bytes as a dump. Only [Options.Full] shows further formats: they
// would cost memory in every pod if the sidecar's program linked them.
func Plain(w io.Writer, e *recording.Exchange) error {
	b := bufio.NewWriter(w) // Flush returns the first error
	_ = printf(b, "%s %s %s to %s\n", e.Direction, e.L7Protocol, e.UUID, cmp.Or(e.NetworkAddress, "-"))
	_ = printf(b, "%s, %d ms\n", e.TS.UTC().Format("2006-01-02T15:04:05.000000000Z"), e.Duration)
	for _, t := range e.Tags {
		_ = printf(b, "  %s: %s\n", t.Name, t.Value)
	}
	if h := e.HTTP; h != nil {
		_ = printf(b, "\n> %s %s HTTP/%s\n", h.Req.Method, h.Req.URI, h.Req.Version)
		plainHalf(b, "> ", e.Request())
		_ = printf(b, "\n< HTTP/%s %s\n", h.Req.Version, h.Res.StatusMessage)
		plainHalf(b, "< ", e.Response())
	}
	if c := e.Conversation(); c != nil {
		plainConversation(b, c)
	}
	for _, m := range e.Extra {
		_ = printf(b, "\n%s:\n", m.Name)
		plainBytes(b, m.Value, 0)
	}
	return b.Flush()
}

// plainHalf writes the fields and the body of a request or an answer.
func plainHalf(b *bufio.Writer, mark string, h recording.Half) {
	for _, f := range h.Headers {
		_ = printf(b, "%s%s: %s\n", mark, f.Name, f.Value)
	}
	if h.Size() == 0 {
		return
	}
	_ = b.WriteByte('\n')
	if h.Cut() {
		_ = printf(b, "(cut: %d of %d bytes are in the recording)\n", len(h.Body), h.Size())
	}
	body, err := h.Decode(nil, nil, maxShown)
	left := int64(0)
	switch {
	case err == nil:
	case errors.Is(err, coding.ErrTooLarge), h.Cut() && errors.Is(err, io.ErrUnexpectedEOF):
		left = unknown
	default:
		_ = printf(b, "(decode %s: %v)\n", strings.Join(h.Codings(), ", "), err)
		if len(body) == 0 {
			body = h.Body
		}
	}
	plainBytes(b, body, left)
}

func plainConversation(b *bufio.Writer, c *recording.Conversation) {
	_ = printf(b, "\npart %d, so far %d bytes from the client and %d from the server\n", c.Part, c.ClientBytes, c.ServerBytes)
	marks := map[string]string{recording.Client: ">", recording.Server: "<"}
	for _, m := range c.Messages {
		_ = printf(b, "\n%s %+.3fms", marks[m.From], float64(m.At)/1000)
		if m.Type != "" {
			_ = printf(b, " %s", m.Type)
		}
		for _, flag := range []struct {
			set  bool
			text string
		}{{m.Compressed, " compressed"}, {m.More, " to be continued"}} {
			if flag.set {
				_, _ = b.WriteString(flag.text)
			}
		}
		size := max(m.Size, int64(len(m.Data)))
		_ = printf(b, " %d bytes\n", size)
		plainBytes(b, m.Data, size-int64(len(m.Data)))
	}
}

// unknown means that an unknown number of bytes is missing after the decoded ones.
const unknown = -1

// plainBytes writes text as lines, and other bytes as a dump. left is how many bytes after p are
// missing, or unknown.
func plainBytes(b *bufio.Writer, p []byte, left int64) {
	text := ""
	if clean.IsText(p) {
		text, left = plainText(p, left)
	} else {
		text = hex.Dump(p[:min(len(p), maxDump)])
		left = further(left, len(p)-maxDump)
	}
	if text = strings.TrimSuffix(text, "\n"); text != "" {
		_, _ = b.WriteString(text)
		_ = b.WriteByte('\n')
	}
	switch {
	case left == unknown:
		_ = printf(b, "... more bytes, which are not decoded\n")
	case left > 0:
		_ = printf(b, "... %d more bytes\n", left)
	}
}

func plainText(p []byte, left int64) (string, int64) {
	left = further(left, len(p)-maxShown)
	p = p[:min(len(p), maxShown)]
	text, used, err := clean.IndentJSON(p, maxIndented)
	if err == nil || err == clean.ErrLimit || err == io.ErrUnexpectedEOF && left != 0 {
		return string(text), further(left, len(p)-used)
	}
	return clean.Lines(string(p)), left
}

// further adds n missing bytes to left, which may be unknown. It ignores an n below 1.
func further(left int64, n int) int64 {
	if left == unknown || n <= 0 {
		return left
	}
	return left + int64(n)
}

// printf is like fmt.Fprintf, but cleans text that comes from a recording.
func printf(w io.Writer, format string, args ...any) error {
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			args[i] = clean.Text(v)
		case error:
			args[i] = clean.Text(v.Error())
		case fmt.Stringer:
			args[i] = clean.Text(v.String())
		}
	}
	_, err := fmt.Fprintf(w, format, args...)
	return err
}
