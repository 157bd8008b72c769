package show

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// clock tells when the byte at an offset of a body came; nil: that is not known.
type clock func(offset int) time.Duration

// clockOf is that of an answer, whose offsets are those of the body as it was sent.
func clockOf(e *recording.Exchange) clock {
	begun, ok := e.ResponseStart()
	if !ok || e.Tags.Get(recording.TagResponseSentSize) != "" {
		return nil
	}
	pace := e.Pace()
	if pace == nil { // all of it came at once
		return func(int) time.Duration { return begun }
	}
	return func(offset int) time.Duration {
		at := begun
		for len(pace) > 0 && pace[0].Offset <= int64(offset) { // offsets are asked for in order
			at, pace = pace[0].At, pace[1:]
		}
		begun = at
		return at
	}
}

// events shows a stream of server-sent events (WHATWG HTML, section 9.2).
func (b *builder) events(c content, body *Body) error {
	src := bytes.TrimPrefix(c.bytes, []byte("\ufeff"))
	skipped := len(c.bytes) - len(src)
	n, whole := 0, 0
	for from := 0; from < len(src); {
		var fields []Field
		var data []string
		kind, size := "", 0
		end := from
		for end < len(src) {
			line, next := eventLine(src, end)
			if end = next; len(line) == 0 {
				break
			}
			name, value, _ := strings.Cut(string(line), ":")
			switch value = strings.TrimPrefix(value, " "); name {
			case "data":
				data = append(data, value)
				size += len(value) + 1
			case "event":
				kind = value
			case "":
				fields = append(fields, b.field("comment", value))
			default:
				fields = append(fields, b.field(name, value))
			}
			if name == "data" || name == "event" || name == "id" || name == "retry" || name == "" {
				whole++
			}
		}
		at := from
		from = end
		if len(fields) == 0 && data == nil && kind == "" {
			continue
		}
		if n++; len(body.Parts) == b.o.MaxFields || b.left <= 0 {
			body.MoreParts++
			body.More += int64(end - at)
			continue
		}
		part := Part{Title: fmt.Sprintf("event %d", n), At: -1, Fields: fields}
		if kind != "" {
			part.Title += " " + Clean(short(kind))
		}
		if c.clock != nil {
			part.At = c.clock(skipped + max(end-1, 0))
		}
		if data != nil {
			part.Body = b.body(content{bytes: []byte(strings.Join(data, "\n")), depth: c.depth + 1, incomplete: c.incomplete && end == len(src)})
		}
		body.Parts = append(body.Parts, part)
	}
	if whole == 0 {
		return errors.New("no event in it")
	}
	return nil
}

// eventLine returns the line that begins at a place, and where the next one begins. Lines end in
// CR LF, LF or CR.
func eventLine(src []byte, from int) (line []byte, next int) {
	n := bytes.IndexAny(src[from:], "\r\n")
	if n < 0 {
		return src[from:], len(src)
	}
	next = from + n + 1
	if src[from+n] == '\r' && next < len(src) && src[next] == '\n' {
		next++
	}
	return src[from : from+n], next
}
