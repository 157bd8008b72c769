package mock

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/order"
)

// state is what a mock remembers of its callers: whom they stand for, what they were
// given, and the counts.
type state struct {
	began  time.Time
	resets int64 // how often the mock was reset before
	log    *slog.Logger

	chooser    *order.Chooser
	tally      tally
	bindings   bindings
	misses     misses
	faults     faultSets
	distrusted atomic.Int64
	unfinished atomic.Int64 // requests that their clients gave up
	escaped    int64        // what Passthrough had counted before
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

// Reset forgets the callers: who stands for whom, which answers have been given, and all
// counts. The rules for faults stay, and begin anew. A request that is under way is
// finished as if there had been no reset, and is in none of the receipts after it. Reset
// returns the receipt up to now.
func (m *Mock) Reset() Receipt {
	m.changing.Lock()
	defer m.changing.Unlock()
	before := m.now.Load()
	m.now.Store(m.newState(before.faults.current().Anew(), before.resets+1))
	return m.receipt(before)
}
