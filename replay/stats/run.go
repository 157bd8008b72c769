package stats

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Verdict is the result of comparing an answer with the recorded one.
type Verdict uint8

const (
	NotCompared Verdict = iota
	Match               // no difference except noise
	Mismatch            // only known differences, which a baseline also has
	New                 // at least one new difference
)

// Sample holds the measurements of a sent request. Times count from the run's start, on the clock
// that paces the run.
type Sample struct {
	Endpoint int           // number from [Run.Endpoint]
	Due      time.Duration // when it was due; with virtual users, the same as Sent
	Sent     time.Duration // when sending began
	Done     time.Duration // when the last byte of the answer arrived, or when the request failed
	Held     time.Duration // by how much dependencies moved the due time; 0 for none
	Recorded time.Duration // how long the request took in the recording
	// Status is the status of the answer, or 0 if there was none.
	Status int
	// Failure is the class of failure, such as `timeout` or `refused`, or "" if there was an answer.
	Failure   string
	Succeeded bool
	Matched   Verdict
	BytesOut  int64 // of the request, as sent
	BytesIn   int64 // of the answer, as received
}

// Counts counts requests and answers.
type Counts struct {
	// Sent counts the sent requests: Succeeded plus Failed.
	Sent      int64 `json:"sent"`
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	// Answered counts the requests that got an answer of any status.
	Answered int64 `json:"answered"`
	// Matched, Mismatched and New count answers by their [Verdict].
	Matched    int64 `json:"matched,omitempty"`
	Mismatched int64 `json:"mismatched,omitempty"`
	New        int64 `json:"new,omitempty"`
	BytesOut   int64 `json:"bytesOut"`
	BytesIn    int64 `json:"bytesIn"`
	// Statuses counts answers by status. Failures counts requests without an answer by class.
	// Unsent counts requests that were not sent by reason. Each is nil if it is empty.
	Statuses map[string]int64 `json:"statuses,omitempty"`
	Failures map[string]int64 `json:"failures,omitempty"`
	Unsent   map[string]int64 `json:"unsent,omitempty"`
}

// Compared returns the number of compared answers.
func (c *Counts) Compared() int64 { return c.Matched + c.Mismatched + c.New }

func (c *Counts) add(s *Sample) {
	c.Sent++
	if s.Succeeded {
		c.Succeeded++
	} else {
		c.Failed++
	}
	if s.Failure == "" {
		c.Answered++
		count(&c.Statuses, status(s.Status), 1)
	} else {
		count(&c.Failures, s.Failure, 1)
	}
	switch s.Matched {
	case Match:
		c.Matched++
	case Mismatch:
		c.Mismatched++
	case New:
		c.New++
	}
	c.BytesOut += s.BytesOut
	c.BytesIn += s.BytesIn
}

func (c *Counts) merge(o *Counts) {
	for _, n := range []struct{ to, from *int64 }{
		{&c.Sent, &o.Sent}, {&c.Succeeded, &o.Succeeded}, {&c.Failed, &o.Failed}, {&c.Answered, &o.Answered},
		{&c.Matched, &o.Matched}, {&c.Mismatched, &o.Mismatched}, {&c.New, &o.New},
		{&c.BytesOut, &o.BytesOut}, {&c.BytesIn, &o.BytesIn},
	} {
		*n.to += *n.from
	}
	for _, m := range []struct {
		to   *map[string]int64
		from map[string]int64
	}{{&c.Statuses, o.Statuses}, {&c.Failures, o.Failures}, {&c.Unsent, o.Unsent}} {
		for name, n := range m.from {
			count(m.to, name, n)
		}
	}
}

func count(m *map[string]int64, name string, n int64) {
	if *m == nil {
		*m = map[string]int64{}
	}
	(*m)[name] += n
}

// status formats a status. It doesn't allocate for HTTP statuses.
func status(n int) string {
	if 0 <= n && n < len(statuses) {
		return statuses[n]
	}
	return strconv.Itoa(n)
}

var statuses = func() (s [600]string) {
	for i := range s {
		s[i] = strconv.Itoa(i)
	}
	return s
}()

// Endpoint holds the measurements of one method and templated path, or of all requests.
type Endpoint struct {
	Name string `json:"name"` // such as `GET /users/{id}`
	Counts
	// Response is the time from due to done, Service from sent to done, Lag from due to sent,
	// and Held from scheduled to due. Each has a sample for each sent request.
	Response *Distribution `json:"response"`
	Service  *Distribution `json:"service"`
	Lag      *Distribution `json:"lag"`
	Held     *Distribution `json:"held"`
	// Recorded holds the times of the same requests in the recording. It is missing in reports of
	// older versions.
	Recorded *Distribution `json:"recorded,omitempty"`
}

func newEndpoint(name string) *Endpoint {
	return &Endpoint{Name: name, Response: new(Distribution), Service: new(Distribution), Lag: new(Distribution), Held: new(Distribution), Recorded: new(Distribution)}
}

func (e *Endpoint) add(s *Sample) {
	e.Counts.add(s)
	e.Response.Record(s.Done - s.Due)
	e.Service.Record(s.Done - s.Sent)
	e.Lag.Record(s.Sent - s.Due)
	e.Held.Record(s.Held)
	e.Recorded.Record(s.Recorded)
}

func (e *Endpoint) merge(o *Endpoint) {
	e.Counts.merge(&o.Counts)
	for _, d := range []struct{ to, from *Distribution }{
		{e.Response, o.Response}, {e.Service, o.Service}, {e.Lag, o.Lag}, {e.Held, o.Held}, {e.Recorded, o.Recorded},
	} {
		if d.from != nil {
			d.to.Merge(d.from)
		}
	}
}

