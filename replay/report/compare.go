package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// Method describes how the intervals of a [Comparison] are computed.
const Method = "95% confidence intervals of B − A: Welch's for means, the percentile bootstrap for percentiles, Newcombe's for parts. " +
	"They assume that requests are independent, and say nothing about what else differed between the two runs. " +
	"Where there is no difference, one interval in twenty shows one anyway."

// Comparison describes how report B differs from report A.
type Comparison struct {
	SchemaVersion int      `json:"schemaVersion"`
	A             Side     `json:"a"`
	B             Side     `json:"b"`
	Method        string   `json:"method"`
	Changes       []Change `json:"changes"`
	// New are the groups of differences that only B has. Gone are those that only A has.
	New  []Difference `json:"new,omitempty"`
	Gone []Difference `json:"gone,omitempty"`
}

// Side is one of the two reports.
type Side struct {
	Name    string    `json:"name"` // of the file
	Source  string    `json:"source"`
	Target  string    `json:"target"`
	Started time.Time `json:"started"`
	Shape   string    `json:"shape"`
}

// Finding is the conclusion from an interval.
type Finding string

const (
	Higher     Finding = "higher"
	Lower      Finding = "lower"
	Same       Finding = "no difference that the samples can show"
	TooFew     Finding = "too few samples"
	OnlyOne    Finding = "only in one run"
	NoInterval Finding = "no interval" // counts, rates and extremes have none
)

// Change describes how one metric differs.
type Change struct {
	Endpoint string `json:"endpoint,omitempty"` // empty for all requests
	Metric   string `json:"metric"`
	Unit     string `json:"unit,omitempty"`
	// A and B are the values, or null if not available. Difference is B − A, and its interval
	// ranges from Low to High.
	A          *float64 `json:"a"`
	B          *float64 `json:"b"`
	Difference *float64 `json:"difference"`
	Low        *float64 `json:"low"`
	High       *float64 `json:"high"`
	Finding    Finding  `json:"finding"`
}

// Compare compares two reports. The same reports give the same comparison.
func Compare(nameA string, a *Report, nameB string, b *Report) *Comparison {
	c := &Comparison{SchemaVersion: SchemaVersion, A: a.side(nameA), B: b.side(nameB), Method: Method}
	rng := rand.New(rand.NewPCG(1, 2)) // a fixed seed: the same reports give the same intervals
	c.compare("", a.Results.Total(), b.Results.Total(), a, b, rng)
	ofA, ofB := a.endpoints(), b.endpoints()
	var names []string
	for _, e := range slices.Concat(a.Results.Endpoints, b.Results.Endpoints) {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		c.compare(name, ofA[name], ofB[name], a, b, rng)
	}
	c.New = only(b, a)
	c.Gone = only(a, b)
	return c
}

func (r *Report) side(name string) Side {
	return Side{Name: name, Source: r.Source.Place, Target: r.Target, Started: r.Started, Shape: r.Load.Shape}
}

func (r *Report) endpoints() map[string]*stats.Endpoint {
	of := map[string]*stats.Endpoint{}
	for _, e := range r.Results.Endpoints {
		of[e.Name] = e
	}
	return of
}

// only returns the differences, except noise, that only one of the reports has.
func only(in, notIn *Report) (differences []Difference) {
	key := func(d Difference) string { return key(d.Endpoint, d.Place, string(d.Kind)) }
	has := map[string]bool{}
	for _, d := range notIn.Differences {
		has[key(d)] = true
	}
	for _, d := range in.Differences {
		if d.State != Noise && !has[key(d)] {
			differences = append(differences, d)
		}
	}
	return differences
}

