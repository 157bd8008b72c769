package http1

import (
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/codec"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// calm is how long a connection rests until it is believed that a client which
// pipelines is owed no answer.
const calm = time.Second

// lost is the decoder of a connection whose thread was lost. It begins anew where
// a request follows an answer and nothing else can be owed:
//
//	client's turn    server's turn        client's turn
//	──────────────▶  HTTP/1.1 200 …  ──▶  GET / HTTP/1.1
//	  whatever        a final answer        anew from here
//
// A turn is all that one side says, or loses, before the other does. It is read
// as the tap gives it: an answer never before its request, nor the client's
// next request before the answer that it waited for.
type lost struct {
	codec.Decoder // counts what is not understood
	env           *codec.Env

	turn    tap.Side
	gap     bool          // it lost the last that was said
	verdict codec.Verdict // whether the turn is the server's or the client's of the picture
	first   codec.Body    // how it begins, as long as that isn't known; the client's in whole
	begun   time.Time     // when it began
	last    time.Time     // when anything was last said
}

// resume follows a decoder that gave up in the turn of side.
func resume(env *codec.Env, side tap.Side, rest codec.Decoder) codec.Decoder {
	return &lost{Decoder: rest, env: env, turn: side, gap: env.Failed == codec.Lost}
}

// Data implements [codec.Decoder].
func (l *lost) Data(side tap.Side, at time.Time, p []byte) error {
	switch {
	case side != l.turn:
		owed := l.verdict != codec.Yes || l.env.Pipelined && at.Sub(l.last) < calm
		l.pass()
		l.turn, l.begun, l.verdict = side, at, codec.Maybe
		if side == tap.FromClient && owed {
			l.verdict = codec.No
		}
	case side == tap.FromClient && l.gap: // it asked more than once, for all that is known
		l.env.Pipelined = true
	}
	l.gap, l.last = false, at
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
	detect := detect
	if side == tap.FromServer {
		detect = detectAnswer
	}
	l.verdict = detect(l.env.Flow, begins)
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

// detectAnswer tells whether the server begins with a final answer.
func detectAnswer(_ *tap.Flow, first []byte) codec.Verdict {
	const pattern = "HTTP/1.v S" // any version, any status but an interim one
	for i := range min(len(first), len(pattern)) {
		c := first[i]
		switch pattern[i] {
		case 'v':
		case 'S':
			if c < '2' || c > '5' {
				return codec.No
			}
		case c:
		default:
			return codec.No
		}
	}
	if len(first) < len(pattern) {
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
func (l *lost) Gap(side tap.Side, n int64) error {
	l.pass()
	l.turn, l.verdict, l.gap = side, codec.No, true
	return l.Decoder.Gap(side, n)
}

// Close implements [codec.Decoder].
func (l *lost) Close(at time.Time) {
	l.pass()
	l.Decoder.Close(at)
}
