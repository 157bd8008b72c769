package meet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

const (
	// attemptTime bounds one attempt to reach the place: a report may be large.
	attemptTime = 5 * time.Minute
	// firstPause follows the first attempt that failed. Each pause is twice the one before,
	// up to longestPause.
	firstPause   = 500 * time.Millisecond
	longestPause = 15 * time.Second
	// deniedTime is how long a place may refuse: rights and identities take a moment to arrive,
	// and wrong ones never do.
	deniedTime = time.Minute
	// failTime is how long it is tried to store why a part fails.
	failTime = 20 * time.Second
)

// retried does something with the place until it succeeds, the answer is final, or the place
// has failed for the timeout.
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
			return fmt.Errorf("%s %s: it has failed since %s ago: %w", what, m.key(name), time.Since(began).Round(time.Second), err)
		}
		if pause == firstPause {
			m.o.Say(fmt.Sprintf("the place fails, and is asked again: %s", err))
		}
		if sleep(ctx, pause) != nil {
			return err
		}
	}
}

// final tells an answer from a failure of the place.
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
