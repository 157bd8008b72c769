package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// precedence lists the exit codes by precedence. The first one that applies wins.
var precedence = []int{Incomplete, CouldNotRun, GeneratorBound, MockMisses, NewDifferences, GoalsMissed}

// Elapsed returns the length of the run.
func (r *Report) Elapsed() time.Duration { return r.Ended.Sub(r.Started) }

// Judge computes the metrics, judges the goals, and determines the exit code.
func (r *Report) Judge(goals []goal.Goal) {
	r.SchemaVersion = SchemaVersion
	r.Metrics = r.metrics()
	measured := map[string]goal.Measured{"": r.measured(r.Results.Total())}
	var names []string
	for _, e := range r.Results.Endpoints {
		if e.Sent > 0 {
			measured[e.Name] = r.measured(e)
			names = append(names, e.Name)
		}
	}
	r.Goals = nil
	for _, g := range goals {
		r.Goals = append(r.Goals, g.Judge(names, func(endpoint string) (goal.Measured, bool) {
			m, ok := measured[endpoint]
			return m, ok
		}))
	}
	r.decide()
}

// metrics computes the metrics from the results.
func (r *Report) metrics() (all []Metrics) {
	metrics := goal.Metrics()
	for _, e := range append([]*stats.Endpoint{r.Results.Total()}, r.Results.Endpoints...) {
		values := make(map[string]*float64, len(metrics))
		for _, m := range metrics {
			values[m.Name] = nil
			if v, ok := m.Value(r.measured(e)); ok {
				values[m.Name] = &v
			}
		}
		all = append(all, Metrics{e.Name, values})
	}
	return all
}

func (r *Report) measured(e *stats.Endpoint) goal.Measured {
	m := goal.Measured{
		Latency: e.Response, Elapsed: r.Elapsed(),
		Total: e.Sent, Succeeded: e.Succeeded, Answered: e.Answered, Compared: e.Compared(), Matched: e.Matched,
	}
	if e.RecordedKnown() {
		m.Recorded = e.Recorded
	}
	return m
}

// decide finds the exit codes that apply.
func (r *Report) decide() {
	r.Exits = r.troubles()
	add := func(code int, format string, args ...any) {
		r.Exits = append(r.Exits, Exit{code, fmt.Sprintf(format, args...)})
	}
	if n := len(r.with(New)); n > 0 {
		add(NewDifferences, "%s", plural(n, "new difference"))
	}
	for _, g := range r.Goals {
		switch g.Verdict {
		case goal.Missed:
			add(GoalsMissed, "%s: %s", g.Goal, g.Reason)
		case goal.Unknown:
			add(CouldNotRun, "%s cannot be judged: %s", g.Goal, g.Reason)
		}
	}
	slices.SortStableFunc(r.Exits, func(a, b Exit) int {
		return slices.Index(precedence, a.Code) - slices.Index(precedence, b.Code)
	})
	r.ExitCode = Passed
	if len(r.Exits) > 0 {
		r.ExitCode = r.Exits[0].Code
	}
}

// troubles returns the exit codes for reasons other than goals and new differences.
func (r *Report) troubles() []Exit {
	exits := slices.Clone(r.Problems)
	add := func(code int, format string, args ...any) {
		exits = append(exits, Exit{code, fmt.Sprintf(format, args...)})
	}
	for _, f := range r.Source.Findings {
		add(Incomplete, "the recording is incomplete: %s", f)
	}
	if r.Partial != "" {
		add(Incomplete, "the run is partial: %s", r.Partial)
	}
	if r.Merged != nil && !r.Merged.LostAllowed {
		for _, i := range r.Merged.Lost {
			add(Incomplete, "shard %d of %d is lost", i, r.Merged.Of)
		}
	}
	for _, n := range r.Needs {
		if n.Supplied == "" {
			add(Incomplete, "%s needs a credential at %s", n.Endpoint, n.Place)
		}
	}
	switch f := r.Fixes; {
	case f == nil || r.Shard != nil: // a shard may have none of the failures
	case f.Gone+f.Still == 0:
		add(Incomplete, "the recording has no failure whose fix could be verified")
	case f.Still > 0:
		add(NewDifferences, "%d of %d recorded failures remain, such as %s", f.Still, f.Gone+f.Still, f.Example)
	}
	if r.Generator.Bound != "" {
		add(GeneratorBound, "the generator, not the target, decided the pace: %s", r.Generator.Bound)
	}
	if r.Mock != nil && r.Mock.Missed > 0 {
		add(MockMisses, "%s to dependencies not in the recording", plural(int(r.Mock.Missed), "request"))
	}
	return exits
}

// with returns the differences with this state.
func (r *Report) with(s State) (of []Difference) {
	for _, d := range r.Differences {
		if d.State == s {
			of = append(of, d)
		}
	}
	return of
}

func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return grouped(int64(n)) + " " + of + "s"
}

// Verdict returns the meaning of the exit code in a few words.
func (r *Report) Verdict() string {
	return cmp.Or(verdicts[r.ExitCode], fmt.Sprintf("Failed: exit code %d", r.ExitCode))
}
