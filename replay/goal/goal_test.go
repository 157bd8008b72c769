package goal_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/replay/goal"
)

// times has 50 ms at p50 and 95 ms at p95. Its p99 is not available.
type times struct{}

func (times) Min() (time.Duration, bool)  { return 500 * time.Microsecond, true }
func (times) Mean() (time.Duration, bool) { return 20 * time.Millisecond, true }
func (times) Max() (time.Duration, bool)  { return time.Second, true }
func (times) Percentile(q float64) (time.Duration, bool) {
	return time.Duration(q * float64(100*time.Millisecond)), q < 0.99
}

// recorded is like times, but 30 ms shorter, and has no p90.
type recorded struct{ times }

func (r recorded) Percentile(q float64) (time.Duration, bool) {
	t, _ := r.times.Percentile(q)
	return t - 30*time.Millisecond, q < 0.9
}

// endpoints lists the endpoints that got requests. The recording has no latency for GET /new.
var endpoints = []string{"GET /new", "GET /slower", "GET /users/{id}"}

// measured returns 90 requests in half a minute, none of which was compared.
func measured(endpoint string) (goal.Measured, bool) {
	m := goal.Measured{
		Latency: times{}, Recorded: times{}, Elapsed: 30 * time.Second, Total: 90, Succeeded: 81, Answered: 85,
	}
	switch endpoint {
	case "", "GET /slower":
		m.Recorded = recorded{}
	case "GET /new":
		m.Recorded = nil
	}
	return m, endpoint == "" || slices.Contains(endpoints, endpoint)
}

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		text    string
		verdict goal.Verdict
		reason  string
	}{
		{"latency.p95 > 100", goal.Passed, ""},
		{"latency.p95 > 94.9", goal.Missed, "latency.p95 is 95 ms"},
		{"latency.p95>=95ms", goal.Missed, "latency.p95 is 95 ms"},
		{"latency.p95 < 95", goal.Passed, ""},
		{"latency.p95 <= 95", goal.Missed, "latency.p95 is 95 ms"},
		{"latency.p95 == 95", goal.Missed, "latency.p95 is 95 ms"},
		{"latency.p95 != 95", goal.Passed, ""},
		{"latency.min > 0.4", goal.Missed, "latency.min is 0.500 ms"},
		{"latency.avg > 20", goal.Passed, ""},
		{"latency.max > 999", goal.Missed, "latency.max is 1000 ms"},
		{"latency.p50 > 49", goal.Missed, "latency.p50 is 50 ms"},
		{"latency.p75 > 74", goal.Missed, "latency.p75 is 75 ms"},
		{"latency.p90 > 89", goal.Missed, "latency.p90 is 90 ms"},
		{"requests.total < 91", goal.Missed, "requests.total is 90"},
		{"requests.succeeded < 81", goal.Passed, ""},
		{"requests.failed > 0", goal.Missed, "requests.failed is 9"},
		{"requests.failed-pct > 9%", goal.Missed, "requests.failed-pct is 10 %"},
		{"requests.per-second < 3", goal.Passed, ""},
		{"requests.per-minute < 181", goal.Missed, "requests.per-minute is 180 1/min"},
		{"requests.response-pct < 95", goal.Missed, "requests.response-pct is 94.4 %"},
		{"GET /users/{id}: latency.p95 > 100", goal.Passed, ""},
		{"  GET /users/{id} :  latency.p95 > 10 ", goal.Missed, "latency.p95 is 95 ms"},

		// The recording is the limit.
		{"latency.p50 > recorded", goal.Missed, "latency.p50 is 50 ms, recorded 20 ms"},
		{"latency.p50 > recorded + 29", goal.Missed, "latency.p50 is 50 ms, recorded 20 ms"},
		{"latency.p50 > recorded+30ms", goal.Passed, ""},
		{"latency.p50>recorded + 149%", goal.Missed, "latency.p50 is 50 ms, recorded 20 ms"},
		{"latency.p50 > recorded + 151%", goal.Passed, ""},
		{"GET /users/{id}: latency.p50 > recorded + 0.1ms", goal.Passed, ""},
		{"GET /slower: latency.p50 > recorded + 20ms", goal.Missed, "latency.p50 is 50 ms, recorded 20 ms"},
		{"GET /new: latency.p50 > recorded", goal.Unknown, "latency.p50 of the recording is not known"},
		{"latency.p95 > recorded", goal.Unknown, "latency.p95 of the recording is not known"},

		// Each endpoint has to reach the goal.
		{"*: latency.p50 > 50", goal.Passed, ""},
		{"*: latency.p50 > 49", goal.Missed, "GET /new: latency.p50 is 50 ms; and so at 2 more endpoints"},
		{"*: latency.p50 > recorded + 20ms", goal.Missed, "GET /slower: latency.p50 is 50 ms, recorded 20 ms"},
		{"*: latency.p50 > recorded + 40ms", goal.Unknown, "GET /new: latency.p50 of the recording is not known"},

		// A goal that cannot be judged does not pass.
		{"latency.p99 > 100", goal.Unknown, "latency.p99 is not available from 90 requests: 99th percentile of the response times; needs 100 requests"},
		{"requests.result-match-pct < 100", goal.Unknown, "requests.result-match-pct is not available from 90 requests: share of the compared answers that match the recorded ones"},
		{"GET /orders: latency.p95 > 100", goal.Unknown, `no request was sent to an endpoint named "GET /orders"`},
	} {
		t.Run(c.text, func(t *testing.T) {
			g, err := goal.Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			o := g.Judge(endpoints, measured)
			if o.Verdict != c.verdict || o.Reason != c.reason {
				t.Errorf("%s: %q, want %s: %q", o.Verdict, o.Reason, c.verdict, c.reason)
			}
			again, err := goal.Parse(o.Goal)
			if err != nil || again.String() != g.String() {
				t.Errorf("%s reads back as %s: %v", o.Goal, again, err)
			}
		})
	}
}

