package mock

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/tape"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// maxMessage bounds a gRPC message.
const maxMessage = 64 << 20

// grpcInternal is the gRPC status of a miss. It is not UNIMPLEMENTED, because health checks treat
// that as healthy.
const grpcInternal = "13"

// caller is the client of a gRPC call.
type caller struct {
	q      *ask
	body   io.Reader
	coding string // compression of the client's messages
	in     chan heard
	plain  bool // messages are sent uncompressed
	head   func()
	said   []recording.Message
}

type heard struct {
	line
	err error
}

// call answers a gRPC call of any kind.
func (q *ask) call() {
	ctx, stop := q.context()
	defer stop()
	q.exchange.L7Protocol = recording.GRPC
	c := &caller{q: q, body: q.r.Body, coding: q.r.Header.Get("Grpc-Encoding"), in: make(chan heard)}
	go c.listen(ctx)
	d := &dialogue{ask: q, client: c}
	first, err := c.hear(ctx, nil)
	q.exchange.GRPC = &recording.Conversation{Part: 1}
	switch {
	case err == nil:
		d.heard = append(d.heard, first)
		q.exchange.GRPC.Messages = []recording.Message{{From: recording.Client, Data: first.data}}
	case errors.Is(err, io.EOF):
		d.ended = true
	default:
		q.gone()
	}
	live := q.lib.matcher.Request(&q.exchange)
	defer q.lib.matcher.Release(live)
	found := q.lookup(live)
	if why := d.begin(found, tape.GRPC); why.code != "" {
		if q.Passthrough.Lists(q.address()) {
			q.r.Body = io.NopCloser(&callBody{c: c, ctx: ctx, heard: d.heard})
			q.pass(why)
			return
		}
		q.grpcMiss(why, live, found)
		return
	}
	q.answer, q.out.entry = &d.lead().meta, d.lead().entry
	q.decide()
	q.pause(q.effect.Delay)
	switch {
	case q.effect.End != fault.Normal:
		q.breakOff()
		return
	case q.effect.Status != 0 || q.effect.GRPC != "":
		q.grpcFault()
		q.finish(Hit)
		return
	}
	c.head = func() { c.begin(live, found, d) }
	err = d.run(ctx, func(ctx context.Context) (line, error) {
		if d.chosen != nil || len(d.agree) == 1 {
			return line{}, errDone // the server ends the call
		}
		return c.hear(ctx, nil)
	})
	q.out.said = conversation(c.said)
	var unlike *errUnlike
	switch {
	case errors.As(err, &unlike):
		q.grpcMiss(reason{"no_match", unlike.text}, live, found)
		return
	case err != nil:
		q.gone()
	}
	s := d.chosen
	q.out.entry = s.entry
	end := d.last.Add(scaled(max(0, s.took-d.at), q.Latency.Streams)) // latency applies to the end of a stream, too
	if d.total == 0 {
		end = d.last.Add(scaled(s.meta.Wait, q.Latency.Answers))
	} else if d.total == 1 {
		end = d.last
	}
	if !wait(ctx, end) {
		q.gone()
	}
	c.sendHead()
	stands := q.stands(live, found)
	for _, t := range s.meta.Trailer {
		q.w.Header().Add(http.TrailerPrefix+t.Name, stands.text(t.Value))
	}
	q.finish(Hit)
}

// gone ends the request and counts it as unfinished, because its client is gone.
func (q *ask) gone() {
	q.unfinished.Add(1)
	panic(http.ErrAbortHandler)
}

