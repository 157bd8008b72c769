package collector

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are what the collector counts.
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

// maxNamespaces bounds how many namespaces have a label of their own; the rest have
// otherNamespaces.
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
		segments:     vec("segments_total", "Segments that were taken: stored, present (sent again, same bytes) or compacted (sent again, part of a larger one).", "namespace", "result"),
		bytes:        vec("bytes_total", "Bytes of segments that were stored.", "namespace"),
		refusals:     vec("refused_total", "Uploads that were refused, by reason. The namespace is empty where the token did not show it.", "namespace", "code"),
		received:     counter("received_bytes_total", "Bytes of bodies that were received, also of refused ones."),
		checked:      histogram("check_seconds", "How long it took to check a segment."),
		stored:       histogram("store_seconds", "How long the store took for a segment, also where it failed."),
		removed:      counter("retention_segments_total", "Segments that retention deleted."),
		removedBytes: counter("retention_bytes_total", "Bytes of segments that retention deleted."),
		sweepFailed:  counter("retention_failures_total", "Runs of retention that failed."),
		swept:        f.NewGauge(prometheus.GaugeOpts{Name: name("retention_last_success_seconds"), Help: "When retention last ran to its end, in Unix time."}),
		namespaces:   map[string]bool{},
	}
	for _, of := range []struct {
		name, help string
		count      *atomic.Int64
	}{
		{"uploads_waiting", "Uploads that wait for their turn.", &m.waiting},
		{"uploads_receiving", "Uploads whose bodies are coming.", &m.receiving},
		{"uploads_storing", "Uploads that are checked or stored now.", &m.storing},
	} {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name(of.name), Help: of.help}, func() float64 { return float64(of.count.Load()) })
	}
	return m
}

// label returns the label of a namespace, of which there are maxNamespaces at most. Only
// namespaces with a valid token come here, so clients can't make them up.
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
