package mock

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/order"
)

// state is what the mock remembers since it began or was reset: the recorded sessions of its
// callers, the answers that they got, and the counts.
type state struct {
	began  time.Time
	resets int64 // number of earlier resets
	log    *slog.Logger

	chooser    *order.Chooser
	tally      tally
	bindings   bindings
	misses     misses
	faults     faultSets
	distrusted atomic.Int64
	unfinished atomic.Int64 // requests whose clients gave up
	escaped    int64        // Passthrough.Escaped when the state began
}

func (m *Mock) newState(faults *fault.Set, resets int64) *state {
	s := &state{
		began: time.Now().UTC(), resets: resets, log: m.Log,
		chooser: order.New(m.Policy, m.lib.Len(), m.lib.recorded),
		escaped: m.Passthrough.Escaped(),
	}
	s.faults.set(faults)
	return s
}

// Reset forgets the callers' sessions, the answers that were given, and all counts. It keeps the
// fault rules, and restarts their random numbers. Requests in progress finish as without a reset,
// but no later receipt counts them. Reset returns the receipt up to now.
func (m *Mock) Reset() Receipt {
	m.changing.Lock()
	defer m.changing.Unlock()
	before := m.now.Load()
	m.now.Store(m.newState(before.faults.current().Anew(), before.resets+1))
	return m.receipt(before)
}
