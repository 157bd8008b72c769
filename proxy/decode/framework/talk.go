package framework

import (
	"slices"
	"time"
	"unsafe"

	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// A part of a conversation ends at this size, or this long after its first message. So a
// connection that lasts for days is recorded while it is open, and holds little memory.
const (
	partBytes    = 64 << 10
	partMessages = 512
	partAge      = 5 * time.Second
)

// together is the time between bytes of a stream below which they are one message.
const together = time.Millisecond

// talk is the conversation of an exchange.
type talk struct {
	recording.Conversation
	kind  **recording.Conversation // the record's member; nil: no conversation
	arena Body                     // holds the messages' data
	ends  []int                    // where each message's data ends in arena
	held  int                      // bytes of Messages, of Limits.Memory
	kept  [2]int64                 // bytes kept of each side, in all parts
	first recording.UUID           // of part 1
	begun time.Time                // when the part's first message came
	last  time.Time                // when the last message came
	place int                      // index in FlowState.talks, while there are Messages
}

// Converse turns the exchange into a conversation, which is written in parts.
func (x *Exchange) Converse(l7protocol string) {
	x.L7Protocol = l7protocol
	t := &x.talk
	t.Part, t.first = 1, x.UUID
	switch l7protocol {
	case recording.GRPC:
		t.kind = &x.GRPC
	case recording.WebSocket:
		t.kind = &x.WebSocket
	default:
		t.kind = &x.TCP
	}
}

// Say adds a message. b has the bytes that came, and missing is how many did not come. m
// has the fields that are specific to the protocol. Say sets the others.
func (x *Exchange) Say(side tap.Side, at time.Time, m recording.Message, b *Body, missing int64) {
	x.Heard(side, b.Size())
	if b.cut() || missing > 0 {
		m.Size = b.Size() + missing
		x.truncated = x.truncated || b.cut()
	}
	x.add(side, at, m, b.Bytes(), false)
	x.Empty(b)
}

// Stream adds bytes of a stream. Bytes of one side that follow each other closely are one
// message.
func (x *Exchange) Stream(side tap.Side, at time.Time, p []byte) {
	t := &x.talk
	for len(p) > 0 && !x.left() {
		n := int(min(int64(len(p)), int64(partBytes-len(t.arena.buf)), x.state.Limits.Stream-t.kept[side]))
		joins := len(t.Messages) > 0 && t.Messages[len(t.Messages)-1].From == sender(side) && at.Sub(t.last) < together
		if n <= 0 {
			x.Heard(side, int64(len(p)))
			x.truncated = true
			return
		}
		x.Heard(side, int64(n))
		x.add(side, at, recording.Message{}, p[:n], joins)
		p = p[n:]
	}
}

// Measure adds the size of bytes of a stream, but not the bytes. It makes messages as Stream
// does.
func (x *Exchange) Measure(side tap.Side, at time.Time, n int64) {
	t := &x.talk
	x.Heard(side, n)
	if last := len(t.Messages) - 1; last >= 0 && t.Messages[last].From == sender(side) && at.Sub(t.last) < together {
		t.Messages[last].Size += n
		return
	}
	if t.kept[side]+int64(messageCost) > x.state.Limits.Stream {
		x.truncated = true
		return
	}
	t.kept[side] += int64(messageCost)
	x.add(side, at, recording.Message{Size: n}, nil, false)
}

// Heard counts bytes of the conversation that aren't kept.
func (x *Exchange) Heard(side tap.Side, n int64) {
	if side == tap.FromClient {
		x.talk.ClientBytes += n
	} else {
		x.talk.ServerBytes += n
	}
}

// Cut marks the record as truncated.
func (x *Exchange) Cut() { x.truncated = true }

// add appends a message, or, if joins is set, adds data to the last one.
func (x *Exchange) add(side tap.Side, at time.Time, m recording.Message, data []byte, joins bool) {
	t := &x.talk
	if x.left() {
		return
	}
	if t.kept[side]+int64(len(data)) > x.state.Limits.Stream {
		x.truncated = true
		return
	}
	if !x.store(data, joins) {
		if len(t.Messages) > 0 { // writing the part frees memory, which may be enough
			x.part(at)
			joins = false
		}
		if !x.store(data, joins) {
			x.truncated = true
			return
		}
	}
	t.kept[side] += int64(len(data))
	if joins {
		t.ends[len(t.ends)-1] = len(t.arena.buf)
	} else {
		if len(t.Messages) == 0 {
			t.begun, t.place = at, len(x.state.talks)
			x.state.talks = append(x.state.talks, x)
		}
		m.From, m.At = sender(side), max(0, at.Sub(x.Start).Microseconds())
		t.Messages = append(t.Messages, m)
		t.ends = append(t.ends, len(t.arena.buf))
		t.last = at
	}
	if len(t.arena.buf) >= partBytes || len(t.Messages) >= partMessages {
		x.part(at)
	}
}

// messageCost is the memory of a message without its data.
const messageCost = int(unsafe.Sizeof(recording.Message{}) + unsafe.Sizeof(int(0)))

// store adds data to the arena, for a new message or, if joins is set, for the last one. It
// reports whether there was room.
func (x *Exchange) store(data []byte, joins bool) bool {
	cost := messageCost
	if joins {
		cost = 0
	}
	if !x.state.Hold(cost) {
		return false
	}
	if !x.talk.arena.Append(x.state, data) {
		x.state.Release(cost)
		return false
	}
	x.talk.held += cost
	return true
}

// part writes the current part of the conversation and begins the next.
func (x *Exchange) part(at time.Time) {
	t := &x.talk
	start := 0
	for i, end := range t.ends {
		t.Messages[i].Data = t.arena.buf[start:end]
		start = end
	}
	if t.Part > 1 || !t.Last {
		x.SetTag(recording.TagConversation, t.first.String())
	}
	*t.kind = &t.Conversation
	x.finish(at)
	x.state.write(x, at)

	t.Part++
	if len(t.Messages) > 0 {
		x.state.said(x)
	}
	clear(t.Messages)
	t.Messages, t.ends = t.Messages[:0], t.ends[:0]
	t.arena.Reset(x.state)
	x.state.Release(t.held)
	t.held = 0
	x.truncated = false
	x.UUID = x.state.newUUID()
}

// said removes an exchange from the list of those with unwritten messages.
func (state *FlowState) said(x *Exchange) {
	end := len(state.talks) - 1
	last := state.talks[end]
	state.talks[x.talk.place], last.talk.place = last, x.talk.place
	state.talks[end] = nil
	state.talks = state.talks[:end]
}

// Waits reports whether there are messages that a later Tick has to write.
func (state *FlowState) Waits() bool { return len(state.talks) > 0 }

// Tick writes the parts that are old enough.
func (state *FlowState) Tick(now time.Time) {
	for _, x := range slices.Backward(state.talks) { // backward, because part may move the last one into the freed place
		if now.Sub(x.talk.begun) >= partAge {
			x.part(x.talk.last)
		}
	}
}
