package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/compare"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// Run sends the requests. It returns after the last answer, or when the context ends; the report is
// then partial. An error means that it could not run.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	if o.Plan.Len() == 0 {
		return nil, errors.New("the recording has no inbound request to send")
	}
	o.Load = o.Load.normal()
	if o.MaxInFlight == 0 {
		o.MaxInFlight = DefaultInFlight
	}
	if o.MaxLag == 0 {
		o.MaxLag = DefaultLag
	}
	r := &report.Report{Load: o.Load.Describe()}
	if o.Shard.Of > 1 {
		r.Shard = &o.Shard
	}
	part := newPart(&o)
	p := &player{Options: o, part: part, run: stats.NewRun(), started: time.Now()}
	if !o.Start.IsZero() {
		p.started = p.started.Add(time.Until(o.Start)) // keeps the monotonic clock
	}
	for _, name := range o.Plan.Endpoints {
		p.run.Endpoint(name)
	}
	stopProgress := p.progress()
	cpu := cpuTime()
	within, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	if o.Load.For > 0 {
		timer := time.AfterFunc(time.Until(p.started)+o.Load.For+cmp.Or(o.Grace, wire.DefaultTimeout), func() { cut(errTimeOver) })
		defer timer.Stop()
	}
	stopWatch := p.watch(cut)
	err := p.play(within)
	ended := time.Now()
	stopWatch()
	stopProgress()
	if p.failed.Load() != nil {
		return nil, *p.failed.Load()
	}
	if err != nil && within.Err() == nil {
		return nil, err
	}
	r.Started, r.Ended = p.started.UTC(), ended.UTC()
	if ended.Before(p.started) {
		r.Started = r.Ended
	}
	switch {
	case ctx.Err() != nil:
		r.Partial = "it was interrupted"
	case errors.Is(context.Cause(within), errStalled):
		r.Partial = fmt.Sprintf("the target answered nothing for %s", o.ProgressTimeout)
	}
	r.Generator.CPUSeconds = (cpuTime() - cpu).Seconds()
	p.fill(r)
	return r, nil
}

// play waits for the start, and runs the loop.
func (p *player) play(ctx context.Context) error {
	timer := newTimer(ctx)
	defer timer.stop()
	if err := timer.until(p.started); err != nil || p.part.idle {
		return err
	}
	if way := p.Load.way(); way == recorded || way == rate {
		return p.open(ctx)
	}
	return p.closed(ctx)
}

// errTimeOver ends the requests that are still under way after Load.For and Grace.
var errTimeOver = errors.New("the time was over")

// ended returns why a request was not sent or was given up.
func ended(ctx context.Context) string {
	for _, why := range []error{errTimeOver, errStalled} {
		if errors.Is(context.Cause(ctx), why) {
			return why.Error()
		}
	}
	return "interrupted"
}

// player is one run.
type player struct {
	Options
	part    *part
	run     *stats.Run
	started time.Time
	alive   liveness
	fixes   fixes
	hits    int64 // requests that waited because MaxInFlight were under way
	// byBaseline counts the answers of the baseline.
	byBaseline atomic.Int64
	failed     atomic.Pointer[error]
	uses       uses
}

// now returns the time since the start.
func (p *player) now() time.Duration { return time.Since(p.started) }

func (p *player) newPass() *pass {
	o := carry.StateOptions{Set: p.Set, Shift: time.Since(p.Plan.Began)}
	steps := p.Plan.Len()
	if p.part.division != nil && !p.part.whole {
		o.Only, steps = p.part.sends, p.part.steps(steps)
	}
	of := newPass(p.Graph, o, steps, p.Baseline != nil)
	p.uses.begin(of)
	return of
}

