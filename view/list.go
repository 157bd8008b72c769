package view

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/inspect"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

// rowsPerPage is the number of exchanges on a page of the table.
const rowsPerPage = 100

// listed is the data of list.html.
type listed struct {
	Item     *item
	Form     form
	Chips    []chip
	Clear    string // URL without any filter
	Facets   []facet
	Headings []heading
	Rows     []listedRow
	Total    int64
	Took     time.Duration
	// Day is the day on which all rows began, nil if there are several.
	Day                   *time.Time
	First, Previous, Next string // URLs, "" for none
	Findings              []read.Finding
}

// listedRow is a row, and the URL of its exchange.
type listedRow struct {
	index.Row
	URL string
}

// list shows the table of exchanges.
func (s *Server) list(w http.ResponseWriter, r *http.Request, it *item) error {
	q := r.URL.Query()
	if short := withoutEmpty(q); len(short) < len(q) { // a form sends all of its fields
		http.Redirect(w, r, withQuery(it.URL(""), short), http.StatusSeeOther)
		return nil
	}
	f, wrong := parseFilter(q)
	order, err := parseSort(q)
	if err != nil {
		return err
	}
	data := listed{Item: it, Chips: chips(it.URL(""), f, sortQuery(url.Values{}, order)), Clear: withQuery(it.URL(""), sortQuery(url.Values{}, order)),
		Headings: headings(it.URL(""), f, order), Findings: it.index.Report().Findings()}
	if data.Form, err = it.form(r.Context(), q, wrong, order); err != nil {
		return err
	}
	if len(wrong) > 0 {
		return s.write(w, r, http.StatusBadRequest, "list.html", data)
	}
	began := time.Now()
	page, err := it.index.List(r.Context(), f, order, q.Get("cursor"), rowsPerPage)
	if err != nil {
		return err
	}
	data.Took, data.Total = time.Since(began), page.Total
	kept := sortQuery(filterQuery(f), order)
	to := func(cursor string) string { return withQuery(it.URL(""), withCursor(kept, cursor)) }
	if page.Next != "" {
		data.Next = to(page.Next)
	}
	if page.Previous != "" {
		data.First, data.Previous = to(""), to(page.Previous)
	}
	trail := withCursor(kept, q.Get("cursor"))
	days := map[string]bool{}
	for _, row := range page.Rows {
		data.Rows = append(data.Rows, listedRow{row, withQuery(it.Exchange(row.ID), trail)})
		days[row.Start.UTC().Format(time.DateOnly)] = true
	}
	if len(days) == 1 {
		data.Day = &page.Rows[0].Start
	}
	if data.Facets, err = it.facets(r.Context(), f, order); err != nil {
		return err
	}
	return s.render(w, r, "list.html", data)
}

// withoutEmpty returns a query without its empty parameters.
func withoutEmpty(q url.Values) url.Values {
	short := url.Values{}
	for name, values := range q {
		if slices.ContainsFunc(values, func(v string) bool { return v != "" }) {
			short[name] = values
		}
	}
	return short
}

// form is the form for a filter.
type form struct {
	First, More []formField
	Open        bool // More is open
	Wrong       bool
	Hidden      [][2]string // names and values of hidden fields
}

// formField is a field of the form.
type formField struct {
	Name, Label, Kind, Value, Hint, Wrong string
	Options                               []option
}

type option struct {
	Value, Label string
	Chosen       bool
}

// firstFields is the number of fields that are always visible.
const firstFields = 6

// fieldKinds has the kinds of the fields that are not texts, and fieldHints examples of values.
var (
	fieldKinds = map[string]string{"q": "search", "direction": "select", "method": "select", "protocol": "select", "workload": "select", "namespace": "select", "status": "select", "problems": "checkbox"}
	fieldHints = map[string]string{
		"q": "words of the request, the headers or the bodies", "host": "a part of it", "path": "a part of it", "from": "2026-11-22T20:15, in UTC", "to": "2026-11-22T20:20, in UTC",
		"slower": "250ms", "endpoint": "GET /carts/{id}", "trace": "its ID",
	}
)

