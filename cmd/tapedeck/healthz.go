package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/sidecar"
)

// newHealthzCommand asks the sidecar for its health. Rendered pods ask with
// tapedeck-proxy; manifests that were rendered earlier still ask with this one.
func newHealthzCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "healthz",
		Short: "Ask the sidecar in this pod whether it is ready, by exit code",
		Example: `  tapedeck healthz
  tapedeck healthz --wait 60s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return sidecar.Wait(cmd.Context(), wait) },
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "keep asking for this long until the answer is yes")
	return cmd
}
