package replay

import (
	"context"
	"time"
)

// alarm waits for points in time until its context ends. It isn't safe for concurrent use.
type alarm interface {
	// until waits until a time. If the context ends first, it returns the context's error.
	until(when time.Time) error
	stop()
}

// timer is an alarm of package time. It goes off up to a millisecond late, because the runtime
// waits whole milliseconds for its timers.
type timer struct {
	ctx context.Context
	*time.Timer
}

func newTimer(ctx context.Context) timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return timer{ctx, t}
}

func (t timer) until(when time.Time) error {
	left := time.Until(when)
	if left <= 0 {
		return t.ctx.Err()
	}
	t.Reset(left)
	select {
	case <-t.C:
		return nil
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
}

func (t timer) stop() { t.Stop() }
