package main

import (
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/terminal"
)

// piped reports whether a command can read data from standard input, because that is not a terminal.
func piped(cmd *cobra.Command) bool { return !terminal.Is(cmd.InOrStdin()) }
