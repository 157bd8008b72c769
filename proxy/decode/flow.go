package decode

import (
	"cmp"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/codec"
	"github.com/tapedeck/tapedeck/proxy/decode/opaque"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// undecided is how many bytes are held while no detector is sure.
const undecided = 16 << 10

// Reasons of a [Failure].
const (
	malformed = "malformed"
	gap       = "gap"
	panicked  = "panic"
)

// flow is the reader of one connection: it finds out what is spoken, and hands
// the bytes to that protocol's decoder.
type flow struct {
	*Decoders
	env      *codec.Env
	decoder  codec.Decoder // nil as long as nobody knows
	protocol *codec.Protocol
	held     []chunk // what came meanwhile
	first    []byte  // of it, what the client sent
	size     int     // of it all
	now      time.Time
}

type chunk struct {
	side tap.Side
	at   time.Time
	data []byte
}

func newFlow(d *Decoders, f *tap.Flow) *flow {
	fl := &flow{Decoders: d, env: codec.NewEnv(&d.shared, f)}
	fl.env.Switch = fl.hand
	return fl
}

// Data implements [tap.Reader].
func (f *flow) Data(side tap.Side, at time.Time, p []byte) {
	f.env.Sent[side] += int64(len(p))
	f.now = at
	if len(p) == 0 {
		return
	}
	defer f.guard()
	f.data(side, at, p)
}

func (f *flow) data(side tap.Side, at time.Time, p []byte) {
	if f.decoder != nil {
		f.check(f.decoder.Data(side, at, p), malformed)
		return
	}
	if len(f.held) == 0 && side == tap.FromClient { // the common case: one look decides
		if protocol := f.detect(p); protocol != nil {
			f.start(protocol, nil)
			f.check(f.decoder.Data(side, at, p), malformed)
			return
		}
	}
	if !f.env.Hold(len(p)) {
		f.silence(at)
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
func (f *flow) Gap(side tap.Side, n int64, _ string) {
	f.env.Sent[side] += n
	defer f.guard()
	if f.decoder == nil {
		f.silence(cmp.Or(f.now, f.env.Flow.Started))
	}
	f.check(f.decoder.Gap(side, n), gap)
}

// Close implements [tap.Reader].
func (f *flow) Close(at time.Time) {
	defer f.guard()
	if f.decoder == nil {
		if len(f.held) == 0 {
			return // nothing was said
		}
		if len(f.first) > 0 {
			f.silence(f.held[0].at)
		} else {
			f.start(f.last(), nil)
			f.replay()
		}
	}
	f.decoder.Close(at)
}

// detect asks the table. nil: not yet decided.
func (f *flow) detect(first []byte) *codec.Protocol {
	if f.env.Flow.Opaque {
		return f.last()
	}
	maybe := len(first) == 0
	for i := range f.table {
		if f.table[i].Detect == nil {
			continue
		}
		switch f.table[i].Detect(f.env.Flow, first) {
		case codec.Yes:
			if maybe {
				return nil // one that is asked earlier isn't sure yet
			}
			return &f.table[i]
		case codec.Maybe:
			maybe = true
		}
	}
	return nil
}

func (f *flow) last() *codec.Protocol { return &f.table[len(f.table)-1] }

func (f *flow) start(p *codec.Protocol, x *codec.Exchange) {
	f.protocol, f.decoder = p, p.New(f.env, x)
}

// silence gives up finding out, and keeps no content: it might have been a
// protocol with headers.
func (f *flow) silence(at time.Time) {
	f.env.Release(f.size)
	f.held, f.first, f.size = nil, nil, 0
	f.protocol, f.decoder = f.last(), opaque.Silent(f.env, at)
}

// replay gives the decoder what was held.
func (f *flow) replay() {
	f.env.Release(f.size)
	held := f.held
	f.held, f.first, f.size = nil, nil, 0
	for _, c := range held {
		f.data(c.side, c.at, c.data)
	}
}

// hand implements [codec.Env.Switch]. Without a protocol, detection begins anew.
func (f *flow) hand(protocol string, x *codec.Exchange, at time.Time, client, server []byte) error {
	f.decoder = nil
	if protocol != "" {
		f.start(f.Decoders.protocol(protocol), x)
	}
	if len(client) > 0 {
		f.data(tap.FromClient, at, client)
	}
	if len(server) > 0 {
		f.data(tap.FromServer, at, server)
	}
	return nil
}

// check ends a decoder that failed. The rest of the flow is opaque, and only counted.
func (f *flow) check(err error, reason string) {
	if err == nil {
		return
	}
	f.env.Failed = map[string]string{malformed: codec.Malformed, gap: codec.Lost}[reason]
	f.fail(f.protocol.Name, reason)
	f.env.Tags.Set(recording.TagUndecoded, f.protocol.Name+": "+err.Error())
	f.decoder.Close(f.now)
	f.protocol = f.last()
	f.decoder = opaque.Silent(f.env, f.now)
}

// guard ends a flow whose decoder panicked. The panic goes on to the tap, which
// says so, calls nothing of the flow any more, and counts what it brings still.
func (f *flow) guard() {
	if r := recover(); r != nil {
		f.decoder, f.held = nil, nil
		f.env.Abandon()
		f.fail(cmp.Or(f.protocol, f.last()).Name, panicked)
		panic(r)
	}
}
