package show

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// builder makes the bodies of one exchange.
type builder struct {
	e *recording.Exchange
	o Options
}

func (b *builder) message(h recording.Half, line, side string) *Message {
	m := &Message{Line: Clean(line)}
	trailers := h.Trailers()
	for i, f := range h.Headers {
		if i == b.o.MaxFields {
			m.FieldsLeft = len(h.Headers) - i
			break
		}
		m.Fields = append(m.Fields, b.field(f.Name, f.Value, slices.Contains(trailers, f.Name)))
	}
	if len(h.Body) == 0 && h.Size() == 0 {
		return m
	}
	c := content{mediaType: h.Headers.Get("Content-Type"), max: b.o.MaxBody}
	c.bytes = h.Body
	if codings := h.Codings(); len(codings) > 0 && !h.Decoded() {
		plain, err := h.Decode(nil, nil, int64(b.o.MaxBody))
		if len(plain) > 0 || err == nil {
			c.bytes, c.codings = plain, codings
		}
		if c.more = errors.Is(err, coding.ErrTooLarge); err != nil && !c.more {
			c.notes = append(c.notes, fmt.Sprintf("decode %s: %v", strings.Join(codings, ", "), err))
		}
	}
	m.Body = b.body(c)
	m.Body.Stored, m.Body.Size = int64(len(h.Body)), h.Size()
	return m
}

func (b *builder) field(name, value string, trailer bool) Field {
	f := Field{Trailer: trailer}
	if over := len(value) - b.o.MaxValue; over > 0 {
		f.More, value = int64(over), value[:b.o.MaxValue]
	}
	f.Name, f.Value = Clean(name[:min(len(name), b.o.MaxValue)]), Clean(value)
	return f
}

// content is what a body is made of.
type content struct {
	bytes     []byte
	mediaType string
	codings   []string
	notes     []string
	max       int
	more      bool // of it, which was not decoded
}

func (b *builder) body(c content) *Body {
	n := int64(len(c.bytes))
	body := &Body{Type: Clean(c.mediaType), Codings: c.codings, Size: n, Stored: n, Decoded: n, Unknown: c.more}
	for _, note := range c.notes {
		body.Notes = append(body.Notes, Clean(note))
	}
	if len(c.bytes) > c.max {
		body.More, c.bytes = n-int64(c.max), c.bytes[:c.max]
	}
	var indented bytes.Buffer
	switch {
	case len(c.bytes) == 0:
		body.Kind = Text
	case json.Indent(&indented, c.bytes, "", "  ") == nil:
		body.Kind, body.Text = JSON, CleanLines(indented.String())
	case isText(c.bytes):
		body.Kind, body.Text = Text, CleanLines(string(c.bytes))
	default:
		body.Kind = Binary
		body.dump(c.bytes)
	}
	return body
}

// maxDump is how many bytes a dump shows.
const maxDump = 4 << 10

func (body *Body) dump(p []byte) {
	body.Hex = true
	if over := len(p) - maxDump; over > 0 {
		body.More += int64(over)
		p = p[:maxDump]
	}
	body.Text = hex.Dump(p)
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
