package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/recording/inspect"
)

// newInspectCommand lists recorded exchanges, and shows one.
func newInspectCommand() *cobra.Command {
	var o inspect.Options
	cmd := &cobra.Command{
		Use:   "inspect PATH...",
		Short: "List recorded exchanges, or show one",
		Long: "Lists the exchanges in directories of recordings, or in single segments (.jsonl, .jsonl.zst).\n" +
			"Segments that are still being written, and those of a process that was killed, are read as far as they go.",
		Example: `  tapedeck inspect /var/lib/tapedeck/recordings
  tapedeck inspect --direction out --status 5xx recordings
  tapedeck inspect --show 5b1c0a6e recordings
  tapedeck inspect -o json recordings | jq .http.req.uri`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := inspect.Run(cmd.OutOrStdout(), cmd.ErrOrStderr(), "tapedeck:", args, o)
			if errors.Is(err, inspect.ErrUnreadable) {
				return exitError(1)
			}
			return err
		},
	}
	for _, f := range o.Flags() {
		cmd.Flags().StringVarP(f.Value, f.Name, f.Short, f.Default, f.Usage)
		if len(f.Allowed) > 0 {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(f.Allowed, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	return cmd
}
