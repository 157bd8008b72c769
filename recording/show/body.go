package show

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// builder makes bodies that share one limit on text.
type builder struct {
	o        Options
	left     int // bytes of text that may still be written
	unpacked int // bytes that decompressed messages within bodies may still have
}

// newBuilder returns a builder for bodies that together have at most max bytes. The text may be longer
// than that, because it is indented.
func newBuilder(o Options, max int) *builder { return &builder{o, 4 * max, 4 * max} }

// content is the source of a body.
type content struct {
	bytes     []byte
	mediaType string
	// codings and charset have been decoded.
	codings []string
	charset string
	// messageCoding is the coding of compressed messages in the body.
	messageCoding string
	notes         []string
	// incomplete means that the end is missing, and more means that a part was not decoded.
	incomplete, more bool
	// depth counts the bodies around this one.
	depth    int
	redacted func(name string) bool
}

// maxDepth is how deep nested bodies are shown in their format.
const maxDepth = 2

// message makes the model of a request or an answer.
func (b *builder) message(h recording.Half, line string, secret places) *Message {
	m := &Message{Line: clean.Text(line)}
	trailers, left := h.Trailers(), b.left
	for i, f := range h.Headers {
		if i == b.o.MaxFields || b.left <= 0 {
			m.FieldsLeft = len(h.Headers) - i
			break
		}
		field := b.field(f.Name, f.Value)
		field.Trailer, field.Redacted = slices.Contains(trailers, f.Name), secret.has("header", f.Name)
		m.Fields = append(m.Fields, field)
	}
	b.left = left
	if len(h.Body) == 0 && h.Size() == 0 {
		return m
	}
	c := content{
		bytes: h.Body, mediaType: h.Headers.Get("Content-Type"), incomplete: h.Cut(),
		messageCoding: h.Headers.Get("Grpc-Encoding") + h.Headers.Get("Connect-Content-Encoding"),
		redacted:      secret.in("body"),
	}
	if codings := h.Codings(); len(codings) > 0 && !h.Decoded() {
		plain, err := h.Decode(nil, nil, int64(b.o.MaxBody))
		if len(plain) > 0 || err == nil {
			c.bytes, c.codings = plain, codings
		} else {
			c.mediaType = "application/octet-stream"
		}
		if c.more = errors.Is(err, coding.ErrTooLarge); err != nil && !c.more && !(h.Cut() && errors.Is(err, io.ErrUnexpectedEOF)) {
			c.notes = append(c.notes, fmt.Sprintf("decode %s: %v", strings.Join(codings, ", "), err))
		}
		c.incomplete = c.incomplete || err != nil
	}
	if size := h.Size(); h.Cut() {
		c.notes = append(c.notes, fmt.Sprintf("cut: %d of %d bytes are in the recording", len(h.Body), size))
	}
	m.Body = b.body(c)
	m.Body.Stored, m.Body.Size = int64(len(h.Body)), h.Size()
	return m
}

// field makes a field, and cuts a name or a value that is too long.
func (b *builder) field(name, value string) Field {
	var f Field
	f.Name, f.Value = clean.Text(cutText(name, min(b.o.MaxValue, 300))), clean.Text(cutText(value, b.o.MaxValue))
	if over := len(value) - b.o.MaxValue; over > 0 {
		f.More = int64(over)
	}
	b.left -= len(f.Name) + len(f.Value)
	return f
}

// cutText returns the beginning of a text. It doesn't cut a character in two.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for n := most; n > most-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(s[n]) {
			return s[:n]
		}
	}
	return s[:most]
}

