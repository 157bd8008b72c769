package http1

import (
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	// calm is how long a connection rests after its server until it is believed
	// that nobody is owed anything, if its client waits for its answers.
	calm = time.Second
	// settled is the same where the client does not. An answer that took longer
	// would have been given up by a proxy's usual timeouts.
	settled = 30 * time.Second
	// Of such a client it is also believed after so many rounds in a row of one
	// request and its answer, each followed by a pause that is so many times as
	// long as the answer took. If the server owed an answer, it would have sent it
	// in none of the pauses, and each time right after the next request.
	rounds = 8
	// few is how many rounds it takes if a part of a request was lost, and nothing
	// else speaks against a client that waits.
	few      = 3
	patience = 10
	pause    = 10 * time.Millisecond
)

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
// not to wait, one answer proves nothing: an earlier one may be slow. It takes a
// long silence, or many rounds that look alike.
type lost struct {
	framework.Decoder // counts what is not understood
	state             *framework.FlowState

	turn    tap.Side
	begun   time.Time         // when it began
	last    time.Time         // when anything was last said or lost
	said    bool              // the turn has bytes that were not lost
	gap     bool              // its last ones were
	verdict framework.Verdict // whether the turn is the server's or the client's of the picture
	interim bool              // it is the server's, who asks for the rest of a request
	whole   bool              // nothing of it was lost
	heads   counter           // in it, of requests or answers

	partial bool           // a part of a request was lost, and with it perhaps another one
	asked   bool           // the client's last turn was one request
	took    time.Duration  // the server's answer to it
	clean   int            // rounds of one request and one answer, up to now
	patient int            // of them, those with a long pause behind them
	first   framework.Body // what it begins with, as long as the verdict is Maybe
}

// resume follows a decoder that gave up in the turn of side.
func resume(state *framework.FlowState, side tap.Side, at time.Time, rest framework.Decoder) framework.Decoder {
	gap := state.Failed == framework.Lost
	return &lost{Decoder: rest, state: state, turn: side, begun: at, last: at, gap: gap, said: !gap && state.Sent[side] > 0, partial: state.Partial, whole: !gap}
}

// begin begins a turn.
func (l *lost) begin(side tap.Side, at time.Time) {
	l.judge(side, at)
	silent := time.Duration(0) // behind the server
	if l.turn == tap.FromServer && !l.interim {
		silent = at.Sub(l.last)
	}
	var answered bool
	switch state := l.state; {
	case state.Pipelined, state.Doubt && state.Waited < rounds: // else it waited before the loss
		answered = l.patient >= rounds || silent >= settled
	case state.Doubt:
		answered = l.clean >= rounds || silent >= settled
	case l.partial:
		answered = l.clean >= few || silent >= settled
	default:
		answered = l.verdict == framework.Yes || silent >= calm
	}
	l.pass()
	l.turn, l.begun, l.said, l.gap, l.interim, l.whole, l.heads = side, at, false, false, false, true, counter{}
	l.verdict = framework.Maybe
	if side == tap.FromClient && !answered {
		l.verdict = framework.No
	}
}

// judge looks at the turn that ends when side begins its own.
func (l *lost) judge(side tap.Side, at time.Time) {
	one := l.whole && l.heads.seen == 1
	if side == tap.FromServer {
		l.asked, l.took = one, at.Sub(l.last)
		return
	}
	if !one || !l.asked || l.verdict != framework.Yes {
		l.clean, l.patient = 0, 0
		return
	}
	l.clean++
	if paused := at.Sub(l.last); paused >= pause && paused >= patience*l.took {
		l.patient++
	} else {
		l.patient = 0
	}
}

// Data implements [framework.Decoder].
func (l *lost) Data(side tap.Side, at time.Time, p []byte) error {
	if side != l.turn {
		l.begin(side, at)
	}
	if n := l.heads.add(side, p); side == tap.FromClient {
		l.state.Pipelined = l.state.Pipelined || n > 1
		l.partial = l.partial || l.gap
		l.state.Doubt = l.state.Doubt || !l.whole && n > 0 // what was lost before this request may have been another one
	}
	l.said, l.gap, l.last = true, false, at
	if l.verdict != framework.Maybe {
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
		l.verdict = detect(l.state.Flow, begins)
	} else if l.verdict = detectAnswer(begins); l.verdict == framework.Yes && begins[statusAt] == '1' {
		l.verdict, l.interim = framework.No, true
	}
	if l.verdict == framework.Maybe && (len(l.first.Bytes()) > 0 || l.hold(p)) {
		return nil
	}
	l.first.Free(l.state)
	if l.verdict == framework.Yes && side == tap.FromClient {
		l.Decoder.Close(l.begun)
		l.state.Doubt = false
		return l.state.Switch("http1", nil, l.begun, begins, nil)
	}
	return l.Decoder.Data(side, at, begins)
}

// counter counts first lines, or what looks like them.
type counter struct{ seen, matched int }

func (c *counter) add(side tap.Side, p []byte) int {
	mark := " HTTP/1."
	if side == tap.FromServer {
		mark = mark[1:]
	}
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
func detectAnswer(first []byte) framework.Verdict {
	const pattern = "HTTP/1.? "
	for i := range min(len(first), len(pattern)) {
		if first[i] != pattern[i] && pattern[i] != '?' {
			return framework.No
		}
	}
	if len(first) <= statusAt {
		return framework.Maybe
	}
	return framework.Yes
}

// hold keeps bytes till it is known what the turn begins with. Without room it
// never will be.
func (l *lost) hold(p []byte) bool {
	if l.first.Append(l.state, p) {
		return true
	}
	l.pass()
	l.verdict = framework.No
	return false
}

// pass gives on what was held of the turn: nothing begins with it.
func (l *lost) pass() {
	if held := l.first.Bytes(); len(held) > 0 {
		l.Decoder.Data(l.turn, l.begun, held)
		l.first.Free(l.state)
	}
}

// Gap implements [framework.Decoder]: nobody knows what the turn began with.
func (l *lost) Gap(side tap.Side, at time.Time, n int64) error {
	if side != l.turn {
		l.begin(side, at)
	}
	if side == tap.FromClient && l.said {
		l.partial = true
	}
	l.pass()
	l.verdict, l.gap, l.whole, l.heads, l.last = framework.No, true, false, counter{}, at
	return l.Decoder.Gap(side, at, n)
}

// Close implements [framework.Decoder].
func (l *lost) Close(at time.Time) {
	l.pass()
	l.Decoder.Close(at)
}
