//go:build !linux

package replay

import "context"

// newExactAlarm returns the most accurate alarm of this system.
func newExactAlarm(ctx context.Context) (alarm, error) { return newTimer(ctx), nil }