// compare compares an endpoint's metrics. It compares counts only for all requests together,
// because those of an endpoint follow from the load.
func (c *Comparison) compare(name string, a, b *stats.Endpoint, ra, rb *Report, rng *rand.Rand) {
	if a == nil || b == nil {
		c.Changes = append(c.Changes, Change{Endpoint: name, Metric: "requests.total", A: sent(a), B: sent(b), Finding: OnlyOne})
		return
	}
	ma, mb := ra.measured(a), rb.measured(b)
	for _, m := range goal.Metrics() {
		if name != "" && m.Kind == goal.Count {
			continue
		}
		change := Change{Endpoint: name, Metric: m.Name, Unit: m.Unit, Finding: TooFew}
		va, okA := m.Value(ma)
		vb, okB := m.Value(mb)
		if okA {
			change.A = &va
		}
		if okB {
			change.B = &vb
		}
		if okA && okB {
			difference := vb - va
			change.Difference = &difference
			low, high, ok := interval(m, ma, mb, a.Response, b.Response, rng)
			switch {
			case m.Kind == goal.Count:
				change.Finding = NoInterval
			case ok:
				change.Low, change.High = &low, &high
				change.Finding = finding(low, high)
			}
		}
		c.Changes = append(c.Changes, change)
	}
}

func sent(e *stats.Endpoint) *float64 {
	if e == nil {
		return nil
	}
	n := float64(e.Sent)
	return &n
}

func finding(low, high float64) Finding {
	switch {
	case low > 0:
		return Higher
	case high < 0:
		return Lower
	}
	return Same
}

// fewest is the number of samples that the interval of a mean or a percentile needs on each side.
const fewest = 10

// interval returns the interval of the difference of a metric. ok is false if there is none.
func interval(m goal.Metric, ma, mb goal.Measured, a, b *stats.Distribution, rng *rand.Rand) (low, high float64, ok bool) {
	enough := a.Count() >= fewest && b.Count() >= fewest
	switch m.Kind {
	case goal.Mean:
		if enough {
			low, high = welch(a, b)
			return low, high, true
		}
	case goal.Percentile:
		if enough {
			low, high = bootstrap(m.Quantile, a, b, rng)
			return low, high, true
		}
	case goal.Share:
		low, high = newcombe(m, ma, mb)
		return low, high, true
	}
	return 0, 0, false
}

const z = 1.959963984540054 // the 97.5th percentile of the normal distribution

// welch returns Welch's interval for the difference of two means, in milliseconds.
func welch(a, b *stats.Distribution) (low, high float64) {
	side := func(d *stats.Distribution) (mean, squared, freedom float64) {
		m, _ := d.Mean()
		v, _ := d.Variance()
		n := float64(d.Count())
		return float64(m) / float64(time.Millisecond), v / n / 1e6, n - 1
	}
	meanA, squaredA, freedomA := side(a)
	meanB, squaredB, freedomB := side(b)
	squared := squaredA + squaredB
	if squared == 0 {
		return meanB - meanA, meanB - meanA
	}
	freedom := squared * squared / (squaredA*squaredA/freedomA + squaredB*squaredB/freedomB)
	half := student(freedom) * math.Sqrt(squared)
	return meanB - meanA - half, meanB - meanA + half
}

// student returns the 97.5th percentile of Student's distribution, within 0.1% for at least 9
// degrees of freedom: Abramowitz and Stegun, 26.7.5.
func student(freedom float64) float64 {
	return z + (math.Pow(z, 3)+z)/(4*freedom) +
		(5*math.Pow(z, 5)+16*math.Pow(z, 3)+3*z)/(96*freedom*freedom) +
		(3*math.Pow(z, 7)+19*math.Pow(z, 5)+17*math.Pow(z, 3)-15*z)/(384*freedom*freedom*freedom)
}

// newcombe returns Newcombe's interval for the difference of two proportions, in percent. It is his
// method 10, which is based on Wilson's intervals.
func newcombe(m goal.Metric, a, b goal.Measured) (low, high float64) {
	wilson := func(of goal.Measured) (p, low, high float64) {
		part, whole := m.Part(of)
		n := float64(whole)
		p = float64(part) / n
		middle := (p + z*z/(2*n)) / (1 + z*z/n)
		half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
		return p, middle - half, middle + half
	}
	pa, lowA, highA := wilson(a)
	pb, lowB, highB := wilson(b)
	return 100 * (pb - pa - math.Hypot(pb-lowB, highA-pa)), 100 * (pb - pa + math.Hypot(highB-pb, pa-lowA))
}

