package show

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// maxJoined is how many bytes a WebSocket's messages may have together when they are joined and
// decompressed, beside those that the recording has.
const maxJoined = 32 << 20

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

// join joins a WebSocket's frames. Where that can't be done, it leaves them.
func (c *Conversation) join() {
	var all []recording.Message
	left, pings, closes := int64(maxJoined), 0, 0
	for i := range c.list {
		switch m := &c.list[i]; m.Type {
		case "ping", "pong":
			pings++
		case "close":
			closes++
		}
		left += int64(len(c.list[i].Data))
	}
	for m, err := range recording.JoinedFrames(c.list, int64(c.o.MaxMessage)+maxJoined) {
		if left -= int64(len(m.Data)); left < 0 && err == nil {
			err = fmt.Errorf("the messages have more than %d MiB when decompressed", maxJoined>>20)
		}
		if err != nil {
			c.What = "frame"
			c.Notes = append(c.Notes, Clean("frames are shown as they were sent, as they could not be joined: "+err.Error()))
			return
		}
		all = append(all, m)
	}
	c.list = append(all, unfinished(c.list)...)
	if pings > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("pings and pongs are left out: %d", pings))
	}
	if closes > 1 {
		c.Notes = append(c.Notes, "what follows the first close is left out")
	}
}

// unfinished returns the messages whose last frames are missing, as far as there are frames.
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

// Messages returns at most count messages, from the one that has from before it. It returns fewer
// where the conversation ends, and none behind its end. Together they have a few MiB of text: of
// those that come too late for it, nothing is shown but their size.
func (c *Conversation) Messages(from, count int) []Said {
	from = min(max(from, 0), c.Total)
	count = min(max(count, 0), c.Total-from)
	all := make([]Said, 0, count)
	b := newBuilder(c.o, max(c.o.MaxMessage, 1<<20))
	for i := range c.list[from : from+count] {
		m := &c.list[from+i]
		s := Said{Number: from + i + 1, From: Clean(short(m.From)), At: time.Duration(m.At) * time.Microsecond, Type: Clean(short(m.Type))}
		s.Body = b.body(c.content(b, m))
		s.Body.Type = ""
		s.Body.Stored = int64(len(m.Data))
		s.Body.Size = max(m.Size, s.Body.Stored)
		all = append(all, s)
	}
	return all
}

// content is what a message is made of.
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
		t.depth = 0 // which body cuts
	}
	return t
}
