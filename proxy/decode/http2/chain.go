package http2

import (
	"encoding/binary"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// place is a place in a side's bytes, relative to the first that is held or to
// the next that comes.
type place struct {
	skip int // bytes before the next frame's head
	head [headLen]byte
	have int // of the head, which were seen before the place
}

// chain is a row of frames.
type chain struct {
	place       // where it is
	begin place // where it began, or went on when what was held was dropped
	found bool  // it has a frame
}

func length(head [headLen]byte) int { return int(head[0])<<16 | int(head[1])<<8 | int(head[2]) }

func streamOf(head [headLen]byte) uint32 { return binary.BigEndian.Uint32(head[5:]) }

const anyLength = 1<<24 - 1

// rules say of each type of frame what all of its kind have in common (RFC 9113,
// section 6, and RFC 9218, section 7.1).
var rules = map[http2.FrameType]struct {
	flags     http2.Flags // that are defined
	min, max  int         // length of the payload
	of        int         // which it is a multiple of
	onStream  bool        // rather than on the connection
	byServers bool        // alone
}{
	http2.FrameData:         {0x1 | 0x8, 0, anyLength, 1, true, false},
	http2.FrameHeaders:      {0x1 | 0x4 | 0x8 | 0x20, 0, anyLength, 1, true, false},
	http2.FramePriority:     {0, 5, 5, 1, true, false},
	http2.FrameRSTStream:    {0, 4, 4, 1, true, false},
	http2.FrameSettings:     {0x1, 0, anyLength, 6, false, false},
	http2.FramePushPromise:  {0x4 | 0x8, 4, anyLength, 1, true, true},
	http2.FramePing:         {0x1, 8, 8, 1, false, false},
	http2.FrameGoAway:       {0, 8, anyLength, 1, false, false},
	http2.FrameContinuation: {0x4, 0, anyLength, 1, true, false},
	0x10:                    {0, 4, anyLength, 1, false, false}, // PRIORITY_UPDATE
}

// plausible tells whether the side may send a frame with this head, and a payload
// of at most so many bytes. A head of an extension is not believed: the chain
// begins anew behind it.
func plausible(side tap.Side, head [headLen]byte, most int) bool {
	kind, flags, id, n := http2.FrameType(head[3]), http2.Flags(head[4]), streamOf(head), length(head)
	if kind == http2.FrameWindowUpdate {
		return flags == 0 && n == 4 && id < 1<<31
	}
	rule, ok := rules[kind]
	switch {
	case !ok, flags&^rule.flags != 0, n < rule.min, n > rule.max, n > most, n%rule.of != 0:
		return false
	case (id != 0) != rule.onStream, id >= 1<<31, rule.byServers && side == tap.FromClient:
		return false
	case kind == http2.FrameHeaders && side == tap.FromClient:
		return id%2 == 1
	}
	return true
}
