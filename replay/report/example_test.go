package report_test

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// The engine fills in what it found, and Judge determines the exit code.
func ExampleReport_Judge() {
	run := stats.NewRun()
	local := run.Local()
	for i := range 20 {
		local.Add(stats.Sample{Endpoint: run.Endpoint("GET /users/{id}"), Done: time.Duration(i+1) * 10 * time.Millisecond, Status: 200, Succeeded: true})
	}
	r := &report.Report{
		Target: "http://127.0.0.1:8080", Started: started, Ended: started.Add(10 * time.Second), Results: run.Result(),
		Generator: report.Generator{Bound: "send lag p99 is 80 ms"},
	}
	r.Judge(goals("latency.p95 > 100"))
	for _, x := range r.Exits {
		fmt.Println(x)
	}
	fmt.Println("so the command exits with", r.ExitCode)
	// Output:
	// exit code 5: the generator, not the target, decided the pace: send lag p99 is 80 ms
	// exit code 1: latency.p95 > 100: latency.p95 is 190 ms
	// so the command exits with 5
}

// The reports of shards merge into the report of a single run. A missing shard is named.
func ExampleMerge() {
	var shards []*report.Report
	for i := range 3 {
		run := stats.NewRun()
		run.Local().Add(stats.Sample{Endpoint: run.Endpoint("GET /"), Done: time.Duration(i+1) * time.Millisecond, Status: 200, Succeeded: true})
		shards = append(shards, &report.Report{Shard: &report.Shard{Index: i, Of: 4}, Results: run.Result()})
	}
	merged, err := report.Merge(shards)
	if err != nil {
		panic(err)
	}
	merged.Judge(nil)
	total := merged.Results.Total()
	p50, _ := total.Response.Percentile(0.5)
	fmt.Println(total.Sent, "requests, p50", p50)
	fmt.Println(merged.Exits[0])
	// Output:
	// 3 requests, p50 2ms
	// exit code 6: shard 3 of 4 is lost
}