// open runs an open loop.
func (p *player) open(ctx context.Context) error {
	var from source
	if p.Load.way() == recorded {
		from = newCopies(p.Plan, p.Load, p.newPass)
	} else {
		from = &paced{schedule: p.Load.staged(), steps: p.Plan.Len(), passes: p.Load.Passes, newPass: p.newPass}
	}
	from = &parted{&bounded{source: from, length: p.Load.For, requests: p.Load.Requests}, p.part}
	var under sync.WaitGroup // jobs under way
	var c *crew
	c = newCrew(p.MaxInFlight, p.hire, func(ctx context.Context, w *worker, j *job) {
		defer under.Done()
		p.send(ctx, w, j)
		free, over := j.of.done(j.step, p.now())
		for _, next := range free {
			c.give(ctx, next)
		}
		if over {
			p.uses.end(j.of)
		}
	})
	defer c.close()
	var timer alarm = newTimer(ctx)
	if p.Exact {
		if exact, err := newExactAlarm(ctx); err == nil {
			timer = exact
		}
	}
	defer timer.stop()
	for {
		step, of, due, ok := from.next()
		if !ok {
			break
		}
		if err := timer.until(p.started.Add(due)); err != nil {
			break
		}
		under.Add(1)
		if j := (&job{step: step, of: of, scheduled: due, due: due}); of.admit(j, p.Graph.After(step)) {
			c.give(ctx, j)
		}
	}
	under.Wait()
	p.hits = c.hits
	return ctx.Err()
}

// worker holds the memory for one request at a time.
type worker struct {
	local          *stats.Local
	live, baseline wire.Result
	buf            []byte
}

func (p *player) hire() *worker { return &worker{local: p.run.Local()} }

// send sends a request and compares its answer.
func (p *player) send(ctx context.Context, w *worker, j *job) {
	j.recorded = p.Plan.Step(j.step)
	endpoint := int(j.recorded.Endpoint)
	if err := errors.Join(p.Plan.Err(), p.Graph.Err()); err != nil {
		p.fail(j.step, err)
	}
	if p.failed.Load() != nil {
		return
	}
	if ctx.Err() != nil {
		w.local.Unsent(endpoint, ended(ctx))
		return
	}
	if p.Skip != nil {
		if reason := p.Skip(j.step); reason != "" {
			w.local.Unsent(endpoint, reason)
			return
		}
	}
	err := p.request(ctx, w, j, endpoint)
	if err == nil {
		return
	}
	if ctx.Err() != nil {
		w.local.Unsent(endpoint, ended(ctx))
		return
	}
	p.fail(j.step, err)
}

// fail makes the run end with an error. Nothing more is sent.
func (p *player) fail(step int, err error) {
	err = fmt.Errorf("step %d: %w", step, err)
	p.failed.CompareAndSwap(nil, &err)
}

