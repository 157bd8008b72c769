package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/replay/compare"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/schedule"
	"github.com/tapedeck/tapedeck/replay/stats"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// visits returns overlapping sessions of several lengths. Each logs in, and then carries its token.
// Some of the answers differ from those of [visitServer].
func visits(n int) (all []call) {
	for i := range n {
		token := fmt.Sprintf("tok-%04d-Qm48sb01PxWc", i)
		start := time.Duration(i) * 170 * time.Millisecond
		all = append(all, call{at: start, method: "POST", path: "/login", body: fmt.Sprintf(`{"user":"u%d"}`, i), took: 20 * time.Millisecond, answer: `{"token":"` + token + `"}` + "\n"})
		for k := range 1 + i*i%7 {
			c := call{at: start + time.Duration(k+1)*230*time.Millisecond, method: "GET", path: "/orders", authorization: "Bearer " + token, answer: `{"n":1}`}
			if k%3 == 2 {
				c.path, c.answer = "/prices", fmt.Sprintf(`{"price":%d}`, i%4)
			}
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b call) int { return int(a.at - b.at) })
	return all
}

// visitServer accepts only tokens that it issued. Its prices differ from the recorded ones.
type visitServer struct {
	mu    sync.Mutex
	n     int
	valid map[string]bool
	got   map[string]int // requests by path and time
	began time.Time
}

func newVisitServer() *visitServer {
	return &visitServer{valid: map[string]bool{}, got: map[string]int{}, began: time.Now()}
}

func (s *visitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[fmt.Sprintf("%s at %s", r.URL.Path, time.Since(s.began).Round(time.Millisecond))]++
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/login" {
		s.n++
		token := fmt.Sprintf("tok-%04d-Zk93hf72KdLq", s.n)
		s.valid[token] = true
		json.NewEncoder(w).Encode(map[string]string{"token": token})
		return
	}
	if !s.valid[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		w.WriteHeader(401)
		return
	}
	if r.URL.Path == "/prices" {
		io.WriteString(w, `{"price":"3"}`)
		return
	}
	io.WriteString(w, `{"n":1}`)
}

