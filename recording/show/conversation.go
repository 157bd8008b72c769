package show

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/coding"
)

func converse(e *recording.Exchange, c *recording.Conversation, o Options) *Conversation {
	o.MaxBody = o.MaxMessage
	x := &Conversation{
		What: "message", Part: c.Part, Last: c.Last, ClientBytes: c.ClientBytes, ServerBytes: c.ServerBytes,
		list: c.Messages, o: o, of: e,
	}
	switch c {
	case e.GRPC:
		x.Kind = recording.GRPC
		x.Notes = append(x.Notes, wireNote)
	case e.WebSocket:
		x.Kind = recording.WebSocket
		x.join()
	default:
		x.Kind, x.What = recording.TCP, "piece"
	}
	x.Total = len(x.list)
	return x
}

// join joins the frames of a WebSocket into messages. If it can't, it keeps the frames.
func (c *Conversation) join() {
	var all []recording.Message
	left, pings, closes := c.o.MaxJoined, 0, 0
	for i := range c.list {
		switch m := &c.list[i]; m.Type {
		case "ping", "pong":
			pings++
		case "close":
			closes++
		}
		left += int64(len(c.list[i].Data))
	}
	for m, err := range recording.JoinedFrames(c.list, c.o.MaxJoined) {
		if left -= int64(len(m.Data)); left < 0 && err == nil {
			err = fmt.Errorf("the messages have more than %d MiB when decompressed", c.o.MaxJoined>>20)
		}
		if err != nil {
			c.What = "frame"
			c.Notes = append(c.Notes, clean.Text("the frames can't be joined into messages, so each frame is shown: "+err.Error()))
			return
		}
		all = append(all, m)
	}
	c.list = append(all, unfinished(c.list)...)
	if pings > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("pings and pongs are left out: %d", pings))
	}
	if closes > 1 {
		c.Notes = append(c.Notes, "frames after the first close are left out")
	}
}

// maxEvents is how many events of a stream are listed. An event may be as short as three bytes.
const maxEvents = 1 << 20

// stream turns an answer that is a stream of events into a conversation, and removes the text from its
// body. It returns nil if the answer is not such a stream.
func stream(e *recording.Exchange, body *Body, o Options) *Conversation {
	if body == nil || body.Kind != Events {
		return nil
	}
	h := e.Response()
	c := &Conversation{Kind: "events", What: "event", Part: 1, Last: true, o: o, of: e, cut: h.Cut()}
	c.o.MaxBody = o.MaxMessage
	when := clockOf(e)
	plain, err := h.Decode(nil, nil, o.MaxJoined)
	if c.stream = plain; len(h.Codings()) > 0 && !h.Decoded() {
		when = nil // the offsets count encoded bytes
	}
	if errors.Is(err, coding.ErrTooLarge) {
		c.Notes = append(c.Notes, fmt.Sprintf("events after the first %d MiB are left out", o.MaxJoined>>20))
	}
	c.cut = c.cut || err != nil
	c.ClientBytes, c.ServerBytes = e.Sizes()
	eachEvent(plain, func(from, to int) bool {
		if len(c.events) == maxEvents {
			c.Notes = append(c.Notes, fmt.Sprintf("events after the first %d are left out", maxEvents))
			return false
		}
		s := span{from, to, -1}
		if when != nil {
			s.at = when(to - 1)
		}
		c.events = append(c.events, s)
		return true
	})
	c.Total = len(c.events)
	body.Parts, body.MoreParts, body.More = nil, 0, 0
	body.Notes = append(body.Notes, "events are listed below")
	return c
}

// unfinished returns the messages whose last frames are missing, joined from the frames that are present.
func unfinished(frames []recording.Message) (all []recording.Message) {
	open := map[string]*recording.Message{}
	for i := range frames {
		f := &frames[i]
		switch m := open[f.From]; {
		case f.Type == "close":
			return all
		case f.Type == "ping" || f.Type == "pong":
		case !f.More:
			delete(open, f.From)
		case m == nil:
			one := *f
			one.Size = max(f.Size, int64(len(f.Data)))
			one.Data = f.Data[:len(f.Data):len(f.Data)]
			open[f.From] = &one
		default:
			m.Data = append(m.Data, f.Data...)
			m.Size += max(f.Size, int64(len(f.Data)))
		}
	}
	for _, from := range []string{recording.Client, recording.Server} {
		if m := open[from]; m != nil {
			all = append(all, *m)
		}
	}
	return all
}

// Messages skips `from` messages, and returns at most count. It returns fewer at the end of the
// conversation, and none after it. Together they have at most a few MiB of text. After that, only the
// size of a message is shown.
func (c *Conversation) Messages(from, count int) []Said {
	from = min(max(from, 0), c.Total)
	count = min(max(count, 0), c.Total-from)
	all := make([]Said, 0, count)
	b := newBuilder(c.o, max(c.o.MaxMessage, 1<<20))
	for i := range count {
		if c.events != nil {
			all = append(all, c.event(b, from+i))
			continue
		}
		m := &c.list[from+i]
		s := Said{Number: from + i + 1, From: clean.Text(short(m.From)), At: time.Duration(m.At) * time.Microsecond, Type: clean.Text(short(m.Type))}
		s.Body = b.body(c.content(b, m))
		s.Body.Type = ""
		s.Body.Stored = int64(len(m.Data))
		s.Body.Size = max(m.Size, s.Body.Stored)
		all = append(all, s)
	}
	return all
}

// Data returns the bytes of a message, numbered from 1. WebSocket messages are joined and decompressed.
// Events are as they were sent. Data returns nil if there is no such message.
func (c *Conversation) Data(number int) []byte {
	switch {
	case number < 1 || number > c.Total:
		return nil
	case c.events != nil:
		at := c.events[number-1]
		return c.stream[at.from:at.to]
	}
	return c.list[number-1].Data
}

// event turns an event into a message.
func (c *Conversation) event(b *builder, i int) Said {
	at := c.events[i]
	e := readEvent(c.stream[at.from:at.to])
	s := Said{Number: i + 1, From: recording.Server, At: at.at, Type: clean.Text(short(e.kind))}
	depth := 1
	if len(e.data) > c.o.MaxMessage { // body will cut the data
		depth = 0
	}
	s.Fields, s.Body = b.event(e, depth, c.cut)
	return s
}

// content returns the source of a message's body.
func (c *Conversation) content(b *builder, m *recording.Message) content {
	t := content{bytes: m.Data, depth: 1}
	if int64(len(m.Data)) < m.Size {
		t.incomplete = true
		t.notes = append(t.notes, "cut: "+strconv.Itoa(len(m.Data))+" of "+strconv.FormatInt(m.Size, 10)+" bytes are in the recording")
	}
	if m.More {
		t.incomplete = true
		t.notes = append(t.notes, "to be continued")
	}
	switch {
	case c.Kind == recording.GRPC:
		headers := c.of.Request().Headers
		if m.From == recording.Server {
			headers = c.of.Response().Headers
		}
		t.mediaType = messageType(mediaOf(headers.Get("Content-Type")))
		if m.Compressed {
			b.undo(&t, coding.Split(headers.Get("Grpc-Encoding")))
		}
	case m.Type == "close":
		t.bytes = []byte(closing(m.Data))
		t.mediaType = "text/x-close"
	case m.Compressed:
		t.mediaType = "application/octet-stream"
		t.notes = append(t.notes, "compressed")
	}
	if limit := c.o.MaxMessage; len(t.bytes) > limit {
		t.depth = 0 // body will cut the text
	}
	return t
}
