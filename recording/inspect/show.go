package inspect

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// maxShown is how much of a body is decompressed and shown.
const maxShown = 1 << 20

// Show writes all of an exchange: bodies decompressed, JSON indented, what
// isn't text as a dump.
func Show(w io.Writer, e *recording.Exchange) error {
	var b bytes.Buffer
	printf(&b, "%s %s %s to %s\n", e.Direction, e.L7Protocol, e.UUID, dash(e.NetworkAddress))
	printf(&b, "%s, %d ms\n", e.TS.Format("2006-01-02T15:04:05.000000000Z07:00"), e.Duration)
	for _, t := range e.Tags {
		printf(&b, "  %s: %s\n", t.Name, t.Value)
	}
	if h := e.HTTP; h != nil {
		printf(&b, "\n> %s %s HTTP/%s\n", h.Req.Method, h.Req.URI, h.Req.Version)
		message(&b, "> ", e.Request())
		printf(&b, "\n< HTTP/%s %s\n", h.Req.Version, h.Res.StatusMessage)
		message(&b, "< ", e.Response())
	}
	if c := e.Conversation(); c != nil {
		conversation(&b, c)
	}
	for _, m := range e.Extra {
		printf(&b, "\n%s:\n", m.Name)
		content(&b, m.Value)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func message(b *bytes.Buffer, mark string, h recording.Half) {
	for _, f := range h.Headers {
		printf(b, "%s%s: %s\n", mark, f.Name, f.Value)
	}
	if len(h.Body) == 0 {
		return
	}
	plain, err := decoded(h)
	if err != nil {
		printf(b, "\n(%v)\n", err)
	}
	b.WriteByte('\n')
	content(b, plain)
}

// decoded returns the body without its codings, or, if it can't be decoded, as it is,
// with an error.
func decoded(h recording.Half) ([]byte, error) {
	plain, err := h.Decode(nil, nil, maxShown)
	switch {
	case errors.Is(err, coding.ErrTooLarge):
		return plain, fmt.Errorf("the first %d MiB of what is more", maxShown>>20)
	case err != nil && len(plain) == 0: // else it is a body that was cut
		plain = h.Body[:min(len(h.Body), maxShown)]
	}
	if err != nil {
		err = fmt.Errorf("decode %s: %w", strings.Join(h.Codings(), ", "), err)
	}
	return plain, err
}

func conversation(b *bytes.Buffer, c *recording.Conversation) {
	printf(b, "\npart %d, %d bytes of the client and %d of the server up to its end\n", c.Part, c.ClientBytes, c.ServerBytes)
	marks := map[string]string{recording.Client: ">", recording.Server: "<"}
	for _, m := range c.Messages {
		printf(b, "\n%s %+.3fms", marks[m.From], float64(m.At)/1000)
		if m.Type != "" {
			printf(b, " %s", m.Type)
		}
		if m.Compressed {
			b.WriteString(" compressed")
		}
		if m.More {
			b.WriteString(" to be continued")
		}
		if m.Size > 0 {
			printf(b, " %d of %d bytes\n", len(m.Data), m.Size)
		} else {
			printf(b, " %d bytes\n", len(m.Data))
		}
		content(b, m.Data)
	}
}

// content writes text as text and anything else as a dump.
func content(b *bytes.Buffer, p []byte) {
	if len(p) == 0 {
		return
	}
	var indented bytes.Buffer
	switch {
	case json.Indent(&indented, p, "", "  ") == nil:
		b.WriteString(printable(indented.String()))
	case isText(p):
		b.WriteString(printable(string(p)))
	default:
		b.WriteString(hex.Dump(p[:min(len(p), 4<<10)]))
		if len(p) > 4<<10 {
			printf(b, "... %d bytes\n", len(p))
		}
		return
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
		b.WriteByte('\n')
	}
}

// isText looks at the beginning of p.
func isText(p []byte) bool {
	p = p[:min(len(p), 4<<10)]
	odd, all := 0, 0
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 && len(p) >= utf8.UTFMax || r == 0 {
			return false
		}
		if unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) {
			odd++
		}
		p = p[n:]
		all++
	}
	return odd*20 <= all
}

// printable is clean for text of several lines.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = clean(strings.ReplaceAll(strings.TrimSuffix(l, "\r"), "\t", "        "))
	}
	return strings.Join(lines, "\n")
}