// Without endpoints, a goal for each of them does not pass.
func TestNoEndpoint(t *testing.T) {
	g, err := goal.Parse("*: latency.p50 > 100")
	if err != nil {
		t.Fatal(err)
	}
	if o := g.Judge(nil, measured); o.Verdict != goal.Unknown || o.Reason != "no request was sent" {
		t.Errorf("%+v", o)
	}
}

func TestMistakesInGoals(t *testing.T) {
	for text, want := range map[string]string{
		"":                          `want "METRIC OP NUMBER"`,
		"latency.p95":               `want "METRIC OP NUMBER"`,
		"latency.p95 => 3":          `OP is one of ==, !=`,
		"latency.p95 = 3":           `OP is one of ==, !=`,
		"latency.p99.9 > 3":         `no metric is named "latency.p99.9"; allowed: latency.avg, latency.min`,
		"GET /: requests > 3":       `no metric is named "requests"`,
		"latency.p95 > fast":        `found "fast", want a number, in ms, or "recorded"`,
		"latency.p95 > 3s":          `found "3s", want a number, in ms`,
		"latency.p95 > recorded + ": `or "latency.p95 > recorded + 20ms"`,
		"latency.p95 > recorded +%": `found "recorded +%", want a number`,
		"latency.p95 > recorded*2":  `found "recorded*2", want a number`,
		"latency.p95 > recorded9":   `found "recorded9", want a number`,
		"latency.p95 > 10%":         `found "10%", want a number`,
		"requests.total > recorded": `requests.total has no recorded value; only the metrics latency.* have one`,
		"requests.failed-pct > 3ms": `found "3ms", want a number, in %`,
		"requests.total > NaN":      `found "NaN", want a number`,
		"requests.total > Infinity": `found "Infinity", want a number`,
	} {
		if g, err := goal.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q reads as %v: %v; want an error with %s", text, g, err, want)
		}
	}
}

func TestEveryMetricHasAUnitOrIsACount(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range goal.Metrics() {
		if m.Doc == "" || seen[m.Name] || m.Unit == "" && m.Kind != goal.Count {
			t.Errorf("metric %+v", m)
		}
		seen[m.Name] = true
	}
}

func TestFormatHasThreeSignificantDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 100: "100", 12345: "12345", 1234.5: "1235", 0.5: "0.500", 12.345: "12.3", 1.2345: "1.23", 0.012345: "0.0123", -3.14159: "-3.14", 1e-9: "0.000000",
	} {
		if got := goal.Format(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("latency.p95 > 100")
	f.Add("GET /users/{id}: requests.failed-pct >= 1e-3%")
	f.Add("*: latency.p50 > recorded + 20ms")
	f.Add("latency.p50 > recorded + 1e-3%")
	f.Add("a: b: latency.avg != -0")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := goal.Parse(text)
		if err != nil {
			return
		}
		again, err := goal.Parse(g.String())
		if err != nil || again.String() != g.String() {
			t.Errorf("%q is %s, which reads back as %v: %v", text, g, again, err)
		}
	})
}

// A goal is missed if its condition holds.
func Example() {
	g, err := goal.Parse("GET /users/{id}: latency.p95 > 90")
	if err != nil {
		panic(err)
	}
	o := g.Judge(endpoints, measured)
	fmt.Println(o.Verdict+":", o.Reason)
	// Output: missed: latency.p95 is 95 ms
}

// A render checks goals with the table of package contract.
func TestMetricsAreThoseOfTheContract(t *testing.T) {
	var computed []contract.GoalMetric
	for _, m := range goal.Metrics() {
		computed = append(computed, contract.GoalMetric{Name: m.Name, Unit: m.Unit})
	}
	if !slices.Equal(computed, contract.GoalMetrics()) {
		t.Errorf("goals are judged by %v, and parsed by %v", computed, contract.GoalMetrics())
	}
}
