package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/sidecar"
)

// newHealthzCommand asks the sidecar for its health, or whoever a URL names: a
// container of an image without a shell is probed with it. Rendered pods ask their
// sidecar with tapedeck-proxy; manifests that were rendered earlier still ask with this
// one.
func newHealthzCommand() *cobra.Command {
	var wait time.Duration
	var url string
	cmd := &cobra.Command{
		Use:   "healthz",
		Short: "Ask the sidecar in this pod, or a URL, whether it is ready, by exit code",
		Example: `  tapedeck healthz
  tapedeck healthz --wait 60s
  tapedeck healthz --url http://127.0.0.1:4141/healthz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("url") {
				if err := sidecar.WaitFor(cmd.Context(), wait, url); err != nil {
					return fmt.Errorf("--url: %w", err)
				}
				return nil
			}
			return sidecar.Wait(cmd.Context(), wait)
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "keep asking for this long until the answer is yes")
	cmd.Flags().StringVar(&url, "url", "", "ask at this `URL`, such as that of tapedeck mock's admin port, instead of the sidecar: status 200 means yes")
	return cmd
}