// batch is the number of samples that a Local hands over at a time.
const batch = 128

// Run collects the samples of a run. Its methods are safe for concurrent use.
type Run struct {
	mu        sync.Mutex
	names     map[string]int
	endpoints []*Endpoint
	series    Series
	locals    []*Local
}

// NewRun returns a run without samples.
func NewRun() *Run { return &Run{names: map[string]int{}} }

// Endpoint returns the number of an endpoint. Equal names have the same number.
func (r *Run) Endpoint(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.names[name]
	if !ok {
		n = len(r.endpoints)
		r.names[name] = n
		r.endpoints = append(r.endpoints, newEndpoint(name))
	}
	return n
}

// Local returns a buffer for the samples of one worker. Workers that share a buffer wait for each
// other.
func (r *Run) Local() *Local {
	l := &Local{run: r, held: make([]Sample, 0, batch)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locals = append(r.locals, l)
	return l
}

// Local buffers the samples of one worker, and hands them to its run in batches.
type Local struct {
	run *Run
	mu  sync.Mutex // only Live and Result contend for it
	// held are samples that the run does not have yet.
	held []Sample
}

// Add adds a sample. It does not allocate. It waits for other workers only once in [batch] samples.
func (l *Local) Add(s Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held = append(l.held, s); len(l.held) == batch {
		l.run.mu.Lock()
		defer l.run.mu.Unlock()
		l.flush()
	}
}

// Unsent counts a request that was not sent. There may be only a few different reasons.
func (l *Local) Unsent(endpoint int, reason string) {
	l.run.mu.Lock()
	defer l.run.mu.Unlock()
	count(&l.run.endpoints[endpoint].Unsent, reason, 1)
}

// flush hands the samples to the run. Both are locked.
func (l *Local) flush() {
	for i := range l.held {
		s := &l.held[i]
		l.run.endpoints[s.Endpoint].add(s)
		l.run.series.add(s)
	}
	l.held = l.held[:0]
}

// gather takes the buffered samples of all workers.
func (r *Run) gather() {
	r.mu.Lock()
	locals := slices.Clone(r.locals)
	r.mu.Unlock()
	for _, l := range locals { // locks in the order of Add: the Local first
		l.mu.Lock()
		r.mu.Lock()
		l.flush()
		r.mu.Unlock()
		l.mu.Unlock()
	}
}

// Live returns the counts so far, over all endpoints.
func (r *Run) Live() Counts {
	r.gather()
	r.mu.Lock()
	defer r.mu.Unlock()
	var c Counts
	for _, e := range r.endpoints {
		c.merge(&e.Counts)
	}
	return c
}

// Result returns a copy of the measurements so far, without endpoints that have no counts.
func (r *Run) Result() Result {
	r.gather()
	r.mu.Lock()
	defer r.mu.Unlock()
	var one Result
	for _, e := range r.endpoints {
		if e.Sent > 0 || len(e.Unsent) > 0 {
			one.Endpoints = append(one.Endpoints, e)
		}
	}
	one.Series = r.series
	var copied Result
	copied.Merge(&one)
	return copied
}

// Result holds the measurements of a run.
type Result struct {
	// Endpoints are sorted by name.
	Endpoints []*Endpoint `json:"endpoints"`
	Series    Series      `json:"series"`
}

// Merge adds another result, such as that of another shard. Both must count time from the same
// start. The other result does not change.
func (r *Result) Merge(o *Result) {
	names := map[string]*Endpoint{}
	for _, e := range r.Endpoints {
		names[e.Name] = e
	}
	for _, e := range o.Endpoints {
		if names[e.Name] == nil {
			names[e.Name] = newEndpoint(e.Name)
		}
		names[e.Name].merge(e)
	}
	r.Endpoints = make([]*Endpoint, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		r.Endpoints = append(r.Endpoints, names[name])
	}
	r.Series.Merge(&o.Series)
}

// Total returns the sum of all endpoints, without a name.
func (r *Result) Total() *Endpoint {
	t := newEndpoint("")
	for _, e := range r.Endpoints {
		t.merge(e)
	}
	return t
}

// RecordedKnown reports whether Recorded has the times of all requests. It returns false if the
// report, or the report of a merged shard, comes from a version that did not keep them.
func (e *Endpoint) RecordedKnown() bool { return e.Recorded != nil && e.Recorded.count == e.Sent }

// Check returns an error if the parts of an endpoint, as read from a report, contradict each
// other.
func (e *Endpoint) Check() error {
	for _, d := range []struct {
		name string
		of   *Distribution
	}{{"response", e.Response}, {"service", e.Service}, {"lag", e.Lag}, {"held", e.Held}} {
		if d.of == nil {
			return fmt.Errorf("distribution %s is missing", d.name)
		}
		if d.of.count != e.Sent {
			return fmt.Errorf("distribution %s has %d samples, but %d requests were sent", d.name, d.of.count, e.Sent)
		}
	}
	if e.Recorded != nil && e.Recorded.count > e.Sent {
		return fmt.Errorf("distribution recorded has %d samples, but %d requests were sent", e.Recorded.count, e.Sent)
	}
	if e.Succeeded < 0 || e.Failed < 0 || e.Succeeded+e.Failed != e.Sent {
		return fmt.Errorf("%d requests succeeded and %d failed, of %d", e.Succeeded, e.Failed, e.Sent)
	}
	return nil
}
