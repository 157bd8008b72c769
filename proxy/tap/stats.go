package tap

// reason says why bytes were dropped. It is an index of reasons.
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

// Stats are the tap's counters since its start. Written is always the sum of Delivered,
// Unwanted, all of Dropped, and the bytes that wait.
type Stats struct {
	// Limit is the budget in bytes, and Used is how much of it is in use.
	Limit, Used int64
	// Flows is the number of flows that were opened.
	Flows int64
	// Written counts the bytes that the data path wrote, Delivered those that a Reader was
	// given, and Unwanted those of flows without a Reader or while the tap was paused.
	Written, Delivered, Unwanted int64
	// Dropped counts losses by reason. It has every reason.
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
