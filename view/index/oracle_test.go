package index_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/view/index"
)

// oracle answers as an index does, by looking at all rows.
type oracle struct {
	rows  []index.Row
	texts [][]string // the searched texts of each row
}

var (
	someWords = strings.Fields("order Order refused connection CONNECTION user-agent o'neil 50% naïve ÜBER straße 東京 a1 12345 abc123 x_y _ deadbeef-4bad")
	someHosts = []string{"cart.shop.svc", "Cart.shop.svc:8080", "api.stripe.com", "", "[::1]:80", "50%_off.example"}
	somePaths = []string{"/", "/carts/17", "/Carts/18?x=1&y=%20z", "/a/" + strings.Repeat("long/", 40), "/%_x", "/carts/\x00nul", "/orders/6ba7b810-9dad-11d1-80b4-00c04fd430c8"}
	someTexts = []string{"namespace", "", "shop", "Shop", "undefined", "50%"}
)

func pick[T any](r *rand.Rand, all []T) T { return all[r.Intn(len(all))] }

// randomRecording makes exchanges with the difficulties of real recordings.
func randomRecording(r *rand.Rand, n int) []*recording.Exchange {
	all := make([]*recording.Exchange, n)
	for i := range all {
		e := exchange(i, pick(r, []string{"GET", "POST", "get", "", "BREW"}), pick(r, somePaths), pick(r, []int{0, 200, 204, 301, 404, 500, 503, 999, 7}))
		e.TS = begin.Add(time.Duration(r.Intn(n)) * 100 * time.Millisecond).Add(time.Duration(r.Intn(3)))
		e.Duration = pick(r, []int64{0, 1, 5, 5, 70, 1e9, -4, math.MaxInt64})
		e.Direction = pick(r, []string{recording.In, recording.Out})
		e.L7Protocol = pick(r, []string{"http", "https", "HTTP", ""})
		e.Namespace, e.Service, e.Cluster = pick(r, someTexts), pick(r, someTexts), pick(r, someTexts)
		e.HTTP.Req.Host, e.HTTP.Req.Method = pick(r, someHosts), e.Command
		e.HTTP.Req.Headers = recording.Headers{{Name: "X-Words", Value: pick(r, someWords) + " " + pick(r, someWords)}, {Name: "Traceparent", Value: fmt.Sprintf("00-%032x-%016x-01", r.Intn(n/3+1), r.Int63())}}
		e.HTTP.Res.Body = []byte(pick(r, someWords) + " " + pick(r, someWords) + "/" + pick(r, someWords))
		e.Tags = recording.Tags{{Name: recording.TagPodName, Value: pick(r, []string{"p-1", "p-2"})}, {Name: recording.TagPeer, Value: pick(r, []string{"10.0.0.1", "unknown"})},
			{Name: recording.TagResponseBodySize, Value: pick(r, []string{"", "0", "12", "9223372036854775807"})}, {Name: recording.TagIncomplete, Value: pick(r, []string{"", "", "cut", "no_answer"})},
			{Name: recording.TagResponseStart, Value: pick(r, []string{"", "5200", "90", "1000000"})}}
		all[i] = e
	}
	return all
}

// words returns the words of a text, as the documentation defines them.
func words(text string) (all []string) {
	var word []rune
	end := func() {
		if len(word) > 0 {
			all = append(all, string(word))
		}
		word = nil
	}
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Han, r):
			end()
			all = append(all, string(r))
		case r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			word = append(word, unicode.ToLower(r))
		default:
			end()
		}
	}
	end()
	return all
}

func unplaced(word string) bool { return len(word) >= 5 && strings.ContainsAny(word, "0123456789") }

