package view

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/tapedeck/tapedeck/view/index"
)

// comparison is the data of compare.html: two recordings, endpoint by endpoint.
type comparison struct {
	controls
	A, B    *item
	Swapped string // URL of the same page with A and B exchanged
	Sums    []pair
	More    int // pairs that are not shown
	// OnlyA and OnlyB count the endpoints that only one recording has.
	OnlyA, OnlyB int
}

// pair is an endpoint in two recordings.
type pair struct {
	index.Endpoint
	A, B       *index.Figures // nil: the recording has no such exchange
	URLA, URLB string
}

// FailedA is the percentage of exchanges that failed in A, and FailedB in B.
func (p *pair) FailedA() float64 { return percent(p.A.Failed, p.A.Count) }
func (p *pair) FailedB() float64 { return percent(p.B.Failed, p.B.Count) }

// Slower is the percentage by which the median of B is longer than that of A.
func (p *pair) Slower() float64 {
	if p.A.P50 <= 0 {
		return 0
	}
	return 100 * float64(p.B.P50-p.A.P50) / float64(p.A.P50)
}

// compare shows two recordings side by side.
func (s *Server) compare(w http.ResponseWriter, r *http.Request, _ *item) error {
	a, err := s.recordingNumbered(r.PathValue("a"))
	if err != nil {
		return err
	}
	b, err := s.recordingNumbered(r.PathValue("b"))
	if err != nil {
		return err
	}
	f, by, err := summed(r.URL.Query())
	if err != nil {
		return err
	}
	data := comparison{A: a, B: b, controls: newControls(compareURL(a, b), f, by)}
	data.Swapped = withQuery(compareURL(b, a), by.query(filterQuery(f)))

	type key struct{ direction, workload, host, endpoint string }
	pairs := map[key]*pair{}
	for _, side := range []*item{a, b} {
		all, err := side.index.Endpoints(r.Context(), f)
		if err != nil {
			return err
		}
		for _, e := range all {
			k := key{e.Direction, e.Workload, e.Host, e.Endpoint}
			p := pairs[k]
			if p == nil {
				p = &pair{Endpoint: e}
				pairs[k] = p
			}
			to := side.Exchanges(endpointFilter(f, e))
			if side == a {
				p.A, p.URLA = &e.Figures, to
			}
			if side == b { // a and b may be the same
				p.B, p.URLB = &e.Figures, to
			}
		}
	}
	for _, p := range pairs {
		switch {
		case p.B == nil:
			data.OnlyA++
		case p.A == nil:
			data.OnlyB++
		}
		data.Sums = append(data.Sums, *p)
	}
	none := new(index.Figures)
	slices.SortFunc(data.Sums, func(x, y pair) int {
		return cmp.Or(by.compare(cmp.Or(x.A, none), cmp.Or(y.A, none)), by.compare(cmp.Or(x.B, none), cmp.Or(y.B, none)),
			cmp.Compare(x.Workload, y.Workload), cmp.Compare(x.Direction, y.Direction), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Endpoint.Endpoint, y.Endpoint.Endpoint))
	})
	data.Sums, data.More = first(data.Sums)
	return s.render(w, r, "compare.html", data)
}

// compareURL returns the URL of the comparison of two recordings.
func compareURL(a, b *item) string { return fmt.Sprintf("/compare/%d/%d", a.Number, b.Number) }
