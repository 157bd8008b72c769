package show

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

func converse(e *recording.Exchange, c *recording.Conversation, o Options) *Conversation {
	x := &Conversation{
		What: "message", Part: c.Part, Last: c.Last, ClientBytes: c.ClientBytes, ServerBytes: c.ServerBytes,
		list: c.Messages, o: o, of: e,
	}
	switch c {
	case e.GRPC:
		x.Kind = recording.GRPC
	case e.WebSocket:
		x.Kind, x.What = recording.WebSocket, "frame"
	default:
		x.Kind = recording.TCP
	}
	x.Total = len(x.list)
	return x
}

// Messages returns at most count messages, from the one that has from before it. It returns fewer
// where the conversation ends, and none behind its end.
func (c *Conversation) Messages(from, count int) []Said {
	from = min(max(from, 0), c.Total)
	count = min(max(count, 0), c.Total-from)
	all := make([]Said, 0, count)
	b := builder{e: c.of, o: c.o}
	for i, m := range c.list[from : from+count] {
		s := Said{Number: from + i + 1, From: Clean(m.From), At: time.Duration(m.At) * time.Microsecond, Type: Clean(m.Type)}
		s.Body = b.body(content{bytes: m.Data, max: c.o.MaxMessage})
		if m.Size > 0 {
			s.Body.Size = m.Size
			s.Body.Notes = append(s.Body.Notes, fmt.Sprintf("%d of %d bytes are in the recording", len(m.Data), m.Size))
		}
		if m.Compressed {
			s.Body.Notes = append(s.Body.Notes, "compressed")
		}
		if m.More {
			s.Body.Notes = append(s.Body.Notes, "to be continued")
		}
		all = append(all, s)
	}
	return all
}
