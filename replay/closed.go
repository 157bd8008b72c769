package replay

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// closed runs closed loops: the next request is sent after an answer.
func (p *player) closed(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := &loops{player: p, steps: p.Plan.Len()}
	var endPauses context.CancelFunc
	l.pauses, endPauses = context.WithCancel(ctx)
	defer endPauses()
	l.end = func() {
		l.over.Store(true)
		endPauses()
	}
	if p.Load.For > 0 {
		timer := time.AfterFunc(p.Load.For, l.end)
		defer timer.Stop()
	}
	if p.Load.way() == sessions {
		l.sessions(ctx)
	} else {
		l.users(ctx)
	}
	return ctx.Err()
}

// loops are the closed loops of a run.
type loops struct {
	*player
	steps int
	sent  atomic.Int64
	over  atomic.Bool // the time is over, or all requests were sent
	end   func()      // sets over, and ends pauses
	// pauses ends with the loops, so that no loop waits to send a request that won't be sent.
	pauses context.Context
}

// one sends a step immediately. It returns false if the loops have ended.
func (l *loops) one(ctx context.Context, w *worker, of *pass, step int) (more bool) {
	if ctx.Err() != nil || l.over.Load() {
		return false
	}
	if n := l.sent.Add(1); l.Load.Requests > 0 && n >= l.Load.Requests {
		l.end()
		if n > l.Load.Requests {
			return false
		}
	}
	now := l.now()
	l.send(ctx, w, &job{step: step, of: of, scheduled: now, due: now})
	if _, over := of.done(step, l.now()); over {
		l.uses.end(of)
	}
	return true
}

// tick is how often the number of users is adjusted during a ramp.
const tick = 100 * time.Millisecond

// users runs virtual users. Each goes through the recording with its own carried values.
func (l *loops) users(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	wanted := new(atomic.Int64)
	user := func(number int) {
		w := l.hire()
		for pass := 0; l.Load.Passes == 0 || pass < l.Load.Passes; pass++ {
			of := l.newPass()
			for step := range l.steps {
				if int64(number) >= wanted.Load() || !l.one(ctx, w, of, step) {
					return
				}
			}
		}
	}
	if len(l.Load.Stages) == 0 {
		wanted.Store(int64(l.Load.Users))
		for i := range l.Load.Users {
			if l.part.user(i) {
				all.Go(func() { user(i) })
			}
		}
		return
	}
	stages := l.Load.staged()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	running := make(map[int]*atomic.Bool)
	for !l.over.Load() && ctx.Err() == nil {
		n := int64(math.Round(stages.At(l.now())))
		wanted.Store(n)
		for i := range int(n) {
			if l.part.user(i) && (running[i] == nil || running[i].Load()) {
				gone := new(atomic.Bool)
				running[i] = gone
				all.Go(func() { defer gone.Store(true); user(i) })
			}
		}
		if l.now() >= stages.Length() {
			break
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	wanted.Store(0)
}

// sessions runs recorded sessions side by side. Each step follows the answer before it after
// the recorded pause.
func (l *loops) sessions(ctx context.Context) {
	var order []int // sessions, in order of their first steps
	of := map[int][]int{}
	for step := range l.steps {
		if !l.part.sends(step) {
			continue
		}
		s := l.Graph.Session(step)
		if of[s] == nil {
			order = append(order, s)
		}
		of[s] = append(of[s], step)
	}
	jobs := make(chan func(*worker))
	var all sync.WaitGroup
	for range l.Load.Sessions {
		all.Go(func() {
			w := l.hire()
			for job := range jobs {
				job(w)
			}
		})
	}
	defer all.Wait()
	defer close(jobs)
	for pass := 0; l.Load.Passes == 0 || pass < l.Load.Passes; pass++ {
		values := l.newPass()
		for _, s := range order {
			run := func(w *worker) { l.session(ctx, w, values, of[s]) }
			select {
			case jobs <- run:
			case <-l.pauses.Done():
				return
			}
		}
	}
}

func (l *loops) session(ctx context.Context, w *worker, of *pass, steps []int) {
	timer := newTimer(l.pauses)
	defer timer.stop()
	for i, step := range steps {
		if i > 0 {
			before, this := l.Plan.Step(steps[i-1]), l.Plan.Step(step)
			pause := max(0, this.At-before.At-before.Took)
			if timer.until(time.Now().Add(time.Duration(float64(pause)/l.Load.Speed))) != nil {
				return
			}
		}
		if !l.one(ctx, w, of, step) {
			return
		}
	}
}
