package decode

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/decode/opaque"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// undecided is the maximum number of bytes that are held while no detector is sure.
const undecided = 16 << 10

// flow is the reader of one connection. It detects the protocol, and gives the bytes to that
// protocol's decoder.
type flow struct {
	*Decoders
	state    *framework.FlowState
	decoder  framework.Decoder // nil until the protocol is known
	protocol *framework.Protocol
	held     []chunk // the bytes that came until then
	first    []byte  // the client's bytes of held
	size     int     // number of bytes in held
	now      time.Time
	told     bool // the flow's first failure was reported
}

type chunk struct {
	side tap.Side
	at   time.Time
	data []byte
}

func newFlow(d *Decoders, f *tap.Flow) *flow {
	fl := &flow{Decoders: d, state: framework.NewFlowState(&d.shared, f)}
	fl.state.Switch, fl.state.Resume = fl.hand, fl.resume
	if d.tags != nil {
		fl.state.Tags = slices.Clip(d.tags(f)) // decoders append to it
	}
	return fl
}

// Data implements [tap.Reader].
func (f *flow) Data(side tap.Side, at time.Time, p []byte) {
	f.now = at
	if len(p) == 0 {
		return
	}
	defer f.guard()
	f.data(side, at, p)
}

func (f *flow) data(side tap.Side, at time.Time, p []byte) {
	if f.decoder != nil {
		f.give(side, at, p)
		return
	}
	if len(f.held) == 0 && side == tap.FromClient { // the common case: one look decides
		if protocol := f.detect(p); protocol != nil {
			f.start(protocol, nil)
			f.give(side, at, p)
			return
		}
	}
	if !f.state.Hold(len(p)) {
		f.silence(side, at, f.failed(f.last().Name, NoRoom), len(p))
		return
	}
	f.held = append(f.held, chunk{side: side, at: at, data: append([]byte(nil), p...)})
	f.size += len(p)
	if side == tap.FromClient {
		f.first = append(f.first, p...)
	}
	protocol := f.detect(f.first)
	if protocol == nil && f.size > undecided {
		protocol = f.last()
	}
	if protocol != nil {
		f.start(protocol, nil)
		f.replay()
	}
}

// Gap implements [tap.Reader].
func (f *flow) Gap(side tap.Side, at time.Time, n int64) {
	defer f.guard()
	f.now = at
	f.state.Tick(at)
	if f.decoder == nil {
		f.silence(side, f.now, f.failed(f.last().Name, Lost), 0)
	}
	f.state.Sent[side] += n
	if err := f.decoder.Gap(side, f.now, n); err != nil {
		f.giveUp(side, err, Lost, 0)
	}
}

// Waits implements [tap.Timely].
func (f *flow) Waits() bool { return f.state.Waits() }

// Tick implements [tap.Timely].
func (f *flow) Tick(now time.Time) {
	defer f.guard()
	f.now = now
	f.state.Tick(now)
}

// Close implements [tap.Reader].
func (f *flow) Close(at time.Time) {
	defer f.guard()
	if f.decoder == nil {
		if len(f.held) == 0 {
			return // no bytes came
		}
		if len(f.first) > 0 { // too few bytes to detect the protocol: no decoder has failed
			f.silence(tap.FromClient, f.held[0].at, new(loss), 0)
		} else {
			f.start(f.last(), nil)
			f.replay()
		}
	}
	f.decoder.Close(at)
}

// detect asks the detectors in the table's order; nil: more bytes are needed to decide.
func (f *flow) detect(first []byte) *framework.Protocol {
	if f.state.Flow.Opaque {
		return f.Decoders.protocol("tls")
	}
	maybe := len(first) == 0
	for i := range f.table {
		if f.table[i].Detect == nil {
			continue
		}
		switch f.table[i].Detect(f.state.Flow, first) {
		case framework.Yes:
			if maybe {
				return nil // an earlier detector isn't sure yet
			}
			return &f.table[i]
		case framework.Maybe:
			maybe = true
		}
	}
	return nil
}

