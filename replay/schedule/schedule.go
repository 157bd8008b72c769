// Package schedule says when requests are due.
//
//	recorded times × speed ─┐
//	a fixed rate ───────────┼─▶ Open:   request n is due at T0 + Due(n), whatever was answered
//	stages of rates ────────┘
//	virtual users, sessions ──▶ Closed: concurrent loops, each of which waits for its answers
//
// It promises:
//
//   - A due time is absolute: it is computed from the number of the request, never from when the
//     previous request was sent. So delays do not add up.
//   - The same shape gives the same times.
//
// It imports the standard library only.
package schedule

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Open is an open loop: when requests are due does not depend on answers.
type Open interface {
	// Due returns when request n, counted from 0, is due, measured from the start. It does not
	// decrease with n. It returns false if there is no such request.
	Due(n int64) (time.Duration, bool)
}

// Recorded repeats recorded times.
type Recorded struct {
	// At returns when step n of Steps began, measured from the first.
	At    func(n int) time.Duration
	Steps int
	// Length is the time from the first step to the next pass over the recording.
	Length time.Duration
	// Speed divides times: 2 is twice as fast.
	Speed float64
	// Passes is the number of passes over the recording. 0 means endless.
	Passes int
}

// Due implements Open. Request n is step n mod Steps.
func (r Recorded) Due(n int64) (time.Duration, bool) {
	pass := n / int64(r.Steps)
	if r.Passes > 0 && pass >= int64(r.Passes) {
		return 0, false
	}
	at := float64(pass)*float64(r.Length) + float64(r.At(int(n%int64(r.Steps))))
	if at /= r.Speed; at > math.MaxInt64/2 {
		return 0, false
	}
	return time.Duration(at), true
}

// Stage is a period in which the rate, or the number of virtual users, is Target. It begins with a
// linear ramp from the target of the previous stage, or from 0 for the first stage.
type Stage struct {
	Target float64
	For    time.Duration // includes the ramp
	Ramp   time.Duration
}

// Staged is a sequence of rates in requests per second.
type Staged struct {
	stages []stage
}

type stage struct {
	Stage
	from   float64       // rate at the beginning
	begins time.Duration // since the start
	before float64       // number of requests before it
}

// Rate returns a fixed rate. It ends after length, or never if length is 0.
func Rate(perSecond float64, length time.Duration) Staged {
	if length <= 0 {
		length = math.MaxInt64 / 4
	}
	return Stages([]Stage{{Target: perSecond, For: length}})
}

// Stages returns a sequence of stages.
func Stages(all []Stage) Staged {
	var s Staged
	var begins time.Duration
	var rate, before float64
	for _, one := range all {
		next := stage{one, rate, begins, before}
		s.stages = append(s.stages, next)
		before += next.requests(one.For)
		begins += one.For
		rate = one.Target
	}
	return s
}

// Length returns how long all stages take.
func (s Staged) Length() time.Duration {
	if len(s.stages) == 0 {
		return 0
	}
	last := s.stages[len(s.stages)-1]
	return last.begins + last.For
}

// Requests returns how many requests are due before time t, measured from the start.
func (s Staged) Requests(t time.Duration) float64 {
	one, ok := s.during(t)
	if !ok {
		return 0
	}
	return one.before + one.requests(min(t-one.begins, one.For))
}

// At returns the rate, or the number of users, at time t, measured from the start.
func (s Staged) At(t time.Duration) float64 {
	one, ok := s.during(t)
	if !ok || t >= s.Length() {
		return 0
	}
	if t -= one.begins; t < one.Ramp {
		return one.from + (one.Target-one.from)*float64(t)/float64(one.Ramp)
	}
	return one.Target
}

// during returns the stage at time t, or the last stage if all have ended. ok is false if none has
// begun.
func (s Staged) during(t time.Duration) (one stage, ok bool) {
	i := sort.Search(len(s.stages), func(i int) bool { return s.stages[i].begins > t })
	if i == 0 {
		return stage{}, false
	}
	return s.stages[i-1], true
}

// requests returns how many requests are due in the first t of the stage.
func (s *stage) requests(t time.Duration) float64 {
	ramp := min(t, s.Ramp)
	n := s.from*ramp.Seconds() + s.Target*(t-ramp).Seconds()
	if s.Ramp > 0 {
		n += (s.Target - s.from) * ramp.Seconds() * ramp.Seconds() / (2 * s.Ramp.Seconds())
	}
	return n
}

// Due implements Open. It returns the time before which n requests are due.
func (s Staged) Due(n int64) (time.Duration, bool) {
	want := float64(n)
	i := sort.Search(len(s.stages), func(i int) bool { return s.stages[i].before > want })
	if i == 0 {
		return 0, false
	}
	one := &s.stages[i-1]
	due := one.begins + one.reaches(want-one.before)
	return due, due < s.Length()
}

// reaches returns the time in the stage at which n requests have been due. If the stage has
// fewer, even if only because floats round, it returns the stage's end.
func (s *stage) reaches(n float64) time.Duration {
	t := math.Inf(1) // seconds
	ramp := s.Ramp.Seconds()
	if inRamp := s.requests(s.Ramp); n < inRamp {
		// from·t + a·t² = n
		a := (s.Target - s.from) / (2 * ramp)
		if a == 0 {
			t = n / s.from
		} else {
			t = (math.Sqrt(max(0, s.from*s.from+4*a*n)) - s.from) / (2 * a)
		}
	} else if s.Target > 0 {
		t = ramp + (n-inRamp)/s.Target
	}
	if t >= s.For.Seconds() {
		return s.For
	}
	return time.Duration(math.Round(t * float64(time.Second)))
}

// ParseStage parses a stage such as `rate=50,for=30s,ramp=5s`. unit says what the target is: rate or
// vus.
func ParseStage(text string) (unit string, s Stage, err error) {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if seen[name] {
			return "", s, fmt.Errorf("stage %q has %s twice", text, name)
		}
		seen[name] = true
		switch name {
		case "rate", "vus":
			if unit != "" {
				return "", s, fmt.Errorf("stage %q has two targets: want rate=N or vus=N", text)
			}
			unit = name
			if s.Target, err = strconv.ParseFloat(value, 64); err != nil || s.Target < 0 || s.Target > 1e6 || math.IsNaN(s.Target) {
				return "", s, fmt.Errorf("stage %q: %s is %q, want a number from 0 to 1000000", text, name, value)
			}
			if unit == "vus" && s.Target != math.Trunc(s.Target) {
				return "", s, fmt.Errorf("stage %q: vus is %q, want a whole number", text, value)
			}
		case "for":
			if s.For, err = time.ParseDuration(value); err != nil || s.For <= 0 {
				return "", s, fmt.Errorf("stage %q: for is %q, want a duration such as 30s", text, value)
			}
		case "ramp":
			if s.Ramp, err = time.ParseDuration(value); err != nil || s.Ramp < 0 {
				return "", s, fmt.Errorf("stage %q: ramp is %q, want a duration such as 5s", text, value)
			}
		default:
			return "", s, fmt.Errorf("stage %q has %q: want rate=N or vus=N, for=DURATION and, for a gradual change, ramp=DURATION", text, part)
		}
	}
	switch {
	case unit == "":
		return "", s, fmt.Errorf("stage %q has no target: want rate=N or vus=N", text)
	case s.For == 0:
		return "", s, fmt.Errorf("stage %q has no length: want for=DURATION", text)
	case s.Ramp > s.For:
		return "", s, fmt.Errorf("stage %q: the ramp of %s lies within the stage and can't be longer than its %s", text, s.Ramp, s.For)
	}
	return unit, s, nil
}
