package main

import (
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/fn"
)

func newUninjectCommand() *cobra.Command {
	var flags renderFlags
	cmd := &cobra.Command{
		Use:   "uninject [FILE|DIRECTORY...]",
		Short: "Undo a render, byte for byte",
		Long: `Reads rendered manifests, removes what render added, restores what it replaced, and writes
all manifests to standard output, byte for byte as they were. Without a file, or with
"-", it reads standard input.`,
		Example: `  tapedeck render app.yaml | tapedeck uninject | diff - app.yaml
  kubectl get deployment my-app -o yaml | tapedeck uninject | kubectl apply -f -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			sources, err := readSources(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			noteEmpty(cmd.ErrOrStderr(), sources)
			out, results, err := fn.Uninject(sources)
			if err != nil {
				return err
			}
			return flags.conclude(cmd, out, results)
		},
	}
	cmd.Flags().StringVar(&flags.report, "report", "", "also write the report to `FILE`, as text, or as JSON if the name ends in .json")
	return cmd
}
