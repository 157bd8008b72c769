package show

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
)

// rawPart is a part of a multipart body that is not decoded.
type rawPart struct {
	headers recording.Headers
	body    []byte
	cut     bool // whether its end is missing
}

// errBoundary means that the parts of a body can't be separated.
var errBoundary = errors.New("the boundary isn't in the body")

// splitParts calls f with the parts of a multipart body (RFC 2046, section 5.1), until f returns
// false. It fails if the body has no parts.
func splitParts(body []byte, boundary string, f func(rawPart) bool) error {
	if boundary == "" {
		return errors.New("Content-Type has no boundary")
	}
	divider := []byte("--" + boundary)
	from, _, last := nextDivider(body, divider)
	if from < 0 {
		return errBoundary
	}
	for !last {
		body = body[from:]
		var next, end int
		if next, end, last = nextDivider(body, divider); next < 0 {
			p := readPart(body)
			p.cut = true
			f(p)
			return nil
		}
		if !f(readPart(body[:end])) {
			return nil
		}
		from = next
	}
	return nil
}

// nextDivider finds a line with the divider. It returns where the next part begins, where the previous one
// ends, and whether this is the last divider. begin is -1 if there is none.
func nextDivider(body, divider []byte) (begin, end int, last bool) {
	for at := 0; ; {
		n := bytes.Index(body[at:], divider)
		if n < 0 {
			return -1, 0, false
		}
		start := at + n
		at = start + len(divider)
		if start > 0 && body[start-1] != '\n' {
			continue
		}
		rest := body[at:]
		rest, last = bytes.CutPrefix(rest, []byte("--"))
		line, _, whole := bytes.Cut(rest, []byte("\n"))
		if len(bytes.Trim(line, " \t\r")) > 0 || !whole && !last {
			continue // a longer boundary, or a cut one
		}
		end = start
		if end > 0 {
			end--
		}
		if end > 0 && body[end-1] == '\r' {
			end--
		}
		begin = len(body) - len(rest) + len(line)
		if whole {
			begin++
		}
		return begin, end, last
	}
}

// maxPartFields is how many lines a part's header may have.
const maxPartFields = 100

func readPart(text []byte) (p rawPart) {
	for lines := 0; len(text) > 0 && lines < maxPartFields; lines++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			p.body = rest
			return p
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		switch {
		case (line[0] == ' ' || line[0] == '\t') && len(p.headers) > 0: // a folded line
			p.headers[len(p.headers)-1].Value += " " + string(bytes.TrimSpace(line))
		case ok:
			p.headers = append(p.headers, recording.Header{Name: string(name), Value: string(bytes.TrimSpace(value))})
		default: // no header
			p.body = text
			return p
		}
		text = rest
	}
	p.body = text
	return p
}

func (p rawPart) get(name string) string {
	for value := range p.headers.Values(name) {
		return value
	}
	return ""
}

func (b *builder) multipart(c content, body *Body) error {
	_, params, _ := mime.ParseMediaType(c.mediaType)
	n := 0
	err := splitParts(c.bytes, params["boundary"], func(p rawPart) bool {
		if n++; len(body.Parts) == b.o.MaxFields || b.left <= 0 {
			body.MoreParts++
			return body.MoreParts < 1<<16 // more need not be counted
		}
		part := Part{Title: fmt.Sprintf("part %d", n)}
		_, disposition, _ := mime.ParseMediaType(p.get("Content-Disposition"))
		for _, what := range []string{"name", "filename"} {
			if text := disposition[what]; text != "" {
				part.Title += ", " + what + " " + clean.Text(short(text))
			}
		}
		for _, h := range p.headers {
			part.Fields = append(part.Fields, b.field(h.Name, h.Value))
		}
		inner := content{bytes: p.body, mediaType: p.get("Content-Type"), depth: c.depth + 1, incomplete: p.cut}
		if coding := p.get("Content-Transfer-Encoding"); coding != "" {
			inner.untransfer(coding)
		}
		if p.cut && !c.incomplete {
			inner.notes = append(inner.notes, "the end of the part is missing")
		}
		if len(p.body) > 0 || len(inner.notes) > 0 {
			part.Body = b.body(inner)
		}
		body.Parts = append(body.Parts, part)
		return true
	})
	return err
}

// untransfer decodes a Content-Transfer-Encoding.
func (c *content) untransfer(coding string) {
	var r io.Reader
	switch strings.ToLower(coding) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(c.bytes))
	case "quoted-printable":
		r = quotedprintable.NewReader(bytes.NewReader(c.bytes))
	default:
		return
	}
	plain, err := io.ReadAll(r)
	if err != nil && len(plain) == 0 {
		c.notes = append(c.notes, fmt.Sprintf("decode %s: %v", coding, err))
		return
	}
	c.bytes, c.codings = plain, []string{strings.ToLower(coding)}
}
