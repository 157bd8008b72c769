package report_test

import (
	"math/rand/v2"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// started is when the runs of the tests start.
var started = time.Date(2026, 11, 29, 8, 30, 0, 0, time.UTC)

// endpoints lists the endpoints of the shop, with their median service times and how often they
// are called.
var endpoints = []struct {
	name   string
	median time.Duration
	weight int
}{
	{"GET /products", 3 * time.Millisecond, 40},
	{"GET /products/{id}", 2 * time.Millisecond, 30},
	{"POST /cart/{id}/items", 6 * time.Millisecond, 15},
	{"POST /checkout", 25 * time.Millisecond, 5},
	{"GET /orders/{id}", 4 * time.Millisecond, 10},
}

// shopRun measures requests at a steady rate. Some of them fail. The target stalls for a while in
// the middle.
func shopRun(requests int, length time.Duration, seed uint64) stats.Result {
	rng := rand.New(rand.NewPCG(seed, 1))
	run := stats.NewRun()
	local := run.Local()
	stall := length / 2
	for i := range requests {
		due := length * time.Duration(i) / time.Duration(requests)
		sent := due + time.Duration(rng.ExpFloat64()*float64(100*time.Microsecond))
		at := rng.IntN(100)
		e := endpoints[0]
		for _, e = range endpoints {
			if at -= e.weight; at < 0 {
				break
			}
		}
		service := time.Duration(float64(e.median) * (0.6 + 0.6*rng.ExpFloat64()))
		if stall <= sent && sent < stall+length/20 {
			service += stall + length/20 - sent
		}
		s := stats.Sample{
			Endpoint: run.Endpoint(e.name), Due: due, Sent: sent, Done: sent + service, Held: time.Duration(rng.IntN(4)/3) * time.Millisecond, Recorded: e.median,
			Status: 200, Succeeded: true, Matched: stats.Match, BytesOut: 300, BytesIn: 2000,
		}
		switch {
		case rng.IntN(300) == 0:
			s.Status, s.Succeeded, s.Failure, s.Matched = 0, false, "timeout", stats.NotCompared
		case rng.IntN(200) == 0:
			s.Status, s.Succeeded, s.Matched = 503, false, stats.New
		case rng.IntN(50) == 0:
			s.Matched = stats.Mismatch
		}
		local.Add(s)
	}
	return run.Result()
}

// shop is a report of a replay of the shop.
func shop(requests int, length time.Duration) *report.Report {
	return &report.Report{
		Version: "v0.4.0",
		Source: report.Source{
			Place:  "s3://recordings/prod/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e@sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
			SHA256: "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
			Steps:  int64(requests), LeftOut: map[string]int64{"writes (--only safe)": 12},
		},
		Target: "http://127.0.0.1:8080", Load: report.Load{Shape: "recorded times × 2", Loop: report.Open},
		Started: started, Ended: started.Add(length),
		Results: shopRun(requests, length, 1),
		Differences: []report.Difference{
			{
				Endpoint: "GET /products/{id}", Place: "body:$.price", Kind: match.TypeChanged, State: report.New, Count: 412,
				Example: report.Example{Exchange: "5b1c0a6e-0000-4000-8000-000000000001", Request: "GET /products/17", Difference: match.Difference{
					Place: "body:$.price", Kind: match.TypeChanged, Recorded: `"19.90"`, Live: "19.9", RecordedType: "string", LiveType: "number",
				}},
			},
			{
				Endpoint: "GET /orders/{id}", Place: "body:$.items[*].tax", Kind: match.FieldRemoved, State: report.New, Count: 3,
				Example: report.Example{Exchange: "5b1c0a6e-0000-4000-8000-000000000002", Request: "GET /orders/4711", Difference: match.Difference{
					Place: "body:$.items[2].tax", Kind: match.FieldRemoved, Recorded: "0.19",
				}},
			},
			{
				Endpoint: "POST /checkout", Place: "status", Kind: match.ValueChanged, State: report.Known, Count: 9, Reason: "the baseline has it, too",
				Example: report.Example{Difference: match.Difference{Place: "status", Kind: match.ValueChanged, Recorded: "201", Live: "200"}},
			},
			{
				Endpoint: "GET /products", Place: "header:Date", Kind: match.ValueChanged, State: report.Noise, Count: 1607,
				Example: report.Example{Difference: match.Difference{Place: "header:Date", Kind: match.ValueChanged, Recorded: "Sat, 28 Nov 2026 10:00:00 GMT", Live: "Sun, 29 Nov 2026 08:30:00 GMT", Class: "httpdate"}},
			},
		},
		Edges: []report.Edge{
			{From: report.Site{Endpoint: "POST /cart", Place: "body:$.id"}, To: report.Site{Endpoint: "POST /cart/{id}/items", Place: "path:2"}, Encoding: "raw", Fired: 590, Unfired: 2, Reason: "the response had no such field"},
			{From: report.Site{Endpoint: "POST /login", Place: "header:Set-Cookie"}, To: report.Site{Endpoint: "POST /checkout", Place: "header:Cookie"}, Encoding: "raw", Fired: 201},
		},
		Ambiguous:    []report.Ambiguous{{To: report.Site{Endpoint: "GET /orders/{id}", Place: "path:2"}, From: []report.Site{{Endpoint: "POST /checkout", Place: "body:$.order"}, {Endpoint: "GET /cart", Place: "body:$.last"}}, Reason: "both issued 17", Count: 4}},
		Needs:        []report.Need{{Site: report.Site{Endpoint: "POST /login", Place: "body:$.password"}, Reason: "redacted", Count: 31, Supplied: "env:SHOP_PASSWORD"}},
		Mock:         &report.Mock{Served: 9120, Masked: 48, Misses: nil, NeverUsed: 3},
		UnfiredRules: []string{"ignore body:$.etag"},
		Generator:    report.Generator{CPUSeconds: 3.72, MaxLagMicros: 1893, InFlightBound: 1024, BoundHits: 0},
	}
}

// goals parses goals, and panics if one is malformed.
func goals(texts ...string) (goals []goal.Goal) {
	for _, text := range texts {
		g, err := goal.Parse(text)
		if err != nil {
			panic(err)
		}
		goals = append(goals, g)
	}
	return goals
}
