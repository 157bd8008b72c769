package stats_test

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/replay/stats"
)

// A worker adds a sample for each request. The response time counts from when the request was due,
// so a late target or generator can't hide its delay.
func Example() {
	run := stats.NewRun()
	users := run.Endpoint("GET /users/{id}")
	local := run.Local() // one for each worker
	for i := range 20 {
		due := time.Duration(i) * 10 * time.Millisecond
		sent := due + 2*time.Millisecond
		local.Add(stats.Sample{
			Endpoint: users, Due: due, Sent: sent, Done: sent + time.Duration(i+1)*time.Millisecond,
			Status: 200, Succeeded: true, Matched: stats.Match,
		})
	}
	result := run.Result()
	total := result.Total()
	response, _ := total.Response.Percentile(0.95)
	service, _ := total.Service.Percentile(0.95)
	_, available := total.Response.Percentile(0.99)
	fmt.Println(total.Sent, "requests; p95 of response times", response, "and of service times", service)
	fmt.Println("p99 is available:", available)
	// Output:
	// 20 requests; p95 of response times 21ms and of service times 19ms
	// p99 is available: false
}
