//go:build unix && !linux

package upstream

// portAtConnect does nothing: here bind chooses the port.
func portAtConnect(int) {}
