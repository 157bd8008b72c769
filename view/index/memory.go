package index

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Index is an index. It is safe for concurrent use.
type Index struct {
	options Options
	query   read.Query
	stores  []read.Store
	name    string
	report  *read.Report
	rows    []entry
}

type entry struct {
	Row
	place
	words  string // in lower case
	shared string // of the trace
}

// Open indexes what the query selects in the sources.
func Open(ctx context.Context, o Options, q read.Query, sources ...Source) (*Index, error) {
	x := &Index{options: o, query: q}
	names := make([]string, len(sources))
	for i, s := range sources {
		x.stores = append(x.stores, s.Store)
		names[i] = s.Name
	}
	x.name = strings.Join(names, ", ")
	in, err := read.Open(ctx, q, read.Options{Order: read.Sorted, Recycle: true, Foreign: o.Foreign, Progress: func(done, all int) {
		if o.Progress != nil {
			o.Progress(Progress{Phase: "reading", Done: done, All: all, Exchanges: int64(len(x.rows))})
		}
	}}, x.stores...)
	if err != nil {
		return nil, err
	}
	for rec, err := range in.Records() {
		if err != nil {
			return nil, err
		}
		e := entry{Row: rowOf(rec), place: place{rec.Store, rec.Key, rec.Offset, rec.Parts}}
		e.ID = int64(len(x.rows) + 1)
		h := rec.Request().Headers
		e.Trace, e.shared = h.Trace()
		e.Trace, e.shared = text(e.Trace), text(e.shared)
		var b strings.Builder
		fmt.Fprintln(&b, e.Method, e.Host, e.Path)
		for _, half := range []recording.Half{rec.Request(), rec.Response()} {
			for _, line := range half.Headers {
				fmt.Fprintln(&b, line.Name, line.Value)
			}
			body, _ := half.Decode(nil, nil, 16<<10)
			b.Write(body)
			b.WriteByte('\n')
		}
		if c := rec.Conversation(); c != nil {
			for _, m := range c.Messages {
				b.Write(m.Data)
				b.WriteByte('\n')
			}
		}
		e.words = strings.ToLower(b.String())
		x.rows = append(x.rows, e)
	}
	x.report = in.Report()
	return x, nil
}

// Name is what the sources are called.
func (x *Index) Name() string { return x.name }

// Report tells what of the recording could not be read.
func (x *Index) Report() *read.Report { return x.report }

// Close releases the index.
func (x *Index) Close() error { return nil }

func (f *Filter) match(r *entry) bool {
	eq := func(want, have string) bool { return want == "" || strings.EqualFold(want, have) }
	is := func(want, have string) bool { return want == "" || want == have }
	has := func(want, have string) bool {
		return want == "" || strings.Contains(strings.ToLower(have), strings.ToLower(want))
	}
	if !eq(f.Direction, r.Direction) || !eq(f.Protocol, r.Protocol) || !eq(f.Method, r.Method) || !eq(f.Cluster, r.Cluster) ||
		!is(f.Namespace, r.Namespace) || !is(f.Workload, r.Workload) || !is(f.Pod, r.Pod) || !is(f.Trace, r.Trace) || !eq(f.Endpoint, r.Endpoint) ||
		!has(f.Host, r.Host) || !has(f.Path, r.Path) {
		return false
	}
	switch s := f.Status; {
	case s == "":
	case s == "none":
		if r.answered() {
			return false
		}
	case strings.HasSuffix(s, "xx"):
		if strconv.Itoa(r.Status/100)+"xx" != s {
			return false
		}
	default:
		if strconv.Itoa(r.Status) != s {
			return false
		}
	}
	if !f.From.IsZero() && r.Start.Before(f.From) || !f.To.IsZero() && !r.Start.Before(f.To) || r.Duration < f.Slower || f.Problems && !r.Failed && r.Incomplete == "" {
		return false
	}
	for _, word := range strings.Fields(strings.ToLower(strings.ReplaceAll(f.Text, `"`, " "))) {
		if !strings.Contains(r.words, word) {
			return false
		}
	}
	return true
}