// contains reports whether texts have the wanted words next to each other. The last word may be only
// the beginning of one. Words that may be anywhere divide the rest.
func contains(texts []string, asked []string, goesOn bool) bool {
	if len(asked) == 0 {
		return false
	}
	has := func(ok func(all []string, at int) bool) bool {
		return slices.ContainsFunc(texts, func(text string) bool {
			all := words(text)
			for at := range all {
				if ok(all, at) {
					return true
				}
			}
			return false
		})
	}
	for i, word := range asked {
		last := i == len(asked)-1
		if !has(func(all []string, at int) bool {
			return all[at] == word || last && goesOn && strings.HasPrefix(all[at], word)
		}) {
			return false
		}
		// Two whole words that are adjacent in the search must be adjacent somewhere in a text.
		if i == 0 || last && goesOn || unplaced(word) || unplaced(asked[i-1]) {
			continue
		}
		if !has(func(all []string, at int) bool { return at > 0 && all[at] == word && all[at-1] == asked[i-1] }) {
			return false
		}
	}
	return true
}

func (o *oracle) selects(f index.Filter, i int) bool {
	r := &o.rows[i]
	same := func(want, have string) bool { return want == "" || strings.EqualFold(want, have) }
	is := func(want, have string) bool { return want == "" || want == have }
	part := func(want, have string) bool { return strings.Contains(strings.ToLower(have), strings.ToLower(want)) }
	status := map[string]bool{"": true, "none": r.Status == 0, strconv.Itoa(r.Status): r.Status != 0, strconv.Itoa(r.Status/100) + "xx": r.Status >= 100}
	if !same(f.Direction, r.Direction) || !same(f.Protocol, r.Protocol) || !same(f.Method, r.Method) || !same(f.Cluster, r.Cluster) || !same(f.Endpoint, r.Endpoint) ||
		!is(f.Namespace, r.Namespace) || !is(f.Workload, r.Workload) || !is(f.Pod, r.Pod) || !is(f.Trace, r.Trace) || !part(f.Host, r.Host) || !part(f.Path, r.Path) ||
		!status[f.Status] || !f.From.IsZero() && r.Start.Before(f.From) || !f.To.IsZero() && !r.Start.Before(f.To) || r.Duration < f.Slower ||
		f.Problems && !r.Failed && r.Incomplete == "" {
		return false
	}
	for at, piece := range strings.Split(f.Text, `"`) {
		asked := strings.Fields(piece)
		if at%2 != 0 && piece != "" {
			asked = []string{piece}
		}
		for _, one := range asked {
			last := []rune(one)[len([]rune(one))-1]
			goesOn := at%2 == 0 && (last == '_' || unicode.IsLetter(last) || unicode.IsNumber(last))
			if !contains(o.texts[i], words(one), goesOn) && !part(one, r.Host) && !part(one, r.Path) {
				return false
			}
		}
	}
	return true
}

func (o *oracle) list(f index.Filter, s index.Sort) []index.Row {
	var rows []index.Row
	for i := range o.rows {
		if o.selects(f, i) {
			rows = append(rows, o.rows[i])
		}
	}
	folded := func(a, b string) int {
		a, b = strings.ToLower(a), strings.ToLower(b)
		return cmp.Compare(a[:min(128, len(a))], b[:min(128, len(b))])
	}
	compare := map[index.Column]func(a, b index.Row) int{
		index.ByStart:    func(a, b index.Row) int { return a.Start.Compare(b.Start) },
		index.ByDuration: func(a, b index.Row) int { return cmp.Compare(a.Duration.Microseconds(), b.Duration.Microseconds()) },
		index.ByStatus:   func(a, b index.Row) int { return cmp.Compare(a.Status, b.Status) },
		index.ByMethod:   func(a, b index.Row) int { return folded(a.Method, b.Method) },
		index.ByHost:     func(a, b index.Row) int { return folded(a.Host, b.Host) },
		index.ByPath:     func(a, b index.Row) int { return folded(a.Path, b.Path) },
		index.ByWorkload: func(a, b index.Row) int { return folded(a.Workload, b.Workload) },
		index.BySize:     func(a, b index.Row) int { return cmp.Compare(a.ResponseSize, b.ResponseSize) },
	}[s.By]
	slices.SortStableFunc(rows, compare)
	if s.Descending {
		slices.Reverse(rows)
	}
	return rows
}

