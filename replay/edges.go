package replay

import (
	"cmp"
	"slices"

	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/report"
)

// edges reports which values were carried, in all passes together.
func (p *player) edges(r *report.Report) {
	type route struct{ from, issuer, to, consumer, encoding, class string }
	sums := map[route]*carry.EdgeUse{}
	var order []route
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, of := range p.passes {
		for _, u := range of.live.Report() {
			k := route{u.From, u.Issuer, u.To, u.Consumer, u.Encoding, u.Class}
			if sums[k] == nil {
				sums[k] = new(carry.EdgeUse)
				order = append(order, k)
			}
			sums[k].Edges += u.Edges
			sums[k].Fired += u.Fired
			sums[k].Missing += u.Missing
		}
	}
	for _, k := range order {
		u := sums[k]
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
