package main

import (
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/terminal"
)

// piped tells whether a command has something to read on standard input.
func piped(cmd *cobra.Command) bool { return !terminal.Is(cmd.InOrStdin()) }