// inShards runs a load in shards that start together, and merges their reports. With one shard, it
// returns the report of a single run.
func inShards(t *testing.T, calls []call, client *wire.Client, of int, change func(*Options)) *report.Report {
	t.Helper()
	start := time.Now().Add(3 * time.Second)
	reports := make([]*report.Report, of)
	var all sync.WaitGroup
	for i := range of {
		p, g, c := prepare(t, calls)
		o := Options{Plan: p, Graph: g, Target: client, Compare: c, Start: start, Shard: report.Shard{Index: i, Of: of}}
		if change != nil {
			change(&o)
		}
		all.Go(func() {
			r, err := Run(context.Background(), o)
			if err != nil {
				t.Error(err)
				return
			}
			if r.Shard == nil {
				r.Shard = &report.Shard{Of: 1}
			}
			var text strings.Builder
			r.Judge(nil)
			if err := json.NewEncoder(&text).Encode(r); err != nil {
				t.Error(err)
			}
			reports[i], err = report.Parse([]byte(text.String()))
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	m, err := Merge(reports)
	if err != nil {
		t.Fatal(err)
	}
	m.Judge(nil)
	return m
}

// comparable removes from a report what may differ between a single run and shards.
func comparable(t *testing.T, r *report.Report, times bool) string {
	t.Helper()
	c := *r
	c.Merged, c.Shard, c.Generator.CPUSeconds = nil, nil, 0
	if !times {
		c.Started, c.Ended, c.Metrics, c.Generator = time.Time{}, time.Time{}, nil, report.Generator{}
		c.Results = stats.Result{}
		for _, e := range r.Results.Endpoints {
			c.Results.Endpoints = append(c.Results.Endpoints, &stats.Endpoint{Name: e.Name, Counts: e.Counts})
		}
	}
	slices.SortFunc(c.Differences, func(a, b report.Difference) int {
		return strings.Compare(a.Endpoint+a.Place+string(a.Kind)+string(a.State), b.Endpoint+b.Place+string(b.Kind)+string(b.State))
	})
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Shards together send the requests of a single generator, at the same times. Their merged report
// equals its report, bucket by bucket.
func TestShardsTogetherAreASingleRun(t *testing.T) {
	calls := visits(23)
	for _, c := range []struct {
		name   string
		load   Load
		counts bool // only counts are equal: when requests are sent depends on the number of loops
	}{
		{"recorded times", Load{}, false},
		{"twice the speed, three passes", Load{Speed: 2, Passes: 3}, false},
		{"copies", Load{Copies: 4}, false},
		{"a number of requests", Load{Passes: 5, Requests: 100}, false},
		{"for a time", Load{For: 2 * time.Second}, false},
		{"a rate", Load{Rate: 40, Passes: 2}, false},
		{"a rate for a time", Load{Rate: 100, For: 3 * time.Second}, false},
		{"stages of rates", Load{Stages: []schedule.Stage{{Target: 50, For: 2 * time.Second, Ramp: time.Second}, {Target: 10, For: 2 * time.Second}}}, false},
		{"users", Load{Users: 7, Passes: 2}, false},
		{"users with a number of requests", Load{Users: 7, Passes: 20, Requests: 101}, true},
		{"stages of users", Load{StagesAreUsers: true, Stages: []schedule.Stage{{Target: 5, For: time.Second}}, Requests: 333}, true},
		{"sessions", Load{Sessions: 5}, true},
		{"fewer sessions than shards", Load{Sessions: 2}, true},
		{"sessions with a number of requests", Load{Sessions: 5, Passes: 3, Requests: 100}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var reports []string
			var got []map[string]int
			for _, of := range []int{1, 3} {
				synctest.Test(t, func(t *testing.T) {
					s := newVisitServer()
					client, stop := serve(t, s)
					defer stop()
					r := inShards(t, calls, client, of, func(o *Options) { o.Load = c.load })
					if c.counts {
						total := r.Results.Total()
						reports = append(reports, fmt.Sprintf("%d of %d steps sent, %+v", total.Sent, r.Source.Steps, r.Load))
						return
					}
					reports, got = append(reports, comparable(t, r, true)), append(got, s.got)
				})
			}
			if diff := cmp.Diff(reports[0], reports[1]); diff != "" {
				t.Errorf("a single run, and three shards: %s", diff)
			}
			if !c.counts {
				if diff := cmp.Diff(got[0], got[1]); diff != "" {
					t.Errorf("what the server got from a single run, and from three shards: %s", diff)
				}
			}
		})
	}
}

// With a real server and real connections, shards also equal a single run, except for times.
func TestShardsOverHTTPAreASingleRun(t *testing.T) {
	var reports []string
	for _, of := range []int{1, 3} {
		server := httptest.NewServer(newVisitServer())
		u, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		client, err := wire.New(wire.Options{Target: u, Run: "test"})
		if err != nil {
			t.Fatal(err)
		}
		r := inShards(t, visits(23), client, of, func(o *Options) { o.Load.Speed, o.Start, o.MaxLag = 20, time.Time{}, time.Minute })
		if r.ExitCode != report.NewDifferences || len(r.Edges) == 0 || len(r.Differences) == 0 {
			t.Errorf("exit code %d, %d edges, %d differences", r.ExitCode, len(r.Edges), len(r.Differences))
		}
		reports = append(reports, comparable(t, r, false))
		client.Close()
		server.Close()
	}
	if diff := cmp.Diff(reports[0], reports[1]); diff != "" {
		t.Errorf("a single run, and three shards: %s", diff)
	}
}

// If there are fewer sessions than shards, a shard has nothing to do. That is not an error.
func TestMoreShardsThanSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, stop := serve(t, newVisitServer())
		defer stop()
		r := inShards(t, visits(2), client, 5, nil)
		if total := r.Results.Total(); total.Sent != int64(len(visits(2))) || r.ExitCode != report.Passed {
			t.Errorf("%d sent, exit code %d: %v", total.Sent, r.ExitCode, r.Exits)
		}
	})
}

