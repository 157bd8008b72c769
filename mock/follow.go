package mock

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/mock/tape"
	"github.com/tapedeck/tapedeck/recording"
)

// The mock follows a conversation message by message. Several recorded conversations may begin
// alike. While all conversations that agree with the client's messages continue alike, the mock
// chooses none. If the client sends a message that the chosen conversation lacks, the mock switches
// to another one that has all of the client's messages.

// line is a message of a conversation as applications see it.
type line struct {
	kind string // WebSocket's: text, binary or close
	data []byte
	at   time.Duration // since the conversation began
}

// client is the other side of a conversation.
type client interface {
	// hear returns the client's next message, or io.EOF at the end. expected has the messages that
	// may come, for protocols that do not separate messages.
	hear(ctx context.Context, expected []line) (line, error)
	// say sends a recorded message.
	say(l line) error
	// script returns the messages of a recorded conversation in order. servers marks those of the
	// server.
	script(a *tape.Answer) (lines []line, servers []bool, err error)
	// same reports whether a message equals the recorded one. decided is false if only a matcher
	// can decide.
	same(recorded, live line) (same, decided bool)
	// halfCloses reports whether the client can half-close: end its side and still receive.
	halfCloses() bool
}

// script is a recorded conversation.
type script struct {
	entry match.Entry
	asks  []line   // messages of the client
	says  [][]line // messages of the server: before the first of asks, after it, and so on
	took  time.Duration
	meta  tape.Answer // without its body

	request *recording.Exchange // nil until needed
}

func (s *script) ended(heard int) bool { return heard >= len(s.asks) }

// dialogue is a conversation with a client.
type dialogue struct {
	*ask
	client client

	all      []*script // the recorded conversations that begin alike
	agree    []*script // those among all that have the client's messages so far
	chosen   *script   // nil while all in agree continue alike
	sequence uint64    // identifies all, for the chooser
	of       uint64    // identifies the scripts from which chosen was taken

	heard []line        // messages of the client
	count int           // number of messages in heard that were compared
	said  int           // messages that the mock sent since the last compared one
	total int           // messages that the mock sent
	ended bool          // the client has ended its side
	last  time.Time     // when the last message was received or sent
	at    time.Duration // when that message was recorded, since the conversation began
}

const (
	// maxScripts bounds the conversations with the same opening that are compared.
	maxScripts = 256
	// endPatience is how long the mock waits for the client's half-close if the recorded
	// server answered only after it. Some clients wait for the answer first.
	endPatience = 100 * time.Millisecond
)

// errUnlike means that the client sent a message that was not recorded.
type errUnlike struct{ text string }

func (e *errUnlike) Error() string { return e.text }

// errGone means that the client disconnected.
var errGone = errors.New("the client is gone")

// read reads the conversation of an entry.
func (d *dialogue) read(entry match.Entry) (*script, reason) {
	var buf tape.Buffer // not shared, because the answer remains in use
	a, err := d.lib.tape.Read(d.lib.entries[d.lib.index.Ref(entry)].offset, &buf)
	if err == nil && a.Lacks != "" && !d.AllowCut {
		return nil, reason{"not_whole", a.Lacks}
	}
	if err == nil {
		err = a.Conversation()
	}
	var lines []line
	var servers []bool
	if err == nil {
		lines, servers, err = d.client.script(a)
	}
	if err != nil {
		return nil, reason{"damaged", err.Error()}
	}
	s := &script{entry: entry, took: a.Wait + a.Took, says: make([][]line, 1)}
	if a.Kind == tape.TCP {
		s.took = a.Lasted
	}
	for i, l := range lines {
		if !servers[i] {
			s.asks, s.says = append(s.asks, l), append(s.says, nil)
			continue
		}
		s.says[len(s.asks)] = append(s.says[len(s.asks)], l)
	}
	s.meta = *a
	s.meta.Body, s.meta.Messages = nil, nil
	return s, reason{}
}

// begin reads the conversations that a lookup found.
func (d *dialogue) begin(found match.Result, kind tape.Kind) reason {
	if found.How == match.None {
		return reason{"no_match", "no recorded conversation begins like this"}
	}
	d.out.masked, d.sequence = found.How == match.Masked, found.Sequence
	entries := found.Entries
	if len(entries) > 1 && d.alike(found) {
		entry, why := d.next(found.Sequence, entries)
		if why.code != "" {
			return why
		}
		entries, d.of = []match.Entry{entry}, found.Sequence
		defer func() {
			if len(d.all) == 1 {
				d.chosen = d.all[0]
			}
		}()
	}
	var why reason
	for _, e := range d.window(entries) {
		s, lacks := d.read(e)
		switch {
		case s == nil:
			why = lacks
		case s.meta.Kind != kind:
			why = reason{"other_protocol", "the recorded exchange uses another protocol"}
		default:
			d.all = append(d.all, s)
		}
	}
	d.agree = d.all
	if len(d.all) == 0 {
		return why
	}
	return reason{}
}