// List returns the page that a cursor leads to, "" being the first one.
func (x *Index) List(ctx context.Context, f Filter, s Sort, cursor string, limit int) (*Page, error) {
	var found []*entry
	for i := range x.rows {
		if f.match(&x.rows[i]) {
			found = append(found, &x.rows[i])
		}
	}
	slices.SortStableFunc(found, func(a, b *entry) int {
		c := 0
		switch s.By {
		case ByDuration:
			c = cmp.Compare(a.Duration, b.Duration)
		case ByStatus:
			c = cmp.Compare(a.Status, b.Status)
		case ByMethod:
			c = cmp.Compare(a.Method, b.Method)
		case ByHost:
			c = cmp.Compare(a.Host, b.Host)
		case ByPath:
			c = cmp.Compare(a.Path, b.Path)
		case ByWorkload:
			c = cmp.Compare(a.Workload, b.Workload)
		case BySize:
			c = cmp.Compare(a.ResponseSize, b.ResponseSize)
		case ByStart:
			c = cmp.Compare(a.ID, b.ID)
		}
		if s.Descending {
			return -c
		}
		return c
	})
	at := 0
	if cursor != "" {
		text, err := base64.RawURLEncoding.DecodeString(cursor)
		if err == nil {
			at, err = strconv.Atoi(string(text))
		}
		if err != nil || at < 0 || at > len(found) {
			return nil, fmt.Errorf("cursor %.40q: %w", cursor, ErrCursor)
		}
	}
	p := &Page{Total: int64(len(found))}
	for _, e := range found[at:min(len(found), at+limit)] {
		p.Rows = append(p.Rows, e.Row)
	}
	to := func(n int) string { return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(n))) }
	if at+limit < len(found) {
		p.Next = to(at + limit)
	}
	if at > 0 {
		p.Previous = to(max(0, at-limit))
	}
	return p, nil
}

func (x *Index) get(id int64) (*entry, error) {
	if id < 1 || id > int64(len(x.rows)) {
		return nil, fmt.Errorf("exchange %d: %w", id, ErrNotFound)
	}
	return &x.rows[id-1], nil
}

// Row returns a row.
func (x *Index) Row(ctx context.Context, id int64) (*Row, error) {
	e, err := x.get(id)
	if err != nil {
		return nil, err
	}
	return &e.Row, nil
}

// Find returns the row with the UUID.
func (x *Index) Find(ctx context.Context, id recording.UUID) (*Row, error) {
	for i := range x.rows {
		if x.rows[i].UUID == id {
			return &x.rows[i].Row, nil
		}
	}
	return nil, fmt.Errorf("exchange %s: %w", id, ErrNotFound)
}

// Exchange returns an exchange in full.
func (x *Index) Exchange(ctx context.Context, id int64) (*recording.Exchange, error) {
	e, err := x.get(id)
	if err != nil {
		return nil, err
	}
	return x.fetch(ctx, &e.Row, e.place)
}

// Trace returns all rows that can belong to the same trace as a row.
func (x *Index) Trace(ctx context.Context, id int64) ([]Row, error) {
	e, err := x.get(id)
	if err != nil {
		return nil, err
	}
	traces, uuids := map[string]bool{e.shared: true}, map[recording.UUID]bool{e.UUID: true, e.Parent: true}
	delete(traces, "")
	delete(uuids, recording.UUID{})
	in := map[int64]bool{}
	for more := true; more; {
		more = false
		for i := range x.rows {
			r := &x.rows[i]
			if !in[r.ID] && (traces[r.shared] || uuids[r.UUID] || uuids[r.Parent]) {
				in[r.ID], more = true, true
				if r.shared != "" {
					traces[r.shared] = true
				}
				uuids[r.UUID] = true
				if r.Parent != (recording.UUID{}) {
					uuids[r.Parent] = true
				}
			}
		}
	}
	var rows []Row
	for i := range x.rows {
		if in[x.rows[i].ID] {
			rows = append(rows, x.rows[i].Row)
		}
	}
	return rows, nil
}

