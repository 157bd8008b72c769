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

// Options say what is sent, when, and how answers are compared.
type Options struct {
	// Plan and Graph are of the same recording. The caller closes the plan.
	Plan  *plan.Plan
	Graph *carry.Graph
	// Target is sent to. Baseline, if not nil, gets each request as well, after it was
	// answered by the target.
	Target, Baseline *wire.Client
	// Targets are further ones, for the steps that PrepareOptions.Target sends there.
	Targets []*wire.Client
	// Load says when requests are due.
	Load Load
	// Shard is the part of the run that is sent; the zero value is all of it. The load and
	// the bound on requests under way are those of all parts together.
	Shard report.Shard
	// Start is when the run begins, the same for all shards; zero: at once.
	Start time.Time
	// Set supplies values that only the client has.
	Set []carry.Setting
	// Compare compares answers; nil: they are not compared.
	Compare *Comparison
	// VerifyFix wants recorded failures to be gone. Only other answers are compared.
	VerifyFix bool
	// Skip leaves steps out, and says why; nil: none is left out.
	Skip func(step int) (reason string)
	// MaxInFlight bounds the requests under way; 0: DefaultInFlight. What exceeds it is
	// sent late, and counted.
	MaxInFlight int
	// MaxLag is how late requests may be sent: if more than one in a hundred is sent
	// later, the generator is what was measured. 0: DefaultLag.
	MaxLag time.Duration
	// Grace is how long requests may go on that are under way when Load.For is over; 0:
	// wire.DefaultTimeout.
	Grace time.Duration
	// ProgressTimeout ends the run if the target answers nothing for so long, pauses of the
	// recording aside; 0: nothing does.
	ProgressTimeout time.Duration
	// Alive is called now and then while the run makes progress; nil: it is not.
	Alive func()
	// Progress is called twice a second with what was counted; nil: it is not.
	Progress func(elapsed time.Duration, c stats.Counts)
}

// Defaults of Options.
const (
	DefaultInFlight = 10_000
	DefaultLag      = 50 * time.Millisecond
)

// Comparison says how answers are compared.
type Comparison struct {
	// Token is what the comparer's matcher puts in place of a secret; nil: it redacts nothing.
	Token func(secret string) string
	// Hasher made the numbers of the plan's answers.
	Hasher *compare.Hasher
	// Comparer has the evidence of the recording, and gathers differences.
	Comparer *compare.Comparer
}

// Load is a shape of load. One of its ways is chosen by the first field that is set:
// Stages, Rate, Users, Sessions; else requests go out at recorded times.
type Load struct {
	// Speed divides recorded times and pauses; 0: 1.
	Speed float64
	// Copies of the recording are sent at the same time, each with values of its own; 0:
	// 1. With recorded times, they are spread over the mean pause between requests.
	Copies int
	// Rate is how many requests are due per second.
	Rate float64
	// Users is a number of loops over the recording, each of which sends a request when
	// the one before was answered.
	Users int
	// Sessions is how many recorded sessions run at a time, each with its pauses.
	Sessions int
	// Stages change the rate or, if StagesAreUsers is set, the number of users.
	Stages         []schedule.Stage
	StagesAreUsers bool
	// For ends it after a time, Requests after a number of requests, Passes after having
	// gone through the recording so many times; the first that holds counts. If all are 0,
	// it goes through once.
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

// normal fills in defaults.
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

// Describe names the shape for a report.
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

// Bounds limit what a replay does to a target unless its user asked for more.
type Bounds struct {
	// PerSecond is the highest rate; Requests the largest number. 0: any.
	PerSecond float64
	Requests  int64
	// InFlight is how many virtual users or sessions there may be at a time. 0: any.
	InFlight int
}

// Check tells whether the load of a plan is within the bounds. flag names of bounds are in
// the error. It returns the load, which ends at the bound if only answers decide how many
// requests there are.
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
			return l, fmt.Errorf("the load "+one.what+", and --%s allows %.0f: raise it if the target is meant to get them", one.load, one.flag, one.allowed)
		}
	}
	if total == 0 {
		l.Requests = b.Requests
	}
	return l, nil
}

// atATime is how many users or sessions there are side by side at most.
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

// planned is how many requests are sent at most, and at which rate in the fullest second; 0
// where answers decide. No product of large numbers overflows a float.
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

// fullest is how many steps begin within a time at most.
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
