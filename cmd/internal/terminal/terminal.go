// Package terminal reports whether a person is at the other end of a stream. It
// imports only the standard library.
package terminal

import "os"

// Is reports whether a stream is a terminal. /dev/null is a device, too, but not a terminal:
// services, containers and CI jobs read from it.
func Is(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
