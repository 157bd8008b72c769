package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/inspect"
)

// newInspectCommand lists recorded exchanges, and shows one.
func newInspectCommand() *cobra.Command {
	var filter inspect.Filter
	var output, show string
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
			if err := filter.Check(); err != nil {
				return err
			}
			add, end, err := view(cmd, output, show)
			if err != nil {
				return err
			}
			bad := 0
			for e, err := range exchanges(args) {
				switch {
				case errors.Is(err, recording.ErrTorn):
					fmt.Fprintln(cmd.ErrOrStderr(), "note:", err)
				case err != nil:
					bad++
					fmt.Fprintln(cmd.ErrOrStderr(), "tapedeck:", err)
				case filter.Match(e):
					if err := add(e); err != nil {
						return err
					}
				}
			}
			if err := end(); err != nil {
				return err
			}
			if bad > 0 {
				return exitError(1)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&output, "output", "o", "table", "how to list: table or json")
	flags.StringVar(&show, "show", "", "show all of the exchange with this UUID, or with one that begins so")
	flags.StringVar(&filter.Direction, "direction", "", "only exchanges of this direction: in or out")
	flags.StringVar(&filter.Host, "host", "", "only exchanges with a host that contains this")
	flags.StringVar(&filter.Path, "path", "", "only exchanges with a path that contains this")
	flags.StringVar(&filter.Status, "status", "", "only exchanges of this status: a code, or a class as 5xx")
	flags.StringVar(&filter.Protocol, "protocol", "", "only exchanges of this protocol: "+strings.Join(inspect.Protocols(), ", "))
	for flag, values := range map[string][]string{
		"output": {"table", "json"}, "direction": inspect.Directions(), "status": inspect.Classes(), "protocol": inspect.Protocols(),
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// view returns what to do with each exchange, and at the end.
func view(cmd *cobra.Command, output, show string) (add func(*recording.Exchange) error, end func() error, err error) {
	out := cmd.OutOrStdout()
	asJSON := func(e *recording.Exchange) error {
		_, err := out.Write(append(e.AppendJSON(nil), '\n'))
		return err
	}
	switch {
	case output != "table" && output != "json":
		return nil, nil, fmt.Errorf("output %q: want table or json", output)
	case show != "":
		found := false
		add = func(e *recording.Exchange) error {
			if !strings.HasPrefix(e.UUID.String(), strings.ToLower(show)) {
				return nil
			}
			found = true
			if output == "json" {
				return asJSON(e)
			}
			return inspect.Show(out, e)
		}
		return add, func() error {
			if !found {
				return fmt.Errorf("show %s: no exchange has a UUID that begins so", show)
			}
			return nil
		}, nil
	case output == "json":
		return asJSON, func() error { return nil }, nil
	}
	table := inspect.NewTable(out)
	return table.Add, table.Close, nil
}

// exchanges reads what the paths name: directories, or files.
func exchanges(paths []string) iter.Seq2[*recording.Exchange, error] {
	return func(yield func(*recording.Exchange, error) bool) {
		for _, path := range paths {
			dir, name := path, "."
			info, err := os.Stat(path)
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if !info.IsDir() {
				dir, name = filepath.Split(path)
			}
			for e, err := range recording.All(os.DirFS(cmp.Or(dir, ".")), name) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}