// window returns the entries to compare: those that were not served yet and, if there are few of
// them, also served ones.
func (d *dialogue) window(entries []match.Entry) []match.Entry {
	if len(entries) <= maxScripts {
		return entries
	}
	var fresh, used []match.Entry
	for _, e := range entries {
		switch {
		case d.chooser.Served(uint32(e)) == 0:
			fresh = append(fresh, e)
		case len(used) < maxScripts:
			used = append(used, e)
		}
		if len(fresh) == maxScripts {
			return fresh
		}
	}
	all := append(fresh, used...)
	slices.Sort(all)
	return all[:min(len(all), maxScripts)]
}

// next chooses among entries.
func (d *dialogue) next(sequence uint64, entries []match.Entry) (match.Entry, reason) {
	entry, ok := order.Choose(d.chooser, sequence, entries, d.id)
	if !ok {
		return 0, reason{"exhausted", fmt.Sprintf("all %d recorded conversations with these messages have been given, and the policy for repeated ones is %s", len(entries), order.Miss)}
	}
	return entry, reason{}
}

// alike reports whether the client sent exactly one message in all recorded conversations. Then
// only the opening is compared.
func (d *dialogue) alike(found match.Result) bool {
	if v, ok := d.lib.shapes.Load(found.Sequence); ok {
		return v.(bool)
	}
	alike := true
	for _, e := range found.Entries {
		if x := d.lib.entries[d.lib.index.Ref(e)]; x.asks != 1 || x.talks {
			alike = false
			break
		}
	}
	d.lib.shapes.Store(found.Sequence, alike)
	return alike
}

// choose selects one of the conversations that agree.
func (d *dialogue) choose() reason {
	if d.chosen != nil {
		return reason{}
	}
	h := fnv.New64a()
	b := binary.LittleEndian.AppendUint64(nil, d.sequence)
	entries := make([]match.Entry, len(d.agree))
	for i, s := range d.agree {
		entries[i] = s.entry
		b = binary.LittleEndian.AppendUint32(b, uint32(s.entry))
	}
	_, _ = h.Write(b)
	d.of = h.Sum64()
	entry, why := d.next(d.of, entries)
	if why.code != "" {
		return why
	}
	d.chosen = d.agree[slices.Index(entries, entry)]
	return reason{}
}

// lead returns the conversation that the mock follows.
func (d *dialogue) lead() *script {
	if d.chosen != nil {
		return d.chosen
	}
	return d.agree[0]
}

// run follows the conversation to the end of the recorded one. If the client has not ended by then,
// run calls done, which returns the client's next message, or an error that ends the conversation.
// run returns an errUnlike if the client sends an unexpected message.
func (d *dialogue) run(ctx context.Context, done func(ctx context.Context) (line, error)) error {
	d.last = time.Now()
	for {
		if d.count < len(d.heard) { // a message has not been compared yet
			if err := d.compare(); err != nil {
				return err
			}
			continue
		}
		s := d.lead()
		switch says := s.says[d.count]; {
		case d.said < len(says):
			if d.client.halfCloses() && !d.ended && d.said == 0 && d.count > 0 && s.ended(d.count) {
				if more, err := d.awaitEnd(ctx); more || err != nil {
					if err != nil {
						return err
					}
					continue
				}
			}
			if err := d.speak(ctx); err != nil {
				return err
			}
		case !s.ended(d.count):
			l, err := d.client.hear(ctx, d.expected())
			if err := d.take(ctx, l, err); err != nil {
				return err
			}
		case d.ended || d.client.halfCloses() && !slices.ContainsFunc(d.agree, func(s *script) bool { return !d.over(s) }):
			return d.finally()
		default:
			l, err := done(ctx)
			if errors.Is(err, errDone) {
				if d.chosen == nil {
					d.agree = slices.DeleteFunc(slices.Clone(d.agree), func(s *script) bool { return !d.over(s) })
				}
				return d.finally()
			}
			if err := d.take(ctx, l, err); err != nil {
				return err
			}
		}
	}
}

// errDone is returned by done if the conversation ends as recorded.
var errDone = errors.New("done")

// finally chooses a conversation, if none is chosen yet.
func (d *dialogue) finally() error {
	if why := d.choose(); why.code != "" {
		return &errUnlike{why.text}
	}
	return nil
}

// over reports whether a conversation that agrees has ended.
func (d *dialogue) over(s *script) bool { return s.ended(d.count) && len(s.says[d.count]) == d.said }

// expected returns the messages that the client may send next.
func (d *dialogue) expected() (all []line) {
	for _, s := range d.agree {
		if !s.ended(d.count) {
			all = append(all, s.asks[d.count])
		}
	}
	return all
}

// take records a message from the client, or the client's end.
func (d *dialogue) take(ctx context.Context, l line, err error) error {
	switch {
	case err == nil:
		d.heard = append(d.heard, l)
		return nil
	case errors.Is(err, io.EOF):
		d.ended = true
		return d.narrow(func(s *script) bool { return s.ended(d.count) }, fmt.Sprintf("the client ended after its message %d, which it does in no recorded conversation", d.count))
	}
	return fmt.Errorf("%w: %w", errGone, err)
}

