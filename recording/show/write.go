package show

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// Write writes the exchange as plain text, with all messages of a conversation. Lines from the client
// begin with >, lines from the server with <.
func (x *Exchange) Write(w io.Writer) error {
	p := printer{bufio.NewWriter(w)}
	p.linef("%s %s %s to %s", x.Direction, x.Protocol, x.UUID, cmp.Or(x.Address, "-"))
	p.linef("%s, %d ms", x.Timings.Start.UTC().Format("2006-01-02T15:04:05.000000000Z"), x.Timings.Total.Milliseconds())
	for _, t := range x.Tags {
		p.linef("  %s: %s", t.Name, t.Value)
	}
	for _, n := range x.Notes {
		p.linef("(%s)", n)
	}
	p.message("> ", x.Request)
	p.message("< ", x.Response)
	p.conversation(x.Conversation)
	for _, part := range x.Extra {
		p.linef("\n%s:", part.Title)
		p.body("", part.Body)
	}
	return p.w.Flush()
}

type printer struct{ w *bufio.Writer } // Flush returns the first error

func (p printer) linef(format string, args ...any) {
	fmt.Fprintf(p.w, format, args...)
	_ = p.w.WriteByte('\n')
}

func (p printer) message(mark string, m *Message) {
	if m == nil {
		return
	}
	p.linef("\n%s%s", mark, m.Line)
	p.fields(mark, m.Fields)
	if m.FieldsLeft > 0 {
		p.linef("(%d more fields)", m.FieldsLeft)
	}
	if m.Body != nil {
		_ = p.w.WriteByte('\n')
		p.body("", m.Body)
	}
}

func (p printer) fields(mark string, all []Field) {
	for _, f := range all {
		more := ""
		if f.More > 0 {
			more = fmt.Sprintf(" (%d more bytes)", f.More)
		}
		p.linef("%s%s: %s%s", mark, f.Name, f.Value, more)
	}
}

// body writes a body, and begins each line with the indent.
func (p printer) body(indent string, b *Body) {
	for _, n := range b.Notes {
		p.linef("%s(%s)", indent, n)
	}
	if b.Text != "" {
		for line := range strings.SplitSeq(strings.TrimSuffix(b.Text, "\n"), "\n") {
			if line != "" {
				_, _ = p.w.WriteString(indent)
			}
			_, _ = p.w.WriteString(line)
			_ = p.w.WriteByte('\n')
		}
	}
	p.fields(indent, b.Fields)
	for i, part := range b.Parts {
		if i > 0 {
			_ = p.w.WriteByte('\n')
		}
		p.linef("%s%s:", indent, part.Title)
		p.fields(indent+"  ", part.Fields)
		if part.Body != nil {
			p.body(indent+"  ", part.Body)
		}
	}
	if b.MoreParts > 0 {
		p.linef("%s... %d more", indent, b.MoreParts)
	}
	if b.Unknown {
		p.linef("%s... more bytes, which are not decoded", indent)
	} else if b.More > 0 {
		p.linef("%s... %d more bytes", indent, b.More)
	}
}

// pageSize is how many messages of a conversation are in memory at a time.
const pageSize = 100

func (p printer) conversation(c *Conversation) {
	if c == nil {
		return
	}
	if c.Kind != "events" {
		p.linef("\npart %d, so far %d bytes from the client and %d from the server", c.Part, c.ClientBytes, c.ServerBytes)
	}
	for _, n := range c.Notes {
		p.linef("(%s)", n)
	}
	marks := map[string]string{recording.Client: ">", recording.Server: "<"}
	for from := 0; from < c.Total; from += pageSize {
		for _, s := range c.Messages(from, pageSize) {
			kind := ""
			if s.Type != "" {
				kind = " " + s.Type
			}
			at := ""
			if s.At >= 0 {
				at = fmt.Sprintf(" %+.3fms", float64(s.At.Microseconds())/1000)
			}
			p.linef("\n%s%s%s %d bytes", marks[s.From], at, kind, s.Body.Size)
			p.fields(marks[s.From]+" ", s.Fields)
			p.body("", s.Body)
		}
	}
}