func (f *flow) last() *framework.Protocol { return &f.table[len(f.table)-1] }

func (f *flow) start(p *framework.Protocol, x *framework.Exchange) {
	f.protocol, f.decoder = p, p.New(f.state, x)
}

// silence gives up detection when side has sent n bytes more than are held. It keeps no
// content, because the protocol might have had headers.
func (f *flow) silence(side tap.Side, at time.Time, l *loss, n int) {
	l.bytes.Add(uint64(f.size + n))
	f.state.Sent[side] += int64(n)
	for _, c := range f.held {
		f.state.Sent[c.side] += int64(len(c.data))
	}
	f.state.Release(f.size)
	f.held, f.first, f.size = nil, nil, 0
	f.protocol = f.last()
	f.decoder = f.eitherThatResumes(side, at, opaque.Silent(f.state, at, &l.bytes))
}

// replay gives the held bytes to the decoder.
func (f *flow) replay() {
	f.state.Release(f.size)
	held := f.held
	f.held, f.first, f.size = nil, nil, 0
	for _, c := range held {
		f.data(c.side, c.at, c.data)
	}
}

// hand implements [framework.FlowState.Switch]. Without a protocol, detection starts again.
func (f *flow) hand(protocol string, x *framework.Exchange, at time.Time, client, server []byte) error {
	f.decoder = nil
	f.state.Failed, f.state.Undecoded = "", ""
	if protocol != "" {
		f.start(f.Decoders.protocol(protocol), x)
	}
	f.state.Sent[tap.FromClient] -= int64(len(client))
	f.state.Sent[tap.FromServer] -= int64(len(server))
	if len(client) > 0 {
		f.data(tap.FromClient, at, client)
	}
	if len(server) > 0 {
		f.data(tap.FromServer, at, server)
	}
	return nil
}

// resume implements [framework.FlowState.Resume].
func (f *flow) resume(protocol string, d framework.Decoder) {
	f.state.Failed, f.state.Undecoded = "", ""
	f.protocol, f.decoder = f.Decoders.protocol(protocol), d
}

// give gives the bytes to the decoder.
func (f *flow) give(side tap.Side, at time.Time, p []byte) {
	f.state.Sent[side] += int64(len(p))
	if err := f.decoder.Data(side, at, p); err != nil {
		reason := Malformed
		if errors.Is(err, framework.ErrMemory) {
			reason = NoRoom
		}
		f.giveUp(side, err, reason, len(p))
	}
}

// giveUp ends a decoder that failed on n bytes of side. Later bytes are opaque and only
// counted, until decoding can resume.
func (f *flow) giveUp(side tap.Side, err error, reason string, n int) {
	f.state.Failed, f.state.Undecoded = reason, f.protocol.Name+": "+err.Error()
	l := f.failed(f.protocol.Name, reason)
	l.bytes.Add(uint64(n))
	p, d := f.protocol, f.decoder
	resumer, resumes := d.(framework.Resumer)
	if resumes {
		resumer.Suspend(f.now)
	} else {
		d.Close(f.now)
	}
	rest := opaque.Silent(f.state, f.now, &l.bytes)
	f.protocol, f.decoder = f.last(), rest
	if resumes {
		f.decoder = resumer.Resume(side, rest)
	} else if p.Resume != nil {
		f.decoder = p.Resume(f.state, side, f.now, rest)
	}
}

// failed calls fail, and calls gaveUp the first time that it is called for the flow.
func (f *flow) failed(protocol, reason string) *loss {
	if !f.told && f.gaveUp != nil {
		f.gaveUp(f.state.Flow, Failure{protocol, reason})
	}
	f.told = true
	return f.fail(protocol, reason)
}

// guard ends a flow whose decoder panicked, and panics again. The tap then reports the panic,
// no longer calls the flow, and counts the bytes that still come.
func (f *flow) guard() {
	if r := recover(); r != nil {
		f.decoder, f.held = nil, nil
		f.state.Abandon()
		f.fail(cmp.Or(f.protocol, f.last()).Name, Panic)
		panic(r)
	}
}
