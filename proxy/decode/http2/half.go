package http2

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

const headLen = 9 // of a frame

// half parses the frames that one side sends.
type half struct {
	*conn
	side    tap.Side
	now     time.Time
	preface int // bytes of it that are still to come

	head [headLen]byte // of the frame, as far as it was seen
	have int
	// of the frame whose payload is being read:
	kind    http2.FrameType
	flags   http2.Flags
	id      uint32
	left    int // of the payload
	pad     int // of left, at the end of DATA; -1: its length is still to come
	payload framework.Body

	block     uint32         // stream whose header block goes on; 0: none
	fragments framework.Body // of the block, till its end
	opens     uint32         // stream that the block opens or ends
	promise   bool           // it is the request of a stream that the server opens
	ends      bool           // with the block, the side's half of the stream ends

	hpack  *hpack.Decoder
	table  *table            // decodes instead of hpack, once a block was lost
	allows int               // most bytes that the table may have
	frame  int               // most bytes that the payload of a frame may have
	bare   bool              // the block is too large, and its fragments are not kept
	lost   int               // unknown fields in the list
	list   recording.Headers // decoded of the block
	pseudo pseudo
	weight int // of the list, in bytes
}

// pseudo are the pseudo-header fields (RFC 9113, section 8.3).
type pseudo struct{ method, path, authority, status string }

func (h *half) init(c *conn, side tap.Side) {
	h.conn, h.side = c, side
	h.allows, h.frame = 4096, 16<<10 // RFC 9113, section 6.5.2
	h.hpack = hpack.NewDecoder(4096, h.field)
	h.hpack.SetMaxStringLength(c.state.Limits.Head)
}

// read takes some of p, at least a byte, and returns how much.
func (h *half) read(p []byte) (n int, err error) {
	switch {
	case h.preface > 0:
		n = min(h.preface, len(p))
		at := len(http2.ClientPreface) - h.preface
		if string(p[:n]) != http2.ClientPreface[at:at+n] {
			return 0, errPreface
		}
		h.preface -= n
		return n, nil
	case h.have < headLen:
		n = copy(h.head[h.have:], p)
		h.have += n
		if h.have == headLen {
			err = h.open()
		}
		return n, err
	case h.kind == http2.FrameData:
		return h.readData(p)
	default:
		return h.readFrame(p)
	}
}

// open begins a frame. One without payload is over at once.
func (h *half) open() error {
	h.left = int(h.head[0])<<16 | int(h.head[1])<<8 | int(h.head[2])
	h.kind, h.flags = http2.FrameType(h.head[3]), http2.Flags(h.head[4])
	h.id = binary.BigEndian.Uint32(h.head[5:]) & (1<<31 - 1)
	if h.block != 0 && (h.kind != http2.FrameContinuation || h.id != h.block) {
		return errOrder
	}
	if h.block == 0 && h.kind == http2.FrameContinuation {
		return errOrder
	}
	h.pad = 0
	if h.kind == http2.FrameData && h.flags.Has(http2.FlagDataPadded) {
		if h.left == 0 {
			return errFrame
		}
		h.pad = -1
	}
	if h.left == 0 {
		return h.close(nil)
	}
	return nil
}

// readData hands a body on as it comes.
func (h *half) readData(p []byte) (n int, err error) {
	if h.pad < 0 {
		h.pad = int(p[0])
		h.left--
		if h.pad > h.left {
			return 0, errFrame
		}
		n = 1
	} else if content := h.left - h.pad; content > 0 {
		n = min(content, len(p))
		h.data(h.side, h.id, p[:n], h.now)
		h.left -= n
	} else {
		n = min(h.left, len(p))
		h.left -= n
		h.pad -= n
	}
	if h.left == 0 {
		err = h.close(nil)
	}
	return n, err
}

