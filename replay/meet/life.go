package meet

import (
	"bytes"
	"context"
	"time"
)

// Alive says that there is progress. It does not wait for the place.
func (m *Meeting) Alive() {
	select {
	case m.beat <- struct{}{}:
	default:
	}
}

// beating gives signs of life while there is progress.
func (m *Meeting) beating(ctx context.Context) {
	defer close(m.ended)
	every := min(maxBeat, m.o.Timeout/beats)
	before := ""
	for {
		select {
		case <-m.beat:
		case <-ctx.Done():
			return
		}
		name := m.nextBeat()
		once, cancel := context.WithTimeout(ctx, maxBeat)
		err := m.o.Store.Put(once, m.key(name), bytes.NewReader([]byte(m.process+"\n")))
		if err == nil && before != "" {
			_ = m.o.Store.Delete(once, m.key(before)) // who may not delete leaves it
		}
		cancel()
		if err == nil {
			before = name
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (m *Meeting) nextBeat() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := progressName(m.o.Index, m.number)
	m.number++
	return name
}
