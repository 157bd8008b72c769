package show

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/recording/coding"
)

// framed lists the media types of bodies with gRPC messages. A byte of flags and the length precede each
// message. A suffix of the type, such as +json, names the format of the messages.
var framed = []struct {
	media string
	text  bool // whether the body is base64
	last  byte // the flag of the message that ends the stream, which is text
}{
	{"application/grpc-web-text", true, 0x80},
	{"application/grpc-web", false, 0x80},
	{"application/grpc", false, 0},
	{"application/connect", false, 2},
}

// isFramed reports whether a media type is in framed, and returns the index of its row.
func isFramed(media string) (which int, ok bool) {
	for i, f := range framed {
		if rest, ok := strings.CutPrefix(media, f.media); ok && (rest == "" || rest[0] == '+') {
			return i, true
		}
	}
	return 0, false
}

// messageType returns the media type of the messages in a body or a call of this media type.
func messageType(media string) string {
	_, kind, _ := strings.Cut(media, "+")
	if kind == "json" {
		return "application/json"
	}
	return "application/protobuf"
}

// frameHead is the size of a message's header, in bytes.
const frameHead = 5

func (b *builder) grpc(c content, body *Body) error {
	media := mediaOf(c.mediaType)
	which, _ := isFramed(media)
	kind := framed[which]
	src := c.bytes
	if kind.text {
		plain, err := decodeSegments(src)
		if err != nil {
			return err
		}
		src = plain
		body.Codings = append(body.Codings, "base64")
		body.Decoded = int64(len(src))
	}
	for n := 1; len(src) > 0; n++ {
		if len(src) < frameHead {
			if n == 1 || !c.incomplete {
				return errors.New("it has no gRPC messages")
			}
			body.Notes = append(body.Notes, "cut in the header of a message")
			return nil
		}
		flags, size := src[0], int64(binary.BigEndian.Uint32(src[1:]))
		rest := src[frameHead:]
		inner := content{bytes: rest, mediaType: messageType(media), depth: c.depth + 1}
		if size <= int64(len(rest)) {
			inner.bytes, rest = rest[:size], rest[size:]
		} else if !c.incomplete {
			return fmt.Errorf("message %d has %d bytes of %d", n, len(rest), size)
		} else {
			inner.incomplete, rest = true, nil
		}
		src = rest
		if len(body.Parts) == b.o.MaxFields || b.left <= 0 {
			body.MoreParts++
			continue
		}
		part := Part{Title: fmt.Sprintf("message %d", n)}
		last := flags&kind.last != 0
		if last {
			part.Title = "end of the stream"
			inner.mediaType = ""
		}
		if flags&1 != 0 {
			b.undo(&inner, coding.Split(c.messageCoding))
		}
		if last && kind.last == 0x80 {
			part.Fields = b.trailers(inner.bytes)
		} else {
			part.Body = b.body(inner)
			part.Body.Type = ""
			part.Body.Size = size
		}
		body.Parts = append(body.Parts, part)
	}
	if messageType(media) == "application/protobuf" {
		body.Notes = append(body.Notes, wireNote)
	}
	return nil
}

// undo decompresses the content of a message.
func (b *builder) undo(c *content, codings []string) {
	if len(codings) == 0 {
		c.notes = append(c.notes, "compressed, in a coding that no field names")
		c.mediaType = "application/octet-stream"
		return
	}
	var d coding.Decoder
	defer d.Close()
	plain, err := d.Decode(nil, codings, c.bytes, int64(min(b.o.MaxBody, b.unpacked)))
	b.unpacked -= len(plain)
	if c.more = errors.Is(err, coding.ErrTooLarge); err != nil && !c.more {
		c.notes = append(c.notes, fmt.Sprintf("decode %s: %v", strings.Join(codings, ", "), err))
	}
	c.incomplete = c.incomplete || err != nil
	if len(plain) == 0 && err != nil {
		c.mediaType, c.more = "application/octet-stream", false
		return
	}
	c.bytes, c.codings = plain, codings
}

// trailers reads one field per line.
func (b *builder) trailers(text []byte) (all []Field) {
	for line := range bytes.Lines(text) {
		name, value, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if ok && len(all) < b.o.MaxFields {
			f := b.field(string(name), string(bytes.TrimSpace(value)))
			f.Trailer = true
			all = append(all, f)
		}
	}
	return all
}

// decodeSegments decodes base64 that consists of several pieces, each with its own padding.
func decodeSegments(src []byte) ([]byte, error) {
	src = bytes.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, src)
	out := make([]byte, 0, base64.StdEncoding.DecodedLen(len(src)))
	for len(src) > 0 {
		end := len(src)
		if pad := bytes.IndexByte(src, '='); pad >= 0 {
			for end = pad; end < len(src) && src[end] == '='; {
				end++
			}
		}
		var err error
		if out, err = base64.StdEncoding.AppendDecode(out, src[:end]); err != nil {
			return nil, fmt.Errorf("base64: %w", err)
		}
		src = src[end:]
	}
	return out, nil
}