// mediaOf returns the media type of a Content-Type, in lower case and without parameters.
func mediaOf(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// bodyCost is how many bytes each body counts in addition to its text. It limits the number of empty
// bodies in another one.
const bodyCost = 100

// body recognises the format of a body and makes it readable.
func (b *builder) body(c content) *Body {
	b.left -= bodyCost
	body := &Body{Type: clean.Text(short(c.mediaType)), Unknown: c.more}
	body.Size, body.Stored, body.Decoded = int64(len(c.bytes)), int64(len(c.bytes)), int64(len(c.bytes))
	limit := b.o.MaxBody
	if c.depth > 0 || len(c.bytes) <= limit {
		limit = len(c.bytes)
	} else {
		body.More = int64(len(c.bytes) - limit)
		c.bytes, c.incomplete = c.bytes[:limit], true
	}
	c.toUTF8()
	body.Codings = c.codings
	if c.charset != "" {
		body.Notes = append(body.Notes, "in the charset "+c.charset)
	}
	for _, note := range c.notes {
		body.Notes = append(body.Notes, clean.Text(note))
	}
	if len(c.bytes) == 0 {
		body.Kind = Text
		return body
	}
	if body.Kind = recognise(c); body.Kind == Binary || body.Kind == Image {
		b.dump(body, c.bytes)
		return body
	}
	left, bare := b.left, *body
	err := b.render(c, body)
	if err == nil {
		return body
	}
	kind := body.Kind
	b.left, *body = left, bare
	body.Notes = append(slices.Clone(body.Notes), clean.Text(fmt.Sprintf("not valid %s: %v", kind, err)))
	if body.Kind = Text; clean.IsText(c.bytes) {
		b.text(body, string(c.bytes))
	} else {
		body.Kind = Binary
		b.dump(body, c.bytes)
	}
	return body
}

// render fills in a body according to its kind. After an error, the caller discards the result.
func (b *builder) render(c content, body *Body) error {
	switch body.Kind {
	case JSON, JSONLines:
		return b.json(c, body)
	case GraphQL:
		return b.graphQL(c, body)
	case XML:
		return b.xml(c, body)
	case Form:
		body.Fields, body.MoreParts = b.pairs(string(c.bytes), c.redacted)
		return nil
	case Multipart:
		return b.multipart(c, body)
	case Events:
		return b.events(c, body)
	case GRPC:
		return b.grpc(c, body)
	case Protobuf:
		return b.protobuf(c, body)
	}
	b.text(body, string(c.bytes))
	return nil
}

// kinds has the kinds for the formats that match also compares.
var kinds = map[canon.Format]Kind{
	canon.GraphQL: GraphQL, canon.JSON: JSON, canon.JSONLines: JSONLines, canon.XML: XML, canon.Form: Form,
	canon.Multipart: Multipart, canon.Document: Text, canon.Protobuf: Protobuf,
}

// recognise returns the kind of a body according to its media type or, if the type is unknown, to its
// bytes.
func recognise(c content) Kind {
	media := mediaOf(c.mediaType)
	if _, ok := isFramed(media); ok {
		return GRPC
	}
	format, _ := canon.Detect(c.mediaType, c.bytes)
	kind, ok := kinds[format]
	switch {
	case kind == GraphQL && c.depth > 0:
		return JSON
	case kind == Multipart && c.depth >= maxDepth:
		return Text
	case media == "text/html":
		return HTML
	case media == "text/event-stream":
		return Events
	case media == "image/svg+xml":
		return XML
	case ok:
		return kind
	case strings.HasPrefix(media, "image/"):
		return Image
	case strings.HasPrefix(media, "text/") && clean.IsText(c.bytes):
		return Text
	}
	for _, magic := range magics {
		if bytes.HasPrefix(c.bytes, []byte(magic.begin)) {
			return magic.kind
		}
	}
	if clean.IsText(c.bytes) {
		return Text
	}
	return Binary
}

// magics lists kinds of bodies by their first bytes.
var magics = []struct {
	begin string
	kind  Kind
}{
	{"\x89PNG\r\n\x1a\n", Image}, {"\xff\xd8\xff", Image}, {"GIF87a", Image}, {"GIF89a", Image},
	{"<!doctype html", HTML}, {"<!DOCTYPE html", HTML}, {"<html", HTML},
}

func (b *builder) json(c content, body *Body) error {
	if !utf8.Valid(c.bytes) && !(c.incomplete && validButEnd(c.bytes)) {
		return errors.New("it has bytes that aren't UTF-8")
	}
	text, used, err := clean.IndentJSON(c.bytes, b.left)
	return b.indented(c, body, text, used, err)
}

// validButEnd reports whether a text is UTF-8, except for an incomplete character at its end.
func validButEnd(p []byte) bool {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			return !utf8.FullRune(tail) && utf8.Valid(p[:len(p)-n])
		}
	}
	return false
}

func (b *builder) xml(c content, body *Body) error {
	text, used, err := indentXML(c.bytes, b.left)
	return b.indented(c, body, text, used, err)
}

// indented stores the indented text: all of it, or the part before the limit or before the end of a
// body that was cut.
func (b *builder) indented(c content, body *Body, text []byte, used int, err error) error {
	switch {
	case err == clean.ErrLimit:
		body.More += int64(len(c.bytes) - used)
	case err == io.ErrUnexpectedEOF && c.incomplete:
	case err == io.ErrUnexpectedEOF:
		return errors.New("it ends too early")
	case err != nil:
		return err
	}
	b.text(body, string(text))
	return nil
}

// text stores as much of a cleaned text as there is room for.
func (b *builder) text(body *Body, s string) {
	const piece = 4 << 10
	var out strings.Builder
	for len(s) > 0 {
		if out.Len() >= b.left {
			body.More += int64(len(s))
			break
		}
		part := s
		if len(s) > piece {
			part = cutText(s, piece)
			if n := strings.LastIndexByte(part, '\n'); n >= 0 {
				part = part[:n+1]
			}
		}
		s = s[len(part):]
		if strings.HasSuffix(part, "\r") && strings.HasPrefix(s, "\n") { // CR and LF stay together
			part, s = part+"\n", s[1:]
		}
		out.WriteString(clean.Lines(part))
	}
	b.left -= out.Len()
	body.Text = strings.TrimSuffix(out.String(), "\n")
}

// maxDump is how many bytes a dump shows.
const maxDump = 4 << 10

// dump shows bytes in hexadecimal, with their visible ASCII characters beside them.
func (b *builder) dump(body *Body, p []byte) {
	body.Hex = true
	if over := len(p) - maxDump; over > 0 {
		body.More += int64(over)
		p = p[:maxDump]
	}
	body.Text = strings.TrimSuffix(hex.Dump(p), "\n")
	b.left -= len(body.Text)
}

// closeCodes names WebSocket's status codes (RFC 6455, section 7.4.1).
var closeCodes = map[uint16]string{
	1000: "normal closure", 1001: "going away", 1002: "protocol error", 1003: "unsupported data", 1007: "invalid payload",
	1008: "policy violation", 1009: "message too big", 1010: "mandatory extension", 1011: "internal error", 1012: "service restart",
	1013: "try again later", 1014: "bad gateway",
}

// closing describes the content of a close frame.
func closing(data []byte) string {
	if len(data) < 2 {
		return ""
	}
	code := binary.BigEndian.Uint16(data)
	text := fmt.Sprint(code)
	if words := closeCodes[code]; words != "" {
		text += " " + words
	}
	if len(data) > 2 {
		text += ": " + string(data[2:])
	}
	return text
}
