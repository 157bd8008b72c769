//go:build !linux

package sidecar

import "testing"

func mountSmall(t *testing.T, _ string) {
	t.Skip("a disk to fill up is mounted, which this test can do on Linux alone")
}
