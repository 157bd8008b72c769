package stats

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// MaxPoints is the largest number of points of a series.
const MaxPoints = 600

// seriesDigits is the precision of the distributions in a series, of which there are many.
const seriesDigits = 2

// Series holds the measurements of a run over time, in steps of 1, 2, 4 or more seconds, so that
// there are at most [MaxPoints]. The zero value is empty.
type Series struct {
	// Step is the length of a step in seconds, or 0 if there are no points.
	Step int64 `json:"stepSeconds"`
	// Points has one point for each step from the run's start.
	Points []Point `json:"points,omitempty"`
}

// Point is one step of a series.
type Point struct {
	// Due counts the requests that were due in the step, and Done those that ended in it.
	Due  int64 `json:"due,omitempty"`
	Done int64 `json:"done,omitempty"`
	// Failed counts the requests of Done that failed.
	Failed int64 `json:"failed,omitempty"`
	// Response holds the response times of the requests that were due in the step.
	Response Coarse `json:"response,omitzero"`
}

// longestSeries bounds the length of a series, because wrong times would make it too long.
const longestSeries = int64(100 * 365 * 24 * time.Hour / time.Second)

func (s *Series) add(sample *Sample) {
	due := s.at(sample.Due)
	due.Due++
	due.Response.record(sample.Done - sample.Due)
	done := s.at(sample.Done)
	done.Done++
	if !sample.Succeeded {
		done.Failed++
	}
}

// at returns the point for a time. It adds the point if necessary, and widens the steps if there
// would be too many.
func (s *Series) at(t time.Duration) *Point {
	second := min(max(int64(t/time.Second), 0), longestSeries)
	s.Step = max(s.Step, 1)
	for second/s.Step >= MaxPoints {
		s.widen()
	}
	i := int(second / s.Step)
	for len(s.Points) <= i {
		s.Points = append(s.Points, Point{})
	}
	return &s.Points[i]
}

// widen doubles the step.
func (s *Series) widen() {
	s.Step *= 2
	for i := range s.Points {
		if i%2 == 0 {
			s.Points[i/2] = s.Points[i]
		} else {
			s.Points[i/2].merge(&s.Points[i])
		}
	}
	clear(s.Points[(len(s.Points)+1)/2:])
	s.Points = s.Points[:(len(s.Points)+1)/2]
}

func (p *Point) merge(o *Point) {
	p.Due += o.Due
	p.Done += o.Done
	p.Failed += o.Failed
	p.Response.merge(&o.Response)
}

// Merge adds another series, which does not change.
func (s *Series) Merge(o *Series) {
	if len(o.Points) == 0 {
		return
	}
	s.Step = max(s.Step, 1)
	for s.Step < o.Step {
		s.widen()
	}
	for i := range o.Points {
		s.at(time.Duration(int64(i)*o.Step) * time.Second).merge(&o.Points[i])
	}
}

// Widened returns a copy whose steps are wide enough to need at most this many points.
func (s *Series) Widened(points int) Series {
	var c Series
	c.Merge(s)
	for len(c.Points) > points {
		c.widen()
	}
	return c
}

// UnmarshalJSON implements json.Unmarshaler. It rejects a series that no run has.
func (s *Series) UnmarshalJSON(b []byte) error {
	type plain Series
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	if len(p.Points) > MaxPoints || p.Step < 0 || p.Step > longestSeries || p.Step&(p.Step-1) != 0 || (p.Step == 0) != (len(p.Points) == 0) {
		return fmt.Errorf("series of %d points with a step of %d s: want at most %d points, and a power of two", len(p.Points), p.Step, MaxPoints)
	}
	for i := range p.Points {
		if one := &p.Points[i]; one.Due != one.Response.Count() || one.Failed < 0 || one.Failed > one.Done {
			return fmt.Errorf("point %d of a series: %d requests due with %d times, and %d of %d failed", i, one.Due, one.Response.Count(), one.Failed, one.Done)
		}
	}
	*s = Series(p)
	return nil
}

// Coarse is a distribution with a precision of 1%. It takes a few hundred bytes. The zero value
// is empty.
type Coarse struct{ histogram *hdrhistogram.PackedHistogram }

func newCoarse() *hdrhistogram.PackedHistogram {
	return hdrhistogram.NewPacked(1, longest, seriesDigits)
}

func (c *Coarse) record(t time.Duration) {
	if c.histogram == nil {
		c.histogram = newCoarse()
	}
	_ = c.histogram.RecordValue(min(max(t.Microseconds(), 0), longest)) // the value is in range
}

func (c *Coarse) merge(o *Coarse) {
	if o.histogram == nil {
		return
	}
	if c.histogram == nil {
		c.histogram = newCoarse()
	}
	c.histogram.Merge(o.histogram) // nothing is lost, because both have the same range
}

// Count returns the number of samples.
func (c *Coarse) Count() int64 {
	if c.histogram == nil {
		return 0
	}
	return c.histogram.TotalCount()
}

// Percentile returns one of [Percentiles] by its quantile. ok is false if there are too few samples.
func (c *Coarse) Percentile(quantile float64) (t time.Duration, ok bool) {
	n := c.Count()
	for _, p := range Percentiles {
		if p.Quantile == quantile && n >= p.Needs {
			return micros(c.histogram.ValueAtPercentile(100 * float64(Rank(quantile, n)) / float64(n))), true
		}
	}
	return 0, false
}

// IsZero reports whether there are no samples.
func (c Coarse) IsZero() bool { return c.histogram == nil }

// encodedCoarse is a coarse distribution in a report; see encoded.
type encodedCoarse struct {
	Percentiles map[string]int64 `json:"percentilesMicros,omitempty"`
	Histogram   string           `json:"hdr"`
}

// MarshalJSON implements json.Marshaler. A distribution without samples is null.
func (c Coarse) MarshalJSON() ([]byte, error) {
	if c.histogram == nil {
		return []byte("null"), nil
	}
	b, err := c.histogram.EncodeV2()
	if err != nil {
		return nil, fmt.Errorf("encode histogram: %w", err)
	}
	return json.Marshal(encodedCoarse{percentiles(&c), string(b)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Coarse) UnmarshalJSON(b []byte) error {
	var e *encodedCoarse
	if err := json.Unmarshal(b, &e); err != nil || e == nil {
		*c = Coarse{}
		return err
	}
	h, err := decode(e.Histogram, seriesDigits)
	*c = Coarse{h}
	return err
}
