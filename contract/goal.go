package contract

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Goal is a condition under which a replay fails, such as `latency.p95 > 100`, or for one endpoint
// `GET /users/{id}: latency.p95 > 100`. Package replay/goal evaluates it.
type Goal struct {
	// Endpoint is empty for all requests of the run together, and [EachEndpoint] for every
	// endpoint separately.
	Endpoint string
	Metric   GoalMetric
	// Op is one of ==, !=, <=, >=, < and >.
	Op string
	// Limit is the number that the metric is compared with, in the metric's unit.
	Limit float64
	// Recorded makes the limit relative: Limit is added to the metric's value in the
	// recording. If Percent is set, Limit is in percent of that value.
	Recorded, Percent bool
}

// EachEndpoint is the Endpoint of a goal that every endpoint must reach.
const EachEndpoint = "*"

// GoalMetric is a value that a goal may use.
type GoalMetric struct {
	Name string
	Unit string // empty for a count
}

// GoalMetrics returns all metrics. Their names are the ecosystem's, except for requests.failed-pct,
// which follows the same pattern.
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

const goalGrammar = `^(?:(.+):\s+)?([\w.-]+)\s*(==|!=|<=|>=|<|>)\s*(recorded\s*\+\s*\S+|\S+)$`

// ParseGoal reads `METRIC OP LIMIT`, or `ENDPOINT: METRIC OP LIMIT`. The limit is a number,
// which may have the metric's unit, such as `100ms`. For a latency it may also be `recorded`,
// `recorded + 20ms` or `recorded + 50%`.
func ParseGoal(text string) (Goal, error) {
	text = strings.TrimSpace(text)
	// The grammar is compiled here because the sidecar, which links this package, parses no goals.
	parts := regexp.MustCompile(goalGrammar).FindStringSubmatch(text)
	if parts == nil {
		return Goal{}, fmt.Errorf(`goal %q: want "METRIC OP NUMBER" or "ENDPOINT: METRIC OP NUMBER", such as "latency.p95 > 100" or "latency.p95 > recorded + 20ms"; OP is one of %s`, text, strings.Join(goalOps, ", "))
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
	limit := parts[4]
	if offset, ok := strings.CutPrefix(limit, "recorded"); ok {
		if !strings.HasPrefix(g.Metric.Name, latencyPrefix) {
			return Goal{}, fmt.Errorf("goal %q: %s has no recorded value; only the metrics %s* have one", text, g.Metric.Name, latencyPrefix)
		}
		if g.Recorded = true; offset == "" {
			return g, nil
		}
		offset, ok = strings.CutPrefix(strings.TrimSpace(offset), "+")
		if limit, g.Percent = strings.CutSuffix(strings.TrimSpace(offset), "%"); !ok {
			limit = parts[4]
		}
	}
	if !g.Percent {
		limit = strings.TrimSuffix(limit, g.Metric.Unit)
	}
	var err error
	if g.Limit, err = strconv.ParseFloat(limit, 64); err != nil || math.IsNaN(g.Limit) || math.IsInf(g.Limit, 0) {
		return Goal{}, fmt.Errorf("goal %q: found %q, want %s", text, parts[4], g.Metric.limits())
	}
	return g, nil
}

const latencyPrefix = "latency."

// limits says which limits a goal on the metric may have.
func (m GoalMetric) limits() string {
	switch {
	case strings.HasPrefix(m.Name, latencyPrefix):
		return `a number, in ms, or "recorded", "recorded + 20ms" or "recorded + 50%"`
	case m.Unit != "":
		return "a number, in " + m.Unit
	}
	return "a number"
}
