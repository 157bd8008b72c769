//go:build !linux

package replay

// newExactAlarm returns the alarm of this system that is the least late.
func newExactAlarm() (alarm, error) { return newTimer(), nil }
