// Package opaque records streams whose protocol nobody knows: the bytes of
// both sides in the order they came, with their times, up to a limit.
package opaque

import (
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/codec"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Protocol is the table's entry. It takes every flow.
func Protocol() codec.Protocol {
	return codec.Protocol{
		Name:   "opaque",
		Detect: func(*tap.Flow, []byte) codec.Verdict { return codec.Yes },
		New: func(env *codec.Env, _ *codec.Exchange) codec.Decoder {
			return &stream{env: env, silent: env.Flow.Opaque}
		},
	}
}

// Silent returns a decoder for the rest of a flow, from at on, that keeps
// none of its bytes. Its record counts all bytes of the flow.
func Silent(env *codec.Env, at time.Time) codec.Decoder {
	s := &stream{env: env, silent: true}
	s.begin(at)
	return s
}

type stream struct {
	env    *codec.Env
	x      *codec.Exchange // nil until something is said
	silent bool
}

func (s *stream) begin(at time.Time) {
	if s.x == nil {
		s.x = s.env.Begin(at)
		s.x.Converse(recording.TCP)
	}
}

// Data implements [codec.Decoder].
func (s *stream) Data(side tap.Side, at time.Time, p []byte) error {
	s.begin(at)
	if s.silent {
		return nil
	}
	if side == tap.FromServer && s.x.Answered.IsZero() {
		s.x.Answered = at
	}
	s.x.Stream(side, at, p)
	return nil
}

// Gap implements [codec.Decoder].
func (s *stream) Gap(side tap.Side, n int64) error {
	s.begin(s.env.Flow.Started)
	if !s.silent {
		s.x.Heard(side, n)
	}
	s.x.Incomplete = codec.Lost
	return nil
}

// Close implements [codec.Decoder].
func (s *stream) Close(at time.Time) {
	if s.x == nil {
		return
	}
	if s.silent {
		s.x.Heard(tap.FromClient, s.env.Sent[tap.FromClient])
		s.x.Heard(tap.FromServer, s.env.Sent[tap.FromServer])
		s.x.Cut()
	}
	s.x.End(at)
}
