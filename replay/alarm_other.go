//go:build !linux

package replay

// newExactAlarm returns the most accurate alarm of this system.
func newExactAlarm() (alarm, error) { return newTimer(), nil }
