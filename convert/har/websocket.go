package har

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
)

// opcodes maps the numbers in HAR to the names of a WebSocket's opcodes.
var opcodes = map[float64]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}

// messages sets the messages of a WebSocket.
func (p *parser) messages() error {
	e := p.e
	c := &recording.Conversation{Part: 1, Last: true}
	err := recording.EachElement(p.webSocket, recording.MaxMessages, func(raw []byte) error {
		var kind, data string
		op, at := 1.0, 0.0
		others, err := p.object("_webSocketMessages[]", raw, map[string]func([]byte) error{
			"type": p.text("_webSocketMessages[].type", &kind), "data": p.text("_webSocketMessages[].data", &data),
			"opcode": p.number("_webSocketMessages[].opcode", &op), "time": p.number("_webSocketMessages[].time", &at),
		})
		if err != nil {
			return err
		}
		for _, o := range others {
			p.losses.Add("_webSocketMessages[]."+o.Name, "not kept")
		}
		m := recording.Message{From: recording.Server, Type: opcodes[op], Data: []byte(data)}
		if kind == "send" {
			m.From = recording.Client
		} else if kind != "receive" { // Chromium also lists the connection's errors
			p.losses.Add("_webSocketMessages[].type", fmt.Sprintf("%.20q is neither send nor receive; the message is not kept", kind))
			return nil
		}
		if m.Type == "" {
			p.losses.Add("_webSocketMessages[].opcode", fmt.Sprintf("%v is unknown, not kept", op))
		}
		if op != 1 && data != "" {
			if m.Data, err = base64.StdEncoding.DecodeString(data); err != nil {
				m.Data = []byte(data)
				p.losses.Add("_webSocketMessages[].data", "is not base64; it is kept unchanged")
			}
		}
		if us := at*1e6 - float64(e.TS.UnixMicro()); us > 0 && us < maxMillis*1000 {
			m.At = int64(math.Round(us))
		}
		if m.From == recording.Client {
			c.ClientBytes += int64(len(m.Data))
		} else {
			c.ServerBytes += int64(len(m.Data))
		}
		c.Messages = append(c.Messages, m)
		return nil
	})
	e.WebSocket, e.L7Protocol = c, recording.WebSocket
	return err
}

// appendFrames appends the messages of a WebSocket in Chromium's form.
func appendFrames(dst []byte, e *recording.Exchange) []byte {
	dst = append(dst, '[')
	for i, m := range e.WebSocket.Messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		o := begin(dst)
		o.text("type", map[string]string{recording.Client: "send", recording.Server: "receive"}[m.From])
		o.raw("time", strconv.AppendFloat(nil, float64(e.TS.UnixMicro()+m.At)/1e6, 'f', -1, 64))
		op := 1
		for number, name := range opcodes {
			if name == m.Type {
				op = int(number)
			}
		}
		if op == 1 && !utf8.Valid(m.Data) { // a fragment may end within a character
			op = 2
		}
		o.number("opcode", int64(op))
		if op == 1 {
			o.text("data", string(m.Data))
		} else {
			o.text("data", base64.StdEncoding.EncodeToString(m.Data))
		}
		dst = o.end()
	}
	return append(dst, ']')
}
