package http1

import (
	"bytes"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
)

// maxKept is the maximum length of an unfinished line that shrink keeps, whatever its name.
const maxKept = 64

// mark is a field that replaces those that were removed. It keeps the head well-formed if
// the next line is the rest of a folded field.
const mark = "-:\r\n"

// large is until for a head or for trailers, which may be larger than the limit. Such a head
// must still be read to the end, because a field that frames the message may be anywhere in
// it. large removes other fields from the bytes that it has collected.
func (h *half) large(p []byte, limit int, end func(p []byte, from int) int) (whole []byte, n int, err error) {
	if h.cutting {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			return nil, len(p), nil
		}
		h.cutting = false
		if i > 0 {
			return nil, i, nil
		}
	}
	whole, n, err = h.until(p, limit, end)
	if err != nil {
		return nil, 0, h.shrink(err)
	}
	return whole, n, nil
}

// shrink removes the fields that decide nothing from a head that is too large. It returns err
// if the rest is more than half as large as before, and ErrMemory if there is no memory for
// the rest.
func (h *half) shrink(err error) error {
	text := h.carry.Bytes()
	if len(text) == 0 { // there is no memory; the limit is not reached
		return err
	}
	kept := make([]byte, 0, 1<<10)
	keeps, first := true, h.position == inHead
	for rest := text; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		switch {
		case first:
			first = false
			if !ended { // a first line can't be cut
				return err
			}
		case len(line) > 0 && isSpace(line[0]): // it continues the line before it
			if !ended && len(line) > maxKept && keeps {
				return err
			}
		default:
			name, _, named := bytes.Cut(line, []byte(":"))
			keeps = named && decides(framework.CanonicalName(string(name)))
			if !ended && len(line) > maxKept && keeps {
				return err
			}
		}
		switch {
		case !ended && len(line) > maxKept:
			kept = append(kept, mark[:2]...)
			h.cutting = true
		case !ended:
			kept = append(kept, line...)
		case keeps:
			kept = append(kept, rest[:len(line)+1]...)
		case !bytes.HasSuffix(kept, []byte(mark)):
			kept = append(kept, mark...)
		}
		if rest = after; len(kept) > len(text)/2 {
			h.cutting = false
			return err
		}
	}
	h.bare = true
	h.carry.Free(h.state)
	if !h.carry.Append(h.state, kept) {
		return framework.ErrMemory
	}
	return nil
}