// listen reads the client's messages.
func (c *caller) listen(ctx context.Context) {
	for {
		l, err := c.read()
		select {
		case c.in <- heard{l, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// read reads one message: a flag, four bytes of length, and the payload.
func (c *caller) read() (l line, err error) {
	var head [5]byte
	if _, err := io.ReadFull(c.body, head[:]); err != nil {
		return l, err // io.EOF at the end
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxMessage {
		return l, fmt.Errorf("a message has %d bytes; at most %d are allowed", n, maxMessage)
	}
	var b bytes.Buffer // grows with the bytes that arrive, whatever length the client claims
	if _, err := io.CopyN(&b, c.body, int64(n)); err != nil {
		return l, io.ErrUnexpectedEOF
	}
	l.data = b.Bytes()
	if head[0]&1 != 0 {
		var d coding.Decoder
		defer d.Close()
		l.data, err = d.Decode(nil, coding.Split(c.coding), l.data, maxMessage)
	}
	return l, err
}

func (c *caller) hear(ctx context.Context, _ []line) (line, error) {
	select {
	case h := <-c.in:
		return h.line, h.err
	case <-ctx.Done():
		return line{}, ctx.Err()
	}
}

func (c *caller) halfCloses() bool { return true }

// script returns the messages, decompressed.
func (c *caller) script(a *tape.Answer) (lines []line, servers []bool, err error) {
	var d coding.Decoder
	defer d.Close()
	for i, m := range a.Messages {
		l := line{data: m.Data, at: time.Duration(m.At) * time.Microsecond}
		if m.Compressed {
			encoding := a.Asked
			if m.From == recording.Server {
				encoding = a.Header.Get("Grpc-Encoding")
			}
			if l.data, err = d.Decode(nil, coding.Split(encoding), m.Data, maxMessage); err != nil {
				return nil, nil, fmt.Errorf("message %d: %w", i+1, err)
			}
			l.kind = "compressed"
		}
		lines, servers = append(lines, l), append(servers, m.From == recording.Server)
	}
	return lines, servers, nil
}

func (c *caller) same(recorded, live line) (same, decided bool) {
	same = bytes.Equal(recorded.data, live.data)
	return same, same
}

// accepts reports whether the client accepts the compression of the recorded messages.
func (c *caller) accepts() bool {
	encoding := c.q.answer.Header.Get("Grpc-Encoding")
	return encoding == "gzip" && strings.Contains(strings.Join(c.q.r.Header["Grpc-Accept-Encoding"], ","), encoding)
}

// begin sends the header of the recorded conversation that the mock follows.
func (c *caller) begin(live *match.Request, found match.Result, d *dialogue) {
	s := d.lead()
	c.q.answer, c.q.out.entry = &s.meta, s.entry
	c.plain = !c.accepts()
	c.q.grpcHead(c.q.stands(live, found), c.plain)
}

// sendHead sends the answer's header, once.
func (c *caller) sendHead() {
	if c.head != nil {
		c.head()
		c.head = nil
	}
}

func (c *caller) say(l line) error {
	c.sendHead()
	flag, data := byte(0), l.data
	if l.kind == "compressed" && !c.plain {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(data) // a Buffer never fails
		_ = z.Close()
		flag, data = 1, b.Bytes()
	}
	out := append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(data))), data...)
	if _, err := c.q.w.Write(out); err != nil {
		return err
	}
	if c.q.Sink != nil {
		c.said = append(c.said, recording.Message{From: recording.Server, At: time.Since(c.q.began).Microseconds(), Data: l.data})
	}
	return http.NewResponseController(c.q.w).Flush()
}

// callBody reads the client's messages of a call, from the first one, in gRPC's framing.
type callBody struct {
	c     *caller
	ctx   context.Context
	heard []line
	rest  []byte
}

func (b *callBody) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		var l line
		if len(b.heard) > 0 {
			l, b.heard = b.heard[0], b.heard[1:]
		} else {
			var err error
			if l, err = b.c.hear(b.ctx, nil); err != nil {
				return 0, err
			}
		}
		b.rest = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(l.data))), l.data...)
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// grpcHead sends the recorded header.
func (q *ask) grpcHead(live replacer, plain bool) {
	h := q.w.Header()
	q.fields(h, live)
	if plain {
		h.Del("Grpc-Encoding")
	}
	for _, set := range q.effect.Header {
		h.Set(set[0], set[1])
	}
	status := q.answer.Status
	if status < 200 || status > 999 {
		status = http.StatusOK
	}
	q.out.begun, q.out.status, q.out.header = time.Now(), status, h
	q.w.WriteHeader(status)
}

// grpcFault answers with the status of a fault rule.
func (q *ask) grpcFault() {
	h := q.w.Header()
	for _, set := range q.effect.Header {
		h.Set(set[0], set[1])
	}
	if q.effect.Status != 0 {
		q.w.WriteHeader(q.effect.Status)
		q.out.status = q.effect.Status
		return
	}
	q.grpcStatus(q.effect.GRPC, "injected by a fault rule")
}

// grpcStatus ends a call with a status. The mock must not have sent any of the answer yet.
func (q *ask) grpcStatus(code, message string) {
	h := q.w.Header()
	h["Date"] = nil
	h.Set("Content-Type", q.r.Header.Get("Content-Type"))
	h.Set("Grpc-Status", code)
	h.Set("Grpc-Message", percent(message))
	q.out.status, q.out.header = http.StatusOK, h
	q.w.WriteHeader(http.StatusOK)
}

// grpcMiss ends a call that has no recorded answer.
func (q *ask) grpcMiss(why reason, live *match.Request, found match.Result) {
	miss := q.explain(why, live, found)
	text := strings.ReplaceAll(strings.TrimSpace(miss.text()), "\n", "; ")
	if q.out.begun.IsZero() {
		q.w.Header().Set("Cache-Control", "no-store")
		q.w.Header().Set("X-Tapedeck-Match", string(Missed))
		q.grpcStatus(grpcInternal, text)
	} else {
		q.w.Header().Set(http.TrailerPrefix+"Grpc-Status", grpcInternal)
		q.w.Header().Set(http.TrailerPrefix+"Grpc-Message", percent(text))
	}
	q.out.why = miss.Reason
	q.finish(Missed)
}

// maxStatusText bounds the message of a gRPC status, because clients bound headers.
const maxStatusText = 2 << 10

// percent encodes the message of a gRPC status.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s[:min(len(s), maxStatusText)]) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
