package index

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// selection is the set of rows that a filter selects.
type selection struct {
	set
	total int64
}

// maxSelections is the number of cached selections.
const maxSelections = 32

// normal returns the filter in a form in which equal filters compare equal.
func (f Filter) normal() Filter {
	for _, t := range []*time.Time{&f.From, &f.To} {
		if !t.IsZero() {
			*t = t.UTC().Round(0)
		}
	}
	return f
}

// selected returns the rows that a filter selects. Callers share the result and must not change it.
func (x *Index) selected(ctx context.Context, f Filter) (*selection, error) {
	f = f.normal()
	x.mu.Lock()
	s, ok := x.selections[f]
	x.mu.Unlock()
	if ok {
		return s, ctx.Err()
	}
	rows, err := x.choose(ctx, f)
	if err != nil {
		return nil, err
	}
	s = &selection{rows, rows.count()}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.selections) >= maxSelections {
		clear(x.selections)
	}
	x.selections[f] = s
	return s, nil
}

// choose finds the rows that a filter selects.
func (x *Index) choose(ctx context.Context, f Filter) (set, error) {
	if f.Caller != "" || f.Callee != "" {
		return x.calling(ctx, f)
	}
	s := allOf(x.rows)
	if !f.From.IsZero() || !f.To.IsZero() {
		if err := x.between(ctx, s, f.From, f.To); err != nil {
			return nil, err
		}
	}
	for _, one := range []struct {
		column
		value string
		exact bool
	}{
		{colDirection, f.Direction, false}, {colProtocol, f.Protocol, false}, {colMethod, f.Method, false}, {colCluster, f.Cluster, false},
		{colNamespace, f.Namespace, true}, {colWorkload, f.Workload, true}, {colPod, f.Pod, true}, {colEndpoint, f.Endpoint, false},
	} {
		if one.value == "" {
			continue
		}
		err := x.named(ctx, s, one.column, func(name string) bool {
			return name == one.value || !one.exact && strings.EqualFold(name, one.value)
		})
		if err != nil {
			return nil, err
		}
	}
	if f.Host != "" {
		host := fold(f.Host)
		if err := x.named(ctx, s, colHost, func(name string) bool { return strings.Contains(fold(name), host) }); err != nil {
			return nil, err
		}
	}
	if err := x.numbered(ctx, s, &f); err != nil {
		return nil, err
	}
	if f.Trace != "" {
		if err := x.traced(ctx, s, f.Trace); err != nil {
			return nil, err
		}
	}
	if f.Path != "" {
		found := newSet(x.rows)
		if err := x.pathed(ctx, found, f.Path); err != nil {
			return nil, err
		}
		s.and(found)
	}
	for _, it := range parseText(f.Text) {
		found := newSet(x.rows)
		if err := x.containing(ctx, found, &it); err != nil {
			return nil, err
		}
		if s.and(found); s.count() == 0 {
			break // further items can't add rows
		}
	}
	return s, ctx.Err()
}

// named keeps the rows whose name in a column is wanted.
func (x *Index) named(ctx context.Context, s set, c column, wanted func(name string) bool) error {
	want, any := make([]bool, len(x.names[c])), false
	for i, name := range x.names[c] {
		want[i] = wanted(name)
		any = any || want[i]
	}
	if !any {
		clear(s)
		return nil
	}
	return x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
		s.keep(first, len(v[0]), func(i int) bool { return uint64(v[0][i]) < uint64(len(want)) && want[v[0][i]] })
		return nil
	}, c)
}

// statusOf parses a filter's status, and returns its range. none selects exchanges without an
// answer.
func statusOf(text string) (least, most int64, none bool, err error) {
	switch lower := strings.ToLower(text); {
	case lower == "":
		return 0, 0, false, nil
	case lower == noAnswer:
		return 0, 0, true, nil
	case len(lower) == 3 && lower[0] >= '1' && lower[0] <= '9' && lower[1:] == "xx":
		least = 100 * int64(lower[0]-'0')
		return least, least + 99, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, 0, false, fmt.Errorf("status %.40q: %w: want a code such as 404, a class such as 5xx, or %s", text, ErrFilter, noAnswer)
	}
	return int64(n), int64(n), false, nil
}

// noAnswer is the status that selects exchanges without an answer.
const noAnswer = "none"

// numbered keeps the rows whose status, flags and duration match the filter.
func (x *Index) numbered(ctx context.Context, s set, f *Filter) error {
	least, most, none, err := statusOf(f.Status)
	if err != nil {
		return err
	}
	if most > 0 {
		err := x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
			s.keep(first, len(v[0]), func(i int) bool { return least <= v[0][i] && v[0][i] <= most })
			return nil
		}, colStatus)
		if err != nil {
			return err
		}
	}
	if none || f.Problems {
		err := x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
			s.keep(first, len(v[0]), func(i int) bool {
				return (!none || v[0][i]&flagAnswered == 0) && (!f.Problems || v[0][i]&(flagFailed|flagIncomplete) != 0)
			})
			return nil
		}, colFlags)
		if err != nil {
			return err
		}
	}
	if f.Slower > 0 {
		// Durations are whole microseconds.
		least := f.Slower.Microseconds()
		if f.Slower%time.Microsecond > 0 {
			least++
		}
		return x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
			s.keep(first, len(v[0]), func(i int) bool { return v[0][i] >= least })
			return nil
		}, colDuration)
	}
	return nil
}

