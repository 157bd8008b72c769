//go:build unix && !linux

package upstream

// portAtConnect does nothing: on this system, bind chooses the port.
func portAtConnect(int) {}
