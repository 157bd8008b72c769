package pod

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tapedeck/tapedeck/internal/oneline"
)

// metrics are samples by the names of their metrics.
type metrics map[string][]sample

// sample is the value of a counter or gauge, 0 or more, with its labels.
type sample struct {
	labels map[string]string
	value  float64
}

// parse reads Prometheus' text format. It leaves out samples that no sidecar writes: histograms,
// and values that are negative or too large.
func parse(text []byte) (metrics, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	m := metrics{}
	for name, f := range families {
		for _, one := range f.GetMetric() {
			v, ok := valueOf(one)
			if !ok || !(v >= 0 && v < math.MaxInt64) { // this rejects NaN, too
				continue
			}
			labels := map[string]string{}
			for _, l := range one.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			m[name] = append(m[name], sample{labels, v})
		}
	}
	return m, nil
}

func valueOf(m *dto.Metric) (float64, bool) {
	switch {
	case m.Counter != nil:
		return m.GetCounter().GetValue(), true
	case m.Gauge != nil:
		return m.GetGauge().GetValue(), true
	case m.Untyped != nil:
		return m.GetUntyped().GetValue(), true
	}
	return 0, false
}

// sum adds up the samples that have all of the labels, given as name, value, …. ok is false if
// there are none.
func (m metrics) sum(name string, labels ...string) (sum float64, ok bool) {
	for _, s := range m[name] {
		if s.has(labels) {
			sum, ok = sum+s.value, true
		}
	}
	return sum, ok
}

func (s sample) has(labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if value, ok := s.labels[labels[i]]; !ok || value != labels[i+1] {
			return false
		}
	}
	return true
}

// has reports whether any metric's name begins with the prefix.
func (m metrics) has(prefix string) bool {
	for name := range m {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// values returns the values of a label, in order.
func (m metrics) values(name, label string) []string {
	found := map[string]bool{}
	for _, s := range m[name] {
		if value, ok := s.labels[label]; ok {
			found[value] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// maxListed bounds how many names a finding lists.
const maxListed = 5

// list joins the first names.
func list(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i == maxListed {
			b.WriteString(", and " + number(float64(len(names)-i), "other"))
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(oneline.Text(name, 2*maxQuoted))
	}
	return b.String()
}
