//go:build !linux

package sidecar

import "testing"

func mountSmall(t *testing.T, _ string) {
	t.Skip("a disk to fill up is mounted, which this test can do on Linux alone")
}

func mountFreezable(t *testing.T, _ string) (freeze, thaw func()) {
	t.Skip("a disk to freeze is mounted, which this test can do on Linux alone")
	return nil, nil
}
