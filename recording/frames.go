package recording

import (
	"fmt"
	"iter"

	"github.com/tapedeck/tapedeck/recording/coding"
)

// JoinFrames turns the recorded frames of a WebSocket into messages: it joins fragments,
// decompresses, and leaves out pings and pongs. The time of a message is that of its first frame.
// The first close frame is the last message, because endpoints answer it automatically. JoinFrames
// fails if a frame continues a message that has not begun, or if a message doesn't decompress to at
// most limit bytes. A message with one frame shares the frame's data.
func JoinFrames(frames []Message, limit int64) (all []Message, err error) {
	for m, err := range JoinedFrames(frames, limit) {
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// JoinedFrames is [JoinFrames] as an iterator. It ends at the first error.
func JoinedFrames(frames []Message, limit int64) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		var sides [2]struct {
			coding.Messages
			open, joined bool
			message      Message
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
				yield(*f, nil)
				return
			case "continuation":
				if !side.open {
					yield(Message{}, fmt.Errorf("frame %d continues a message that has not begun", i+1))
					return
				}
				m.Size += max(f.Size, int64(len(f.Data)))
				if !side.joined { // the first frame owns the data, so append must copy it
					side.joined, m.Data = true, m.Data[:len(m.Data):len(m.Data)]
				}
				m.Data = append(m.Data, f.Data...)
			default:
				side.open, side.joined, *m = true, false, *f
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
				yield(Message{}, fmt.Errorf("frame %d: a part of the compressed message is missing", i+1))
				return
			}
			if m.Compressed {
				var err error
				if m.Data, err = side.Inflate(m.Data, limit); err != nil {
					yield(Message{}, fmt.Errorf("frame %d: %w", i+1, err))
					return
				}
				m.Compressed = false
			}
			if !yield(*m, nil) {
				return
			}
		}
	}
}
