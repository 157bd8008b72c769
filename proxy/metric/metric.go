// Package metric names and sends the sidecar's metrics. All have one prefix, and their
// values are read when Prometheus scrapes.
//
// The package imports Prometheus' client.
package metric

import "github.com/prometheus/client_golang/prometheus"

// Desc describes a metric; its name gets the prefix tapedeck_.
func Desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tapedeck_"+name, help, labels, nil)
}

// Unchecked is the half of a [prometheus.Collector] that says which metrics
// there are: none, so that they are checked when they are collected.
type Unchecked struct{}

// Describe implements prometheus.Collector.
func (Unchecked) Describe(chan<- *prometheus.Desc) {}

type number interface{ int | int64 | uint64 }

// Counter sends a value that never falls.
func Counter[N number](ch chan<- prometheus.Metric, d *prometheus.Desc, v N, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// Gauge sends a value that may fall.
func Gauge[N number](ch chan<- prometheus.Metric, d *prometheus.Desc, v N, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}
