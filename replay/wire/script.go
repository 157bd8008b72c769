package wire

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// A script holds the client's messages of a conversation, in order, and when the server's arrived:
//
//	when the client's side ended, and when both had: varints of microseconds, 0 if unknown
//	the extensions that the recorded server agreed to, with the size before them
//	per message: its flags (1 byte), when it arrived (varint of microseconds),
//	             and for the client's messages the data, with the size before it

// Flags of a message. The lower four bits are its opcode.
const (
	fromServer byte = 1 << (iota + 4)
	compressed
	more
)

// opcodes are those of WebSocket frames. Messages of gRPC have no type.
var opcodes = map[string]byte{"": 0, "continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}

const (
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// script writes a conversation.
func (w *writer) script(c *recording.Conversation) error {
	ended, _ := w.e.RequestEnd()
	w.time(ended.Microseconds())
	w.time(w.e.End().Microseconds())
	w.data([]byte(w.e.HTTP.Res.Headers.Get(extensions)))
	for i := range c.Messages {
		m := &c.Messages[i]
		what, ok := opcodes[m.Type]
		if !ok {
			return fmt.Errorf("message %d: unknown type %q: %w", i+1, m.Type, ErrMalformed)
		}
		if m.Compressed {
			what |= compressed
		}
		if m.More {
			what |= more
		}
		if m.From == recording.Server {
			what |= fromServer
		}
		w.out = append(w.out, what)
		w.time(m.At)
		if m.From != recording.Server {
			w.data(m.Data)
		}
	}
	return nil
}

// extensions is the field in which both sides of a WebSocket agree to compression.
const extensions = "Sec-Websocket-Extensions"

// time writes microseconds, up to the longest time of a conversation.
func (w *writer) time(us int64) {
	w.out = binary.AppendUvarint(w.out, uint64(min(max(0, us), maxTime.Microseconds())))
}

const maxTime = 365 * 24 * time.Hour

// data writes bytes with their size before them.
func (w *writer) data(p []byte) {
	w.out = append(binary.AppendUvarint(w.out, uint64(len(p))), p...)
}

// line is a message of the client, with the time to send it.
type line struct {
	what byte
	data []byte
	// after is the number of server messages before it. gap is the recorded time since the last of
	// them, or since the beginning.
	after int
	gap   time.Duration
}

// script reads a script.
type script struct {
	rest   []byte
	agreed []byte
	lines  int           // remaining messages of the client
	heard  int           // messages of the server before the client's next one
	from   time.Duration // when the last of these arrived
	total  int           // messages of the server
	// last is how long after the last message of the server, or after the beginning, the
	// conversation ended.
	last time.Duration
	// closing is the number of server messages before the client's side ended, and gap is the time
	// from the last of them to that end.
	closing int
	gap     time.Duration
	stays   bool // the client's side was open when the client cancelled the stream
	closed  bool // the conversation has a close frame
	pings   int  // pings of the server before the client's next message
	shutBy  bool // the server's close frame arrived before the client's next message
}

// open begins reading.
func (s *script) open(f *form) {
	*s = script{rest: f.script}
	ended, over := s.time(), s.time()
	s.agreed, s.gap, s.stays = s.bytes(), ended, f.has(cancels) && ended == 0
	all := *s
	for len(all.rest) > 0 {
		l := all.read()
		if l.what&fromServer == 0 {
			s.lines++
		}
		s.closed = s.closed || l.what&15 == opClose
		if ended > 0 && all.from < ended {
			s.closing, s.gap = all.heard, ended-all.from
		}
	}
	s.total, s.last = all.heard, max(0, over-all.from)
}

func (s *script) number() int64 {
	v, n := binary.Uvarint(s.rest)
	s.rest = s.rest[n:]
	return int64(v)
}

func (s *script) time() time.Duration { return time.Duration(s.number()) * time.Microsecond }

func (s *script) bytes() (p []byte) {
	n := s.number()
	p, s.rest = s.rest[:n], s.rest[n:]
	return p
}

// read reads the next message of either side.
func (s *script) read() line {
	l := line{what: s.rest[0]}
	s.rest = s.rest[1:]
	at := s.time()
	if l.what&fromServer == 0 {
		l.data, l.after, l.gap = s.bytes(), s.heard, max(0, at-s.from)
		return l
	}
	switch op := l.what & 15; {
	case op == opPing:
		s.pings++
	case op == opClose:
		s.shutBy = true
	case op < opClose && l.what&more == 0: // a message, or the last fragment of one
		s.heard, s.from = s.heard+1, at
	}
	return l
}

// next returns the client's next message, and whether there is one.
func (s *script) next() (line, bool) {
	for s.lines > 0 {
		if l := s.read(); l.what&fromServer == 0 {
			s.lines--
			return l, true
		}
	}
	return line{}, false
}
