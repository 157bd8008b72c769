package report_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// exponential returns a report of n requests whose response times have an exponential distribution
// with the given mean. failing is the share of requests that fail.
func exponential(rng *rand.Rand, n int, mean time.Duration, failing float64) *report.Report {
	run := stats.NewRun()
	local := run.Local()
	e := run.Endpoint("GET /")
	for range n {
		local.Add(stats.Sample{Endpoint: e, Done: time.Duration(rng.ExpFloat64() * float64(mean)), Status: 200, Succeeded: rng.Float64() >= failing})
	}
	return &report.Report{Started: started, Ended: started.Add(time.Minute), Results: run.Result()}
}

// TestIntervalsCoverTheTruth draws many pairs of runs whose difference is known: about 95% of the
// intervals contain it. The numbers are the same in every run of the test.
func TestIntervalsCoverTheTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 99))
	const pairs = 100
	truth := map[string]float64{
		"latency.avg": 2, "latency.p50": 2 * 0.693147, "latency.p95": 2 * 2.995732, "requests.failed-pct": 10,
	}
	for _, n := range []int{200, 600} {
		covered := map[string]int{}
		for range pairs {
			a := exponential(rng, n, 10*time.Millisecond, 0.1)
			b := exponential(rng, n+50, 12*time.Millisecond, 0.2)
			for _, ch := range report.Compare("a", a, "b", b).Changes {
				if want, ok := truth[ch.Metric]; ok && ch.Endpoint == "" && *ch.Low <= want && want <= *ch.High {
					covered[ch.Metric]++
				}
			}
		}
		for metric := range truth {
			if got := covered[metric]; got < 89 || got == pairs {
				t.Errorf("%s of %d requests: %d of %d intervals have the true difference, want about 95", metric, n, got, pairs)
			}
		}
	}
}

// TestComparisonFindsWhatDiffers compares a run with a slower one, and with one that is not slower.
func TestComparisonFindsWhatDiffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	a := exponential(rng, 2000, 10*time.Millisecond, 0.1)
	find := func(b *report.Report, endpoint, metric string) report.Change {
		t.Helper()
		for _, ch := range report.Compare("a", a, "b", b).Changes {
			if ch.Endpoint == endpoint && ch.Metric == metric {
				return ch
			}
		}
		t.Fatalf("no change of %s", metric)
		return report.Change{}
	}
	slower := exponential(rng, 2000, 13*time.Millisecond, 0.1)
	faster := exponential(rng, 2000, 8*time.Millisecond, 0.02)
	same := exponential(rng, 2000, 10*time.Millisecond, 0.1)
	few := exponential(rng, 9, 10*time.Millisecond, 0.1)
	for _, c := range []struct {
		name   string
		b      *report.Report
		metric string
		want   report.Finding
	}{
		{"slower", slower, "latency.avg", report.Higher},
		{"slower", slower, "latency.p95", report.Higher},
		{"slower", slower, "requests.failed-pct", report.Same},
		{"faster", faster, "latency.p50", report.Lower},
		{"faster", faster, "requests.failed-pct", report.Lower},
		{"same", same, "latency.avg", report.Same},
		{"same", same, "latency.p50", report.Same},
		{"same", same, "latency.p99", report.Same},
		{"itself", a, "latency.p99", report.Same},
		{"few", few, "latency.avg", report.TooFew},
		{"few", few, "latency.p95", report.TooFew},
		{"counts", slower, "requests.total", report.NoInterval},
		{"not compared", slower, "requests.result-match-pct", report.TooFew},
	} {
		if got := find(c.b, "", c.metric); got.Finding != c.want {
			t.Errorf("%s: %s is %+v, want %q", c.name, c.metric, got, c.want)
		}
		if m := c.metric; m == "latency.avg" {
			if got := find(c.b, "GET /", m); got.Finding != c.want {
				t.Errorf("%s: %s of the endpoint is %+v, want %q", c.name, m, got, c.want)
			}
		}
	}
}

func TestComparisonNamesNewAndGoneDifferences(t *testing.T) {
	group := func(place string, state report.State) report.Difference {
		return report.Difference{Endpoint: "GET /", Place: place, Kind: match.ValueChanged, State: state, Count: 1}
	}
	a := &report.Report{Differences: []report.Difference{group("body:$.both", report.New), group("body:$.gone", report.Known), group("body:$.time", report.Noise)}}
	b := &report.Report{Differences: []report.Difference{group("body:$.both", report.Known), group("body:$.new", report.New), group("body:$.id", report.Noise)}}
	c := report.Compare("a", a, "b", b)
	if len(c.New) != 1 || c.New[0].Place != "body:$.new" || len(c.Gone) != 1 || c.Gone[0].Place != "body:$.gone" {
		t.Errorf("new %v, gone %v", c.New, c.Gone)
	}
}

func TestComparisonForms(t *testing.T) {
	a, b := shop(200, 30*time.Second), shop(400, 30*time.Second)
	a.Differences, b.Differences = a.Differences[:1], b.Differences[1:]
	b.Results.Endpoints = b.Results.Endpoints[1:]
	c := report.Compare("before.json", a, "after.json", b)
	got := map[string]string{}
	for _, f := range report.ComparisonForms() {
		var out bytes.Buffer
		if err := f.WriteComparison(&out, c); err != nil {
			t.Fatal(err)
		}
		if f.Name != "html" {
			got[f.Name] = out.String()
		}
	}
	golden(t, "comparison.txtar", got)
	junit, _ := report.FormNamed("junit")
	if err := junit.WriteComparison(&bytes.Buffer{}, c); err == nil {
		t.Error("a comparison was written as JUnit XML")
	}
}
