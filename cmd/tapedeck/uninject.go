package main

import (
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/fn"
)

func newUninjectCommand() *cobra.Command {
	var flags renderFlags
	cmd := &cobra.Command{
		Use:   "uninject [FILE|DIRECTORY...]",
		Short: "Take back what render did, byte for byte",
		Example: `  tapedeck render app.yaml | tapedeck uninject | diff - app.yaml
  kubectl get deployment my-app -o yaml | tapedeck uninject | kubectl apply -f -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			sources, err := readSources(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			out, results, err := fn.Uninject(sources)
			if err != nil {
				return err
			}
			return flags.conclude(cmd, out, results)
		},
	}
	cmd.Flags().StringVar(&flags.report, "report", "", "also write the report to `FILE`: text, or JSON where it ends in .json")
	return cmd
}
