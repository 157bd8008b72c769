package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/sidecar"
)

// newHealthzCommand checks whether the sidecar or a URL is ready. Probes use it in images without a shell.
// Rendered pods call tapedeck-proxy for that; manifests of earlier renders still call this command.
func newHealthzCommand() *cobra.Command {
	var wait time.Duration
	var url string
	cmd := &cobra.Command{
		Use:   "healthz",
		Short: "Check whether the sidecar, or a URL, is ready",
		Long: `Asks the sidecar in this pod, or the URL of --url, whether it is ready. The exit code is 0 if it
is, and 1 if not. Probes of containers without a shell use it.`,
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
	cmd.Flags().DurationVar(&wait, "wait", 0, "ask again for up to this long until it is ready")
	cmd.Flags().StringVar(&url, "url", "", "ask this `URL` instead of the sidecar, such as the admin port of tapedeck mock; status 200 means ready")
	return cmd
}
