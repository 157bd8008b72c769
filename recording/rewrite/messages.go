package rewrite

import (
	"errors"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// side has the messages of one side of a conversation.
type side struct {
	talk     *recording.Conversation // nil if there is none
	from     string
	place    fieldpath.Path
	stream   bool // whether the messages are pieces of one text
	messages []message
	changed  bool
}

// message is a message without its compression. It may have several frames.
type message struct {
	text   string
	parts  []int // the indexes of its frames in the conversation
	opaque bool  // whether it could not be decompressed
}

// side returns the messages of the client if i is 0, or of the server if i is 1.
func (d *draft) side(i int) *side {
	if d.sides[i] != nil {
		return d.sides[i]
	}
	s := &side{talk: d.e.Conversation(), from: recording.Client, place: fieldpath.Of("client", "message"), stream: d.e.TCP != nil}
	headers := d.e.Request().Headers
	if i == 1 {
		s.from, s.place, headers = recording.Server, fieldpath.Of("server", "message"), d.e.Response().Headers
	}
	d.sides[i] = s
	if s.talk == nil {
		return s
	}
	open := -1 // the message for which more frames follow
	for n, m := range s.talk.Messages {
		if m.From != s.from {
			continue
		}
		if open >= 0 && (s.stream || m.Type == "continuation") {
			last := &s.messages[open]
			last.text += string(m.Data)
			last.parts = append(last.parts, n)
		} else {
			s.messages = append(s.messages, message{text: string(m.Data), parts: []int{n}})
		}
		switch {
		case m.Type == "ping", m.Type == "pong", m.Type == "close": // these may be between the frames of a message (RFC 6455, section 5.4)
		case !m.More && !s.stream:
			open = -1
		case open < 0:
			open = len(s.messages) - 1
		}
	}
	s.decompress(d, headers)
	return s
}

// decompress undoes the compression of messages.
func (s *side) decompress(d *draft, headers recording.Headers) {
	var compressed coding.Messages
	for i := range s.messages {
		m := &s.messages[i]
		if !s.talk.Messages[m.parts[0]].Compressed {
			continue
		}
		var plain []byte
		var err error
		if d.e.WebSocket != nil {
			plain, err = compressed.Inflate([]byte(m.text), maxBody)
		} else if codings := coding.Split(headers.Get("Grpc-Encoding")); len(codings) > 0 {
			plain, err = d.w.decoder.Decode(nil, codings, []byte(m.text), maxBody)
		} else {
			err = errors.New("the message is compressed, but no header names its coding")
		}
		if err != nil {
			d.w.report.Unreadable++
			m.opaque = true
			continue
		}
		m.text = string(plain)
	}
}

// texts returns the texts of the messages.
func (s *side) texts() (all []string) {
	for _, m := range s.messages {
		all = append(all, m.text)
	}
	return all
}

// at changes the values at a place in each message.
func (s *side) at(d *draft, p fieldpath.Path) {
	for i := range s.messages {
		m := &s.messages[i]
		if m.text == "" {
			continue
		}
		text, ok := m.text, false
		if p.Covers(s.place) && d.rule.Do == "drop" {
			text, ok = "", true
			d.changedAt(s.place, p.String())
		} else if text, ok = d.document(m.text, "", s.place, p); !ok && p.Covers(s.place) {
			text = s.replacement(d, m)(m.text)
			d.changedAt(s.place, p.String())
		}
		s.set(d, m, text)
	}
}

// mask changes the values that a rule looks for.
func (s *side) mask(d *draft, f *finder) {
	for i := range s.messages {
		m := &s.messages[i]
		if m.text == "" || !f.in(m.text) {
			continue
		}
		text, ok := m.text, false
		if !s.stream {
			text, ok = d.maskDocument(m.text, "", s.place, f)
		}
		if !ok || f.in(text) {
			d.changedAt(s.place, kindOf(s.place))
			text = f.mask(m.text, s.replacement(d, m))
		}
		s.set(d, m, text)
	}
}

// replacement returns the function that replaces a value. In streams and binary messages it keeps the
// size, because they may store the lengths of their parts.
func (s *side) replacement(d *draft, m *message) func(string) string {
	if d.e.WebSocket != nil && utf8.ValidString(m.text) {
		return d.replacement
	}
	return d.sizedReplacement
}

func (s *side) set(d *draft, m *message, text string) {
	if text != m.text {
		m.text, m.opaque, s.changed, d.changed = text, false, true, true
	}
}

// finish stores the messages if one was changed. It stores all of them uncompressed, because each may
// refer to earlier ones.
func (s *side) finish() {
	if !s.changed {
		return
	}
	for _, m := range s.messages {
		if m.opaque {
			continue
		}
		total := 0
		for _, n := range m.parts {
			total += len(s.talk.Messages[n].Data)
		}
		rest := m.text
		for _, n := range m.parts {
			to := &s.talk.Messages[n]
			size := len(rest) // the first frame gets all of it, unless the size is unchanged
			if total == len(m.text) {
				size = len(to.Data)
			}
			if m.text == "" && to.Size == 0 {
				to.Size = int64(len(to.Data)) // the size remains although the message is left out
			}
			to.Data, rest = []byte(rest[:size]), rest[size:]
			if size == 0 {
				to.Data = nil
			}
			to.Compressed = false
		}
	}
}
