package view

import (
	"net/url"

	"github.com/tapedeck/tapedeck/view/index"
)

// column is a column of the table.
type column struct {
	Label string
	Class string       // of its cells
	by    index.Column // "" if the table can't be sorted by it
	// down makes the first click on the heading sort in descending order.
	down bool
}

var columns = []column{
	{"Time (UTC)", "time", index.ByStart, false},
	{"Workload", "workload", index.ByWorkload, false},
	{"Method", "method", index.ByMethod, false},
	{"Host", "host", index.ByHost, false},
	{"Path", "path", index.ByPath, false},
	{"Status", "status", index.ByStatus, true},
	{"Duration", "num", index.ByDuration, true},
	{"Size", "num", index.BySize, true},
	{"Notes", "notes", "", false},
}

// heading is the heading of a column.
type heading struct {
	Label, Class string
	URL          string // of the table sorted by the column; "" if that is not possible
	Sorted       string // value of aria-sort; "" if the table is sorted by another column
	Says         string // description of the link
}

// parseSort reads an order from a query.
func parseSort(q url.Values) (s index.Sort, err error) {
	s = index.Sort{By: index.ByStart, Descending: q.Get("desc") == "1"}
	by := q.Get("sort")
	if by == "" {
		return s, nil
	}
	for _, c := range columns {
		if c.by != "" && string(c.by) == by {
			s.By = c.by
			return s, nil
		}
	}
	return s, badRequest("sort: found %q; want the name of a column, such as %s", by, index.ByDuration)
}

// sortQuery adds an order to a query.
func sortQuery(q url.Values, s index.Sort) url.Values {
	if s.By != index.ByStart {
		q.Set("sort", string(s.By))
	}
	if s.Descending {
		q.Set("desc", "1")
	}
	return q
}

// headings returns the headings of all columns, for a table in the order s.
func headings(page string, f index.Filter, s index.Sort) (all []heading) {
	for _, c := range columns {
		h := heading{Label: c.Label, Class: c.Class}
		if c.by != "" {
			next := index.Sort{By: c.by, Descending: c.down}
			if s.By == c.by {
				next.Descending = !s.Descending
				h.Sorted = map[bool]string{false: "ascending", true: "descending"}[s.Descending]
			}
			h.URL = withQuery(page, sortQuery(filterQuery(f), next))
			h.Says = map[bool]string{false: "sort ascending", true: "sort descending"}[next.Descending]
		}
		all = append(all, h)
	}
	return all
}