// readFrame reads the payload of any other frame.
func (h *half) readFrame(p []byte) (n int, err error) {
	n = min(h.left, len(p))
	h.left -= n
	if h.left == 0 && len(h.payload.Bytes()) == 0 && n <= h.state.Limits.Head { // it is here as a whole
		return n, h.close(p[:n])
	}
	return n, h.collect(p[:n])
}

// collect adds to a payload, if it matters.
func (h *half) collect(p []byte) error {
	fits := len(h.payload.Bytes())+len(p)+h.left <= h.state.Limits.Head // however it comes in
	switch h.kind {
	case http2.FrameHeaders, http2.FrameContinuation, http2.FramePushPromise:
		if h.bare || !fits || !h.payload.Append(h.state, p) {
			h.forgo()
		}
	case http2.FrameSettings, http2.FrameRSTStream, http2.FrameGoAway:
		if !fits {
			return errLarge
		}
		if !h.payload.Append(h.state, p) {
			return framework.ErrMemory
		}
	}
	if h.left > 0 {
		return nil
	}
	err := h.close(h.payload.Bytes())
	h.payload.Free(h.state)
	return err
}

// close ends the frame; p is its payload, unless that is of no interest.
func (h *half) close(p []byte) error {
	h.have = 0
	switch h.kind {
	case http2.FrameData:
		if s := h.streams[h.id]; s != nil && h.flags.Has(http2.FlagDataEndStream) {
			h.endSide(h.side, h.id, s, h.now)
		}
	case http2.FrameHeaders:
		h.opens, h.promise, h.ends = h.id, false, h.flags.Has(http2.FlagHeadersEndStream)
		skip := 0
		if h.flags.Has(http2.FlagHeadersPriority) {
			skip = 5
		}
		return h.fragment(p, skip, h.flags.Has(http2.FlagHeadersPadded))
	case http2.FramePushPromise:
		if h.bare { // which stream it opens is lost, too
			h.opens, h.promise, h.ends = 0, true, true
			return h.fragment(nil, 0, false)
		}
		if len(p) < 4 {
			return errFrame
		}
		padded := h.flags.Has(http2.FlagPushPromisePadded)
		promised := p
		if padded {
			promised = p[1:]
		}
		if len(promised) < 4 {
			return errFrame
		}
		h.opens, h.promise, h.ends = binary.BigEndian.Uint32(promised)&(1<<31-1), true, true
		return h.fragment(p, 4, padded)
	case http2.FrameContinuation:
		return h.fragment(p, 0, false)
	case http2.FrameSettings:
		return h.settings(h.side, p)
	case http2.FrameRSTStream:
		if len(p) != 4 {
			return errFrame
		}
		h.reset(h.side, h.id, http2.ErrCode(binary.BigEndian.Uint32(p)), h.now)
	case http2.FrameGoAway:
		if len(p) < 8 {
			return errFrame
		}
		if h.side == tap.FromServer {
			h.goAway(binary.BigEndian.Uint32(p)&(1<<31-1), http2.ErrCode(binary.BigEndian.Uint32(p[4:])), h.now)
		}
	}
	return nil
}

// forgo gives up the header block that is being read: there is no room for it.
func (h *half) forgo() {
	h.bare = true
	h.payload.Free(h.state)
	h.fragments.Free(h.state)
}

// fragment takes a part of a header block, with skip bytes before it.
func (h *half) fragment(p []byte, skip int, padded bool) error {
	ended := h.flags.Has(http2.FlagHeadersEndHeaders) // the same bit in all three frames
	if h.bare {
		return h.without(ended)
	}
	if padded {
		if len(p) == 0 || int(p[0]) > len(p)-1 {
			return errFrame
		}
		p = p[1 : len(p)-int(p[0])]
	}
	if len(p) < skip {
		return errFrame
	}
	p = p[skip:]
	if h.block != 0 || !ended {
		if len(h.fragments.Bytes())+len(p) > h.state.Limits.Head || !h.fragments.Append(h.state, p) {
			h.forgo()
			return h.without(ended)
		}
		p = h.fragments.Bytes()
	}
	if !ended {
		h.block = h.id
		return nil
	}
	h.block = 0
	err := h.complete(p)
	h.fragments.Free(h.state)
	return err
}

