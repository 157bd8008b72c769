package redact

import (
	"bytes"
	"sync"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// messageSearch returns a search in a message from this sender.
func (r *Sink) messageSearch(from string, found *places) search {
	return search{r: r, places: found, at: from + ".message", request: from == recording.Client, max: r.maxBody}
}

// messages redacts the messages of a conversation.
func (r *Sink) messages(e *recording.Exchange, found *places) {
	cut := false
	switch {
	case e.GRPC != nil:
		cut = r.calls(e, found)
	case e.WebSocket != nil:
		cut = r.frames(e, found)
	case e.TCP != nil:
		for i := range e.TCP.Messages {
			m := &e.TCP.Messages[i]
			q := r.messageSearch(m.From, found)
			if out := q.settled(view(m.Data), ""); out != nil {
				m.Data = out
			}
		}
	}
	if cut && e.Tags.Get(recording.TagTruncated) == "" {
		e.Tags.Set(recording.TagTruncated, "true")
	}
}

// protobuf is the media type of most gRPC messages.
const protobuf = "application/protobuf"

// leave drops the data of a message, but keeps its size.
func leave(m *recording.Message) {
	m.Size = max(m.Size, int64(len(m.Data)))
	m.Data = nil
}

// calls redacts gRPC messages. Protobuf has no field names, so only secrets that are found under any
// name are redacted. It reports whether it left any message out.
func (r *Sink) calls(e *recording.Exchange, found *places) (left bool) {
	for i := range e.GRPC.Messages {
		m := &e.GRPC.Messages[i]
		if r.also.DropGRPC {
			leave(m)
			left = true
			continue
		}
		q := r.messageSearch(m.From, found)
		if !m.Compressed {
			if out := q.settled(view(m.Data), protobuf); out != nil {
				m.Data = out
			}
			continue
		}
		headers := e.HTTP.Req.Headers
		if m.From == recording.Server {
			headers = e.HTTP.Res.Headers
		}
		name := headers.Get("Grpc-Encoding")
		if len(m.Data) > 0 && !coding.Known(name) {
			leave(m)
			left = true
			continue
		}
		out := q.coded(m.Data, []string{name}, protobuf)
		if out == nil {
			continue
		}
		m.Size = max(m.Size, int64(len(m.Data)))
		m.Data, m.Compressed = out, false
		left = left || q.cut
	}
	return left
}

// frames redacts WebSocket messages, each of which may have several frames. It reports whether it left
// any out.
func (r *Sink) frames(e *recording.Exchange, found *places) (left bool) {
	id := e.UUID
	if first, ok := e.ConversationID(); ok {
		id = first
	}
	all := e.WebSocket.Messages
	var open [2]pending // the message that each side is sending
	for i := range all {
		m := &all[i]
		side := 0
		if m.From == recording.Server {
			side = 1
		}
		if m.Type == "close" || m.Type == "ping" || m.Type == "pong" {
			r.control(m, found)
			continue
		}
		p := &open[side]
		if p.frames == nil && m.Type == "continuation" { // the message began in an earlier part
			var ok bool
			if p.begun, ok = r.windows.resume(id, side); !ok { // the beginning is missing, so the format is unknown
				leave(m)
				left = true
				continue
			}
		} else if p.frames == nil {
			p.begun = begun{compressed: m.Compressed}
		}
		p.frames = append(p.frames, m)
		if !m.More {
			left = r.message(p, id, side, found) || left
			*p = pending{}
		}
	}
	for side := range open {
		if p := &open[side]; p.frames != nil {
			left = r.unfinished(p, id, side, found) || left
		}
	}
	if e.WebSocket.Last {
		r.windows.forget(id)
	}
	return left
}

// maxControl is the largest payload of a control frame (RFC 6455, section 5.5).
const maxControl = 125

// control redacts a control frame. A close frame has a code before its text.
func (r *Sink) control(m *recording.Message, found *places) {
	code := 0
	if m.Type == "close" {
		code = min(2, len(m.Data))
	}
	q := r.messageSearch(m.From, found)
	out := q.settled(view(m.Data[code:]), "")
	if out == nil {
		return
	}
	if room := maxControl - code; len(out) > room { // a character may have been cut in two
		out = bytes.ToValidUTF8(out[:room], nil)
	}
	m.Data = append(bytes.Clone(m.Data[:code]), out...)
}

// pending is a message with its frames so far.
type pending struct {
	begun
	frames []*recording.Message // the frames in this part
}

// begun is the beginning of a message, from earlier parts.
type begun struct {
	data       []byte
	compressed bool
}

// whole joins the data of a message, and reports whether some of it is missing.
func (p *pending) whole() (data []byte, cut bool) {
	for _, m := range p.frames {
		cut = cut || m.Size > int64(len(m.Data))
	}
	if p.data == nil && len(p.frames) == 1 {
		return p.frames[0].Data, cut
	}
	data = p.data
	for _, m := range p.frames {
		data = append(data, m.Data...)
	}
	return data, cut
}

// unfinished keeps a message that continues in a later part, which then gets the whole message. If there
// is no room, the message so far is redacted.
func (r *Sink) unfinished(p *pending, id recording.UUID, side int, found *places) (left bool) {
	data, cut := p.whole()
	if !cut && r.windows.keep(id, side, begun{bytes.Clone(data), p.compressed}, 4*r.maxBody) {
		for _, m := range p.frames {
			leave(m)
			m.Compressed = false // the later part has the message uncompressed
		}
		return false
	}
	return r.message(p, id, side, found)
}

// message redacts a WebSocket message, or the part that is present, as a whole, because a secret may
// begin in one frame and end in another. If the message changes, its first frame gets all of it.
func (r *Sink) message(p *pending, id recording.UUID, side int, found *places) (left bool) {
	first := p.frames[0]
	data, cut := p.whole()
	changed := p.data != nil
	if p.compressed {
		plain, ok := r.windows.inflate(id, side, data, r.maxBody, cut || p.frames[len(p.frames)-1].More)
		if !ok {
			for _, m := range p.frames {
				leave(m)
			}
			return true
		}
		data, changed = plain, true
	}
	q := r.messageSearch(first.From, found)
	if out := q.settled(view(data), ""); out != nil {
		data, changed = out, true
	}
	if !changed {
		return false
	}
	for _, m := range p.frames {
		if cut {
			m.Size = max(m.Size, int64(len(m.Data)))
		}
		m.Data, m.Compressed = nil, false
	}
	first.Data = data
	return q.cut
}

// windows keeps the last bytes of both sides of WebSocket conversations. With permessage-deflate, a
// message may refer to bytes of earlier ones (RFC 7692, section 7.1.1). It also keeps messages that
// continue in a later part. It remembers maxWindows conversations. Compressed messages of a conversation
// whose windows were dropped can't be read.
type windows struct {
	mu    sync.Mutex
	of    map[recording.UUID]*[2]window
	order []recording.UUID
	kept  int // bytes of messages that continue in a later part
}

type window struct {
	coding.Messages
	lost  bool
	begun *begun
}

const maxWindows = 64

// get returns the windows of a conversation, and drops those of the oldest one if there is no room.
// The caller holds the lock.
func (w *windows) get(id recording.UUID) *[2]window {
	if have := w.of[id]; have != nil {
		return have
	}
	if w.of == nil {
		w.of = map[recording.UUID]*[2]window{}
	}
	if len(w.order) == maxWindows {
		w.drop(w.order[0])
		w.order = append(w.order[:0], w.order[1:]...)
	}
	w.of[id] = new([2]window)
	w.order = append(w.order, id)
	return w.of[id]
}

// drop forgets the windows of a conversation.
func (w *windows) drop(id recording.UUID) {
	if have := w.of[id]; have != nil {
		for _, side := range have {
			if side.begun != nil {
				w.kept -= len(side.begun.data)
			}
		}
		delete(w.of, id)
	}
}

// keep keeps a message that continues in a later part, and reports whether there was room for it.
func (w *windows) keep(id recording.UUID, side int, b begun, most int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kept+len(b.data) > most {
		return false
	}
	w.kept += len(b.data)
	w.get(id)[side].begun = &b
	return true
}

// resume returns a message that was kept.
func (w *windows) resume(id recording.UUID, side int) (begun, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	have := w.of[id]
	if have == nil || have[side].begun == nil {
		return begun{}, false
	}
	b := *have[side].begun
	have[side].begun = nil
	w.kept -= len(b.data)
	return b, true
}

// forget ends a conversation.
func (w *windows) forget(id recording.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(id)
	for i, have := range w.order {
		if have == id {
			w.order = append(w.order[:i], w.order[i+1:]...)
			break
		}
	}
}

// inflate decompresses a message. If cut is true, its end is missing, and no later message of this side
// can be decompressed.
func (w *windows) inflate(id recording.UUID, side int, data []byte, most int, cut bool) (plain []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	have := &w.get(id)[side]
	if have.lost {
		return nil, false
	}
	plain, err := have.Inflate(data, int64(most))
	if err != nil || cut {
		*have = window{lost: true}
		return nil, false
	}
	return plain, true
}
