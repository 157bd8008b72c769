package meet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

const (
	// attemptTime bounds one attempt. It is long because a report may be large.
	attemptTime = 5 * time.Minute
	// firstPause follows the first failed attempt. Each further pause is twice as long, up to
	// longestPause.
	firstPause   = 500 * time.Millisecond
	longestPause = 15 * time.Second
	// deniedTime bounds the retries after a refusal. New rights and identities need a moment to
	// take effect; wrong ones never do.
	deniedTime = time.Minute
	// failTime bounds the attempts to store why a part failed.
	failTime = 20 * time.Second
)

// retried calls do until it succeeds, its error is final, or the place has failed for the
// timeout. what is a verb for the error.
func (m *Meeting) retried(ctx context.Context, what, name string, do func(context.Context) error) error {
	began := time.Now()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		once, cancel := context.WithTimeout(ctx, min(attemptTime, max(m.o.Timeout, time.Second)))
		err := do(once)
		cancel()
		if err == nil || final(err) {
			return err
		}
		left := m.o.Timeout
		if errors.Is(err, fs.ErrPermission) {
			left = min(left, deniedTime)
		}
		if ctx.Err() != nil || time.Since(began)+pause > left {
			return fmt.Errorf("%s %s: failing for %s: %w", what, m.key(name), time.Since(began).Round(time.Second), err)
		}
		if pause == firstPause {
			m.o.Say(fmt.Sprintf("the place fails, retrying: %s", err))
		}
		if sleep(ctx, pause) != nil {
			return err
		}
	}
}

// final reports whether an error is an answer from the place that a retry would not change.
func final(err error) bool {
	return errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errForeign)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
