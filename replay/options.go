package replay

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/compare"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/schedule"
	"github.com/tapedeck/tapedeck/replay/stats"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// Options say which requests to send, when, and how to compare answers.
type Options struct {
	// Plan and Graph must come from the same recording. The caller closes the plan.
	Plan  *plan.Plan
	Graph *carry.Graph
	// Target receives the requests. Baseline, if not nil, receives each request after the target has
	// answered it.
	Target, Baseline *wire.Client
	// Targets are further targets; see PrepareOptions.Target.
	Targets []*wire.Client
	// Load says when requests are due.
	Load Load
	// Shard is the part of the run to send. The zero value is the whole run. Load and MaxInFlight
	// are totals of all shards.
	Shard report.Shard
	// Start is when the run begins, the same time for all shards. Zero means now.
	Start time.Time
	// Set supplies secrets that only the client has.
	Set []carry.Setting
	// Compare says how to compare answers. If nil, they are not compared.
	Compare *Comparison
	// VerifyFix checks that recorded failures are fixed. Only the other answers are compared.
	VerifyFix bool
	// Skip returns why a step is left out, or "" to send it. If nil, all are sent.
	Skip func(step int) (reason string)
	// MaxInFlight bounds the requests under way. Further requests are sent late, and counted. The
	// default is DefaultInFlight.
	MaxInFlight int
	// MaxLag is how late requests may be sent. If more than one in a hundred is sent later, the
	// result is void, because the run measured the generator. The default is DefaultLag.
	MaxLag time.Duration
	// Exact makes an open loop wait for due times with a kernel timer, where there is one (Linux).
	// Otherwise requests are sent up to a millisecond late. Tests with virtual time can't use it.
	Exact bool
	// Grace is the time that requests under way have to finish after Load.For. The default is
	// wire.DefaultTimeout.
	Grace time.Duration
	// ProgressTimeout ends the run if the target answers nothing for this long. Pauses in the
	// recording don't count. 0 means no timeout.
	ProgressTimeout time.Duration
	// Alive, if not nil, is called from time to time while the run makes progress.
	Alive func()
	// Progress, if not nil, is called twice a second with the counts.
	Progress func(elapsed time.Duration, c stats.Counts)
}

// Defaults of Options.
const (
	DefaultInFlight = 10_000
	DefaultLag      = 50 * time.Millisecond
)

// Comparison says how answers are compared.
type Comparison struct {
	// Token returns the token with which the comparer's matcher replaces a secret. If nil, the
	// matcher redacts nothing.
	Token func(secret string) string
	// Hasher is the one that hashed the plan's answers.
	Hasher *compare.Hasher
	// Comparer has the evidence from the recording, and collects differences.
	Comparer *compare.Comparer
}

// Load is the shape of the load. The first field that is set decides how requests are paced:
// Stages, Rate, Users, Sessions. If none is set, requests are sent at recorded times.
type Load struct {
	// Speed divides recorded times and pauses. The default is 1.
	Speed float64
	// Copies is how many copies of the recording are sent at the same time, each with its own
	// carried values. With recorded times, they are spread over the mean pause between requests. The
	// default is 1.
	Copies int
	// Rate is the number of requests that are due per second.
	Rate float64
	// Users is the number of virtual users. Each goes through the recording, and sends a request
	// when the previous one was answered.
	Users int
	// Sessions is the number of concurrent recorded sessions, each with its recorded pauses.
	Sessions int
	// Stages change the rate or, if StagesAreUsers is set, the number of users.
	Stages         []schedule.Stage
	StagesAreUsers bool
	// For ends the run after this time, Requests after this number of requests, and Passes after
	// this number of passes over the recording, whichever comes first. If all are 0, there is one
	// pass.
	For      time.Duration
	Requests int64
	Passes   int
}

// way is how requests are paced.
type way int

const (
	recorded way = iota
	rate
	users
	sessions
)

func (l *Load) way() way {
	switch {
	case len(l.Stages) > 0 && l.StagesAreUsers, len(l.Stages) == 0 && l.Rate == 0 && l.Users > 0:
		return users
	case len(l.Stages) > 0 || l.Rate > 0:
		return rate
	case l.Sessions > 0:
		return sessions
	}
	return recorded
}

