package goal

import "time"

// Latency is a distribution of response times, from when a request was due to when its answer was
// complete. ok is false if the value is not available.
type Latency interface {
	Min() (t time.Duration, ok bool)
	Mean() (t time.Duration, ok bool)
	Max() (t time.Duration, ok bool)
	// Percentile takes a quantile, such as 0.95.
	Percentile(quantile float64) (t time.Duration, ok bool)
}

// Measured holds the measurements of all requests of a run, or of one endpoint.
type Measured struct {
	Latency Latency
	// Recorded holds the times that the same requests took in the recording.
	Recorded Latency
	Elapsed  time.Duration // of the run
	// Total counts the requests that were sent. The other fields count those that succeeded, that
	// got an answer, whose answer was compared, and whose answer matched.
	Total, Succeeded, Answered, Compared, Matched int64
}

// Kind is the statistical kind of a metric. It decides how a difference between two runs is judged.
type Kind uint8

const (
	Count      Kind = iota // a count, a rate or an extreme: its variation can't be estimated
	Mean                   // a mean
	Percentile             // a percentile
	Share                  // a part of a whole, in percent
)

// Metric is a value that a goal can limit.
type Metric struct {
	Name string
	Unit string // empty for a count
	Doc  string
	Kind Kind
	// Quantile is the quantile of a percentile, such as 0.95.
	Quantile float64
	// Part returns the counts of a share.
	Part func(Measured) (part, whole int64)
	// value computes the metric. ok is false if it is not available.
	value func(Measured) (v float64, ok bool)
}

// Value computes the metric in its unit. ok is false if it is not available, such as a percentile
// of too few samples.
func (m *Metric) Value(of Measured) (v float64, ok bool) {
	if m.Part != nil {
		part, whole := m.Part(of)
		return 100 * float64(part) / float64(whole), whole > 0
	}
	return m.value(of)
}

// Metrics returns all metrics, in display order. Their names are those of the ecosystem's tools,
// except for requests.failed-pct, which follows their style.
func Metrics() []Metric {
	return []Metric{
		{Name: "latency.avg", Unit: "ms", Doc: "mean response time", Kind: Mean, value: latency(Latency.Mean)},
		{Name: "latency.min", Unit: "ms", Doc: "shortest response time", value: latency(Latency.Min)},
		{Name: "latency.max", Unit: "ms", Doc: "longest response time", value: latency(Latency.Max)},
		percentile("p50", 0.50, "1 request"),
		percentile("p75", 0.75, "4 requests"),
		percentile("p90", 0.90, "10 requests"),
		percentile("p95", 0.95, "20 requests"),
		percentile("p99", 0.99, "100 requests"),
		{Name: "requests.total", Doc: "requests that were sent", value: count(func(m Measured) int64 { return m.Total })},
		{Name: "requests.succeeded", Doc: "requests that succeeded", value: count(func(m Measured) int64 { return m.Succeeded })},
		{Name: "requests.failed", Doc: "requests that did not succeed", value: count(func(m Measured) int64 { return m.Total - m.Succeeded })},
		{Name: "requests.failed-pct", Unit: "%", Doc: "share of the requests that did not succeed", Kind: Share,
			Part: func(m Measured) (int64, int64) { return m.Total - m.Succeeded, m.Total }},
		{Name: "requests.per-second", Unit: "1/s", Doc: "requests per second, over the whole run", value: rate(time.Second)},
		{Name: "requests.per-minute", Unit: "1/min", Doc: "requests per minute, over the whole run", value: rate(time.Minute)},
		{Name: "requests.response-pct", Unit: "%", Doc: "share of the requests that got an answer, whatever its status", Kind: Share,
			Part: func(m Measured) (int64, int64) { return m.Answered, m.Total }},
		{Name: "requests.result-match-pct", Unit: "%", Doc: "share of the compared answers that match the recorded ones", Kind: Share,
			Part: func(m Measured) (int64, int64) { return m.Matched, m.Compared }},
	}
}

func percentile(name string, quantile float64, needs string) Metric {
	return Metric{
		Name: "latency." + name, Unit: "ms", Kind: Percentile, Quantile: quantile,
		Doc:   name[1:] + "th percentile of the response times; needs " + needs,
		value: latency(func(l Latency) (time.Duration, bool) { return l.Percentile(quantile) }),
	}
}

func latency(of func(Latency) (time.Duration, bool)) func(Measured) (float64, bool) {
	return func(m Measured) (float64, bool) {
		if m.Latency == nil {
			return 0, false
		}
		t, ok := of(m.Latency)
		return float64(t) / float64(time.Millisecond), ok
	}
}

func count(of func(Measured) int64) func(Measured) (float64, bool) {
	return func(m Measured) (float64, bool) { return float64(of(m)), true }
}

func rate(per time.Duration) func(Measured) (float64, bool) {
	return func(m Measured) (float64, bool) {
		return float64(m.Total) / (float64(m.Elapsed) / float64(per)), m.Elapsed > 0
	}
}
