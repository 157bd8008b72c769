package goal

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
)

// Goal is a condition that a run must not fulfil.
type Goal struct {
	// Endpoint is empty for all requests of the run.
	Endpoint string
	Metric   Metric
	Op       string
	Limit    float64
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
	return Goal{g.Endpoint, metrics[i], g.Op, g.Limit}, nil
}

// String writes the goal as [Parse] reads it.
func (g Goal) String() string {
	s := fmt.Sprintf("%s %s %s", g.Metric.Name, g.Op, strconv.FormatFloat(g.Limit, 'g', -1, 64))
	if g.Endpoint != "" {
		s = g.Endpoint + ": " + s
	}
	return s
}

// Verdict is what became of a goal.
type Verdict string

const (
	Passed Verdict = "passed"
	Missed Verdict = "missed"
	// Unknown is the verdict on a goal that cannot be judged.
	Unknown Verdict = "unknown"
)

// Outcome is a goal with its verdict.
type Outcome struct {
	Goal     string `json:"goal"` // as [Parse] reads it
	Endpoint string `json:"endpoint,omitempty"`
	Metric   string `json:"metric"`
	Unit     string `json:"unit,omitempty"`
	// Value is nil if it is not available.
	Value   *float64 `json:"value"`
	Verdict Verdict  `json:"verdict"`
	// Reason says why the goal was missed or cannot be judged.
	Reason string `json:"reason,omitempty"`
}

// Judge judges a goal. measured returns what was measured of an endpoint, or of all of
// them if the name is empty; ok is false if no endpoint is named so.
func (g Goal) Judge(measured func(endpoint string) (m Measured, ok bool)) Outcome {
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
	o.Value, o.Verdict = &v, Passed
	i := slices.IndexFunc(operators, func(op operator) bool { return op.name == g.Op })
	if operators[i].is(v, g.Limit) {
		o.Verdict = Missed
		o.Reason = strings.TrimSpace(fmt.Sprintf("%s is %s %s", g.Metric.Name, Format(v), g.Metric.Unit))
	}
	return o
}

func requests(n int64) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// Format writes a value: whole numbers as they are, others with 3 significant digits, and
// never with an exponent.
func Format(v float64) string {
	if v == math.Trunc(v) || math.Abs(v) >= 100 {
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', min(decimals, 6), 64)
}
