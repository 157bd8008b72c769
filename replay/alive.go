package replay

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errStalled ends a run that makes no progress.
var errStalled = errors.New("no progress")

// liveness tells since when a target has answered nothing. Pauses of the recording don't
// count: time runs from the first request that was sent after the last answer. Nor does the
// time that a request took in the recording, if that is long.
type liveness struct {
	long time.Duration // from which on it counts

	mu       sync.Mutex
	waits    bool          // something was sent since the last answer
	since    time.Duration // when
	answers  int64
	expected time.Duration // when the latest answer to a long request was recorded to be complete
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

// silent tells for how long there was no answer, and how many there were before.
func (l *liveness) silent(now time.Duration) (silent time.Duration, answers int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waits {
		silent = max(0, now-max(l.since, l.expected))
	}
	return silent, l.answers
}

// watches is how often in a progress timeout the run is looked at, and watch how often
// without one.
const (
	watches = 40
	watch   = 5 * time.Second
)

// watch calls Alive while there is progress, and ends the run if there is none for too long.
func (p *player) watch(end context.CancelCauseFunc) (stop func()) {
	if p.ProgressTimeout <= 0 && p.Alive == nil {
		return func() {}
	}
	p.alive.long = p.ProgressTimeout / 2
	pause := watch
	if p.ProgressTimeout > 0 {
		pause = min(watch, max(p.ProgressTimeout/watches, time.Millisecond))
	}
	var before int64 // answers
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

// every does something again and again until stop has returned.
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
