// Package metric describes and sends the sidecar's metrics. All names have the prefix
// tapedeck_, and the values are read when Prometheus scrapes.
//
// The package imports the Prometheus client.
package metric

import "github.com/prometheus/client_golang/prometheus"

// Desc returns the description of a metric. It adds the prefix tapedeck_ to the name.
func Desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tapedeck_"+name, help, labels, nil)
}

// Unchecked is the part of a [prometheus.Collector] that describes its metrics. It describes
// none, so the registry checks the metrics only when it collects them.
type Unchecked struct{}

// Describe implements prometheus.Collector.
func (Unchecked) Describe(chan<- *prometheus.Desc) {}

type number interface{ int | int64 | uint64 }

// Counter sends a value that never decreases.
func Counter[N number](ch chan<- prometheus.Metric, d *prometheus.Desc, v N, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// Gauge sends a value that may decrease.
func Gauge[N number](ch chan<- prometheus.Metric, d *prometheus.Desc, v N, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}
