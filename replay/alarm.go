package replay

import (
	"context"
	"time"
)

// alarm waits for points in time. It isn't safe for concurrent use.
type alarm struct{ timer *time.Timer }

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{t}
}

// until waits until a time. If the context ends first, it returns the context's error.
func (a *alarm) until(ctx context.Context, when time.Time) error {
	left := time.Until(when)
	if left <= 0 {
		return ctx.Err()
	}
	a.timer.Reset(left)
	select {
	case <-a.timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *alarm) stop() { a.timer.Stop() }
