package meet

import (
	"bytes"
	"context"
)

// Alive says that there is progress. It does not wait for the place.
func (m *Meeting) Alive() {
	select {
	case m.beat <- struct{}{}:
	default:
	}
}

// beating gives signs of life while there is progress, the first of which has a number. Each
// takes the place of the one before.
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
			_ = m.o.Store.Delete(once, m.key(before)) // who may not delete leaves it
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
