package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/replay/stats"
)

// chart is an SVG in HTML. Its plot is stretched to the page's width: it is 1000 units wide, and
// its height is in pixels. Text is positioned in percent, so that it keeps its size.
type chart struct {
	Title, Note string
	Summary     string // for readers who can't see the chart
	Grid        []mark // lines from left to right; At in pixels
	Ticks       []mark // labels below the plot; At in percent
	Marks       []mark // lines from top to bottom; At in percent
	Bars        []bar
	Lines       []line
	Hits        []hit // tooltips
}

type mark struct {
	At     float64
	Label  string
	Class  string
	Anchor string // start or end, if the text must not be centred
}

type line struct{ Name, Class, Path string }

type bar struct {
	X, Y, Width, Height float64
	Class               string
}

type hit struct {
	X, Width float64 // percent
	Text     string
}

const (
	plotWidth  = 1000
	plotHeight = 180 // pixels
	// maxChartPoints bounds the points of a chart over time: about one for each four pixels.
	maxChartPoints = 150
)

// charts returns the charts of a report, or none if it has no requests.
func (r *Report) charts() []chart {
	total := r.Results.Total()
	if total.Sent == 0 {
		return nil
	}
	series := r.Results.Series.Widened(maxChartPoints)
	if len(series.Points) == 0 { // a foreign report may have no series
		return []chart{latencyDistribution(total)}
	}
	return []chart{
		latencyOverTime(&series),
		latencyDistribution(total),
		throughput(&series),
		failures(&series),
	}
}

// scale maps values to pixels from the top.
type scale struct {
	low, high float64
	log       bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		return plotHeight * (1 - math.Log(max(v, s.low)/s.low)/math.Log(s.high/s.low))
	}
	return plotHeight * (1 - v/s.high)
}

// grid returns lines at round values.
func (s scale) grid() (lines []mark) {
	for _, v := range s.round() {
		lines = append(lines, mark{At: s.at(v), Label: significant(v)})
	}
	return lines
}

// round returns round values on the scale: quarters, or powers of ten. If there are few powers of
// ten, it adds 2 and 5 times each.
func (s scale) round() (values []float64) {
	if !s.log {
		return []float64{0, s.high / 4, s.high / 2, s.high * 3 / 4, s.high}
	}
	factors := []float64{1}
	if s.high < 150*s.low {
		factors = []float64{1, 2, 5}
	}
	for power := math.Floor(math.Log10(s.low)); power <= math.Log10(s.high); power++ {
		for _, f := range factors {
			if v := f * math.Pow(10, power); v >= s.low*0.999 && v <= s.high*1.001 {
				values = append(values, v)
			}
		}
	}
	return values
}

// linear returns a scale from 0 to a round value of at least high.
func linear(high float64) scale {
	if high <= 0 {
		return scale{high: 4}
	}
	unit := math.Pow(10, math.Floor(math.Log10(high)))
	for _, n := range []float64{1, 2, 4, 8, 10} {
		if n*unit >= high {
			return scale{high: n * unit}
		}
	}
	return scale{high: high}
}

// logarithmic returns a scale from below low to above high, of at least one power of ten.
func logarithmic(low, high float64) scale {
	middle := math.Sqrt(low * high)
	return scale{low: min(low/1.1, middle/math.Sqrt(10)), high: max(high*1.1, middle*math.Sqrt(10)), log: true}
}

// overTime places the points of a series.
type overTime struct{ *stats.Series }

func (o overTime) width() float64 { return plotWidth / float64(len(o.Points)) }

func (o overTime) middle(i int) float64 { return (float64(i) + 0.5) * o.width() }

// clock returns the time at which a point begins.
func (o overTime) clock(i int) string { return clock(time.Duration(int64(i)*o.Step) * time.Second) }

// path draws a line through the available values.
func (o overTime) path(s scale, value func(*stats.Point) (v float64, ok bool)) string {
	var b strings.Builder
	drawing := false
	for i := range o.Points {
		v, ok := value(&o.Points[i])
		switch {
		case !ok:
			drawing = false
			continue
		case drawing:
			fmt.Fprintf(&b, "L%.1f %.1f", o.middle(i), s.at(v))
		default:
			fmt.Fprintf(&b, "M%.1f %.1fh.1", o.middle(i), s.at(v)) // draws a dot, if no other point follows
		}
		drawing = true
	}
	return b.String()
}