// Steps of one session, and steps that wait for each other, belong to one shard. All shards compute
// the same division, and their parts have about the same size.
func TestASessionIsInOneShard(t *testing.T) {
	_, g, _ := prepare(t, visits(40))
	_, again, _ := prepare(t, visits(40))
	d, e := Divide(g, 3), Divide(again, 3)
	sum := 0
	for i := range 3 {
		if sum += d.Steps(i); d.Steps(i) < g.Steps()/3-7 {
			t.Errorf("shard %d has %d of %d steps", i, d.Steps(i), g.Steps())
		}
	}
	if sum != g.Steps() {
		t.Errorf("the shards have %d of %d steps", sum, g.Steps())
	}
	for step := range g.Steps() {
		for shard := range 3 {
			if d.Has(shard, step) != e.Has(shard, step) {
				t.Fatalf("step %d: two processes divide it differently", step)
			}
			if d.Has(shard, step) != d.Has(shard, g.Session(step)) {
				t.Errorf("step %d is in another shard than its session", step)
			}
			for _, before := range g.After(step) {
				if d.Has(shard, step) != d.Has(shard, before) {
					t.Errorf("step %d is in another shard than %d, which it waits for", step, before)
				}
			}
		}
	}
}

// A difference that is noise by the answers of one shard is also noise in the other shards.
func TestShardsJudgeDifferencesTogether(t *testing.T) {
	calls := visits(23)
	var baseline json.RawMessage
	prices := func(values ...string) http.Handler {
		n := 0
		s := newVisitServer()
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/prices" {
				s.mu.Lock()
				n++
				value := values[n%len(values)]
				s.mu.Unlock()
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"price":%s}`, value)
				return
			}
			s.ServeHTTP(w, r)
		})
	}
	for _, handler := range []func() http.Handler{
		func() http.Handler { return prices("100", "101", "102") },
		func() http.Handler { return prices("102", "100", "105") },
	} {
		var reports []string
		var observed json.RawMessage
		for _, of := range []int{1, 3} {
			synctest.Test(t, func(t *testing.T) {
				client, stop := serve(t, handler())
				defer stop()
				r := inShards(t, calls, client, of, func(o *Options) {
					if baseline != nil {
						earlier, err := compare.DecodeObserved(baseline, o.Plan.Endpoints)
						if err != nil {
							t.Fatal(err)
						}
						o.Compare.Comparer.Baseline(earlier)
					}
				})
				observed = r.Observed
				reports = append(reports, comparable(t, r, true))
			})
		}
		if diff := cmp.Diff(reports[0], reports[1]); diff != "" {
			t.Errorf("a single run, and three shards: %s", diff)
		}
		baseline = observed
	}
}

// A target that stops answering ends the run. A long pause does not.
func TestARunWithoutProgressEnds(t *testing.T) {
	silent := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	r := run(t, gets(1000, 10*time.Second), silent, func(o *Options) { o.ProgressTimeout = 20 * time.Minute })
	if took := r.Ended.Sub(r.Started); took < 20*time.Minute || took > 21*time.Minute || r.Partial != "the target answered nothing for 20m0s" {
		t.Errorf("it took %s, partial: %q", took, r.Partial)
	}
	if r.Judge(nil); r.ExitCode != report.Incomplete {
		t.Errorf("exit code %d", r.ExitCode)
	}
	alive := 0
	calls := gets(3, 4*time.Hour)
	calls[2].took = 2 * time.Hour
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/items/2" {
			for range 7200 {
				io.WriteString(w, " ")
				http.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
		}
		answerOK(w, r)
	})
	r = run(t, calls, slow, func(o *Options) { o.ProgressTimeout, o.Alive = 20*time.Minute, func() { alive++ } })
	if total := r.Results.Total(); total.Answered != 3 || r.Partial != "" || alive < 9*60*12 {
		t.Errorf("%+v, partial: %q, %d signs of life", total.Counts, r.Partial, alive)
	}
}
