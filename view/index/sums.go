package index

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// MaxSums is the largest number of calls or endpoints that are returned, and MaxFacets the largest
// number of values of each facet. The most frequent ones are returned.
const (
	MaxSums   = 5000
	MaxFacets = 1000
)

// figures sums up the rows of a set, grouped by their number in a column. The numbers must be less
// than groups.
func (x *Index) figures(ctx context.Context, s set, c column, groups int) ([]Figures, error) {
	of, err := x.parts().numbers(ctx, x.rows, c, max(1, groups))
	if err != nil {
		return nil, err
	}
	all, answered := make([]Figures, groups), make([]int, groups)
	replied := newSet(x.rows)
	begin, end := int64(math.MaxInt64), int64(math.MinInt64)
	err = x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
		for i, flags := range v[0] {
			row := first + i
			if !s.has(row) {
				continue
			}
			f := &all[of[row]]
			f.Count++
			if flags&flagFailed != 0 {
				f.Failed++
			}
			if flags&flagAnswered != 0 {
				replied.add(row)
				answered[of[row]]++
			}
			begin, end = min(begin, v[1][i]), max(end, sum(v[1][i], v[2][i]))
		}
		return nil
	}, colFlags, colStart, colDuration)
	if err != nil {
		return nil, err
	}
	if seconds := (float64(end) - float64(begin)) / float64(time.Second/time.Microsecond); seconds > 0 {
		for i := range all {
			all[i].PerSecond = float64(all[i].Count) / seconds
		}
	}
	return all, x.percentiles(ctx, replied, of, all, answered)
}

// percentiles sets the percentiles of each group's durations, from the rows in a set. answered is
// the number of these rows in each group.
func (x *Index) percentiles(ctx context.Context, s set, of []uint32, all []Figures, answered []int) error {
	total := 0
	groups := make([][]int64, len(all))
	for _, n := range answered {
		total += n
	}
	durations := make([]int64, total)
	for g, n := range answered {
		groups[g], durations = durations[:0:n], durations[n:]
	}
	err := x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
		for i, took := range v[0] {
			if s.has(first + i) {
				g := of[first+i]
				groups[g] = append(groups[g], took)
			}
		}
		return nil
	}, colDuration)
	for g, took := range groups {
		if n := len(took); n > 0 {
			slices.Sort(took)
			f := &all[g]
			f.P50, f.P95, f.P99, f.Max = micros(took[nearest(n, 50)]), micros(took[nearest(n, 95)]), micros(took[nearest(n, 99)]), micros(took[n-1])
		}
	}
	return err
}

// nearest returns the index of a percentile among n sorted values, by the nearest rank.
func nearest(n, percent int) int { return max(1, (n*percent+99)/100) - 1 }

// Calls sums up who calls whom among the exchanges that the filter selects. It returns those with the
// most calls, up to [MaxSums]. A call whose two sides are both selected counts once, by the caller's
// record. [Row.Other] says which records those are.
func (x *Index) Calls(ctx context.Context, f Filter) ([]Call, error) {
	s, err := x.calling(ctx, f.normal())
	if err != nil {
		return nil, x.failed(err)
	}
	all, err := x.figures(ctx, s, colCall, len(x.head.Calls))
	if err != nil {
		return nil, x.failed(err)
	}
	var calls []Call
	for i, k := range x.head.Calls {
		if all[i].Count == 0 {
			continue
		}
		own := f
		own.Caller, own.Callee = k.From, k.To
		own.Protocol = cmp.Or(k.Protocol, f.Protocol)
		calls = append(calls, Call{From: k.From, To: k.To, Protocol: k.Protocol, Figures: all[i], Filter: own})
	}
	slices.SortFunc(calls, func(a, b Call) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Protocol, b.Protocol))
	})
	return calls[:min(len(calls), MaxSums)], nil
}

// Endpoints sums up the exchanges that the filter selects, by endpoint of a workload or a host. It
// returns those with the most exchanges, up to [MaxSums]. Host is set for outbound exchanges only.
func (x *Index) Endpoints(ctx context.Context, f Filter) ([]Endpoint, error) {
	chosen, err := x.selected(ctx, f)
	if err != nil {
		return nil, x.failed(err)
	}
	figures, err := x.figures(ctx, chosen.set, colGroup, len(x.head.Groups))
	if err != nil {
		return nil, x.failed(err)
	}
	var all []Endpoint
	for i, g := range x.head.Groups {
		if figures[i].Count == 0 {
			continue
		}
		e := Endpoint{Figures: figures[i], Endpoint: others}
		for j, c := range [...]column{colDirection, colWorkload, colHost, colEndpoint} {
			if i > 0 && int(g[j]) < len(x.names[c]) {
				*[...]*string{&e.Direction, &e.Workload, &e.Host, &e.Endpoint}[j] = x.names[c][g[j]]
			}
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Direction, b.Direction))
	})
	return all[:min(len(all), MaxSums)], nil
}

