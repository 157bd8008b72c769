package contract

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Goal is a condition that a replay must not fulfil: `latency.p95 > 100`, or of one
// endpoint `GET /users/{id}: latency.p95 > 100`. Package replay/goal judges it.
type Goal struct {
	// Endpoint is empty for all requests of the run.
	Endpoint string
	Metric   GoalMetric
	// Op is one of ==, !=, <=, >=, < and >.
	Op    string
	Limit float64
}

// GoalMetric is a value that a goal may be about.
type GoalMetric struct {
	Name string
	Unit string // empty for a count
}

// GoalMetrics returns all metrics. Their names are the ecosystem's, and
// requests.failed-pct in their manner.
func GoalMetrics() []GoalMetric {
	return []GoalMetric{
		{"latency.avg", "ms"}, {"latency.min", "ms"}, {"latency.max", "ms"},
		{"latency.p50", "ms"}, {"latency.p75", "ms"}, {"latency.p90", "ms"}, {"latency.p95", "ms"}, {"latency.p99", "ms"},
		{"requests.total", ""}, {"requests.succeeded", ""}, {"requests.failed", ""}, {"requests.failed-pct", "%"},
		{"requests.per-second", "1/s"}, {"requests.per-minute", "1/min"},
		{"requests.response-pct", "%"}, {"requests.result-match-pct", "%"},
	}
}

var goalOps = []string{"==", "!=", "<=", ">=", "<", ">"}

const goalGrammar = `^(?:(.+):\s+)?([\w.-]+)\s*(==|!=|<=|>=|<|>)\s*(\S+)$`

// ParseGoal reads `METRIC OP NUMBER`, or `ENDPOINT: METRIC OP NUMBER`. The number may have
// the metric's unit, as `100ms`.
func ParseGoal(text string) (Goal, error) {
	text = strings.TrimSpace(text)
	parts := regexp.MustCompile(goalGrammar).FindStringSubmatch(text) // here: the sidecar, which links this package, parses none
	if parts == nil {
		return Goal{}, fmt.Errorf(`goal %q: want "METRIC OP NUMBER" or "ENDPOINT: METRIC OP NUMBER", as "latency.p95 > 100"; OP is one of %s`, text, strings.Join(goalOps, ", "))
	}
	g := Goal{Endpoint: strings.TrimSpace(parts[1]), Op: parts[3]}
	metrics := GoalMetrics()
	i := slices.IndexFunc(metrics, func(m GoalMetric) bool { return m.Name == parts[2] })
	if i < 0 {
		names := make([]string, len(metrics))
		for i, m := range metrics {
			names[i] = m.Name
		}
		return Goal{}, fmt.Errorf("goal %q: no metric is named %q; allowed: %s", text, parts[2], strings.Join(names, ", "))
	}
	g.Metric = metrics[i]
	limit, err := strconv.ParseFloat(strings.TrimSuffix(parts[4], g.Metric.Unit), 64)
	if err != nil || math.IsNaN(limit) || math.IsInf(limit, 0) {
		unit := ""
		if g.Metric.Unit != "" {
			unit = ", in " + g.Metric.Unit
		}
		return Goal{}, fmt.Errorf("goal %q: found %q, want a number%s", text, parts[4], unit)
	}
	g.Limit = limit
	return g, nil
}
