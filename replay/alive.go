package replay

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errStalled ends a run that makes no progress.
var errStalled = errors.New("no progress")

// liveness measures how long a target has not answered. The time runs from the first request after
// the last answer, so pauses in the recording don't count. The recorded time of a long request
// doesn't count either.
type liveness struct {
	long time.Duration // a request is long if it took at least this in the recording

	mu       sync.Mutex
	waits    bool          // something was sent since the last answer
	since    time.Duration // when waits was set
	answers  int64
	expected time.Duration // when the last answer to a long request is due, judging by the recording
}

func (l *liveness) sent(now, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.waits {
		l.waits, l.since = true, now
	}
	if l.long > 0 && took > l.long {
		l.expected = max(l.expected, now+took)
	}
}

func (l *liveness) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = false
	l.answers++
}

// silent returns how long there has been no answer, and the number of answers before that.
func (l *liveness) silent(now time.Duration) (silent time.Duration, answers int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waits {
		silent = max(0, now-max(l.since, l.expected))
	}
	return silent, l.answers
}

// watches is how many times the run is checked during a progress timeout. watch is the longest
// time between two checks.
const (
	watches = 40
	watch   = 5 * time.Second
)

// watch calls Alive while there is progress, and ends the run after ProgressTimeout without
// progress.
func (p *player) watch(end context.CancelCauseFunc) (stop func()) {
	if p.ProgressTimeout <= 0 && p.Alive == nil {
		return func() {}
	}
	p.alive.long = p.ProgressTimeout / 2
	pause := watch
	if p.ProgressTimeout > 0 {
		pause = min(watch, max(p.ProgressTimeout/watches, time.Millisecond))
	}
	var before int64 // answers at the last check
	return every(pause, func() {
		silent, answers := p.alive.silent(p.now())
		if p.Alive != nil && (silent == 0 || answers > before) {
			p.Alive()
		}
		before = answers
		if p.ProgressTimeout > 0 && silent >= p.ProgressTimeout {
			end(errStalled)
		}
	})
}

// every calls do at regular intervals until stop is called. stop waits for a call in progress.
func every(pause time.Duration, do func()) (stop func()) {
	ticker := time.NewTicker(pause)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				do()
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(over)
		<-ended
	}
}
