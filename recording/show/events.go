package show

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
)

// clock returns when the byte at an offset in a body arrived. It is nil if that isn't known.
type clock func(offset int) time.Duration

// clockOf returns the clock of an answer. Its offsets count the bytes of the body as it was sent.
func clockOf(e *recording.Exchange) clock {
	begun, ok := e.ResponseStart()
	if !ok || e.Tags.Get(recording.TagResponseSentSize) != "" {
		return nil
	}
	pace := e.Pace()
	if pace == nil { // the body arrived without pauses
		return func(int) time.Duration { return begun }
	}
	return func(offset int) time.Duration {
		at := begun
		for len(pace) > 0 && pace[0].Offset <= int64(offset) { // callers ask for offsets in order
			at, pace = pace[0].At, pace[1:]
		}
		begun = at
		return at
	}
}

// event is an event of a stream.
type event struct {
	kind   string
	fields []recording.Header // all fields other than kind and data
	data   string
	cut    bool // the empty line after it is missing
}

// eachEvent calls f with the beginning and the end of each event of a stream (WHATWG HTML, section 9.2),
// until f returns false.
func eachEvent(src []byte, f func(from, to int) bool) {
	from := 0
	if bytes.HasPrefix(src, []byte("\ufeff")) {
		from = 3
	}
	for from < len(src) {
		to, lines := from, 0
		for to < len(src) {
			line, next := eventLine(src, to)
			if to = next; len(line) == 0 {
				break
			}
			lines++
		}
		if lines > 0 && !f(from, to) {
			return
		}
		from = to
	}
}

// eventFields are the fields that an event can have. A comment is a field without a name.
var eventFields = [...]string{"data", "event", "id", "retry", ""}

// isEvents reports whether the first line of a body belongs to an event.
func isEvents(src []byte) (yes bool) {
	eachEvent(src, func(from, _ int) bool {
		line, _ := eventLine(src, from)
		name, _, _ := bytes.Cut(line, []byte(":"))
		yes = slices.Contains(eventFields[:], string(name))
		return false
	})
	return yes
}

// maxEventFields is how many fields of one event are shown.
const maxEventFields = 100

func readEvent(src []byte) (e event) {
	var data []string
	e.cut = true
	for at := 0; at < len(src); {
		var line []byte
		if line, at = eventLine(src, at); len(line) == 0 {
			e.cut = false
			break
		}
		name, value, _ := strings.Cut(string(line), ":")
		switch value = strings.TrimPrefix(value, " "); {
		case name == "data":
			data = append(data, value)
		case name == "event":
			e.kind = value
		case len(e.fields) == maxEventFields:
		case name == "":
			e.fields = append(e.fields, recording.Header{Name: "comment", Value: value})
		default:
			e.fields = append(e.fields, recording.Header{Name: name, Value: value})
		}
	}
	e.data = strings.Join(data, "\n")
	return e
}

// event returns the fields and the body of an event. The body is empty if there is no data.
func (b *builder) event(e event, depth int, incomplete bool) (fields []Field, data *Body) {
	for _, f := range e.fields {
		fields = append(fields, b.field(f.Name, f.Value))
	}
	return fields, b.body(content{bytes: []byte(e.data), depth: depth, incomplete: incomplete && e.cut})
}

// events shows a stream as parts.
func (b *builder) events(c content, body *Body) error {
	if !isEvents(c.bytes) {
		return errors.New("it has no events")
	}
	n := 0
	eachEvent(c.bytes, func(from, to int) bool {
		if n++; len(body.Parts) == b.o.MaxFields || b.left <= 0 {
			body.MoreParts++
			body.More += int64(to - from)
			return true
		}
		e := readEvent(c.bytes[from:to])
		part := Part{Title: fmt.Sprintf("event %d", n)}
		if e.kind != "" {
			part.Title += " " + clean.Text(short(e.kind))
		}
		if part.Fields, part.Body = b.event(e, c.depth+1, c.incomplete); e.data == "" {
			part.Body = nil
		}
		body.Parts = append(body.Parts, part)
		return true
	})
	return nil
}

// eventLine returns the line that begins at an offset, and where the next one begins. Lines end in CR
// LF, LF or CR.
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
