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

const headLen = 9 // length of a frame's head

// half parses the frames that one side sends.
type half struct {
	*conn
	side    tap.Side
	now     time.Time
	preface int // bytes of the preface that are still to come

	head [headLen]byte // of the frame
	have int           // bytes of head that have come
	// Of the frame whose payload is being read:
	kind    http2.FrameType
	flags   http2.Flags
	id      uint32
	left    int // bytes of the payload that are still to come
	pad     int // bytes of padding in left, at the end of DATA; -1: its length is still to come
	payload framework.Body

	block     uint32         // stream whose header block continues in the next frame; 0: none
	fragments framework.Body // fragments of the block that have come
	opens     uint32         // stream that the block opens or ends
	promise   bool           // the block is the request of a stream that the server opens
	ends      bool           // the side's half of the stream ends with the block

	hpack  *hpack.Decoder
	table  *table            // decodes instead of hpack, once a block was lost
	allows int               // maximum size of the table, in bytes
	frame  int               // maximum size of a frame's payload, in bytes
	bare   bool              // the block is too large, and its fragments are not kept
	lost   int               // number of unknown fields in list
	list   recording.Headers // decoded fields of the block
	pseudo pseudo
	weight int // size of list, in bytes
}

// pseudo holds the pseudo-header fields (RFC 9113, section 8.3).
type pseudo struct{ method, path, authority, status string }

func (h *half) init(c *conn, side tap.Side) {
	h.conn, h.side = c, side
	h.allows, h.frame = 4096, 16<<10 // RFC 9113, section 6.5.2
	h.hpack = hpack.NewDecoder(4096, h.field)
	h.hpack.SetMaxStringLength(c.state.Limits.Head)
}

// read reads at least one byte of p and returns how many it read.
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

// open begins a frame. A frame without a payload ends immediately.
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

// readData passes on the content of a DATA frame as it comes.
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

// readFrame reads the payload of another type of frame.
func (h *half) readFrame(p []byte) (n int, err error) {
	n = min(h.left, len(p))
	h.left -= n
	if h.left == 0 && len(h.payload.Bytes()) == 0 && n <= h.state.Limits.Head { // p has all of it
		return n, h.close(p[:n])
	}
	return n, h.collect(p[:n])
}

// collect adds bytes to the payload, if the type of the frame is of interest.
func (h *half) collect(p []byte) error {
	fits := len(h.payload.Bytes())+len(p)+h.left <= h.state.Limits.Head // the whole payload, however it is split
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

// close ends the frame. p is its payload, if the type of the frame is of interest.
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
		if h.bare { // the number of the stream that it opens is lost, too
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

// forgo drops the header block that is being read, because there is no room for it.
func (h *half) forgo() {
	h.bare = true
	h.payload.Free(h.state)
	h.fragments.Free(h.state)
}

// fragment reads a fragment of a header block, with skip bytes before it.
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

// without continues after a fragment of a block that is not kept. When the block ends, its
// insertions into the table are unknown.
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

// forget makes all entries of the table unknown, because a block was not decoded.
func (h *half) forget() { h.table = &table{limit: h.allows} }

// complete decodes a whole block.
func (h *half) complete(p []byte) error {
	defer func() { // the exchange has copied what it keeps
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

// message passes on the list. bare says that fields were left out because of a limit.
func (h *half) message(bare bool) {
	from := h.side
	if h.promise {
		s := h.create(h.side, h.opens, h.now)
		if s == nil {
			return
		}
		s.x.SetTag(recording.TagPush, "true")
		from = tap.FromClient // the server sends the request that the client would send
	}
	h.fields(from, h.opens, h, bare, h.now)
}

// known adds a field from the table, and counts unknown ones.
func (h *half) known(f hpack.HeaderField) {
	if h.field(f); f == unknown && len(h.list) <= h.state.Limits.Headers {
		h.lost++
		h.list = append(h.list, recording.Header{Name: f.Name})
	}
}

// field adds a decoded field.
func (h *half) field(f hpack.HeaderField) {
	h.weight += len(f.Name) + len(f.Value) + framework.FieldCost
	if h.weight > h.state.Limits.Head || len(h.list) > h.state.Limits.Headers {
		return // complete drops the list
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

// begin continues at a place, with a table whose entries are all unknown.
func (h *half) begin(at place) {
	h.payload.Free(h.state)
	h.fragments.Free(h.state)
	h.preface, h.block, h.bare = 0, 0, false
	h.head, h.have = at.head, at.have
	h.forget()
}

// place returns the current position.
func (h *half) place() place {
	if h.have < headLen {
		return place{skip: h.preface, head: h.head, have: h.have}
	}
	return place{skip: h.left}
}

// skip skips n lost bytes. It fails if they are not all within the content of a DATA frame.
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
