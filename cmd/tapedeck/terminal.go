package main

import (
	"os"

	"github.com/spf13/cobra"
)

// isTerminal tells whether a stream of the command is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// piped tells whether a command has something to read on standard input.
func piped(cmd *cobra.Command) bool { return !isTerminal(cmd.InOrStdin()) }
