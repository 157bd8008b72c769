package meet

import (
	"bytes"
	"context"
)

// Alive reports progress. It does not wait for the place.
func (m *Meeting) Alive() {
	select {
	case m.beat <- struct{}{}:
	default:
	}
}

// beating stores a sign of life when there is progress. The first one has the given number, and
// each replaces its predecessor.
func (m *Meeting) beating(ctx context.Context, number int) {
	defer close(m.ended)
	every := min(maxBeat, m.o.Timeout/beats)
	before := ""
	for ; ; number++ {
		select {
		case <-m.beat:
		case <-ctx.Done():
			return
		}
		name := progressName(m.o.Index, number)
		once, cancel := context.WithTimeout(ctx, maxBeat)
		err := m.o.Store.Put(once, m.key(name), bytes.NewReader([]byte(m.process+"\n")))
		if err == nil && before != "" {
			_ = m.o.Store.Delete(once, m.key(before)) // fails without the right to delete; the object then remains
		}
		cancel()
		if err == nil {
			before = name
		}
		if sleep(ctx, every) != nil {
			return
		}
	}
}