// without goes on with a block that is not kept. What it inserted into the table
// is not known.
func (h *half) without(ended bool) error {
	if !ended {
		h.block = h.id
		return nil
	}
	h.block, h.bare = 0, false
	h.forget()
	h.message(true)
	return nil
}

// forget makes the table unknown, as it is after a block that was not read.
func (h *half) forget() { h.table = &table{limit: h.allows} }

// complete takes a whole block.
func (h *half) complete(p []byte) error {
	defer func() { // what is to be kept is the exchange's now, which holds it
		clear(h.list)
		h.list, h.pseudo, h.weight, h.lost = h.list[:0], pseudo{}, 0, 0
	}()
	if h.table != nil {
		if err := h.table.read(p, h.known); err != nil {
			return err
		}
	} else if _, err := h.hpack.Write(p); err != nil || h.hpack.Close() != nil {
		return errBlock
	}
	large := h.weight > h.state.Limits.Head || len(h.list) > h.state.Limits.Headers
	if large {
		clear(h.list)
		h.list, h.weight = h.list[:0], min(h.weight, h.state.Limits.Head)
	}
	h.message(large)
	return nil
}

// message hands the list on. It is bare if fields are left out by a limit.
func (h *half) message(bare bool) {
	from := h.side
	if h.promise {
		s := h.create(h.side, h.opens, h.now)
		if s == nil {
			return
		}
		s.x.SetTag(recording.TagPush, "true")
		from = tap.FromClient // whose request it is, though the server says it
	}
	h.fields(from, h.opens, h, bare, h.now)
}

// known takes a field from the table, and counts those that are not known.
func (h *half) known(f hpack.HeaderField) {
	if h.field(f); f == unknown && len(h.list) <= h.state.Limits.Headers {
		h.lost++
		h.list = append(h.list, recording.Header{Name: f.Name})
	}
}

// field takes a decoded field from HPACK.
func (h *half) field(f hpack.HeaderField) {
	h.weight += len(f.Name) + len(f.Value) + framework.FieldCost
	if h.weight > h.state.Limits.Head || len(h.list) > h.state.Limits.Headers {
		return // fragment will tell
	}
	switch f.Name {
	case ":method":
		h.pseudo.method = f.Value
	case ":path":
		h.pseudo.path = f.Value
	case ":authority":
		h.pseudo.authority = f.Value
	case ":status":
		h.pseudo.status = f.Value
	default:
		if f.Name != "" && f.Name[0] != ':' {
			h.list = append(h.list, recording.Header{Name: framework.CanonicalName(f.Name), Value: f.Value})
		}
	}
}

// begin makes the half go on at a place, with a table that is unknown.
func (h *half) begin(at place) {
	h.payload.Free(h.state)
	h.fragments.Free(h.state)
	h.preface, h.block, h.bare = 0, 0, false
	h.head, h.have = at.head, at.have
	h.forget()
}

// place is where the half is.
func (h *half) place() place {
	if h.have < headLen {
		return place{skip: h.preface, head: h.head, have: h.have}
	}
	return place{skip: h.left}
}

// skip goes over n lost bytes.
func (h *half) skip(n int64) error {
	content := int64(h.left - h.pad)
	if h.have < headLen || h.kind != http2.FrameData || h.pad < 0 || n > content {
		return errGap
	}
	h.left -= int(n)
	if s := h.streams[h.id]; s != nil {
		s.x.Incomplete = framework.Lost
		if s.sides[h.side].grpc {
			s.sides[h.side].lose(s.x, h.side, n)
		} else {
			body(s.x, h.side).Lose(n)
		}
	}
	if h.left == 0 {
		return h.close(nil)
	}
	return nil
}
