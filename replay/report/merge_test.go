package report_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// divided returns a run of the shop, once as a whole and once in shards. Each request is in one
// shard. Each shard has the same findings about its part.
func divided(t *testing.T, requests, of int) (whole *report.Report, shards []*report.Report) {
	t.Helper()
	rng := rand.New(rand.NewPCG(8, uint64(of)))
	runs := make([]*stats.Run, of+1) // the last has all requests
	locals := make([]*stats.Local, of+1)
	for i := range runs {
		runs[i] = stats.NewRun()
		locals[i] = runs[i].Local()
	}
	for i := range requests {
		due := time.Duration(i) * time.Minute / time.Duration(requests)
		s := stats.Sample{Due: due, Sent: due, Done: due + time.Duration(rng.ExpFloat64()*float64(5*time.Millisecond)), Status: 200, Succeeded: true, Matched: stats.Match}
		name := endpoints[rng.IntN(len(endpoints))].name
		for _, at := range []int{of, rng.IntN(of)} {
			s.Endpoint = runs[at].Endpoint(name)
			locals[at].Add(s)
		}
	}
	part := func(results stats.Result, share int64) *report.Report {
		r := shop(0, time.Minute)
		r.Results = results
		r.Source.Steps = share
		r.Source.LeftOut = map[string]int64{"writes (--only safe)": share}
		for i := range r.Differences {
			r.Differences[i].Count = share
		}
		for i := range r.Edges {
			r.Edges[i].Fired, r.Edges[i].Unfired = share, share
		}
		r.Ambiguous[0].Count, r.Needs[0].Count = share, share
		*r.Mock = report.Mock{Served: share, Masked: share, Missed: share, Misses: []report.Miss{{Endpoint: "GET api/x", Reason: "path", Count: share}}, NeverUsed: 3}
		r.Generator.CPUSeconds, r.Generator.BoundHits, r.Generator.InFlightBound = float64(share), share, int(share)
		return r
	}
	whole = part(runs[of].Result(), int64(of))
	for i, run := range runs[:of] {
		s := part(run.Result(), 1)
		s.Shard = &report.Shard{Index: i, Of: of}
		s.Judge(goals("latency.p95 > 1"))
		// Merging reads reports in their JSON form.
		read, err := report.Parse([]byte(written(t, s, "json")))
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, read)
	}
	return whole, shards
}

// TestMergedReportEqualsThatOfASingleRun compares every byte of the JSON form.
func TestMergedReportEqualsThatOfASingleRun(t *testing.T) {
	for _, requests := range []int{3, 990, 1010, 20_000} {
		for _, of := range []int{1, 2, 5} {
			whole, shards := divided(t, requests, of)
			rand.New(rand.NewPCG(9, 10)).Shuffle(of, func(i, j int) { shards[i], shards[j] = shards[j], shards[i] })
			merged, err := report.Merge(shards)
			if err != nil {
				t.Fatal(err)
			}
			// The report of a single run, in the order of keys that merging uses.
			whole.Shard = &report.Shard{Of: 1}
			whole, err = report.Merge([]*report.Report{whole})
			if err != nil {
				t.Fatal(err)
			}
			whole.Merged.Of = of
			g := goals("latency.p95 > 1", "POST /checkout: latency.p50 > 1")
			whole.Judge(g)
			merged.Judge(g)
			if diff := cmp.Diff(written(t, whole, "json"), written(t, merged, "json")); diff != "" {
				t.Errorf("%d requests in %d shards (-single +merged):\n%s", requests, of, diff)
			}
		}
	}
}