// newOracle takes rows from the index, since another test checks their content, and texts from the
// recording.
func newOracle(t *testing.T, x *index.Index, all []*recording.Exchange) *oracle {
	t.Helper()
	byID := map[recording.UUID]*recording.Exchange{}
	for _, e := range all {
		byID[e.UUID] = e
	}
	o := &oracle{rows: list(t, x, index.Filter{}).Rows}
	for i, r := range o.rows {
		e := byID[r.UUID]
		if e == nil || r.ID != int64(i+1) {
			t.Fatalf("row %d is %+v", i, r)
		}
		texts := []string{e.Command, e.Host(), e.HTTP.Req.URI, string(e.HTTP.Res.Body)}
		if strings.Contains(e.HTTP.Req.URI, "%20") {
			texts = append(texts, strings.ReplaceAll(e.HTTP.Req.URI, "%20", " "))
		}
		for _, h := range slices.Concat(e.HTTP.Req.Headers, e.HTTP.Res.Headers) {
			texts = append(texts, h.Name, h.Value)
		}
		o.texts = append(o.texts, texts)
	}
	return o
}

func randomFilter(r *rand.Rand, o *oracle) (f index.Filter) {
	row := pick(r, o.rows)
	for range 1 + r.Intn(3) {
		switch r.Intn(18) {
		case 0:
			f.Direction = strings.ToLower(row.Direction)
		case 1:
			f.Protocol = row.Protocol
		case 2:
			f.Method = strings.ToLower(row.Method)
		case 3:
			f.Cluster = row.Cluster
		case 4:
			f.Namespace = pick(r, []string{row.Namespace, strings.ToUpper(row.Namespace)})
		case 5:
			f.Workload = row.Workload
		case 6:
			f.Pod = row.Pod
		case 7:
			f.Endpoint = row.Endpoint
		case 8:
			f.Trace = row.Trace
		case 9:
			f.Host = pick(r, []string{"SHOP", "%", "_", row.Host, ":8", "nowhere"})
		case 10:
			f.Path = pick(r, []string{"carts", "%", "\x00", "_", row.Path, "17", "?x", "/'; DROP TABLE part; --"})
		case 11:
			f.Status = pick(r, []string{"none", "2xx", "5xx", "404", "500", "9xx"})
		case 12:
			f.From = row.Start.Add(time.Duration(r.Intn(3) - 1))
		case 13:
			f.To = row.Start.Add(time.Duration(r.Intn(3) - 1))
		case 14:
			f.Slower = pick(r, []time.Duration{1, time.Microsecond, 5 * time.Millisecond, 5200 * time.Microsecond, row.Duration, math.MaxInt64})
		case 15:
			f.Problems = true
		default:
			one := pick(r, someWords)
			f.Text = pick(r, []string{one, one[:1], one + " " + pick(r, someWords), `"` + one + " " + pick(r, someWords) + `"`, one + "/" + pick(r, someWords), `"` + one,
				"words " + one, "x-words", "NEAR(" + one + ")", one + "*", "host:" + one, "-" + one, one + " OR " + one, "东京", "%", "?", `"" ` + one})
		}
	}
	return f
}

var columns = []index.Column{index.ByStart, index.ByDuration, index.ByStatus, index.ByMethod, index.ByHost, index.ByPath, index.ByWorkload, index.BySize}

