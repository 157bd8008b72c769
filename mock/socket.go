package mock

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/tape"
	"github.com/tapedeck/tapedeck/recording"
)

// socketClient is the client of a WebSocket.
type socketClient struct {
	q    *ask
	conn *websocket.Conn
	in   chan heard
	over bool // the mock has closed the conversation
	said []recording.Message
}

// socket answers a WebSocket handshake, and then the client's messages.
func (q *ask) socket() {
	live := q.lib.matcher.Request(&q.exchange)
	defer q.lib.matcher.Release(live)
	found := q.lookup(live)
	ctx, stop := context.WithCancel(q.end)
	defer stop()
	p := &socketClient{q: q, in: make(chan heard)}
	d := &dialogue{ask: q, client: p}
	if why := d.begin(found, tape.WebSocket); why.code != "" {
		q.otherwise(why, live, found)
		return
	}
	// All conversations with this handshake have the same answer to it.
	q.answer, q.out.entry = &d.lead().meta, d.lead().entry
	q.decide()
	q.pause(q.effect.Delay + scaled(q.answer.Wait, q.Latency.Answers))
	switch {
	case q.effect.End != fault.Normal && q.effect.End != fault.Drop:
		q.breakOff()
		return
	case q.effect.Status != 0:
		q.out.status = q.effect.Status
		q.w.WriteHeader(q.effect.Status)
		q.finish(Hit)
		return
	}
	if err := p.accept(q.stands(live, found)); err != nil {
		q.unfinished.Add(1)
		return
	}
	defer p.conn.CloseNow()
	go p.listen(ctx)
	// After the recorded messages, the client may end the conversation, or send a message that was
	// not recorded.
	err := d.run(ctx, func(ctx context.Context) (line, error) {
		if q.effect.End == fault.Drop {
			return line{}, errDone
		}
		l, err := p.hear(ctx, nil)
		if err == nil && l.kind == closing {
			err = io.EOF
		}
		return l, err
	})
	d.record(p.said)
	var unlike *errUnlike
	switch {
	case errors.As(err, &unlike):
		p.miss(reason{"no_match", unlike.text}, live, found)
		return
	case err != nil:
		if ctx.Err() != nil {
			_ = p.conn.Close(websocket.StatusGoingAway, "")
		}
		q.unfinished.Add(1)
	case q.effect.End == fault.Drop:
		q.conn.Abort()
	}
	q.finish(Hit)
}

// accept answers the handshake. It agrees to compression if the recorded server did and the client
// offers it.
func (p *socketClient) accept(live replacer) error {
	q := p.q
	h := q.w.Header()
	o := &websocket.AcceptOptions{InsecureSkipVerify: true} // don't check the origin: the recording decides
	for _, f := range q.answer.Header {
		switch f.Name {
		case "Sec-Websocket-Protocol":
			o.Subprotocols = append(o.Subprotocols, f.Value)
		case "Sec-Websocket-Extensions":
			if strings.Contains(f.Value, "permessage-deflate") {
				o.CompressionMode = websocket.CompressionContextTakeover
			}
		default:
			h.Add(f.Name, live.text(f.Value))
		}
	}
	for _, set := range q.effect.Header {
		h.Set(set[0], set[1])
	}
	q.out.begun, q.out.status, q.out.header = time.Now(), http.StatusSwitchingProtocols, h
	var err error
	p.conn, err = websocket.Accept(q.w, q.r, o)
	if err != nil {
		return fmt.Errorf("answer the handshake: %w", err)
	}
	p.conn.SetReadLimit(maxMessage)
	return nil
}

// listen reads the client's messages, and answers pings.
func (p *socketClient) listen(ctx context.Context) {
	for {
		kind, data, err := p.conn.Read(ctx)
		h := heard{line: line{kind: kinds[kind], data: data}}
		var closed websocket.CloseError
		switch {
		case errors.As(err, &closed):
			h.line = closeLine(int(closed.Code), closed.Reason)
		case err != nil:
			h.err = err
		}
		select {
		case p.in <- h:
		case <-ctx.Done():
			return
		}
		if err != nil {
			close(p.in)
			return
		}
	}
}

// closing is the kind of a line that ends a conversation.
const closing = "close"

var kinds = map[websocket.MessageType]string{websocket.MessageText: "text", websocket.MessageBinary: "binary"}

// closeLine returns the line of a close frame. 1005 means that it has no code.
func closeLine(code int, text string) line {
	if code == int(websocket.StatusNoStatusRcvd) {
		return line{kind: closing}
	}
	return line{kind: closing, data: append(binary.BigEndian.AppendUint16(nil, uint16(code)), text...)}
}

func (p *socketClient) halfCloses() bool { return false }

func (p *socketClient) hear(ctx context.Context, _ []line) (line, error) {
	select {
	case h, ok := <-p.in:
		if !ok || p.over {
			return line{}, io.EOF
		}
		return h.line, h.err
	case <-ctx.Done():
		return line{}, ctx.Err()
	}
}

func (p *socketClient) say(l line) error {
	ctx, cancel := context.WithTimeout(p.q.end, writeTime)
	defer cancel()
	if p.q.Sink != nil {
		p.said = append(p.said, recording.Message{From: recording.Server, Type: l.kind, At: time.Since(p.q.began).Microseconds(), Data: l.data})
	}
	switch l.kind {
	case closing:
		code, text := websocket.StatusNormalClosure, ""
		if len(l.data) >= 2 {
			code, text = websocket.StatusCode(binary.BigEndian.Uint16(l.data)), string(l.data[2:])
		}
		p.over = true
		_ = p.conn.Close(code, text) // this waits for the client's close frame, and fails if none comes
		return nil
	case "binary":
		return p.conn.Write(ctx, websocket.MessageBinary, l.data)
	}
	return p.conn.Write(ctx, websocket.MessageText, l.data)
}

// writeTime bounds how long a client may take to read a message.
const writeTime = time.Minute

// same compares messages. Close frames are equal, whatever their codes.
func (p *socketClient) same(recorded, live line) (same, decided bool) {
	if recorded.kind == closing || recorded.kind != live.kind {
		return recorded.kind == live.kind, true
	}
	same = bytes.Equal(recorded.data, live.data)
	return same, same
}

// script returns the messages of both sides, without pings and pongs.
func (p *socketClient) script(a *tape.Answer) (lines []line, servers []bool, err error) {
	all, err := recording.JoinFrames(a.Messages, maxMessage)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range all {
		lines = append(lines, line{kind: m.Type, data: m.Data, at: time.Duration(m.At) * time.Microsecond})
		servers = append(servers, m.From == recording.Server)
	}
	return lines, servers, nil
}

// miss ends a WebSocket after an unrecorded message of the client.
func (p *socketClient) miss(why reason, live *match.Request, found match.Result) {
	miss := p.q.explain(why, live, found)
	text := "tapedeck: MISS: " + miss.Reason
	_ = p.conn.Close(websocket.StatusInternalError, text[:min(len(text), 120)])
	p.q.out.why = miss.Reason
	p.q.finish(Missed)
}