// ticks returns the times below the chart.
func (o overTime) ticks() (ticks []mark) {
	length := time.Duration(int64(len(o.Points))*o.Step) * time.Second
	steps := []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour}
	step := steps[0]
	for _, step = range steps {
		if length/step <= 5 {
			break
		}
	}
	for length/step > 5 {
		step *= 2
	}
	for at := time.Duration(0); at <= length; at += step {
		ticks = append(ticks, mark{At: 100 * float64(at) / float64(length), Label: clock(at)})
	}
	return ends(ticks)
}

// ends keeps the first and the last label inside the chart.
func ends(ticks []mark) []mark {
	for i := range ticks {
		switch {
		case ticks[i].At < 4:
			ticks[i].Anchor = "start"
		case ticks[i].At > 96:
			ticks[i].Anchor = "end"
		}
	}
	return ticks
}

// clock formats a time since the start, such as 0:05 or 1:02:03.
func clock(t time.Duration) string {
	s := int64(t / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func (o overTime) hits(text func(*stats.Point) string) (hits []hit) {
	for i := range o.Points {
		hits = append(hits, hit{
			X: float64(i) * o.width() / plotWidth * 100, Width: o.width() / plotWidth * 100,
			Text: o.clock(i) + "  " + text(&o.Points[i]),
		})
	}
	return hits
}

// shownOverTime are the percentiles in the charts, the foremost line first.
var shownOverTime = []struct {
	name, class string
	quantile    float64
}{{"p50", "a", 0.50}, {"p95", "b", 0.95}, {"p99", "c", 0.99}}

func latencyOverTime(s *stats.Series) chart {
	low, high := math.Inf(1), 0.0
	of := func(quantile float64) func(p *stats.Point) (float64, bool) {
		return func(p *stats.Point) (float64, bool) {
			t, ok := p.Response.Percentile(quantile)
			return float64(t) / float64(time.Millisecond), ok
		}
	}
	for i := range s.Points {
		for _, p := range shownOverTime {
			if v, ok := of(p.quantile)(&s.Points[i]); ok {
				low, high = min(low, max(v, 0.001)), max(high, v)
			}
		}
	}
	scale := linear(high)
	title := "Response time (ms)"
	if high > 20*low {
		scale = logarithmic(low, high)
		title = "Response time (ms, log scale)"
	}
	c := chart{Title: title, Grid: scale.grid(), Ticks: overTime{s}.ticks()}
	c.Note = fmt.Sprintf("By due time of the requests, in steps of %s. Percentiles with too few requests are left out.", time.Duration(s.Step)*time.Second)
	for _, p := range shownOverTime {
		if path := (overTime{s}).path(scale, of(p.quantile)); path != "" {
			c.Lines = append(c.Lines, line{p.name, p.class, path})
		}
	}
	c.Hits = overTime{s}.hits(func(p *stats.Point) string {
		text := plural(int(p.Due), "request")
		for _, q := range shownOverTime {
			text += fmt.Sprintf("  %s %s ms", q.name, millis(p.Response.Percentile(q.quantile)))
		}
		return text
	})
	c.Summary = fmt.Sprintf("Percentiles of the response time over %s, from %s to %s ms.", overTime{s}.clock(len(s.Points)), significant(low), significant(high))
	return c
}

// latencyDistribution shows the response times as bars, and the service times as a line.
func latencyDistribution(e *stats.Endpoint) chart {
	const bins = 60
	smallest, _ := e.Service.Min()
	largest, _ := e.Response.Max()
	micro := func(t time.Duration) float64 { return float64(max(t.Microseconds(), 1)) }
	times := logarithmic(micro(smallest), micro(largest))
	place := func(v float64) float64 { return 1 - times.at(v)/plotHeight } // from 0 to 1
	share := func(d *stats.Distribution) (shares [bins]float64) {
		for t, n := range d.Buckets() {
			i := min(max(int(place(micro(t))*bins), 0), bins-1)
			shares[i] += 100 * float64(n) / float64(d.Count())
		}
		return shares
	}
	response, service := share(e.Response), share(e.Service)
	top := 0.0
	for i := range bins {
		top = max(top, response[i], service[i])
	}
	scale := linear(top)
	c := chart{
		Title: "Distribution (% by ms, log scale)", Grid: scale.grid(),
		Note: "Share of the requests by their time. Where the service time line is left of the bars, requests waited before they were sent.",
	}
	edge := func(i int) float64 { return times.low * math.Pow(times.high/times.low, float64(i)/bins) / 1000 } // ms
	var path strings.Builder
	const width = float64(plotWidth) / bins
	for i := range bins {
		from, to := edge(i), edge(i+1)
		if y := scale.at(response[i]); response[i] > 0 {
			c.Bars = append(c.Bars, bar{float64(i)*width + 1, y, width - 2, plotHeight - y, "a"})
		}
		y := scale.at(service[i])
		if i == 0 {
			fmt.Fprintf(&path, "M0 %.1fH%.1f", y, width)
		} else {
			fmt.Fprintf(&path, "V%.1fH%.1f", y, float64(i+1)*width)
		}
		if response[i] > 0 || service[i] > 0 {
			c.Hits = append(c.Hits, hit{float64(i) / bins * 100, 100.0 / bins, fmt.Sprintf("%s to %s ms  response %s %%  service %s %%",
				significant(from), significant(to), significant(response[i]), significant(service[i]))})
		}
	}
	c.Lines = []line{{"response time", "a", ""}, {"service time", "d", path.String()}}
	for _, p := range shownOverTime {
		if t, ok := e.Response.Percentile(p.quantile); ok {
			m := mark{At: 100 * place(micro(t)), Label: p.name, Class: p.class, Anchor: "start"}
			if m.At > 85 {
				m.Anchor = "end"
			}
			c.Marks = append(c.Marks, m)
		}
	}
	for _, v := range times.round() {
		c.Ticks = append(c.Ticks, mark{At: 100 * place(v), Label: significant(v / 1000)})
	}
	c.Ticks = ends(c.Ticks)
	c.Summary = fmt.Sprintf("Distribution of the response times: half of them up to %s ms, the longest %s ms.", millis(e.Response.Percentile(0.5)), millis(e.Response.Max()))
	return c
}

// seriesSection lists the numbers that the charts over time are drawn from.
func (r *Report) seriesSection() section {
	series := r.Results.Series.Widened(maxChartPoints)
	s := section{Title: "Over time", Text: 1, Head: []string{"From", "Due (requests)", "Ended (requests)", "Failed (requests)"}}
	for _, p := range shownOverTime {
		s.Head = append(s.Head, p.name+" (ms)")
	}
	for i := range series.Points {
		p := &series.Points[i]
		row := []string{overTime{&series}.clock(i), grouped(p.Due), grouped(p.Done), grouped(p.Failed)}
		for _, q := range shownOverTime {
			row = append(row, millis(p.Response.Percentile(q.quantile)))
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

func throughput(s *stats.Series) chart {
	rate := func(n int64) float64 { return float64(n) / float64(s.Step) }
	high := 0.0
	for _, p := range s.Points {
		high = max(high, rate(p.Due), rate(p.Done))
	}
	scale := linear(high)
	return chart{
		Title: "Throughput (requests/s)", Note: "Requests that were due, and requests that ended.",
		Summary: fmt.Sprintf("Requests per second over time, at most %s.", significant(high)),
		Grid:    scale.grid(), Ticks: overTime{s}.ticks(),
		Lines: []line{
			{"due", "d", overTime{s}.path(scale, func(p *stats.Point) (float64, bool) { return rate(p.Due), true })},
			{"ended", "a", overTime{s}.path(scale, func(p *stats.Point) (float64, bool) { return rate(p.Done), true })},
		},
		Hits: overTime{s}.hits(func(p *stats.Point) string {
			return fmt.Sprintf("due %s/s  ended %s/s", significant(rate(p.Due)), significant(rate(p.Done)))
		}),
	}
}

func failures(s *stats.Series) chart {
	var high, all int64
	for _, p := range s.Points {
		high, all = max(high, p.Failed), all+p.Failed
	}
	c := chart{
		Title: "Errors (requests)", Note: fmt.Sprintf("Requests that failed, by when they ended, in steps of %s.", time.Duration(s.Step)*time.Second),
		Summary: plural(int(all), "request") + " failed.",
		Ticks:   overTime{s}.ticks(),
		Lines:   []line{{"failed", "e", ""}},
		Hits:    overTime{s}.hits(func(p *stats.Point) string { return fmt.Sprintf("%s of %s failed", grouped(p.Failed), grouped(p.Done)) }),
	}
	scale := linear(float64(max(high, 4)))
	c.Grid = scale.grid()
	width := overTime{s}.width()
	for i, p := range s.Points {
		if p.Failed > 0 {
			y := scale.at(float64(p.Failed))
			c.Bars = append(c.Bars, bar{float64(i)*width + width/10, y, width * 8 / 10, plotHeight - y, "e"})
		}
	}
	return c
}