func (p *player) request(ctx context.Context, w *worker, j *job, endpoint int) (err error) {
	if w.buf, err = p.encoded(w.buf[:0], j.step, j.of.live); err != nil {
		return err
	}
	sent := p.now()
	p.alive.sent(sent, time.Duration(float64(j.recorded.Took)/p.Load.Speed))
	failure := p.target(j).Send(ctx, w.buf, &w.live)
	done := p.now()
	if failure == nil {
		p.alive.answered()
	}
	if failure != nil && ctx.Err() != nil {
		took := time.Duration(float64(j.recorded.Took) / min(p.Load.Speed, 1))
		if !errors.Is(context.Cause(ctx), errTimeOver) || done-sent <= took {
			return ctx.Err()
		}
		w.live.Fail = wire.TooLong
	}
	if p.Baseline != nil {
		if w.buf, err = p.encoded(w.buf[:0], j.step, j.of.baseline); err != nil {
			return err
		}
		switch failure := p.Baseline.Send(ctx, w.buf, &w.baseline); {
		case failure == nil:
			p.byBaseline.Add(1)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
	s := stats.Sample{
		Endpoint: endpoint, Due: j.due, Sent: sent, Done: done, Held: j.due - j.scheduled, Recorded: j.recorded.Took,
		BytesOut: w.live.BytesOut, BytesIn: w.live.BytesIn, Status: w.live.Live.HTTP.Res.StatusCode,
	}
	if failure != nil {
		s.Failure = string(w.live.Fail)
	}
	s.Succeeded, err = p.answered(w, j, endpoint, failure)
	w.local.Add(s)
	return err
}

// target returns the client that sends a job.
func (p *player) target(j *job) *wire.Client {
	if n := j.recorded.Target; n > 0 {
		return p.Targets[n-1]
	}
	return p.Target
}

// encoded returns the request of a step, with the live values of the pass.
func (p *player) encoded(dst []byte, step int, state *side) ([]byte, error) {
	if !state.Changes(step) {
		return p.Plan.Request(dst, step)
	}
	e, err := p.Plan.Exchange(step)
	if err != nil {
		return dst, err
	}
	state.Apply(step, e)
	return wire.Append(dst, e)
}

// answered reads the values that an answer issues, and compares the answer. succeeded reports whether
// it is no worse than the recorded one.
func (p *player) answered(w *worker, j *job, endpoint int, failure error) (succeeded bool, err error) {
	issues := j.of.live.Issues(j.step)
	equal := failure == nil && !p.VerifyFix && p.Compare != nil && j.recorded.Answer != 0 && p.Baseline == nil && p.Compare.Hasher.Answer(&w.live.Live) == j.recorded.Answer
	if equal && !issues {
		p.Compare.Comparer.Equal(endpoint)
		return true, nil
	}
	e, err := p.Plan.Exchange(j.step)
	if err != nil {
		return false, err
	}
	succeeded = failure == nil && !worse(e, &w.live.Live)
	var token func(string) string
	if p.Compare != nil {
		token = p.Compare.Token
	}
	if failure == nil {
		j.of.live.answered(j.step, e, &w.live.Live, token)
	}
	if p.Baseline != nil && w.baseline.Fail == "" {
		j.of.baseline.answered(j.step, e, &w.baseline.Live, token)
	}
	switch {
	case p.VerifyFix && isFailure(e):
		p.fixes.note(e, &w.live.Live, failure != nil)
		return succeeded, nil
	case p.Compare == nil:
		return succeeded, nil
	case equal:
		p.Compare.Comparer.Equal(endpoint)
		return succeeded, nil
	}
	a := compare.Answers{Step: j.step, Endpoint: endpoint, Recorded: e, Live: &w.live.Live}
	if failure != nil {
		a.Failure = string(w.live.Fail)
	}
	if p.Baseline != nil && w.baseline.Fail == "" {
		a.Baseline = &w.baseline.Live
	}
	a.Carried = j.of.live.known(j.step)
	if a.Baseline != nil {
		a.CarriedByBaseline = j.of.baseline.known(j.step)
	}
	p.Compare.Comparer.Compare(a)
	return succeeded, nil
}

// worse reports whether an answer is an error and the recorded one is not, or whether it is a server
// error and the recorded one a client error.
func worse(recorded, live *recording.Exchange) bool {
	if recorded.GRPC != nil && live.GRPC != nil {
		return live.Status != "0" && live.Status != recorded.Status
	}
	return rank(live) > rank(recorded)
}

func rank(e *recording.Exchange) int {
	if e.HTTP == nil || e.HTTP.Res.StatusCode == 0 {
		return math.MaxInt
	}
	return max(e.HTTP.Res.StatusCode/100, 3)
}

// progress reports the counts until stop is called.
func (p *player) progress() (stop func()) {
	if p.Progress == nil {
		return func() {}
	}
	return every(500*time.Millisecond, func() { p.Progress(p.now(), p.run.Live()) })
}

// fill writes the measurements and findings into the report.
func (p *player) fill(r *report.Report) {
	r.Results = p.run.Result()
	r.Generator.InFlightBound, r.Generator.BoundHits = p.MaxInFlight, p.hits
	total := r.Results.Total()
	most, _ := total.Lag.Max()
	r.Generator.MaxLagMicros = most.Microseconds()
	if late := lateness(total); late > p.MaxLag && p.Load.way() <= rate {
		r.Generator.Bound = fmt.Sprintf("one request in a hundred was sent %s late or more; the limit is %s", late.Round(time.Microsecond), p.MaxLag)
		if p.hits > 0 {
			r.Generator.Bound += fmt.Sprintf("; %d requests had to wait because %d were under way", p.hits, p.MaxInFlight)
		}
	}
	r.Source.Steps = int64(p.part.steps(p.Plan.Len()))
	if p.part.Index == 0 { // the other shards have the same numbers
		r.Source.LeftOut = map[string]int64{}
		for _, l := range p.Plan.Left {
			r.Source.LeftOut[l.Reason] = int64(l.Count)
		}
	}
	if p.Baseline != nil && total.Sent > 0 && p.byBaseline.Load() == 0 {
		r.Problems = append(r.Problems, report.Exit{Code: report.CouldNotRun, Reason: "the baseline gave no answer, so nothing was compared with it"})
	}
	p.edges(r)
	if p.VerifyFix {
		r.Fixes = p.fixes.report()
	}
	if r.Shard == nil {
		Conclude(r)
	}
	if p.Compare != nil {
		p.differences(r)
	}
}

// Conclude adds the problems that only the report of a whole run shows: the report of a single
// generator, or the merged report of all shards.
func Conclude(r *report.Report) {
	total := r.Results.Total()
	if total.Sent == 0 && r.Partial == "" {
		r.Problems = append(r.Problems, report.Exit{Code: report.CouldNotRun, Reason: "no request was sent"})
	}
	var without int64 // requests without a connection
	for _, class := range []wire.Failure{wire.DNS, wire.Refused, wire.Unreachable, wire.TLS} {
		without += total.Failures[string(class)]
	}
	if without > 0 && without == total.Sent {
		r.Problems = append(r.Problems, report.Exit{Code: report.CouldNotRun, Reason: "the target can't be reached: no request got a connection"})
	}
}

// lateness returns the 99th percentile of the send lag, or its maximum if there are few requests.
func lateness(e *stats.Endpoint) time.Duration {
	late, ok := e.Lag.Percentile(0.99)
	if !ok {
		late, _ = e.Lag.Max()
	}
	return late
}

func (p *player) differences(r *report.Report) {
	c := p.Compare.Comparer
	if r.Shard != nil {
		text, err := c.Part(p.Plan.Endpoints, p.origin)
		if err != nil { // without the state, a difference that only this shard saw would be missed
			r.Problems = append(r.Problems, report.Exit{Code: report.Incomplete, Reason: fmt.Sprintf("can't write the comparison: %s", err)})
		}
		r.Comparison = text
	}
	found := compare.Joined{Result: c.Finish(), Endpoints: p.Plan.Endpoints}
	for _, g := range found.Groups {
		found.Origins = append(found.Origins, p.origin(g.Step))
	}
	compared(r, &found)
}

// origin identifies a step's request.
func (p *player) origin(step int) (o compare.Origin) {
	if e, err := p.Plan.Exchange(step); err == nil {
		o.Exchange, o.Request = e.UUID.String(), plan.RequestLine(e)
	}
	return o
}

// compared writes the differences into the report.
func compared(r *report.Report, found *compare.Joined) {
	r.Differences = nil
	for i, g := range found.Groups {
		r.Differences = append(r.Differences, report.Difference{
			Endpoint: found.Endpoints[g.Endpoint], Place: g.Pattern, Kind: g.Kind, State: report.State(g.Judgement), Count: g.Count, Reason: g.Why,
			Example: report.Example{Exchange: found.Origins[i].Exchange, Request: found.Origins[i].Request, Difference: g.Example},
		})
	}
	if text, err := found.Observed.Encode(found.Endpoints); err == nil {
		r.Observed = text
	}
	for n, counts := range found.ByEndpoint {
		i := slices.IndexFunc(r.Results.Endpoints, func(e *stats.Endpoint) bool { return e.Name == found.Endpoints[n] })
		if i >= 0 {
			r.Results.Endpoints[i].Matched, r.Results.Endpoints[i].New = counts.Compared-counts.Unmatched, counts.Unmatched
		}
	}
}

// Merge merges the reports of shards as [report.Merge] does, and judges the differences of all
// shards together: a difference that was new to one shard may be noise. The caller then
// judges the report.
func Merge(shards []*report.Report) (*report.Report, error) {
	m, err := report.Merge(shards)
	if err != nil {
		return nil, err
	}
	Conclude(m)
	var parts []json.RawMessage
	for _, s := range shards {
		if s.Comparison != nil {
			parts = append(parts, s.Comparison)
		}
	}
	if len(parts) == 0 { // nothing was compared
		return m, nil
	}
	found, err := compare.Join(parts)
	if err != nil {
		return nil, err
	}
	compared(m, found)
	return m, nil
}