// compare compares the next message of the client.
func (d *dialogue) compare() error {
	got := d.heard[d.count]
	agrees := func(s *script) bool {
		for i := range d.count + 1 {
			if s.ended(i) || !d.same(s, i) {
				return false
			}
		}
		return true
	}
	text := fmt.Sprintf("the client sent more than the %d recorded messages", d.count)
	if s := d.lead(); !s.ended(d.count) {
		text = fmt.Sprintf("the client's message %d differs from the recorded one%s", d.count+1, differs(s.asks[d.count].data, got.data))
	}
	if err := d.narrow(agrees, text); err != nil {
		return err
	}
	if s := d.lead(); !s.ended(d.count) {
		d.at = s.asks[d.count].at
	}
	d.count, d.said, d.last = d.count+1, 0, time.Now()
	return nil
}

// same reports whether the client's message i equals that of the recorded conversation s.
func (d *dialogue) same(s *script, i int) bool {
	recorded, live := s.asks[i], d.heard[i]
	same, decided := d.client.same(recorded, live)
	if decided {
		return same
	}
	if s.request == nil {
		if s.request, _ = d.lib.request(d.lib.index.Ref(s.entry)); s.request == nil {
			return false
		}
	}
	a := recording.Message{From: recording.Client, Type: recorded.kind, At: recorded.at.Microseconds(), Data: recorded.data}
	b := recording.Message{From: recording.Client, Type: live.kind, Data: live.data}
	e := d.exchange
	e.GRPC, e.WebSocket = nil, nil
	if s.request.GRPC != nil {
		a.Type, b.Type = "", ""
		e.GRPC = conversation([]recording.Message{b})
	} else {
		e.WebSocket = conversation([]recording.Message{b})
	}
	if d.lib.redact != nil {
		d.lib.redact(&e)
	}
	b = e.Conversation().Messages[0]
	how := d.lib.matcher.SameMessage(
		match.Side{Exchange: s.request, Message: &a, Foreign: d.lib.entries[d.lib.index.Ref(s.entry)].foreign},
		match.Side{Exchange: &e, Message: &b})
	d.out.masked = d.out.masked || how == match.Masked
	return how != match.None
}

// narrow keeps the conversations that agree. If the chosen one does not agree, another one with the
// same opening may replace it.
func (d *dialogue) narrow(agrees func(*script) bool, otherwise string) error {
	if d.chosen != nil && agrees(d.chosen) {
		return nil
	}
	from := d.agree
	if d.chosen != nil {
		from = d.all
		d.chooser.Return(d.of, uint32(d.chosen.entry))
		d.chosen = nil
	}
	var left []*script
	for _, s := range from {
		if agrees(s) {
			left = append(left, s)
		}
	}
	if len(left) == 0 {
		return &errUnlike{otherwise}
	}
	d.agree = left
	return nil
}

// awaitEnd waits up to endPatience for the client's half-close. more is false if it doesn't come in
// time.
func (d *dialogue) awaitEnd(ctx context.Context) (more bool, err error) {
	wait, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	l, err := d.client.hear(wait, d.expected())
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil
	}
	if err := d.take(ctx, l, err); err != nil {
		return false, err
	}
	return true, nil
}

// speak sends the server's next message.
func (d *dialogue) speak(ctx context.Context) error {
	if d.chosen == nil && !d.goOnAlike() {
		if why := d.choose(); why.code != "" {
			return &errUnlike{why.text}
		}
	}
	s := d.lead()
	l := s.says[d.count][d.said]
	factor := d.Latency.Streams
	if d.said == 0 && d.count > 0 {
		factor = d.Latency.Answers
	}
	if !wait(ctx, d.last.Add(scaled(max(0, l.at-d.at), factor))) {
		return errGone
	}
	if err := d.client.say(l); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	d.said, d.total = d.said+1, d.total+1
	d.at, d.last = l.at, time.Now()
	return nil
}

// goOnAlike reports whether all conversations that agree have the same next message of the server.
func (d *dialogue) goOnAlike() bool {
	first := d.agree[0].says[d.count][d.said]
	return !slices.ContainsFunc(d.agree[1:], func(s *script) bool {
		says := s.says[d.count]
		return d.said >= len(says) || says[d.said].kind != first.kind || !bytes.Equal(says[d.said].data, first.data)
	})
}

// differs describes the first difference between two messages.
func differs(recorded, live []byte) string {
	for i := range min(len(recorded), len(live)) {
		if recorded[i] != live[i] {
			return fmt.Sprintf(" at byte %d", i)
		}
	}
	if len(recorded) == len(live) {
		return ""
	}
	return fmt.Sprintf(": it has %d bytes, and %d were recorded", len(live), len(recorded))
}

// record notes the messages, and the recorded conversation that the mock followed.
func (d *dialogue) record(said []recording.Message) {
	d.out.said = conversation(said)
	if d.chosen != nil {
		d.answer, d.out.entry = &d.chosen.meta, d.chosen.entry
	}
}

// conversation returns the messages in the form of a record.
func conversation(said []recording.Message) *recording.Conversation {
	return &recording.Conversation{Part: 1, Last: true, Messages: said}
}
