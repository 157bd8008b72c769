package recording

import (
	"fmt"

	"github.com/tapedeck/tapedeck/recording/coding"
)

// JoinFrames returns the messages of a WebSocket as its two sides have them, of which the
// recording has frames: fragments are joined, compression is undone, and pings and pongs
// are left out. The time of a message is that of its first frame. The first close frame is
// the last message, for the other side's answer to it comes by itself. It fails if a frame
// goes on with a message that has not begun, or if a message can't be decompressed to at
// most limit bytes. Data of what has one frame is that frame's.
func JoinFrames(frames []Message, limit int64) ([]Message, error) {
	var all []Message
	var sides [2]struct {
		coding.Messages
		open    bool
		message Message
	}
	for i := range frames {
		f := &frames[i]
		side := &sides[0]
		if f.From == Server {
			side = &sides[1]
		}
		m := &side.message
		switch f.Type {
		case "ping", "pong":
			continue
		case "close":
			return append(all, *f), nil
		case "continuation":
			if !side.open {
				return nil, fmt.Errorf("frame %d goes on with a message that has not begun", i+1)
			}
			m.Size += max(f.Size, int64(len(f.Data)))
			m.Data = append(m.Data[:len(m.Data):len(m.Data)], f.Data...)
		default:
			side.open, *m = true, *f
			m.Size = max(f.Size, int64(len(f.Data)))
		}
		if f.More {
			continue
		}
		side.open, m.More = false, false
		if m.Size == int64(len(m.Data)) {
			m.Size = 0
		}
		if m.Compressed && m.Size > 0 {
			return nil, fmt.Errorf("frame %d: a part of the compressed message is missing", i+1)
		}
		if m.Compressed {
			var err error
			if m.Data, err = side.Inflate(m.Data, limit); err != nil {
				return nil, fmt.Errorf("frame %d: %w", i+1, err)
			}
			m.Compressed = false
		}
		all = append(all, *m)
	}
	return all, nil
}
