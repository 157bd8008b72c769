// Package opaque records streams in unknown protocols: how many bytes each side sent, and when.
// Such streams may carry logins, as in Redis, SMTP, FTP and PostgreSQL. So it records their
// bytes only if [framework.Limits].Opaque is set.
//
// The package imports framework, tap and recording.
package opaque

import (
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// Protocol returns the entry for the table of decoders. It detects every flow.
func Protocol() framework.Protocol {
	return framework.Protocol{
		Name:   "opaque",
		Detect: func(*tap.Flow, []byte) framework.Verdict { return framework.Yes },
		New: func(state *framework.FlowState, _ *framework.Exchange) framework.Decoder {
			return &stream{state: state}
		},
	}
}

// TLS returns the entry for TLS that the data path passed untouched, whether the flow says
// so or not. Its decoder only counts the bytes.
func TLS() framework.Protocol {
	return framework.Protocol{
		Name:   "tls",
		Detect: detectTLS,
		New: func(state *framework.FlowState, _ *framework.Exchange) framework.Decoder {
			return &stream{state: state, silent: true, tech: "TLS"}
		},
	}
}

// detectTLS looks for a ClientHello: a handshake record of version 3.x, with a
// message of type 1 (RFC 8446, sections 4 and 5.1).
func detectTLS(_ *tap.Flow, first []byte) framework.Verdict {
	for i, ok := range []func(byte) bool{
		func(c byte) bool { return c == 0x16 },
		func(c byte) bool { return c == 3 },
		func(c byte) bool { return c <= 4 },
		func(byte) bool { return true },
		func(byte) bool { return true },
		func(c byte) bool { return c == 1 },
	} {
		if i >= len(first) {
			return framework.Maybe
		}
		if !ok(first[i]) {
			return framework.No
		}
	}
	return framework.Yes
}

// Silent returns a decoder for the rest of a flow from that time on. The decoder keeps no
// bytes, and adds their number to count. Its record has the number of all bytes of the flow.
func Silent(state *framework.FlowState, at time.Time, count *atomic.Uint64) framework.Decoder {
	s := &stream{state: state, silent: true, count: count}
	s.begin(at)
	s.x.Heard(tap.FromClient, state.Sent[tap.FromClient])
	s.x.Heard(tap.FromServer, state.Sent[tap.FromServer])
	s.x.Cut()
	return s
}

type stream struct {
	state  *framework.FlowState
	x      *framework.Exchange // nil until the first bytes
	silent bool
	count  *atomic.Uint64 // bytes that were not decoded; nil: they are not counted
	tech   string
}

func (s *stream) begin(at time.Time) {
	if s.x == nil {
		s.x = s.state.Begin(at)
		s.x.Converse(recording.TCP)
		s.x.Tech = s.tech
		s.x.Choose()
	}
}

// Data implements [framework.Decoder].
func (s *stream) Data(side tap.Side, at time.Time, p []byte) error {
	s.begin(at)
	if s.silent {
		s.x.Heard(side, int64(len(p)))
		if s.count != nil {
			s.count.Add(uint64(len(p)))
		}
		return nil
	}
	if side == tap.FromServer && s.x.Answered.IsZero() {
		s.x.Answered = at
	}
	if s.state.Limits.Opaque {
		s.x.Stream(side, at, p)
	} else {
		s.x.Measure(side, at, int64(len(p)))
	}
	return nil
}

// Gap implements [framework.Decoder].
func (s *stream) Gap(side tap.Side, _ time.Time, n int64) error {
	s.begin(s.state.Flow.Started)
	s.x.Heard(side, n)
	s.x.Incomplete = framework.Lost
	return nil
}

// Close implements [framework.Decoder].
func (s *stream) Close(at time.Time) {
	if s.x != nil {
		s.x.End(at)
	}
}
