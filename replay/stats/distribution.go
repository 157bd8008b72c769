package stats

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// ExactBelow is the number of samples at which a distribution becomes a histogram.
	ExactBelow = 1000
	// Longest is the longest time that is distinguished. Longer times count as this one.
	Longest = time.Hour

	longest = int64(Longest / time.Microsecond)
	digits  = 3
	// maxSamples bounds the counts of a parsed report, so that sums don't overflow.
	maxSamples = 1 << 40
)

// Percentile is a percentile that is reported.
type Percentile struct {
	Name     string  // such as `p95`
	Quantile float64 // such as 0.95
	Needs    int64   // minimum number of samples
}

// Percentiles are the percentiles that are reported.
var Percentiles = []Percentile{
	{"p50", 0.50, 1},
	{"p75", 0.75, 4},
	{"p90", 0.90, 10},
	{"p95", 0.95, 20},
	{"p99", 0.99, 100},
}

// Distribution is a set of times, in microseconds. It keeps each sample while there are fewer than
// [ExactBelow]. Then it counts them in the buckets of an HDR histogram of 1 µs to 1 h with 3
// digits. The zero value is empty. It is not safe for concurrent use.
type Distribution struct {
	count      int64
	sum        int64 // µs
	min, max   int64 // µs
	outOfRange int64
	exact      []uint32 // µs, unsorted; nil once there is a histogram
	histogram  *hdrhistogram.PackedHistogram
}

// Record adds a sample. A negative time counts as 0, and a time beyond [Longest] as Longest. Both
// are also counted as out of range.
func (d *Distribution) Record(t time.Duration) {
	v := t.Microseconds()
	if clamped := min(max(v, 0), longest); clamped != v {
		v = clamped
		d.outOfRange++
	}
	if d.count == 0 {
		d.min, d.max = v, v
	}
	d.count++
	d.sum += v
	d.min, d.max = min(d.min, v), max(d.max, v)
	if d.histogram == nil {
		d.exact = append(d.exact, uint32(v))
		if d.count >= ExactBelow {
			d.toHistogram()
		}
		return
	}
	_ = d.histogram.RecordValue(v) // v is in range
}

// toHistogram moves the samples into a histogram.
func (d *Distribution) toHistogram() {
	d.histogram = newHistogram()
	for _, v := range d.exact {
		_ = d.histogram.RecordValue(int64(v))
	}
	d.exact = nil
}

func newHistogram() *hdrhistogram.PackedHistogram { return hdrhistogram.NewPacked(1, longest, digits) }

// Merge adds the samples of another distribution, which does not change.
func (d *Distribution) Merge(o *Distribution) {
	if o.count == 0 {
		return
	}
	if d.count == 0 {
		d.min, d.max = o.min, o.max
	}
	d.count += o.count
	d.sum += o.sum
	d.min, d.max = min(d.min, o.min), max(d.max, o.max)
	d.outOfRange += o.outOfRange
	if d.histogram == nil && (o.histogram != nil || d.count >= ExactBelow) {
		d.toHistogram()
	}
	switch {
	case d.histogram == nil:
		d.exact = append(d.exact, o.exact...)
	case o.histogram == nil:
		for _, v := range o.exact {
			_ = d.histogram.RecordValue(int64(v))
		}
	default:
		d.histogram.Merge(o.histogram) // nothing is lost, because both have the same range
	}
}

// Clone returns a copy.
func (d *Distribution) Clone() *Distribution {
	c := new(Distribution)
	c.Merge(d)
	return c
}

// Count returns the number of samples.
func (d *Distribution) Count() int64 { return d.count }

// OutOfRange returns how many samples were below 0 or beyond [Longest].
func (d *Distribution) OutOfRange() int64 { return d.outOfRange }

// Min returns the smallest sample. ok is false if there are no samples.
func (d *Distribution) Min() (t time.Duration, ok bool) { return micros(d.min), d.count > 0 }

// Max returns the largest sample. ok is false if there are no samples.
func (d *Distribution) Max() (t time.Duration, ok bool) { return micros(d.max), d.count > 0 }

// Mean returns the exact mean. ok is false if there are no samples.
func (d *Distribution) Mean() (t time.Duration, ok bool) {
	if d.count == 0 {
		return 0, false
	}
	return time.Duration(float64(d.sum) / float64(d.count) * float64(time.Microsecond)), true
}

// Variance returns the sample variance in square microseconds. ok is false with fewer than two
// samples. From a histogram, the variance is within 0.2%, plus the square of half a microsecond.
func (d *Distribution) Variance() (v float64, ok bool) {
	if d.count < 2 {
		return 0, false
	}
	mean := float64(d.sum) / float64(d.count)
	for t, n := range d.Buckets() {
		v += float64(n) * (float64(t.Microseconds()) - mean) * (float64(t.Microseconds()) - mean)
	}
	return v / float64(d.count-1), true
}

// Percentile returns one of [Percentiles] by its quantile. ok is false if there are too few samples.
func (d *Distribution) Percentile(quantile float64) (t time.Duration, ok bool) {
	for _, p := range Percentiles {
		if p.Quantile == quantile && d.count >= p.Needs {
			return d.quantile(quantile), true
		}
	}
	return 0, false
}

// Rank returns the rank of a quantile among n samples: ceil(q·n), from 1 to n.
func Rank(quantile float64, n int64) int64 {
	// A quantile such as 0.95 is not a binary fraction, but 0.95·20 must be 19.
	r := int64(math.Ceil(quantile*float64(n) - 1e-9*float64(n)))
	return min(max(r, 1), n)
}

