package carry

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tapedeck/tapedeck/recording"
)

// messages visits the messages that one side of a gRPC call or of a WebSocket sent, if they are
// complete and readable. It writes changed messages into the conversation.
func (w *walker) messages(e *recording.Exchange, from string) {
	c := e.GRPC
	if c == nil {
		c = e.WebSocket
	}
	if c == nil {
		return
	}
	w.begin(from)
	w.push(placeStep{name: "message"})
	n := int32(-1)
	for i := range c.Messages {
		m := &c.Messages[i]
		if m.From != from {
			continue
		}
		n++
		if m.More || m.Compressed || m.Size != 0 || len(m.Data) == 0 || len(m.Data) > maxBody || w.texts > maxTexts {
			continue
		}
		text := string(m.Data)
		w.push(placeStep{kind: element, n: n})
		with := text
		switch {
		case e.GRPC != nil:
			with = w.protobuf(text, 0)
		case m.Type == "text":
			with = w.body(text, "")
		}
		if with != text {
			m.Data = []byte(with)
		}
		w.pop()
	}
	w.pop()
}

// protobuf visits the strings of a message in protobuf's wire format, in which field names are
// numbers. It skips fields that are neither text nor a message.
func (w *walker) protobuf(s string, depth int) string {
	p := splice{src: s}
	b := []byte(s)
	last, n := protowire.Number(0), int32(0)
	for i := 0; i < len(b) && depth < maxDepth && w.texts <= maxTexts; w.texts++ {
		field, kind, tag := protowire.ConsumeTag(b[i:])
		if tag < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(field, kind, b[i+tag:])
		if size < 0 {
			break
		}
		if n++; field != last {
			last, n = field, 0
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b[i+tag:])
			w.push(placeStep{name: strconv.Itoa(int(field)), n: n})
			text := string(value)
			with := text
			if isText(value, false) {
				with = w.leaf(text)
			} else if isMessage(value) {
				with = w.protobuf(text, depth+1)
			}
			if with != text {
				p.put(i+tag, i+tag+size, string(protowire.AppendString(nil, with)))
			}
			w.pop()
		}
		i += tag + size
	}
	return p.done()
}

// isMessage reports whether b can be a message, which consists only of fields.
func isMessage(b []byte) bool {
	for len(b) > 0 {
		n := 0
		if _, _, n = protowire.ConsumeField(b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}
