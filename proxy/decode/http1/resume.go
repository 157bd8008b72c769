package http1

import (
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/codec"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// calm is how long a connection rests after its server until it is believed that
// nobody is owed anything, if its client waits for its answers.
const calm = time.Second

// lost is the decoder of a connection whose thread was lost. It begins anew where
// a request follows a final answer, and no other can be owed one:
//
//	client's turn    server's turn        client's turn
//	──────────────▶  HTTP/1.1 200 …  ──▶  GET / HTTP/1.1
//	  whatever        or a rest            anew from here
//
// A turn is all that one side says, or loses, before the other does. It is read
// as the tap gives it: an answer never before its request, nor the client's
// next request before the answer that it waited for. Of a client that was seen
// not to wait nothing is believed: an answer that it is owed may be slow.
type lost struct {
	codec.Decoder // counts what is not understood
	env           *codec.Env

	turn     tap.Side
	begun    time.Time     // when it began
	last     time.Time     // when anything was last said or lost
	said     bool          // the turn has bytes that were not lost
	gap      bool          // its last ones were
	verdict  codec.Verdict // whether the turn is the server's or the client's of the picture
	interim  bool          // it is the server's, who asks for the rest of a request
	requests counter       // in the client's
	first    codec.Body    // what it begins with, as long as the verdict is Maybe
}

// resume follows a decoder that gave up in the turn of side.
func resume(env *codec.Env, side tap.Side, at time.Time, rest codec.Decoder) codec.Decoder {
	gap := env.Failed == codec.Lost
	return &lost{Decoder: rest, env: env, turn: side, begun: at, last: at, gap: gap, said: !gap && env.Sent[side] > 0}
}

// begin begins a turn.
func (l *lost) begin(side tap.Side, at time.Time) {
	rested := l.turn == tap.FromServer && !l.interim && !l.env.Pipelined && at.Sub(l.last) >= calm
	owed := !rested && (l.verdict != codec.Yes || l.env.Pipelined)
	l.pass()
	l.turn, l.begun, l.said, l.gap, l.interim, l.requests = side, at, false, false, false, counter{}
	l.verdict = codec.Maybe
	if side == tap.FromClient && owed {
		l.verdict = codec.No
	}
}

// Data implements [codec.Decoder].
func (l *lost) Data(side tap.Side, at time.Time, p []byte) error {
	if side != l.turn {
		l.begin(side, at)
	}
	if side == tap.FromClient && (l.gap || l.requests.add(p) > 1) {
		l.env.Pipelined = true // what was lost was another request, for all that is known
	}
	l.said, l.gap, l.last = true, false, at
	if l.verdict != codec.Maybe {
		return l.Decoder.Data(side, at, p)
	}
	begins := p
	if len(l.first.Bytes()) > 0 {
		if !l.hold(p) {
			return l.Decoder.Data(side, at, p)
		}
		begins = l.first.Bytes()
	}
	if side == tap.FromClient {
		l.verdict = detect(l.env.Flow, begins)
	} else if l.verdict = detectAnswer(begins); l.verdict == codec.Yes && begins[statusAt] == '1' {
		l.verdict, l.interim = codec.No, true
	}
	if l.verdict == codec.Maybe && (len(l.first.Bytes()) > 0 || l.hold(p)) {
		return nil
	}
	l.first.Free(l.env)
	if l.verdict == codec.Yes && side == tap.FromClient {
		l.Decoder.Close(l.begun)
		return l.env.Switch("http1", nil, l.begun, begins, nil)
	}
	return l.Decoder.Data(side, at, begins)
}

// counter counts request lines, or what looks like them.
type counter struct{ seen, matched int }

func (c *counter) add(p []byte) int {
	const mark = " HTTP/1."
	for _, b := range p {
		switch b {
		case mark[c.matched]:
			if c.matched++; c.matched == len(mark) {
				c.seen, c.matched = c.seen+1, 0
			}
		case mark[0]:
			c.matched = 1
		default:
			c.matched = 0
		}
	}
	return c.seen
}

const statusAt = len("HTTP/1.1 ")

// detectAnswer tells whether the server begins with an answer, up to the first
// digit of its status.
func detectAnswer(first []byte) codec.Verdict {
	const pattern = "HTTP/1.? "
	for i := range min(len(first), len(pattern)) {
		if first[i] != pattern[i] && pattern[i] != '?' {
			return codec.No
		}
	}
	if len(first) <= statusAt {
		return codec.Maybe
	}
	return codec.Yes
}

// hold keeps bytes till it is known what the turn begins with. Without room it
// never will be.
func (l *lost) hold(p []byte) bool {
	if l.first.Append(l.env, p) {
		return true
	}
	l.pass()
	l.verdict = codec.No
	return false
}

// pass gives on what was held of the turn: nothing begins with it.
func (l *lost) pass() {
	if held := l.first.Bytes(); len(held) > 0 {
		l.Decoder.Data(l.turn, l.begun, held)
		l.first.Free(l.env)
	}
}

// Gap implements [codec.Decoder]: nobody knows what the turn began with.
func (l *lost) Gap(side tap.Side, at time.Time, n int64) error {
	if side != l.turn {
		l.begin(side, at)
	}
	if side == tap.FromClient && l.said {
		l.env.Pipelined = true
	}
	l.pass()
	l.verdict, l.gap, l.last = codec.No, true, at
	return l.Decoder.Gap(side, at, n)
}

// Close implements [codec.Decoder].
func (l *lost) Close(at time.Time) {
	l.pass()
	l.Decoder.Close(at)
}
