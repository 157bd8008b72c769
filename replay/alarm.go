package replay

import (
	"context"
	"time"
)

// alarm waits for points in time. It isn't safe for concurrent use.
type alarm interface {
	// until waits until the given time. If the context ends first, it returns the context's error.
	until(ctx context.Context, when time.Time) error
	stop()
}

// timer is an alarm of package time. It goes off up to a millisecond late, because the runtime
// waits whole milliseconds for its timers.
type timer struct{ *time.Timer }

func newTimer() alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return timer{t}
}

func (t timer) until(ctx context.Context, when time.Time) error {
	left := time.Until(when)
	if left <= 0 {
		return ctx.Err()
	}
	t.Reset(left)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t timer) stop() { t.Stop() }
