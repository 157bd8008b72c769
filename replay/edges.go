package replay

import (
	"cmp"
	"slices"
	"sync"

	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/report"
)

// uses sums up the values that passes carried, so that finished passes need no memory.
type uses struct {
	mu    sync.Mutex
	under map[*pass]bool // passes under way
	sums  []carry.EdgeUse
}

func (u *uses) begin(of *pass) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.under == nil {
		u.under = map[*pass]bool{}
	}
	u.under[of] = true
}

func (u *uses) end(of *pass) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.under[of] {
		delete(u.under, of)
		u.add(of)
	}
}

// add adds the counts of a pass. All passes are of one graph, so their reports have the same
// places in the same order.
func (u *uses) add(of *pass) {
	all := of.live.Report()
	if u.sums == nil {
		u.sums = all
		return
	}
	for i := range all {
		u.sums[i].Edges += all[i].Edges
		u.sums[i].Fired += all[i].Fired
		u.sums[i].Missing += all[i].Missing
	}
}

// edges reports the carried values of all passes.
func (p *player) edges(r *report.Report) {
	p.uses.mu.Lock()
	defer p.uses.mu.Unlock()
	for of := range p.uses.under {
		p.uses.add(of)
	}
	for _, u := range p.uses.sums {
		e := report.Edge{
			From: report.Site{Endpoint: u.From, Place: u.Issuer}, To: report.Site{Endpoint: u.To, Place: u.Consumer},
			Encoding: u.Encoding, Fired: u.Fired, Unfired: u.Edges - u.Fired,
		}
		switch {
		case u.Missing > 0:
			e.Reason = "the answer that should issue it had no such value"
		case e.Unfired > 0:
			e.Reason = "its request was not sent"
		}
		r.Edges = append(r.Edges, e)
	}
	if p.part.Index > 0 { // the first shard reports those of the whole recording
		return
	}
	for _, a := range p.Graph.Ambiguous() {
		r.Ambiguous = append(r.Ambiguous, report.Ambiguous{
			To: report.Site{Endpoint: a.Endpoint, Place: a.Consumer}, From: []report.Site{{Endpoint: a.IssuerEndpoint, Place: a.Issuer}},
			Reason: a.Reason, Count: int64(a.Count),
		})
	}
	slices.SortStableFunc(r.Ambiguous, func(x, y report.Ambiguous) int { return cmp.Compare(y.Count, x.Count) })
}