func TestAFilterAndASortSelectWhatLookingAtEachRowSelects(t *testing.T) {
	ctx := context.Background()
	for seed := range int64(4) {
		r := rand.New(rand.NewSource(seed))
		all := randomRecording(r, []int{300, 64, 1, 129}[seed])
		x := open(t, index.Options{}, place(t, all...))
		o := newOracle(t, x, all)
		found := 0
		for range 500 {
			f, s := randomFilter(r, o), index.Sort{By: pick(r, columns), Descending: r.Intn(2) == 0}
			want := o.list(f, s)
			p, err := x.List(ctx, f, s, "", index.MaxLimit)
			if err != nil {
				t.Fatalf("list %+v: %v", f, err)
			}
			if len(p.Rows) > 0 {
				found++
			}
			if diff := gocmp.Diff(ids(want), ids(p.Rows)); diff != "" || p.Total != int64(len(want)) {
				for _, id := range ids(want) {
					if !slices.Contains(ids(p.Rows), id) {
						t.Logf("row %d: %q", id, o.texts[id-1])
						break
					}
				}
				t.Fatalf("seed %d, filter %+v, sort %+v: total %d, want %d; rows (-want +got):\n%s", seed, f, s, p.Total, len(want), diff)
			}
		}
		if found < 100 {
			t.Errorf("only %d filters of 500 select anything", found)
		}
	}
}

func ids(rows []index.Row) []int64 {
	all := []int64{}
	for _, r := range rows {
		all = append(all, r.ID)
	}
	return all
}

func TestPagesFollowEachOtherInBothDirections(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewSource(5))
	all := randomRecording(r, 257)
	x := open(t, index.Options{}, place(t, all...))
	o := newOracle(t, x, all)
	for _, by := range columns {
		for _, down := range []bool{false, true} {
			for _, f := range []index.Filter{{}, {Method: "GET"}, {Text: "order"}, {Path: "nowhere"}} {
				s := index.Sort{By: by, Descending: down}
				want := ids(o.list(f, s))
				var pages [][]int64
				for cursor := ""; ; {
					p, err := x.List(ctx, f, s, cursor, 10)
					if err != nil {
						t.Fatal(err)
					}
					if (p.Previous == "") != (cursor == "") {
						t.Errorf("%+v: previous %q of the page at %q", s, p.Previous, cursor)
					}
					pages = append(pages, ids(p.Rows))
					if p.Previous != "" {
						before, err := x.List(ctx, f, s, p.Previous, 10)
						if err != nil || !slices.Equal(ids(before.Rows), pages[len(pages)-2]) || before.Next != cursor {
							t.Fatalf("%+v: the page before is %v, %v, and not %v", s, ids(before.Rows), err, pages[len(pages)-2])
						}
					}
					if cursor = p.Next; cursor == "" {
						break
					}
				}
				if got := slices.Concat(pages...); !slices.Equal(got, want) {
					t.Fatalf("filter %+v, sort %+v: pages have %v, want %v", f, s, got, want)
				}
			}
		}
	}
}

func TestSumsAreThoseOfTheRows(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewSource(6))
	all := randomRecording(r, 300)
	x := open(t, index.Options{}, place(t, all...))
	o := newOracle(t, x, all)
	for _, f := range []index.Filter{{}, {Method: "GET"}, {Problems: true}, {Text: "order", Direction: "OUT"}, {Path: "nowhere"}} {
		rows := o.list(f, index.Sort{By: index.ByStart})
		groups := map[index.Endpoint][]index.Row{}
		facets := map[string]map[string]int64{"namespace": {}, "method": {}, "status": {}}
		for _, r := range rows {
			k := index.Endpoint{Direction: r.Direction, Workload: r.Workload, Host: r.Host, Endpoint: r.Endpoint}
			if r.Direction == recording.In {
				k.Host = ""
			}
			groups[k] = append(groups[k], r)
			facets["namespace"][r.Namespace]++
			facets["method"][r.Method]++
			if r.Status == 0 {
				facets["status"]["none"]++
			} else if r.Status >= 100 {
				facets["status"][strconv.Itoa(r.Status/100)+"xx"]++
			}
		}
		got, err := x.Endpoints(ctx, f)
		if err != nil || len(got) != len(groups) {
			t.Fatalf("%+v: %d endpoints, %v; want %d", f, len(got), err, len(groups))
		}
		for _, e := range got {
			k := e
			k.Figures = index.Figures{}
			if diff := gocmp.Diff(figures(groups[k], rows), e.Figures); diff != "" {
				t.Errorf("%+v: %+v (-want +got):\n%s", f, k, diff)
			}
		}
		have, err := x.Facets(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		for name, list := range map[string][]index.Facet{"namespace": have.Namespaces, "method": have.Methods, "status": have.Statuses} {
			delete(facets[name], "")
			counts := map[string]int64{}
			for _, one := range list {
				counts[one.Value] = one.Count
			}
			if diff := gocmp.Diff(facets[name], counts); diff != "" {
				t.Errorf("%+v: %s (-want +got):\n%s", f, name, diff)
			}
		}
	}
}