func figuresOf(all []*entry) Figures {
	var f Figures
	var took []time.Duration
	var from, to time.Time
	for _, e := range all {
		f.Count++
		if e.Failed {
			f.Failed++
		}
		if e.answered() {
			took = append(took, e.Duration)
		}
		if from.IsZero() || e.Start.Before(from) {
			from = e.Start
		}
		if end := e.Start.Add(e.Duration); end.After(to) {
			to = end
		}
	}
	if s := to.Sub(from).Seconds(); s > 0 {
		f.PerSecond = float64(f.Count) / s
	}
	if len(took) > 0 {
		slices.Sort(took)
		at := func(p float64) time.Duration { return took[max(0, int(math.Ceil(p*float64(len(took))))-1)] }
		f.P50, f.P95, f.P99, f.Max = at(.5), at(.95), at(.99), at(1)
	}
	return f
}

func (x *Index) grouped(f Filter, key func(*entry) [4]string) (keys [][4]string, of map[[4]string][]*entry) {
	of = map[[4]string][]*entry{}
	for i := range x.rows {
		if e := &x.rows[i]; f.match(e) {
			k := key(e)
			if of[k] == nil {
				keys = append(keys, k)
			}
			of[k] = append(of[k], e)
		}
	}
	slices.SortStableFunc(keys, func(a, b [4]string) int { return cmp.Compare(len(of[b]), len(of[a])) })
	return keys, of
}

// Calls sums up who calls whom, of what the filter selects.
func (x *Index) Calls(ctx context.Context, f Filter) ([]Call, error) {
	var calls []Call
	keys, of := x.grouped(f, func(e *entry) [4]string {
		self := strings.TrimPrefix(e.Namespace+"/"+e.Workload, "/")
		if e.Direction == recording.Out {
			return [4]string{self, e.Host, e.Protocol, e.Direction}
		}
		return [4]string{e.Peer, self, e.Protocol, e.Direction}
	})
	for _, k := range keys {
		g := f
		g.Direction, g.Protocol = k[3], k[2]
		if k[3] == recording.Out {
			g.Namespace, g.Workload, g.Host = of[k][0].Namespace, of[k][0].Workload, of[k][0].Host
		} else {
			g.Namespace, g.Workload = of[k][0].Namespace, of[k][0].Workload
		}
		calls = append(calls, Call{From: k[0], To: k[1], Protocol: k[2], Figures: figuresOf(of[k]), Filter: g})
	}
	return calls, nil
}

// Endpoints sums up what was asked of each endpoint, of what the filter selects.
func (x *Index) Endpoints(ctx context.Context, f Filter) ([]Endpoint, error) {
	var all []Endpoint
	keys, of := x.grouped(f, func(e *entry) [4]string {
		if e.Direction == recording.In {
			return [4]string{e.Direction, e.Workload, "", e.Endpoint}
		}
		return [4]string{e.Direction, e.Workload, e.Host, e.Endpoint}
	})
	for _, k := range keys {
		all = append(all, Endpoint{k[0], k[1], k[2], k[3], figuresOf(of[k])})
	}
	return all, nil
}

// Facets returns the values of the rows that the filter selects.
func (x *Index) Facets(ctx context.Context, f Filter) (Facets, error) {
	one := func(value func(*entry) string) (all []Facet) {
		keys, of := x.grouped(f, func(e *entry) [4]string { return [4]string{value(e)} })
		for _, k := range keys {
			if k[0] != "" {
				all = append(all, Facet{k[0], int64(len(of[k]))})
			}
		}
		return all
	}
	return Facets{
		Namespaces: one(func(e *entry) string { return e.Namespace }),
		Workloads:  one(func(e *entry) string { return e.Workload }),
		Methods:    one(func(e *entry) string { return e.Method }),
		Protocols:  one(func(e *entry) string { return e.Protocol }),
		Statuses: one(func(e *entry) string {
			if !e.answered() {
				return "none"
			}
			return strconv.Itoa(e.Status/100) + "xx"
		}),
	}, nil
}
