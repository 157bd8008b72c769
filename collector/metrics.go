package collector

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the collector's metrics.
type metrics struct {
	segments, bytes, refusals *prometheus.CounterVec
	received                  prometheus.Counter
	waiting, receiving        atomic.Int64
	storing                   atomic.Int64
	checked, stored           prometheus.Histogram
	removed, removedBytes     prometheus.Counter
	sweepFailed               prometheus.Counter
	swept                     prometheus.Gauge

	mu         sync.Mutex
	namespaces map[string]bool
}

// maxNamespaces bounds how many namespaces have their own label; the rest share otherNamespaces.
const (
	maxNamespaces   = 500
	otherNamespaces = "(others)"
)

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	name := func(s string) string { return "tapedeck_collector_" + s }
	counter := func(n, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name(n), Help: help})
	}
	vec := func(n, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name(n), Help: help}, labels)
	}
	histogram := func(n, help string) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{Name: name(n), Help: help, Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}})
	}
	m := &metrics{
		segments:     vec("segments_total", "Accepted segments: stored, present (sent again, same bytes) or compacted (sent again, part of a larger one).", "namespace", "result"),
		bytes:        vec("bytes_total", "Bytes of stored segments.", "namespace"),
		refusals:     vec("refused_total", "Refused uploads, by reason. The namespace is empty if the token did not prove it.", "namespace", "code"),
		received:     counter("received_bytes_total", "Bytes of received bodies, including those of refused uploads."),
		checked:      histogram("check_seconds", "Time to check a segment, in seconds."),
		stored:       histogram("store_seconds", "Time that the store took for a segment, in seconds, including failures."),
		removed:      counter("retention_segments_total", "Segments that retention deleted."),
		removedBytes: counter("retention_bytes_total", "Bytes of segments that retention deleted."),
		sweepFailed:  counter("retention_failures_total", "Runs of retention that failed."),
		swept:        f.NewGauge(prometheus.GaugeOpts{Name: name("retention_last_success_seconds"), Help: "When retention last completed a run, in Unix time."}),
		namespaces:   map[string]bool{},
	}
	for _, of := range []struct {
		name, help string
		count      *atomic.Int64
	}{
		{"uploads_waiting", "Uploads that are waiting for their turn.", &m.waiting},
		{"uploads_receiving", "Uploads whose bodies are being received.", &m.receiving},
		{"uploads_storing", "Uploads that are being checked or stored.", &m.storing},
	} {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name(of.name), Help: of.help}, func() float64 { return float64(of.count.Load()) })
	}
	return m
}

// label returns the label of a namespace. There are at most maxNamespaces labels. Only namespaces
// with a valid token get one, so clients can't make them up.
func (m *metrics) label(namespace string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if namespace != "" && !m.namespaces[namespace] {
		if len(m.namespaces) == maxNamespaces {
			return otherNamespaces
		}
		m.namespaces[namespace] = true
	}
	return namespace
}

func (m *metrics) took(r result, namespace string, bytes int64) {
	namespace = m.label(namespace)
	m.segments.WithLabelValues(namespace, string(r)).Inc()
	if r == stored {
		m.bytes.WithLabelValues(namespace).Add(float64(bytes))
	}
}

func (m *metrics) refused(code, namespace string) {
	m.refusals.WithLabelValues(m.label(namespace), code).Inc()
}
