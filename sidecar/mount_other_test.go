//go:build !linux

package sidecar

import "testing"

func mountSmall(t *testing.T, _ string) {
	t.Skip("a disk to fill up is mounted, which this test can do only on Linux")
}

func mountFreezable(t *testing.T, _ string) (freeze, thaw func()) {
	t.Skip("a disk to freeze is mounted, which this test can do only on Linux")
	return nil, nil
}