// between keeps the rows that began in a time range. Rows are in the order of their starts.
func (x *Index) between(ctx context.Context, s set, from, to time.Time) error {
	var failed error
	// first returns the first row that did not begin before t.
	first := func(t time.Time) int {
		return sort.Search(x.rows, func(row int) bool {
			if failed != nil {
				return true
			}
			all, err := x.entries(ctx, []int{row})
			if err != nil {
				failed = err
				return true
			}
			return !all[0].Start.Before(t)
		})
	}
	begin, end := 0, x.rows
	if !from.IsZero() {
		begin = first(from)
	}
	if !to.IsZero() {
		end = first(to)
	}
	wanted := newSet(x.rows)
	wanted.addRange(begin, end)
	s.and(wanted)
	return failed
}

// calling returns the calls that a filter selects, each once: by the caller's record if the rest of
// the filter selects that, or else by the callee's. The rest is all but Caller, Callee and Protocol,
// because two records of one call may have different protocols.
func (x *Index) calling(ctx context.Context, f Filter) (set, error) {
	rest := f
	rest.Caller, rest.Callee, rest.Protocol = "", "", ""
	chosen, err := x.selected(ctx, rest)
	if err != nil {
		return nil, err
	}
	want := make([]bool, len(x.head.Calls))
	for i, k := range x.head.Calls {
		want[i] = (f.Caller == "" || k.From == f.Caller) && (f.Callee == "" || k.To == f.Callee)
	}
	isIn := func(direction int64) bool {
		names := x.names[colDirection]
		return uint64(direction) < uint64(len(names)) && names[direction] == recording.In
	}
	s := slices.Clone(chosen.set)
	err = x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
		s.keep(first, len(v[0]), func(i int) bool {
			call, other := v[0][i], v[1][i]
			twice := 0 < other && other <= int64(x.rows) && isIn(v[2][i]) && chosen.set.has(int(other-1))
			return !twice && uint64(call) < uint64(len(want)) && want[call]
		})
		return nil
	}, colCall, colOther, colDirection)
	if err == nil && f.Protocol != "" {
		err = x.named(ctx, s, colProtocol, func(name string) bool { return strings.EqualFold(name, f.Protocol) })
	}
	return s, err
}

// traced keeps the rows of a trace.
func (x *Index) traced(ctx context.Context, s set, id string) error {
	want := map[int64]bool{}
	for _, c := range recording.Carriers() {
		want[int64(hash64(text(c.Shared(id))))] = true
	}
	return x.parts().each(ctx, x.rows, func(first int, v [][]int64) error {
		s.keep(first, len(v[0]), func(i int) bool { return want[v[0][i]] })
		return nil
	}, colTrace)
}

// pathed adds the rows that have a text in their path.
func (x *Index) pathed(ctx context.Context, s set, text string) error {
	needle := []byte(fold(text))
	return x.eachPaths(ctx, func(first int, p *paths) {
		p.contain(needle, func(i int) { s.add(first + i) })
	})
}

// eachPaths calls do with the paths of all rows, some at a time, and the number of their first row.
func (x *Index) eachPaths(ctx context.Context, do func(first int, p *paths)) error {
	for first := 0; first < x.rows; first += pathRows {
		data, err := x.file.part(ctx, kindPaths, first/pathRows)
		if err != nil {
			return err
		}
		p, err := readPaths(data, min(pathRows, x.rows-first))
		if err != nil {
			return err
		}
		do(first, &p)
	}
	return ctx.Err()
}

// containing adds the rows that match an item of a search.
func (x *Index) containing(ctx context.Context, s set, it *item) error {
	if len(it.words) > 0 || it.prefix != "" {
		words := allOf(x.rows)
		for _, list := range [][]string{it.words, it.pairs} {
			for _, term := range list {
				found := newSet(x.rows)
				if err := x.term(ctx, found, term, false); err != nil {
					return err
				}
				words.and(found)
			}
		}
		if it.prefix != "" {
			found := newSet(x.rows)
			if err := x.term(ctx, found, it.prefix, true); err != nil {
				return err
			}
			words.and(found)
		}
		s.or(words)
	}
	if err := x.pathed(ctx, s, it.text); err != nil {
		return err
	}
	hosts := allOf(x.rows)
	if err := x.named(ctx, hosts, colHost, func(name string) bool { return strings.Contains(fold(name), it.text) }); err != nil {
		return err
	}
	s.or(hosts)
	return nil
}
