package http2

import (
	"slices"
	"time"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// search decodes nothing, but follows a connection after a loss until it knows again where
// frames begin.
//
//	client  ░░lost░░│HEADERS 7│           │HEADERS 9│           │ …
//	server          │         │HEADERS 7 …│         │HEADERS 9 …│ …
//	                                      ▲ decoded from here on
//
// A chain is a sequence of frame heads, each at the end of the frame before it. A chain
// begins where a side begins to send after the other side, or continues after a loss. It is
// dropped at a head that no peer sends.
//
// A body may contain bytes that look like frames, and an attacker may send such a body. So
// search trusts a chain only after two rounds: the client opens a stream on it, the server
// answers, the client opens another stream after this answer, and the server answers that
// one, too. Each time, the other side's chain must be between two frames, and there must be
// no second chain. Decoding begins with the last of these streams. A forger would have to
// know which streams were opened while bytes were lost, and where in the bytes a frame of
// the attack will be.
//
// search holds the bytes until then. If they become too many, it drops them and continues
// to follow the chains.
type search struct {
	framework.Decoder // counts the bytes that are not decoded
	c                 *conn
	lost              [2]bool // it is unknown where the side's frames begin
	chains            [2][]chain
	turn              tap.Side // the side that sent last
	fresh             [2]bool  // the side's next byte may begin a frame
	held              []chunk
	size              int    // memory of held
	seen              [2]int // bytes in held, by side

	asked  []ask  // streams that the client opened and the server has not answered
	newest uint32 // the latest stream that the client opened
	bar    uint32 // streams up to this one were opened before the last answer
	rounds int    // answers to later streams
	last   [2]int // where the last round begins on each side, as ask.pos
}

// ask is a stream that the client opened.
type ask struct {
	id  uint32
	pos int // position of its first frame in the side's held bytes; -1: it is not held
}

// chunk has the bytes that one side sent at that time.
type chunk struct {
	side tap.Side
	at   time.Time
	data []byte
}

const (
	maxHeld   = 64 << 10
	chunkCost = 64 // memory of a chunk without its bytes
	maxChains = 4
	maxAsked  = 256
	certain   = 2 // rounds after which a chain is trusted
)

// Resume implements [framework.Resumer].
func (c *conn) Resume(side tap.Side, rest framework.Decoder) framework.Decoder {
	s := &search{Decoder: rest, c: c, turn: side}
	s.lose(side, c.state.Failed == framework.Lost)
	if other := 1 - side; c.sides[other].preface == 0 || other == tap.FromServer {
		s.chains[other] = []chain{{place: c.sides[other].place(), found: true}}
	} else {
		s.lose(other, true)
	}
	return s
}

// resume returns a search for a connection of which nothing has been decoded.
func resume(state *framework.FlowState, side tap.Side, _ time.Time, rest framework.Decoder) framework.Decoder {
	s := newConn(state, nil).(*conn).Resume(side, rest).(*search)
	s.lose(1-side, true)
	return s
}

// lose records that it is unknown where the side's frames begin. fresh says that the next
// byte may begin one.
func (s *search) lose(side tap.Side, fresh bool) {
	s.lost[side], s.chains[side], s.fresh[side] = true, nil, fresh
	s.restart()
}

// restart discards the rounds that have been counted.
func (s *search) restart() {
	s.newest = s.c.newest[tap.FromClient]
	s.asked, s.bar, s.rounds = s.asked[:0], s.newest, 0
}

// Data implements [framework.Decoder].
func (s *search) Data(side tap.Side, at time.Time, p []byte) error {
	if side != s.turn {
		s.turn, s.fresh[side] = side, true
	}
	if s.lost[side] && s.fresh[side] {
		s.open(side)
	}
	s.fresh[side] = false
	held := s.hold(side, at, p)
	s.follow(side, p)
	if !held {
		s.pass(side, at, p)
		s.rebase()
	}
	for i := range s.lost {
		if s.lost[i] && len(s.chains[i]) == 0 { // nothing that is held will be decoded
			s.drop()
		}
	}
	if s.rounds < certain || !s.sole(tap.FromClient) || !s.sole(tap.FromServer) {
		return nil
	}
	return s.end(at)
}

// open begins a chain at the side's next byte, unless a chain expects a frame there.
func (s *search) open(side tap.Side) {
	for _, ch := range s.chains[side] {
		if ch.skip == 0 && ch.have == 0 {
			return
		}
	}
	if len(s.chains[side]) == maxChains {
		s.lose(side, false)
	}
	s.chains[side] = append(s.chains[side], chain{begin: place{skip: s.seen[side]}})
}

// sole reports whether the side has exactly one chain with a frame.
func (s *search) sole(side tap.Side) bool {
	n := 0
	for i := range s.chains[side] {
		if s.chains[side][i].found {
			n++
		}
	}
	return n == 1
}

// follow advances the side's chains by p.
func (s *search) follow(side tap.Side, p []byte) {
	chains, before := s.chains[side], s.seen[side]-len(p) // meaningless if p is not held
	for i := 0; i < len(chains); i++ {
		ch := &chains[i]
		for rest := p; len(rest) > 0; {
			if ch.skip > 0 {
				n := min(ch.skip, len(rest))
				ch.skip -= n
				rest = rest[n:]
				continue
			}
			n := copy(ch.head[ch.have:], rest)
			rest = rest[n:]
			if ch.have += n; ch.have < headLen {
				break
			}
			if !plausible(side, ch.head, s.c.sides[side].frame) {
				if ch.found {
					s.restart()
				}
				chains = slices.Delete(chains, i, i+1)
				i--
				break
			}
			ch.have, ch.skip = 0, length(ch.head)
			if !ch.found {
				if ch.found = true; len(chains) > 1 { // now it is unclear which chain is right
					s.restart()
				}
			}
			if http2.FrameType(ch.head[3]) == http2.FrameHeaders && len(chains) == 1 {
				s.headers(side, streamOf(ch.head), max(-1, before+len(p)-len(rest)-headLen))
			}
		}
	}
	for i := len(chains) - 1; i > 0; i-- { // of two chains that have met, the later one is kept
		if chains[i].place == chains[i-1].place {
			chains = slices.Delete(chains, i-1, i)
			s.restart()
		}
	}
	s.chains[side] = chains
	if !s.lost[side] && len(chains) == 0 { // it sent a head that no peer sends
		s.lose(side, false)
	}
}

// headers handles a HEADERS frame at pos on the side's only chain.
func (s *search) headers(side tap.Side, id uint32, pos int) {
	if side == tap.FromClient {
		if id <= s.newest { // trailers, or the frame that opened the stream was forged
			s.restart()
		}
		if id <= s.newest || !s.between(tap.FromServer) {
			return
		}
		s.newest = id
		if len(s.asked) == maxAsked {
			s.asked = slices.Delete(s.asked, 0, 1)
		}
		s.asked = append(s.asked, ask{id, pos})
		return
	}
	i := slices.IndexFunc(s.asked, func(a ask) bool { return a.id == id })
	if i < 0 {
		return
	}
	if id > s.bar && s.between(tap.FromClient) {
		s.bar, s.last = s.newest, [2]int{s.asked[i].pos, pos}
		s.rounds++
	}
	s.asked = slices.Delete(s.asked, i, i+1)
}

// between reports whether the side's chain, if there is one, is between two frames.
func (s *search) between(side tap.Side) bool {
	ch := s.chains[side]
	return !s.lost[side] || len(ch) == 0 || len(ch) == 1 && ch[0].skip == 0 && ch[0].have == 0
}

// hold keeps p and returns true, or returns false if there is no room. If held bytes leave
// no room for p, it drops all of them first, because a side's bytes are decoded in order.
func (s *search) hold(side tap.Side, at time.Time, p []byte) bool {
	last := len(s.held) - 1
	joins := last >= 0 && s.held[last].side == side && s.held[last].at.Equal(at)
	cost := len(p)
	if !joins {
		cost += chunkCost
	}
	if s.size+cost > maxHeld || !s.c.state.Hold(cost) {
		s.drop()
		joins, cost = false, len(p)+chunkCost
		if cost > maxHeld || !s.c.state.Hold(cost) {
			return false
		}
	}
	s.size += cost
	s.seen[side] += len(p)
	if joins {
		s.held[last].data = append(s.held[last].data, p...)
	} else {
		s.held = append(s.held, chunk{side, at, slices.Clone(p)})
	}
	return true
}

// drop gives up the held bytes. They will not be decoded.
func (s *search) drop() {
	for _, c := range s.free() {
		s.pass(c.side, c.at, c.data)
	}
	s.rebase()
}

// free returns the held chunks and their memory.
func (s *search) free() []chunk {
	held := s.held
	s.c.state.Release(s.size)
	s.held, s.size, s.seen = nil, 0, [2]int{}
	return held
}

// rebase makes the chains begin at their current positions.
func (s *search) rebase() {
	for side := range s.chains {
		for i := range s.chains[side] {
			s.chains[side][i].begin = s.chains[side][i].place
		}
	}
	s.last = [2]int{-1, -1}
	for i := range s.asked {
		s.asked[i].pos = -1
	}
}

// pass counts bytes that will not be recorded. A side that is not lost is still decoded, to
// keep its HPACK table up to date.
func (s *search) pass(side tap.Side, at time.Time, p []byte) {
	s.Decoder.Data(side, at, p)
	if s.lost[side] {
		return
	}
	s.c.muted = true
	err := s.c.Data(side, at, p)
	s.c.muted = false
	if err != nil {
		s.lose(side, false)
	}
}

// Gap implements [framework.Decoder].
func (s *search) Gap(side tap.Side, at time.Time, n int64) error {
	s.drop()
	s.turn = side
	if !s.lost[side] {
		if s.c.sides[side].skip(n) != nil {
			s.lose(side, true)
		} else {
			place := s.c.sides[side].place()
			s.chains[side] = []chain{{place: place, begin: place, found: true}}
		}
		return s.Decoder.Gap(side, at, n)
	}
	kept := s.chains[side][:0]
	for _, ch := range s.chains[side] {
		if int64(ch.skip) >= n {
			ch.skip -= int(n)
			ch.begin = ch.place
			kept = append(kept, ch)
		}
	}
	if len(kept) < len(s.chains[side]) {
		s.restart()
	}
	s.chains[side], s.fresh[side] = kept, true
	return s.Decoder.Gap(side, at, n)
}

// end resumes the decoder at the last round, or else where the chains begin.
func (s *search) end(at time.Time) error {
	last, held := s.last, s.free()
	for side := range s.lost {
		if !s.lost[side] {
			continue
		}
		i := slices.IndexFunc(s.chains[side], func(ch chain) bool { return ch.found })
		begin := s.chains[side][i].begin
		if last[side] >= 0 {
			begin = place{skip: last[side]}
		}
		s.c.sides[side].begin(begin)
		for i := range held {
			if c := &held[i]; int(c.side) == side {
				n := min(begin.skip, len(c.data))
				s.Decoder.Data(c.side, c.at, c.data[:n])
				c.data = c.data[n:]
				begin.skip -= n
			}
		}
	}
	s.Decoder.Close(at)
	s.c.state.Resume("http2", s.c)
	for _, c := range held {
		if len(c.data) == 0 {
			continue
		}
		if err := s.c.Data(c.side, c.at, c.data); err != nil {
			return err
		}
	}
	return nil
}

// Close implements [framework.Decoder].
func (s *search) Close(at time.Time) {
	s.drop()
	s.c.Close(at)
	s.Decoder.Close(at)
}
