package http2

import (
	"encoding/binary"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// place is a position in a side's bytes, relative to the first byte that is held or to the
// next byte that comes.
type place struct {
	skip int // bytes before the next frame's head
	head [headLen]byte
	have int // bytes of the head that came before the position
}

// chain is a possible sequence of frames.
type chain struct {
	place       // its current position
	begin place // where it began, or where it was when the held bytes were dropped
	found bool  // it has at least one frame
}

func length(head [headLen]byte) int { return int(head[0])<<16 | int(head[1])<<8 | int(head[2]) }

func streamOf(head [headLen]byte) uint32 { return binary.BigEndian.Uint32(head[5:]) }

const anyLength = 1<<24 - 1

// rules holds, for each type of frame, the conditions that every such frame meets (RFC 9113,
// section 6, and RFC 9218, section 7.1).
var rules = map[http2.FrameType]struct {
	flags     http2.Flags // the flags that are defined
	min, max  int         // length of the payload
	of        int         // the length is a multiple of it
	onStream  bool        // the frame belongs to a stream, and otherwise to the connection
	byServers bool        // only servers send it
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

// plausible reports whether the side may send a frame with this head, and with a payload of
// at most that many bytes. It rejects frames of extensions. A new chain may begin after one.
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