func TestALostShardIsNamed(t *testing.T) {
	_, shards := divided(t, 500, 5)
	merged, err := report.Merge([]*report.Report{shards[4], shards[0], shards[2]})
	if err != nil {
		t.Fatal(err)
	}
	merged.Judge(nil)
	if merged.ExitCode != report.Incomplete || merged.Exits[0].Reason != "shard 1 of 5 is lost" || merged.Exits[1].Reason != "shard 3 of 5 is lost" {
		t.Errorf("exit code %d, because of %v", merged.ExitCode, merged.Exits)
	}
	if !strings.Contains(written(t, merged, "pretty"), "3 of 5 shards") {
		t.Error("the text does not say how many there are")
	}
	merged.Merged.LostAllowed = true
	merged.Judge(nil)
	if merged.ExitCode == report.Incomplete {
		t.Errorf("exit code %d, although shards may be lost", merged.ExitCode)
	}
}

// TestATroubleOfOneShardIsOfTheWhole checks that each reason is kept, with its shard.
func TestATroubleOfOneShardIsOfTheWhole(t *testing.T) {
	_, shards := divided(t, 500, 3)
	shards[1].Partial = "interrupted"
	shards[2].Generator.Bound = "send lag p99 is 80 ms"
	shards[2].Problems = []report.Exit{{Code: report.CouldNotRun, Reason: "connection refused"}}
	shards[0].UnfiredRules = append(shards[0].UnfiredRules, "only unused here")
	merged, err := report.Merge(shards)
	if err != nil {
		t.Fatal(err)
	}
	merged.Judge(nil)
	var reasons []string
	for _, x := range merged.Exits {
		reasons = append(reasons, x.String())
	}
	want := []string{
		"exit code 6: the run is partial: shard 1: interrupted",
		"exit code 2: shard 2: connection refused",
		"exit code 5: the generator, not the target, decided the pace: shard 2: send lag p99 is 80 ms",
		"exit code 4: 3 requests to dependencies not in the recording",
		"exit code 3: 2 new differences",
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ignore body:$.etag"}, merged.UnfiredRules); diff != "" {
		t.Errorf("rules that never fired (-want +got):\n%s", diff)
	}
}

func TestReportsThatDoNotBelongTogetherAreNotMerged(t *testing.T) {
	for name, c := range map[string]struct {
		change func(shards []*report.Report) []*report.Report
		want   string
	}{
		"none":          {func([]*report.Report) []*report.Report { return nil }, "no report to merge"},
		"no shard":      {func(s []*report.Report) []*report.Report { s[1].Shard = nil; return s }, "report 2 of 3 is not from a shard"},
		"twice":         {func(s []*report.Report) []*report.Report { return append(s, s[0]) }, "two reports are from shard 0"},
		"other number":  {func(s []*report.Report) []*report.Report { s[1].Shard.Of = 4; return s }, "number of shards"},
		"other pin":     {func(s []*report.Report) []*report.Report { s[2].Source.SHA256 = "b"; return s }, "hash of the recording"},
		"other load":    {func(s []*report.Report) []*report.Report { s[2].Load.Shape = "50/s"; return s }, `its load is "50/s"`},
		"other version": {func(s []*report.Report) []*report.Report { s[2].Version = "v9"; return s }, "version"},
	} {
		_, shards := divided(t, 10, 3)
		if _, err := report.Merge(c.change(shards)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want an error with %q", name, err, c.want)
		}
	}
}

// Edges are in the order of the shards' reports, which is that of a single run's.
func TestMergedEdgesKeepTheirOrder(t *testing.T) {
	var shards []*report.Report
	for i := range 2 {
		r := &report.Report{Shard: &report.Shard{Index: i, Of: 2}}
		for _, endpoint := range []string{"POST /z", "GET /a", "GET /m"} {
			r.Edges = append(r.Edges, report.Edge{To: report.Site{Endpoint: endpoint}, Fired: int64(1 + i)})
		}
		shards = append(shards, r)
	}
	m, err := report.Merge(shards)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range m.Edges {
		got = append(got, fmt.Sprint(e.To.Endpoint, " ", e.Fired))
	}
	if want := []string{"POST /z 3", "GET /a 3", "GET /m 3"}; !slices.Equal(got, want) {
		t.Errorf("edges %q, want %q", got, want)
	}
}
