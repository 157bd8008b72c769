package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/inspect"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/show"
)

// newInspectCommand lists recorded exchanges, and shows one.
func newInspectCommand() *cobra.Command {
	o := inspect.Options{Foreign: convert.Files{}, Full: showInFull}
	cmd := &cobra.Command{
		Use:   "inspect PLACE...",
		Short: "List recorded exchanges, or show one",
		Long: `Lists the exchanges of recordings in the order of their start, or with --show one exchange in full. PLACE is a
directory, the URL of a bucket or of a collector's read port, a snapshot (PLACE/snapshots/ID), or a file: a segment
(.jsonl, .jsonl.zst), complete or not, or a file of another tool: RRPair (.json, .md), HAR (.har), GoReplay (.gor) or
WireMock mappings (.json).

Exit codes: 0, or 1 if something can't be read; standard error names it.`,
		Example: `  tapedeck inspect /var/lib/tapedeck/recordings
  tapedeck inspect --direction out --status 5xx --since 1h s3://recordings/prod
  tapedeck inspect --show 5b1c0a6e recordings
  tapedeck inspect -o json recordings | jq .http.req.uri`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := inspect.Run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), "tapedeck:", args, openToRead, o)
			if errors.Is(err, inspect.ErrUnreadable) {
				return exitError(1)
			}
			return err
		},
	}
	for _, f := range o.Flags() {
		if f.Switch != nil {
			cmd.Flags().BoolVar(f.Switch, f.Name, false, f.Usage)
			continue
		}
		cmd.Flags().StringVarP(f.Value, f.Name, f.Short, f.Default, f.Usage)
		if len(f.Allowed) > 0 {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(f.Allowed, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	return cmd
}

// showInFull writes an exchange with its bodies decoded. It shows as much of a conversation's message
// as of a body: unlike a page in a browser, its output need not be small.
func showInFull(w io.Writer, e *recording.Exchange) error {
	return show.New(e, show.Options{MaxMessage: 1 << 20}).Write(w)
}

// openToRead opens a place, a snapshot, which is verified, or a single file.
func openToRead(ctx context.Context, name string) (read.Store, error) {
	if _, err := os.Stat(name); isFile(name) || err != nil && !strings.Contains(name, "://") && !strings.Contains(name, "@") {
		return read.Path(name)
	}
	place, err := contract.ParsePlace(name)
	if err != nil {
		return nil, err
	}
	s, _, err := openSource(ctx, place)
	return s, err
}
