package view

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/view/index"
)

// maxSums is the number of rows that a table of sums shows.
const maxSums = 1000

// summary is the data of summary.html: figures of groups of exchanges.
type summary struct {
	controls
	Item  *item
	Title string
	About string   // sentences about the rows
	Names []string // names of the values that a group has in common
	Sums  []sum
	More  int // sums that are not shown
}

// controls filter and sort a table of figures.
type controls struct {
	Chips    []chip
	Clear    string // URL without any filter
	Headings []heading
}

// newControls returns the controls of a page with the filter and the order that it has now.
func newControls(page string, f index.Filter, by figure) controls {
	kept := by.query(url.Values{})
	c := controls{Chips: chips(page, f, kept), Clear: withQuery(page, kept)}
	for _, one := range figures {
		h := heading{Label: one.Label, Class: "num", URL: withQuery(page, one.query(filterQuery(f))), Says: "sort, the largest first"}
		if one.Name == by.Name {
			h.Sorted = "descending"
		}
		c.Headings = append(c.Headings, h)
	}
	return c
}

// first returns the rows that a table of figures shows, and the number of the others.
func first[T any](all []T) (shown []T, more int) {
	n := min(len(all), maxSums)
	return all[:n], len(all) - n
}

// sum is a group of exchanges.
type sum struct {
	Names []string // values that its exchanges have in common, in the order of summary.Names
	URL   string   // of the table of its exchanges
	index.Figures
}

// FailedPercent is the percentage of exchanges that failed.
func (s *sum) FailedPercent() float64 { return percent(s.Failed, s.Count) }

func percent(part, all int64) float64 {
	if all == 0 {
		return 0
	}
	return 100 * float64(part) / float64(all)
}

// figure is a column of figures.
type figure struct {
	Name, Label string
	compare     func(a, b *index.Figures) int
}

// query adds the order to a query, unless it is the default.
func (f figure) query(q url.Values) url.Values {
	if f.Name != figures[0].Name {
		q.Set("sort", f.Name)
	}
	return q
}

// figures are the columns. Rows with the largest values come first; the default order is the first one.
var figures = []figure{
	{"count", "Exchanges", func(a, b *index.Figures) int { return cmp.Compare(b.Count, a.Count) }},
	{"rate", "Per second", func(a, b *index.Figures) int { return cmp.Compare(b.PerSecond, a.PerSecond) }},
	{"failed", "Failed", func(a, b *index.Figures) int {
		return cmp.Or(cmp.Compare(percent(b.Failed, b.Count), percent(a.Failed, a.Count)), cmp.Compare(b.Failed, a.Failed))
	}},
	{"p50", "Median", func(a, b *index.Figures) int { return cmp.Compare(b.P50, a.P50) }},
	{"p95", "95th", func(a, b *index.Figures) int { return cmp.Compare(b.P95, a.P95) }},
	{"p99", "99th", func(a, b *index.Figures) int { return cmp.Compare(b.P99, a.P99) }},
	{"max", "Longest", func(a, b *index.Figures) int { return cmp.Compare(b.Max, a.Max) }},
}

// calls shows who calls whom.
func (s *Server) calls(w http.ResponseWriter, r *http.Request, it *item) error {
	data := summary{Item: it, Title: "Who calls whom", Names: []string{"From", "To", "Protocol"},
		About: "A row is a pair of workloads. A call that both sides recorded counts once, with the caller's times."}
	return s.summary(w, r, "calls", data, func(f index.Filter) ([]sum, error) {
		all, err := it.index.Calls(r.Context(), f)
		if err != nil {
			return nil, err
		}
		sums := make([]sum, len(all))
		for i, c := range all {
			sums[i] = sum{Names: []string{c.From, c.To, c.Protocol}, URL: it.Exchanges(c.Filter), Figures: c.Figures}
		}
		return sums, nil
	})
}

// endpoints shows the figures of each endpoint.
func (s *Server) endpoints(w http.ResponseWriter, r *http.Request, it *item) error {
	data := summary{Item: it, Title: "Endpoints", Names: []string{"Workload", "Direction", "Host", "Endpoint"},
		About: "A row is an endpoint: a method and a path, with variable segments masked."}
	return s.summary(w, r, "endpoints", data, func(f index.Filter) ([]sum, error) {
		all, err := it.index.Endpoints(r.Context(), f)
		if err != nil {
			return nil, err
		}
		sums := make([]sum, len(all))
		for i, e := range all {
			sums[i] = sum{Names: []string{e.Workload, directionName(e.Direction), e.Host, e.Endpoint}, URL: it.Exchanges(endpointFilter(f, e)), Figures: e.Figures}
		}
		return sums, nil
	})
}

func directionName(d string) string {
	switch d {
	case recording.In:
		return "in"
	case recording.Out:
		return "out"
	}
	return d
}

// endpointFilter selects the exchanges of an endpoint, among those that f selects.
func endpointFilter(f index.Filter, e index.Endpoint) index.Filter {
	f.Direction, f.Workload, f.Endpoint = e.Direction, e.Workload, e.Endpoint
	f.Host = cmp.Or(e.Host, f.Host)
	return f
}

// summary answers with a table of sums. sumUp makes them from the exchanges that a filter selects.
func (s *Server) summary(w http.ResponseWriter, r *http.Request, page string, data summary, sumUp func(index.Filter) ([]sum, error)) error {
	it, q := data.Item, r.URL.Query()
	f, by, err := summed(q)
	if err != nil {
		return err
	}
	if data.Sums, err = sumUp(f); err != nil {
		return err
	}
	slices.SortStableFunc(data.Sums, func(a, b sum) int {
		return cmp.Or(by.compare(&a.Figures, &b.Figures), slices.Compare(a.Names, b.Names))
	})
	data.Sums, data.More = first(data.Sums)
	data.controls = newControls(it.URL(page), f, by)
	return s.render(w, r, "summary.html", data)
}

// summed reads a filter and an order of sums from a query.
func summed(q url.Values) (f index.Filter, by figure, err error) {
	f, wrong := parseFilter(q)
	for name, why := range wrong {
		return f, by, badRequest("%s: found %.200q; %s", name, q.Get(name), why)
	}
	name := q.Get("sort")
	if name == "" {
		return f, figures[0], nil
	}
	var names []string
	for _, one := range figures {
		if one.Name == name {
			return f, one, nil
		}
		names = append(names, one.Name)
	}
	return f, by, badRequest("sort: found %.200q; want %s", name, strings.Join(names, ", "))
}
