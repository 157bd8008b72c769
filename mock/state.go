package mock

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/order"
)

// state has the mock's memory since it began or was reset: the recorded sessions of its callers,
// the answers that they got, and the counts.
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
	unfinished atomic.Int64 // requests that their clients gave up
	escaped    int64        // count of Passthrough when the state began
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

// Reset forgets the callers' sessions, the answers that were given, and all counts. The fault rules
// stay, and draw their random numbers from the beginning. Requests in progress finish as without a
// reset, and no later receipt counts them. Reset returns the receipt up to now.
func (m *Mock) Reset() Receipt {
	m.changing.Lock()
	defer m.changing.Unlock()
	before := m.now.Load()
	m.now.Store(m.newState(before.faults.current().Anew(), before.resets+1))
	return m.receipt(before)
}
