package mock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/mock/tape"
	"github.com/tapedeck/tapedeck/recording"
)

// streamClient is the client of a TCP stream in an unknown protocol.
type streamClient struct {
	conn *front.Conn
	sink bool
	said []recording.Message
	from time.Time
}

// openingTime bounds the time from a client's first byte to the end of its opening.
const openingTime = 5 * time.Second

// serveStream answers a stream whose bytes were recorded.
func (m *Mock) serveStream(ctx context.Context, c *front.Conn) {
	m.active.Add(1)
	defer m.active.Done()
	q := &ask{Mock: m, state: m.now.Load(), conn: c, host: c.Host, began: time.Now(), scheme: "tcp"}
	address := c.Address()
	q.host = address
	q.exchange = recording.Exchange{MsgType: recording.MsgType, TS: q.began, Direction: recording.Out, L7Protocol: recording.TCP, IsTLS: c.TLS, ALPN: c.ALPN, NetworkAddress: address, TCP: &recording.Conversation{Part: 1}}
	q.id = order.Identity{}
	p := &streamClient{conn: c, sink: m.Sink != nil, from: q.began}
	stop := context.AfterFunc(ctx, c.Abort)
	defer stop()
	d := &dialogue{ask: q, client: p}
	live, found := q.open(p)
	if why := d.begin(found, tape.TCP); why.code != "" {
		if m.Passthrough.Lists(address) {
			q.passStream(ctx, address, why)
			return
		}
		q.reset(why, live, found)
		return
	}
	q.answer, q.out.entry = &d.lead().meta, d.lead().entry
	q.decide()
	if !wait(ctx, time.Now().Add(q.effect.Delay)) {
		_ = c.Close()
		return
	}
	switch q.effect.End {
	case fault.Refuse, fault.Reset:
		q.finish(Hit)
		c.Abort()
		return
	case fault.Stall:
		q.finish(Hit)
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
		return
	}
	err := d.run(ctx, func(ctx context.Context) (line, error) { return p.after(ctx, d) })
	d.record(p.said)
	var unlike *errUnlike
	switch {
	case errors.As(err, &unlike):
		q.reset(reason{"no_match", unlike.text}, live, found)
		return
	case err != nil:
		q.unfinished.Add(1)
		q.finish(Hit)
		_ = c.Close()
		return
	}
	q.finish(Hit)
	if q.effect.End == fault.Drop {
		c.Abort()
		return
	}
	_ = c.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, c) // closing a connection with unread bytes would reset it
	_ = c.Close()
}

// after listens to the client after the recorded messages, as long as the recorded connection
// remained open. Then the mock closes the connection.
func (p *streamClient) after(ctx context.Context, d *dialogue) (line, error) {
	rest := max(endPatience, scaled(max(0, d.lead().took-d.at), d.Latency.Streams))
	for _, s := range d.agree {
		if d.chosen == nil && !s.ended(d.count) { // the client may still send the next message of this conversation
			rest = max(rest, time.Second+2*(s.asks[d.count].at-d.at))
		}
	}
	listen, cancel := context.WithTimeout(ctx, rest)
	defer cancel()
	l, err := p.hear(listen, d.expected())
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return l, errDone
	}
	return l, err
}

// open reads as many of the client's first bytes as an opening of a recorded conversation with this
// server has, and looks them up.
func (q *ask) open(p *streamClient) (live *match.Request, found match.Result) {
	look := func(said []byte) {
		q.exchange.TCP.Messages = nil
		if len(said) > 0 {
			q.exchange.TCP.Messages = []recording.Message{{From: recording.Client, Data: said}}
		}
		live = q.lib.matcher.Request(&q.exchange)
		found = q.lib.index.Lookup(live, nil)
	}
	if look(nil); len(p.conn.Head()) == 0 && found.How != match.None {
		return live, found // the server speaks first
	}
	for _, n := range q.lib.index.Openings(live).Lengths {
		_ = p.conn.SetReadDeadline(time.Now().Add(openingTime))
		for len(p.conn.Head()) < n {
			if _, err := p.conn.Fill(n); err != nil {
				p.conn.Resume()
				look(bytes.Clone(p.conn.Head()))
				return live, found
			}
		}
		p.conn.Resume()
		if look(bytes.Clone(p.conn.Head()[:n])); found.How != match.None {
			return live, found // the bytes remain unread, and are compared again
		}
	}
	look(bytes.Clone(p.conn.Head()))
	return live, found
}

func (p *streamClient) halfCloses() bool { return false }

// hear returns the client's bytes as soon as they equal one of the expected messages, or differ
// from all of them.
func (p *streamClient) hear(ctx context.Context, expected []line) (line, error) {
	if until, ok := ctx.Deadline(); ok {
		_ = p.conn.SetReadDeadline(until)
		defer p.conn.Resume()
	}
	sizes := []int{1}
	if len(expected) > 0 {
		sizes = sizes[:0]
		for _, l := range expected {
			sizes = append(sizes, len(l.data))
		}
		slices.Sort(sizes)
	}
	var b []byte
	for _, n := range slices.Compact(sizes) {
		more := make([]byte, n-len(b))
		read, err := io.ReadFull(p.conn, more)
		b = append(b, more[:read]...)
		switch {
		case err != nil && len(b) == 0 && errors.Is(err, os.ErrDeadlineExceeded):
			return line{}, context.DeadlineExceeded
		case err != nil && len(b) == 0:
			return line{}, err
		case err != nil:
			return line{data: b}, nil
		}
		longer := false
		for _, l := range expected {
			if bytes.Equal(l.data, b) {
				return line{data: b}, nil
			}
			longer = longer || bytes.HasPrefix(l.data, b)
		}
		if !longer {
			break
		}
	}
	return line{data: b}, nil
}

func (p *streamClient) say(l line) error {
	if p.sink {
		p.said = append(p.said, recording.Message{From: recording.Server, At: time.Since(p.from).Microseconds(), Data: l.data})
	}
	_, err := p.conn.Write(l.data)
	return err
}

func (p *streamClient) same(recorded, live line) (same, decided bool) {
	return bytes.Equal(recorded.data, live.data), true
}

// script joins consecutive messages of the client.
func (p *streamClient) script(a *tape.Answer) (lines []line, servers []bool, err error) {
	for _, m := range a.Messages {
		server := m.From == recording.Server
		if last := len(lines) - 1; last >= 0 && !server && !servers[last] {
			lines[last].data = append(bytes.Clone(lines[last].data), m.Data...)
			continue
		}
		lines, servers = append(lines, line{data: m.Data, at: time.Duration(m.At) * time.Microsecond}), append(servers, server)
	}
	return lines, servers, nil
}

// reset resets the connection of a stream that was not recorded.
func (q *ask) reset(why reason, live *match.Request, found match.Result) {
	miss := q.explain(why, live, found)
	q.out.why = miss.Reason
	q.finish(Missed)
	q.conn.Abort()
}

// passStream forwards a stream to its host. The compared bytes are still unread.
func (q *ask) passStream(ctx context.Context, address string, why reason) {
	q.out.why = why.text
	var alpn []string
	if q.conn.ALPN != "" {
		alpn = []string{q.conn.ALPN}
	}
	if err := q.Passthrough.Stream(ctx, q.conn.Conn, address, q.conn.TLS, q.conn.SNI, alpn); err != nil {
		q.Log.Warn("passthrough failed", "host", address, "error", err)
	}
	q.finish(Passed)
	_ = q.conn.Close()
}