// quantile returns the smallest sample whose rank is at least ceil(q·n). There must be a sample.
func (d *Distribution) quantile(q float64) time.Duration {
	rank := Rank(q, d.count)
	if d.histogram == nil {
		slices.Sort(d.exact)
		return micros(int64(d.exact[rank-1]))
	}
	// The library takes the rank nearest to a percentile. This percentile gives our rank.
	v := d.histogram.ValueAtPercentile(100 * float64(rank) / float64(d.count))
	return micros(min(v, d.max))
}

// Buckets returns the values of the distribution in ascending order, each with its number of
// samples. In a histogram, the samples are within 0.1% above the value.
func (d *Distribution) Buckets() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		if d.histogram != nil {
			d.histogram.ForEachBucket(func(v, n int64) bool { return yield(micros(v), n) })
			return
		}
		slices.Sort(d.exact)
		for i := 0; i < len(d.exact); {
			n := 1
			for i+n < len(d.exact) && d.exact[i+n] == d.exact[i] {
				n++
			}
			if !yield(micros(int64(d.exact[i])), int64(n)) {
				return
			}
			i += n
		}
	}
}

func micros(v int64) time.Duration { return time.Duration(v) * time.Microsecond }

// encoded is a distribution in a report. It has Samples if there are fewer than [ExactBelow],
// otherwise a Histogram.
type encoded struct {
	Count      int64 `json:"count"`
	Sum        int64 `json:"sumMicros"`
	Min        int64 `json:"minMicros"`
	Max        int64 `json:"maxMicros"`
	OutOfRange int64 `json:"outOfRange,omitempty"`
	// Percentiles are for other readers. They follow from the other fields.
	Percentiles map[string]int64 `json:"percentilesMicros,omitempty"`
	// Samples are in microseconds, ascending.
	Samples []uint32 `json:"samplesMicros,omitempty"`
	// Histogram is an HDR histogram of microseconds: the V2 format, compressed, in base64.
	Histogram string `json:"hdr,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (d *Distribution) MarshalJSON() ([]byte, error) {
	e := encoded{Count: d.count, Sum: d.sum, Min: d.min, Max: d.max, OutOfRange: d.outOfRange, Percentiles: percentiles(d)}
	if d.histogram != nil {
		b, err := d.histogram.EncodeV2()
		if err != nil {
			return nil, fmt.Errorf("encode histogram: %w", err)
		}
		e.Histogram = string(b)
	} else {
		e.Samples = slices.Sorted(slices.Values(d.exact))
	}
	return json.Marshal(e)
}

// percentiles returns the available percentiles by name.
func percentiles(of interface {
	Percentile(quantile float64) (time.Duration, bool)
}) map[string]int64 {
	all := map[string]int64{}
	for _, p := range Percentiles {
		if t, ok := of.Percentile(p.Quantile); ok {
			all[p.Name] = t.Microseconds()
		}
	}
	return all
}

// UnmarshalJSON implements json.Unmarshaler. It rejects what MarshalJSON does not write.
func (d *Distribution) UnmarshalJSON(b []byte) error {
	var e encoded
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	*d = Distribution{count: e.Count, sum: e.Sum, min: e.Min, max: e.Max, outOfRange: e.OutOfRange, exact: e.Samples}
	if e.Histogram != "" {
		h, err := decode(e.Histogram, digits)
		if err != nil {
			return err
		}
		d.histogram, d.exact = h, nil
	}
	return d.check()
}

// decode decodes a histogram. Hostile input may have another range, or counts that overflow.
func decode(text string, digits int) (*hdrhistogram.PackedHistogram, error) {
	h, err := hdrhistogram.DecodePacked([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("decode histogram: %w", err)
	}
	if h.SignificantFigures() != int64(digits) || h.LowestTrackableValue() != 1 || h.HighestTrackableValue() != longest {
		return nil, fmt.Errorf("histogram from %d to %d with %d digits: want 1 to %d µs with %d", h.LowestTrackableValue(), h.HighestTrackableValue(), h.SignificantFigures(), longest, digits)
	}
	if h.TotalCount() > maxSamples {
		return nil, fmt.Errorf("histogram of more than %d values", int64(maxSamples))
	}
	own := hdrhistogram.NewPacked(1, longest, digits)
	if dropped := own.Merge(h); dropped != 0 {
		return nil, fmt.Errorf("histogram with %d values that are out of range", dropped)
	}
	return own, nil
}

// check returns an error if the parts of a distribution contradict each other.
func (d *Distribution) check() error {
	n := int64(len(d.exact))
	low, high := int64(longest), int64(0)
	for _, v := range d.exact {
		low, high = min(low, int64(v)), max(high, int64(v))
	}
	if d.histogram != nil {
		n = d.histogram.TotalCount()
		low, high = d.histogram.Min(), d.histogram.Max()
	}
	switch {
	case d.count != n:
		return fmt.Errorf("distribution claims %d samples, but has %d", d.count, n)
	case (d.histogram != nil) != (n >= ExactBelow):
		return fmt.Errorf("distribution of %d samples: want a histogram from %d samples, and a list below", n, ExactBelow)
	case n == 0:
		if d.sum != 0 || d.min != 0 || d.max != 0 || d.outOfRange != 0 {
			return errors.New("distribution without samples has a sum, a minimum or a maximum")
		}
		return nil
	case d.min < low, d.max > high, d.min > d.max, d.max > longest, d.outOfRange < 0, d.outOfRange > n,
		d.sum < 0, float64(d.sum)/float64(n) < float64(d.min)-1, float64(d.sum)/float64(n) > float64(d.max)+1:
		return fmt.Errorf("distribution from %d to %d µs with a sum of %d µs does not fit its samples", d.min, d.max, d.sum)
	case d.histogram == nil && (d.min != low || d.max != high):
		return fmt.Errorf("distribution claims a range from %d to %d µs, but ranges from %d to %d µs", d.min, d.max, low, high)
	}
	return nil
}