func figures(rows, all []index.Row) (f index.Figures) {
	var took []time.Duration
	for _, r := range rows {
		f.Count++
		if r.Failed {
			f.Failed++
		}
		if r.Status != 0 {
			took = append(took, r.Duration.Truncate(time.Microsecond))
		}
	}
	begin, end := int64(math.MaxInt64), int64(math.MinInt64)
	for _, r := range all {
		at := r.Start.UnixMicro()
		begin = min(begin, at)
		if us := r.Duration.Microseconds(); at > math.MaxInt64-us {
			end = math.MaxInt64
		} else {
			end = max(end, at+us)
		}
	}
	f.PerSecond = float64(f.Count) / ((float64(end) - float64(begin)) / 1e6)
	slices.Sort(took)
	if n := len(took); n > 0 {
		at := func(percent float64) time.Duration { return took[int(math.Ceil(percent/100*float64(n)))-1] }
		f.P50, f.P95, f.P99, f.Max = at(50), at(95), at(99), took[n-1]
	}
	return f
}

// A column of that many rows has several parts.
func TestMoreRowsThanAPartHas(t *testing.T) {
	ctx := context.Background()
	const n = 66_000
	all := make([]*recording.Exchange, n)
	for i := range all {
		all[i] = exchange(0, "GET", fmt.Sprintf("/%05d", n-1-i), 200+i%3)
		all[i].TS, all[i].UUID, all[i].Duration = begin.Add(time.Duration(i)*time.Millisecond), uuid(i), int64(i%7)
	}
	x := open(t, index.Options{}, place(t, all...))
	for _, c := range []struct {
		index.Filter
		want int64
	}{{index.Filter{}, n}, {index.Filter{Status: "201"}, n / 3}, {index.Filter{Path: "/65"}, 1000}, {index.Filter{Text: "00017"}, 1},
		{index.Filter{From: begin.Add(65_000 * time.Millisecond)}, 1000}, {index.Filter{To: begin.Add(65_537 * time.Millisecond)}, 65_537}, {index.Filter{Slower: 6 * time.Millisecond}, n / 7}} {
		for _, s := range []index.Sort{{}, {By: index.ByPath}, {By: index.ByDuration, Descending: true}} {
			p, err := x.List(ctx, c.Filter, s, "", 10)
			if err != nil || p.Total != c.want || len(p.Rows) != int(min(10, c.want)) {
				t.Errorf("%+v: total %d, %d rows, %v; want %d", c.Filter, p.Total, len(p.Rows), err, c.want)
			}
		}
	}
	p, err := x.List(ctx, index.Filter{}, index.Sort{By: index.ByPath}, "", 3)
	if err != nil || fmt.Sprint(ids(p.Rows)) != fmt.Sprint([]int{n, n - 1, n - 2}) {
		t.Errorf("the first by path are %v, %v", ids(p.Rows), err)
	}
	r, err := x.Find(ctx, uuid(65_999))
	if err != nil || r.ID != n {
		t.Errorf("the last is %+v, %v", r, err)
	}
	points, err := x.Endpoints(ctx, index.Filter{})
	if err != nil || len(points) != 1 || points[0].Count != n || points[0].P50 != 3*time.Millisecond || points[0].Max != 6*time.Millisecond {
		t.Errorf("endpoints %+v, %v", points, err)
	}
}
