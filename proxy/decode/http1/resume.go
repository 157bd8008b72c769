package http1

import (
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	// calm is the silence after the server's last bytes that shows that no answer is
	// missing, if the client waits for each answer.
	calm = time.Second
	// settled is the same for a client that pipelines. Proxies with the usual timeouts
	// give up on an answer that takes longer.
	settled = 30 * time.Second
	// rounds is the number of rounds in a row that show the same for a client that
	// pipelines. A round is one request, its answer, and then a pause of at least patience
	// times the time that the answer took, and at least pause. If the server owed an
	// answer, it would probably have sent it in one of the pauses.
	rounds = 8
	// few is the number of rounds if a part of a request was lost, and nothing else
	// suggests that the client pipelines. These rounds need no pauses.
	few      = 3
	patience = 10
	pause    = 10 * time.Millisecond
)

// lost is the decoder of a connection after bytes were lost, or could not be parsed. It
// looks for a request that follows a final answer while no other answer is missing. There
// decoding starts again:
//
//	client's turn    server's turn        client's turn
//	──────────────▶  HTTP/1.1 200 …  ──▶  GET / HTTP/1.1
//	  any bytes       or silence           decoding starts here
//
// A turn is all bytes that one side sends, or that are lost of it, before the other side
// sends. The tap gives bytes to readers in order: a request before its answer, and an answer
// before the next request of a client that waited for it. If the client pipelines, one
// answer proves nothing, because an earlier request may have a slow one. Then only a long
// silence, or many rounds of one request and one answer, shows that no answer is missing.
type lost struct {
	framework.Decoder // counts the bytes that are not decoded
	state             *framework.FlowState

	turn    tap.Side
	begun   time.Time         // when the turn began
	last    time.Time         // when bytes last came or were lost
	said    bool              // the turn has bytes that were not lost
	gap     bool              // the last bytes of the turn were lost
	verdict framework.Verdict // whether the turn begins with a request or an answer, as above
	interim bool              // the turn is an interim answer, after which the client may continue
	whole   bool              // no bytes of the turn were lost
	heads   counter           // heads of requests or answers in the turn

	partial bool           // a part of a request was lost, and perhaps another request with it
	asked   bool           // the client's last turn was one request
	took    time.Duration  // how long the server took to answer it
	clean   int            // rounds in a row of one request and one answer
	patient int            // the latest of these rounds that had a long pause after them, in a row
	first   framework.Body // the beginning of the turn, as long as the verdict is Maybe
}

// resume returns the decoder for the rest of a flow after a decoder gave up on bytes of side.
func resume(state *framework.FlowState, side tap.Side, at time.Time, rest framework.Decoder) framework.Decoder {
	gap := state.Failed == framework.Lost
	return &lost{Decoder: rest, state: state, turn: side, begun: at, last: at, gap: gap, said: !gap && state.Sent[side] > 0, partial: state.Partial, whole: !gap}
}

// begin begins a turn.
func (l *lost) begin(side tap.Side, at time.Time) {
	l.judge(side, at)
	silent := time.Duration(0) // after the server's last bytes
	if l.turn == tap.FromServer && !l.interim {
		silent = at.Sub(l.last)
	}
	var answered bool
	switch state := l.state; {
	case state.Pipelined, state.Doubt && state.Waited < rounds: // otherwise the client waited often enough before the loss
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

// judge evaluates the turn that has ended, when side begins the next one.
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
		l.state.Doubt = l.state.Doubt || !l.whole && n > 0 // the bytes that were lost before this request may have been another one
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

// counter counts first lines of messages, or bytes that look like them.
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

// detectAnswer reports whether bytes of the server begin with an answer. It checks them up
// to the first digit of the status.
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

// hold keeps the beginning of the turn until the verdict is known. If there is no room, it
// returns false, and the verdict is No.
func (l *lost) hold(p []byte) bool {
	if l.first.Append(l.state, p) {
		return true
	}
	l.pass()
	l.verdict = framework.No
	return false
}

// pass gives the bytes that hold has kept to the embedded decoder, which counts them.
func (l *lost) pass() {
	if held := l.first.Bytes(); len(held) > 0 {
		l.Decoder.Data(l.turn, l.begun, held)
		l.first.Free(l.state)
	}
}

// Gap implements [framework.Decoder]. After a loss, a turn can't be where decoding starts.
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
