package tap

// reason is why bytes were dropped, an index of reasons.
type reason uint8

const (
	dropFull reason = iota
	dropShed
	dropPanic
	dropShutdown
)

var reasons = [...]string{dropFull: ReasonFull, dropShed: ReasonMemory, dropPanic: ReasonPanic, dropShutdown: ReasonShutdown}

func (t *Tap) drop(r reason, n int64) {
	t.dropped[r].Add(n)
	t.gaps[r].Add(1)
}

// Stats are the tap's counters since its start. Written is always the sum of
// Delivered, Unwanted, every Dropped and what waits.
type Stats struct {
	// Limit and Used are the budget in bytes and what of it is in use.
	Limit, Used int64
	// Flows is the number of flows that were opened.
	Flows int64
	// Written, Delivered and Unwanted count bytes of traffic: offered by the
	// data path, read by a Reader, and of flows for which there is none.
	Written, Delivered, Unwanted int64
	// Dropped counts what was lost, by reason; every reason is present.
	Dropped map[string]Loss
}

// Loss counts dropped chunks and their bytes.
type Loss struct{ Chunks, Bytes int64 }

// Stats returns the counters.
func (t *Tap) Stats() Stats {
	s := Stats{
		Limit: t.cfg.Limit, Used: t.used.Load(), Flows: t.flows.Load(),
		Written: t.written.Load(), Delivered: t.delivered.Load(), Unwanted: t.unwanted.Load(),
		Dropped: make(map[string]Loss, len(reasons)),
	}
	for i, r := range reasons {
		s.Dropped[r] = Loss{Chunks: t.gaps[i].Load(), Bytes: t.dropped[i].Load()}
	}
	return s
}
