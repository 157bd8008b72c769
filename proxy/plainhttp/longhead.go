package plainhttp

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/net/http/httpguts"
)

const (
	// maxName is the maximum length of a field name in a long head, and maxHeld the maximum
	// size of all fields that are held back: a Host has 255 bytes, and a length a few. Nothing
	// else bounds their memory over all connections.
	maxName = 4 << 10
	maxHeld = 2 << 10
	// manyHeld is the maximum number of fields that are held back. A valid head has one of
	// each.
	manyHeld = 16
	// longStep is the maximum number of bytes of a long head that are read at a time.
	longStep = 4 << 10
)

// longHead forwards a head in pieces if it is longer than a buffer, or has more fields than are
// kept:
//
//	X-A: …  X-B: …  Host: …  X-C: …  Content-Length: 3  <empty>
//	  │       │        ╎       │             ╎              │
//	  ▼       ▼        ╎       ▼             ╎              ▼
//	X-A: …  X-B: …     ╎     X-C: …   then   Host: …  Content-Length: 3  <empty>
//
// It holds back the fields that decide about the message until the end, and they are checked
// together, as in a head in one piece. Until then the receiver has no complete head, so the message
// can still be rejected. The constants bound what it holds. The zero value is at the beginning of
// the first field.
type longHead struct {
	lenient bool                   // parse as parseResponse does, and not as parseRequest
	fate    func(name []byte) fate // returns the fate of a field

	state headState
	cr    bool // the last byte was a CR, which may end the line
	mode  fate // the fate of the current field
	name  []byte
	value []byte // the value, if the field is held back
	held  []field
	size  int // size of held
}

// fate says how a field is treated.
type fate uint8

const (
	passed fate = iota
	dropped
	heldBack
)

type headState uint8

const (
	firstLine headState = iota // no field yet
	lineStart
	inName
	inFold // whitespace at the beginning of a line
	inValue
	headOver
)

// take parses the next bytes. It appends those that can be forwarded to out, and returns how many
// bytes of p it has used. done says that the head has ended. Then the caller must still write the
// held fields and the empty line.
func (h *longHead) take(out, p []byte) (_ []byte, n int, done bool, err error) {
	for n < len(p) && err == nil && h.state != headOver {
		var m int
		switch h.state {
		case firstLine, lineStart:
			out, m, err = h.begin(out, p[n])
		case inName:
			out, m, err = h.inName(out, p[n:])
		case inFold:
			if m = 1; p[n] != ' ' && p[n] != '\t' {
				m, h.state = 0, inValue
			}
		case inValue:
			out, m, err = h.inValue(out, p[n:])
		}
		n += m
	}
	return out, n, h.state == headOver, err
}

// begin parses the first byte of a line.
func (h *longHead) begin(out []byte, c byte) (_ []byte, n int, err error) {
	switch {
	case c == '\n' && (h.cr || h.lenient):
		out, err = h.finish(out)
		h.state = headOver
		return out, 1, err
	case c == '\n':
		return out, 0, bad("%v", errBareLF)
	case h.cr:
		return out, 0, bad("a field line that begins with CR")
	case c == '\r':
		h.cr = true
		return out, 1, nil
	case c != ' ' && c != '\t':
		out, err = h.finish(out)
		h.state = inName
		return out, 0, err
	case !h.lenient || h.state == firstLine:
		return out, 0, bad("a field that is folded over lines")
	}
	h.state = inFold // a space replaces the fold (RFC 9112 section 5.2)
	out, err = h.put(out, []byte{' '})
	return out, 1, err
}

// inName parses a part of a line before its colon.
func (h *longHead) inName(out, p []byte) (_ []byte, n int, err error) {
	n = len(p)
	i := bytes.IndexAny(p, ":\n")
	if i >= 0 {
		n = i
	}
	if h.name = append(h.name, p[:n]...); len(h.name) > maxName {
		return out, n, refuseWith(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("a field name of more than %d bytes", maxName))
	}
	if i < 0 {
		return out, n, nil
	}
	colon := p[i] == ':'
	switch {
	case !h.lenient && (!colon || !isToken(h.name)):
		return out, n, bad("a malformed field line: want a name, a colon and a value")
	case colon:
		n++
		h.name = bytes.TrimRight(h.name, " \t") // RFC 9112 section 5.1
		h.mode = h.fate(h.name)
		if h.state = inValue; h.mode == passed {
			out = append(append(out, h.name...), ':')
		}
	default:
		h.mode, h.state = passed, inValue
		h.cr = bytes.HasSuffix(h.name, []byte("\r"))
		out = append(out, bytes.TrimSuffix(h.name, []byte("\r"))...)
	}
	return out, n, nil
}

// inValue parses a part of a line after its colon.
func (h *longHead) inValue(out, p []byte) (_ []byte, n int, err error) {
	n = len(p)
	end := bytes.IndexByte(p, '\n')
	if end >= 0 {
		n = end
	}
	part := p[:n]
	if h.cr && n > 0 { // it did not end the line
		if !h.lenient {
			return out, 0, bad("a field with a control character in its value")
		}
		out, err = h.put(out, []byte{'\r'})
	}
	if n > 0 {
		if h.cr = part[n-1] == '\r'; h.cr {
			part = part[:n-1]
		}
	}
	if !h.lenient && !httpguts.ValidHeaderFieldValue(string(part)) {
		return out, n, bad("a field with a control character in its value")
	}
	if err == nil {
		out, err = h.put(out, part)
	}
	if err != nil || end < 0 {
		return out, n, err
	}
	if !h.cr && !h.lenient {
		return out, n, bad("%v", errBareLF)
	}
	h.cr, h.state = false, lineStart
	return out, n + 1, nil
}

// put forwards, drops or holds back a part of a value, according to the field's fate.
func (h *longHead) put(out, p []byte) ([]byte, error) {
	switch h.mode {
	case passed:
		out = append(out, p...)
	case heldBack:
		if h.size+len(h.value)+len(p) > maxHeld {
			return out, refuseWith(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("more than %d bytes of fields that decide about the message", maxHeld))
		}
		h.value = append(h.value, p...)
	}
	return out, nil
}

// finish ends the last field, after the next line has shown that it does not continue.
func (h *longHead) finish(out []byte) ([]byte, error) {
	if h.state == firstLine {
		return out, nil
	}
	switch h.mode {
	case passed:
		out = append(out, "\r\n"...)
	case heldBack:
		if len(h.held) == manyHeld {
			return out, refuseWith(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("more than %d fields that decide about the message", manyHeld))
		}
		line := slices.Concat(h.name, []byte(":"), h.value, []byte("\r\n"))
		name := line[:len(h.name)]
		h.size += len(line)
		h.held = append(h.held, field{name, bytes.Trim(line[len(name)+1:], " \t\r\n"), line})
	}
	h.name, h.value = h.name[:0], h.value[:0]
	return out, nil
}