// Facets returns the values of the rows that the filter selects, up to [MaxFacets] of each kind,
// and how many rows have each.
func (x *Index) Facets(ctx context.Context, f Filter) (Facets, error) {
	chosen, err := x.selected(ctx, f)
	if err != nil {
		return Facets{}, x.failed(err)
	}
	var facets Facets
	for _, one := range []struct {
		column
		into *[]Facet
	}{{colNamespace, &facets.Namespaces}, {colWorkload, &facets.Workloads}, {colMethod, &facets.Methods}, {colProtocol, &facets.Protocols}} {
		counts := make([]int64, len(x.names[one.column]))
		err := x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
			for i, n := range v[0] {
				if uint64(n) < uint64(len(counts)) && chosen.set.has(first+i) {
					counts[n]++
				}
			}
			return nil
		}, one.column)
		if err != nil {
			return Facets{}, x.failed(err)
		}
		*one.into = facetsOf(x.names[one.column], counts)
	}
	const classes = 10
	names, counts := make([]string, classes), make([]int64, classes)
	for i := range names {
		names[i] = string(rune('0'+i)) + "xx"
	}
	names[0] = noAnswer
	err = x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
		for i, status := range v[0] {
			switch n := status / 100; {
			case !chosen.set.has(first + i):
			case v[1][i]&flagAnswered == 0:
				counts[0]++
			case n > 0 && n < classes:
				counts[n]++
			}
		}
		return nil
	}, colStatus, colFlags)
	facets.Statuses = facetsOf(names, counts)
	return facets, x.failed(err)
}

func facetsOf(names []string, counts []int64) (all []Facet) {
	for i, n := range counts {
		if n > 0 && names[i] != "" {
			all = append(all, Facet{names[i], n})
		}
	}
	slices.SortFunc(all, func(a, b Facet) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value)) })
	return all[:min(len(all), MaxFacets)]
}

// MaxTrace is the largest number of rows of a trace that are returned: those nearest in time.
const MaxTrace = 5000

// Trace returns the rows that may belong to the same trace as a row, in their order. It starts with
// the row, and repeatedly adds rows with the same trace ID or request ID, rows that caused a row
// of the trace, and rows that one of them caused.
func (x *Index) Trace(ctx context.Context, id int64) ([]Row, error) {
	first, err := x.entry(ctx, id)
	if err != nil {
		return nil, err
	}
	all := map[int]*entry{int(id - 1): first}
	traces, uuids := map[string]bool{}, map[recording.UUID]bool{}
	wanted := func(e *entry) bool { return traces[e.shared] || uuids[e.UUID] || uuids[e.Parent] }
	fresh := []*entry{first}
	for len(fresh) > 0 && len(all) < MaxTrace {
		byTrace, byUUID := map[int64]bool{}, map[int64]bool{}
		for _, e := range fresh {
			if e.shared != "" && !traces[e.shared] {
				traces[e.shared] = true
				byTrace[int64(hash64(e.shared))] = true
			}
			for _, u := range [...]recording.UUID{e.UUID, e.Parent} {
				if u != (recording.UUID{}) && !uuids[u] {
					uuids[u] = true
					byUUID[hashUUID(u)] = true
				}
			}
		}
		found := newSet(x.rows)
		for _, by := range []struct {
			want    map[int64]bool
			columns []column
		}{{byTrace, []column{colTrace}}, {byUUID, []column{colUUID, colParent}}} {
			if len(by.want) == 0 {
				continue
			}
			s := allOf(x.rows)
			if err := x.hashed(ctx, s, by.want, by.columns...); err != nil {
				return nil, x.failed(err)
			}
			found.or(s)
		}
		var rows []int
		for row := range found.rows() {
			if all[row] == nil {
				rows = append(rows, row)
			}
		}
		distance := func(row int) int { return max(row-int(id-1), int(id-1)-row) }
		if most := MaxTrace - len(all); len(rows) > most {
			slices.SortFunc(rows, func(a, b int) int { return cmp.Or(cmp.Compare(distance(a), distance(b)), cmp.Compare(a, b)) })
			rows = rows[:most]
			slices.Sort(rows)
		}
		entries, err := x.entries(ctx, rows)
		if err != nil {
			return nil, x.failed(err)
		}
		fresh = fresh[:0]
		for i := range entries {
			if wanted(&entries[i]) {
				all[rows[i]] = &entries[i]
				fresh = append(fresh, &entries[i])
			}
		}
	}
	rows := make([]Row, 0, len(all))
	for _, e := range all {
		rows = append(rows, e.Row)
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.ID, b.ID) })
	return rows, nil
}
