// Package terminal tells commands whether a person is at the other end of a stream. It
// imports the standard library alone.
package terminal

import "os"

// Is tells whether a stream is a terminal.
func Is(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
