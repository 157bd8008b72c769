package replay

import (
	"cmp"
	"slices"
	"sync"

	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/report"
)

// route is between which places values are carried.
type route struct{ from, issuer, to, consumer, encoding, class string }

// uses sums up what was carried in passes that are over, so that nothing else of them has to
// be kept.
type uses struct {
	mu    sync.Mutex
	under map[*pass]bool // that are not over
	sums  map[route]*carry.EdgeUse
	order []route
}

func (u *uses) begin(of *pass) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.under == nil {
		u.under, u.sums = map[*pass]bool{}, map[route]*carry.EdgeUse{}
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

func (u *uses) add(of *pass) {
	for _, one := range of.live.Report() {
		k := route{one.From, one.Issuer, one.To, one.Consumer, one.Encoding, one.Class}
		sum := u.sums[k]
		if sum == nil {
			sum = new(carry.EdgeUse)
			u.sums[k] = sum
			u.order = append(u.order, k)
		}
		sum.Edges += one.Edges
		sum.Fired += one.Fired
		sum.Missing += one.Missing
	}
}

// edges reports which values were carried, in all passes together.
func (p *player) edges(r *report.Report) {
	p.uses.mu.Lock()
	defer p.uses.mu.Unlock()
	for of := range p.uses.under {
		p.uses.add(of)
	}
	for _, k := range p.uses.order {
		u := p.uses.sums[k]
		e := report.Edge{
			From: report.Site{Endpoint: k.from, Place: k.issuer}, To: report.Site{Endpoint: k.to, Place: k.consumer},
			Encoding: k.encoding, Fired: u.Fired, Unfired: u.Edges - u.Fired,
		}
		switch {
		case u.Missing > 0:
			e.Reason = "the answer that issues it had no such value"
		case e.Unfired > 0:
			e.Reason = "its request was not sent"
		}
		r.Edges = append(r.Edges, e)
	}
	for _, a := range p.Graph.Ambiguous() {
		r.Ambiguous = append(r.Ambiguous, report.Ambiguous{
			To: report.Site{Endpoint: a.Endpoint, Place: a.Consumer}, From: []report.Site{{Endpoint: a.IssuerEndpoint, Place: a.Issuer}},
			Reason: a.Reason, Count: int64(a.Count),
		})
	}
	slices.SortStableFunc(r.Ambiguous, func(x, y report.Ambiguous) int { return cmp.Compare(y.Count, x.Count) })
}