// form makes the form with the values that were sent.
func (it *item) form(ctx context.Context, q url.Values, wrong filterErrors, order index.Sort) (form, error) {
	values, err := it.values(ctx)
	if err != nil {
		return form{}, err
	}
	fm := form{Wrong: len(wrong) > 0}
	for i, field := range filterFields {
		f := formField{Name: field.Name, Label: field.Label, Kind: fieldKinds[field.Name], Hint: fieldHints[field.Name], Value: q.Get(field.Name), Wrong: wrong[field.Name]}
		if f.Kind == "select" {
			f.Options = options(values[field.Name], f.Value)
		}
		if i < firstFields {
			fm.First = append(fm.First, f)
			continue
		}
		fm.More = append(fm.More, f)
		fm.Open = fm.Open || f.Value != ""
	}
	for name, v := range sortQuery(url.Values{}, order) {
		fm.Hidden = append(fm.Hidden, [2]string{name, v[0]})
	}
	slices.SortFunc(fm.Hidden, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return fm, nil
}

// options returns the options of a select: any, the values, and the chosen value if it is not among
// them.
func options(values []string, chosen string) []option {
	all := []option{{"", "any", chosen == ""}}
	known := chosen == ""
	for _, v := range values {
		same := strings.EqualFold(v, chosen)
		known = known || same
		all = append(all, option{v, v, same})
	}
	if !known {
		all = append(all, option{chosen, chosen, true})
	}
	return all
}

// maxValues bounds the values of a select.
const maxValues = 500

// values returns the values of the recording, by the field's name.
func (it *item) values(ctx context.Context) (map[string][]string, error) {
	it.valuesLock.Lock()
	defer it.valuesLock.Unlock()
	if it.valuesKept != nil {
		return it.valuesKept, nil
	}
	found, err := it.index.Facets(ctx, index.Filter{})
	if err != nil {
		return nil, err
	}
	values := map[string][]string{"direction": {recording.In, recording.Out}}
	for _, g := range groups(found) {
		var names []string
		for _, v := range g.values[:min(len(g.values), maxValues)] {
			names = append(names, v.Value)
		}
		slices.Sort(names)
		values[g.name] = names
	}
	values["status"] = slices.Compact(slices.Sorted(slices.Values(append(values["status"], append(inspect.Classes(), "none")...))))
	it.valuesKept = values
	return values, nil
}

type group struct {
	name, label string
	values      []index.Facet
}

func groups(f index.Facets) []group {
	return []group{
		{"status", "Status", f.Statuses}, {"method", "Method", f.Methods}, {"workload", "Workload", f.Workloads},
		{"namespace", "Namespace", f.Namespaces}, {"protocol", "Protocol", f.Protocols},
	}
}

// facet is a group of links that narrow down the table.
type facet struct {
	Label string
	Links []facetLink
	More  int
}

type facetLink struct {
	Value string
	Count int64
	URL   string
}

// maxFacets bounds the links of a facet.
const maxFacets = 8

// facets counts the values of the exchanges that the filter selects. It leaves out groups with a
// single value.
func (it *item) facets(ctx context.Context, f index.Filter, order index.Sort) (all []facet, err error) {
	found, err := it.index.Facets(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, g := range groups(found) {
		if len(g.values) < 2 {
			continue
		}
		one := facet{Label: g.label, More: max(0, len(g.values)-maxFacets)}
		for _, v := range g.values[:min(len(g.values), maxFacets)] {
			q := sortQuery(filterQuery(f), order)
			q.Set(g.name, v.Value)
			one.Links = append(one.Links, facetLink{v.Value, v.Count, withQuery(it.URL(""), q)})
		}
		all = append(all, one)
	}
	return all, nil
}