// draws is the number of differences that a bootstrap draws.
const draws = 2000

// bootstrap returns the interval for the difference of two percentiles, in milliseconds, by the
// percentile bootstrap.
func bootstrap(quantile float64, a, b *stats.Distribution, rng *rand.Rand) (low, high float64) {
	da, db := newResampler(quantile, a), newResampler(quantile, b)
	differences := make([]float64, draws)
	for i := range differences {
		differences[i] = float64(db.draw(rng)-da.draw(rng)) / float64(time.Millisecond)
	}
	slices.Sort(differences)
	return differences[draws*25/1000], differences[draws*975/1000-1]
}

// resampler draws the percentile of a resample of the same size. Rank r of n uniform numbers is
// distributed as Beta(r, n−r+1), so one random number suffices for the whole resample.
type resampler struct {
	values     []time.Duration
	cumulative []int64
	rank, n    float64
}

func newResampler(quantile float64, d *stats.Distribution) resampler {
	r := resampler{rank: float64(stats.Rank(quantile, d.Count())), n: float64(d.Count())}
	var sum int64
	for v, n := range d.Buckets() {
		sum += n
		r.values, r.cumulative = append(r.values, v), append(r.cumulative, sum)
	}
	return r
}

func (r resampler) draw(rng *rand.Rand) time.Duration {
	x, y := gamma(r.rank, rng), gamma(r.n-r.rank+1, rng)
	i, _ := slices.BinarySearch(r.cumulative, int64(math.Ceil(x/(x+y)*r.n)))
	return r.values[min(i, len(r.values)-1)]
}

// gamma draws from the gamma distribution with a shape of at least 1, by the method of Marsaglia
// and Tsang.
func gamma(shape float64, rng *rand.Rand) float64 {
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := math.Pow(1+c*x, 3)
		if v > 0 && math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// document returns the comparison for people.
func (c *Comparison) document() document {
	d := document{Title: "Comparison of two replays", Facts: []fact{{"A", c.A.describe()}, {"B", c.B.describe()}}}
	d.Sections = []section{
		differenceSection(c.New, "New differences", "Only B has them."),
		differenceSection(c.Gone, "Gone differences", "Only A has them."),
		changeSection("What differs", "The interval of the difference does not contain 0.", slices.DeleteFunc(slices.Clone(c.Changes), func(ch Change) bool { return ch.Finding != Higher && ch.Finding != Lower })),
		changeSection("All metrics", c.Method, c.Changes),
	}
	d.Sections = slices.DeleteFunc(d.Sections, section.empty)
	return d
}

func changeSection(title, note string, changes []Change) section {
	s := section{Title: title, Note: note, Text: 3, Head: []string{"Endpoint", "Metric", "Finding", "A", "B", "B − A", "95% from", "95% to"}}
	for _, ch := range changes {
		row := []string{named(ch.Endpoint), titled(ch.Metric, ch.Unit), string(ch.Finding)}
		for _, v := range []*float64{ch.A, ch.B, ch.Difference, ch.Low, ch.High} {
			if v == nil {
				row = append(row, "")
			} else {
				row = append(row, significant(*v))
			}
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

func (s Side) describe() string {
	return joined(", ", s.Name, s.Target, s.Source, s.Shape, s.Started.UTC().Format(time.DateTime)+" UTC")
}

// cells returns the rows of a table of the changes, with all digits.
func (c *Comparison) cells() [][]string {
	rows := [][]string{{"endpoint", "metric", "finding", "a", "b", "difference", "low", "high"}}
	for _, ch := range c.Changes {
		row := []string{inCell(named(ch.Endpoint)), titled(ch.Metric, ch.Unit), string(ch.Finding)}
		for _, v := range []*float64{ch.A, ch.B, ch.Difference, ch.Low, ch.High} {
			row = append(row, exactly(v))
		}
		rows = append(rows, row)
	}
	return rows
}