// normal returns the load with defaults filled in.
func (l Load) normal() Load {
	if l.Speed == 0 {
		l.Speed = 1
	}
	l.Copies = max(l.Copies, 1)
	if l.For == 0 {
		for _, s := range l.Stages {
			l.For += s.For
		}
	}
	if l.For == 0 && l.Requests == 0 && l.Passes == 0 {
		l.Passes = 1
	}
	return l
}

// Describe describes the load for a report.
func (l Load) Describe() report.Load {
	l = l.normal()
	r := report.Load{Loop: report.Open}
	switch l.way() {
	case recorded:
		r.Shape = "recorded times"
		if l.Speed != 1 {
			r.Shape += fmt.Sprintf(" at %g times the speed", l.Speed)
		}
		if l.Copies > 1 {
			r.Shape += fmt.Sprintf(", %d copies", l.Copies)
		}
	case rate:
		r.Shape = fmt.Sprintf("%g requests per second", l.Rate)
		if len(l.Stages) > 0 {
			r.Shape = fmt.Sprintf("%d stages of rates", len(l.Stages))
		}
	case users:
		r.Loop, r.Shape = report.Closed, fmt.Sprintf("%d virtual users", l.Users)
		if len(l.Stages) > 0 {
			r.Shape = fmt.Sprintf("%d stages of virtual users", len(l.Stages))
		}
	case sessions:
		r.Loop, r.Shape = report.Closed, fmt.Sprintf("%d sessions at a time, with their pauses", l.Sessions)
	}
	return r
}

// Bounds protect the target from a load that the user did not intend.
type Bounds struct {
	// PerSecond is the highest rate, and Requests the largest number of requests. 0 means no bound.
	PerSecond float64
	Requests  int64
	// InFlight is the largest number of concurrent virtual users or sessions. 0 means no bound.
	InFlight int
}

// Check returns an error if the load of a plan exceeds a bound. The error names the flag of the
// bound. If the number of requests depends only on answers, the returned load ends at the bound.
func (b Bounds) Check(l Load, p *plan.Plan) (Load, error) {
	l = l.normal()
	total, perSecond := l.planned(p)
	for _, one := range []struct {
		load, allowed float64
		what, flag    string
	}{
		{total, float64(b.Requests), "is %.0f requests", "max-requests"},
		{perSecond, b.PerSecond, "reaches %.0f requests per second", "max-rate"},
		{l.atATime(), float64(b.InFlight), "is %.0f users or sessions at a time", "max-in-flight"},
	} {
		if one.allowed > 0 && one.load > one.allowed {
			return l, fmt.Errorf("the load "+one.what+", and --%s allows %.0f; raise it if the target may get them", one.load, one.flag, one.allowed)
		}
	}
	if total == 0 {
		l.Requests = b.Requests
	}
	return l, nil
}

// atATime returns the largest number of concurrent users or sessions.
func (l *Load) atATime() (most float64) {
	switch l.way() {
	case users:
		most = float64(l.Users)
		for _, one := range l.Stages {
			most = max(most, one.Target)
		}
	case sessions:
		most = float64(l.Sessions)
	}
	return most
}

// planned returns the largest number of requests, and the rate in the busiest second, or 0 if
// answers decide. It computes with floats, because large products don't overflow them.
func (l *Load) planned(p *plan.Plan) (total, perSecond float64) {
	total = float64(p.Len()) * float64(l.Passes) * float64(l.Copies)
	byTime := 0.0
	switch l.way() {
	case users:
		total *= l.atATime()
	case rate:
		perSecond = l.Rate
		for _, one := range l.Stages {
			perSecond = max(perSecond, one.Target)
		}
		byTime = l.staged().Requests(l.For)
	case recorded:
		perSecond = float64(fullest(p, time.Duration(float64(time.Second)*l.Speed))) * float64(l.Copies)
		if length := p.Length(); length > 0 {
			byTime = float64(p.Len()) * float64(l.Copies) * float64(l.For) * l.Speed / float64(length)
		}
	}
	for _, n := range []float64{byTime, float64(l.Requests)} {
		if n > 0 && (total == 0 || n < total) {
			total = n
		}
	}
	return total, perSecond
}

// fullest returns the largest number of steps that begin within a period.
func fullest(p *plan.Plan, within time.Duration) (most int) {
	first := 0
	for i, step := range p.Steps() {
		for first < i && step.At-p.Step(first).At >= within {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func (l *Load) staged() schedule.Staged {
	if len(l.Stages) > 0 {
		return schedule.Stages(l.Stages)
	}
	return schedule.Rate(l.Rate, l.For)
}
