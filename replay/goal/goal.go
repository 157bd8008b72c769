package goal

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
)

// Goal is a condition under which a run fails. Its fields are those of [contract.Goal].
type Goal struct {
	Endpoint          string
	Metric            Metric
	Op                string
	Limit             float64
	Recorded, Percent bool
}

// operator compares a metric with a limit.
type operator struct {
	name string
	is   func(v, limit float64) bool
}

var operators = []operator{
	{"==", func(v, limit float64) bool { return v == limit }},
	{"!=", func(v, limit float64) bool { return v != limit }},
	{"<=", func(v, limit float64) bool { return v <= limit }},
	{">=", func(v, limit float64) bool { return v >= limit }},
	{"<", func(v, limit float64) bool { return v < limit }},
	{">", func(v, limit float64) bool { return v > limit }},
}

// Parse reads a goal as [contract.ParseGoal] does, and finds its metric.
func Parse(text string) (Goal, error) {
	g, err := contract.ParseGoal(text)
	if err != nil {
		return Goal{}, err
	}
	metrics := Metrics()
	i := slices.IndexFunc(metrics, func(m Metric) bool { return m.Name == g.Metric.Name })
	return Goal{g.Endpoint, metrics[i], g.Op, g.Limit, g.Recorded, g.Percent}, nil
}

// String writes the goal as [Parse] reads it.
func (g Goal) String() string {
	limit := strconv.FormatFloat(g.Limit, 'g', -1, 64)
	switch {
	case g.Recorded && g.Percent:
		limit = "recorded + " + limit + "%"
	case g.Recorded && g.Limit == 0:
		limit = "recorded"
	case g.Recorded:
		limit = "recorded + " + limit + g.Metric.Unit
	}
	s := fmt.Sprintf("%s %s %s", g.Metric.Name, g.Op, limit)
	if g.Endpoint != "" {
		s = g.Endpoint + ": " + s
	}
	return s
}

// Verdict is the result of judging a goal.
type Verdict string

const (
	Passed Verdict = "passed"
	Missed Verdict = "missed"
	// Unknown is the verdict on a goal that cannot be judged.
	Unknown Verdict = "unknown"
)

// Outcome is a goal with its verdict.
type Outcome struct {
	Goal     string `json:"goal"` // in the syntax of [Parse]
	Endpoint string `json:"endpoint,omitempty"`
	Metric   string `json:"metric"`
	Unit     string `json:"unit,omitempty"`
	// Value is nil if it is not available.
	Value *float64 `json:"value"`
	// Recorded is the value in the recording, for a goal that is relative to it.
	Recorded *float64 `json:"recorded,omitempty"`
	Verdict  Verdict  `json:"verdict"`
	// Reason says why the goal was missed or cannot be judged.
	Reason string `json:"reason,omitempty"`
}

// Judge judges the goal. measured returns the measurements of an endpoint, or of all requests if
// the name is empty; ok is false if no request was sent to that endpoint. A goal on
// [contract.EachEndpoint] is judged for each of endpoints.
func (g Goal) Judge(endpoints []string, measured func(endpoint string) (m Measured, ok bool)) Outcome {
	if g.Endpoint != contract.EachEndpoint {
		return g.judge(measured)
	}
	worst := Outcome{Verdict: Unknown, Metric: g.Metric.Name, Unit: g.Metric.Unit, Reason: "no request was sent"}
	counts := map[Verdict]int{}
	for _, name := range endpoints {
		of := g
		of.Endpoint = name
		o := of.judge(measured)
		if counts[o.Verdict]++; len(counts) == 1 && counts[o.Verdict] == 1 || severity[o.Verdict] > severity[worst.Verdict] {
			worst = o
		}
	}
	if n := counts[worst.Verdict]; worst.Verdict != Passed && n > 0 {
		worst.Reason = worst.Endpoint + ": " + worst.Reason
		if n > 1 {
			worst.Reason += fmt.Sprintf("; and so at %d more endpoints", n-1)
		}
	}
	worst.Goal, worst.Endpoint = g.String(), g.Endpoint
	return worst
}

// severity orders verdicts. The most severe verdict of all endpoints is the goal's, so an endpoint
// that missed the goal decides even if another one can't be judged.
var severity = map[Verdict]int{Passed: 0, Unknown: 1, Missed: 2}

func (g Goal) judge(measured func(endpoint string) (m Measured, ok bool)) Outcome {
	o := Outcome{Goal: g.String(), Endpoint: g.Endpoint, Metric: g.Metric.Name, Unit: g.Metric.Unit, Verdict: Unknown}
	m, ok := measured(g.Endpoint)
	if !ok {
		o.Reason = fmt.Sprintf("no request was sent to an endpoint named %q", g.Endpoint)
		return o
	}
	v, ok := g.Metric.Value(m)
	if !ok {
		o.Reason = fmt.Sprintf("%s is not available from %s: %s", g.Metric.Name, requests(m.Total), g.Metric.Doc)
		return o
	}
	o.Value = &v
	limit, beside := g.Limit, ""
	if g.Recorded {
		recorded, ok := g.Metric.Value(Measured{Latency: m.Recorded})
		if !ok {
			o.Reason = fmt.Sprintf("%s of the recording is not known", g.Metric.Name)
			return o
		}
		if o.Recorded = &recorded; g.Percent {
			limit = recorded * limit / 100
		}
		limit += recorded
		beside = fmt.Sprintf(", recorded %s %s", Format(recorded), g.Metric.Unit)
	}
	o.Verdict = Passed
	i := slices.IndexFunc(operators, func(op operator) bool { return op.name == g.Op })
	if operators[i].is(v, limit) {
		o.Verdict = Missed
		o.Reason = strings.TrimSpace(fmt.Sprintf("%s is %s %s", g.Metric.Name, Format(v), g.Metric.Unit)) + beside
	}
	return o
}

func requests(n int64) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// Format formats a value: whole numbers in full, others with 3 significant digits, and never with
// an exponent.
func Format(v float64) string {
	if v == math.Trunc(v) || math.Abs(v) >= 100 {
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', min(decimals, 6), 64)
}
