package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/sidecar"
)

// newProxyCommand runs the sidecar: on a laptop, and in pods that were rendered
// before the sidecar was a program of its own.
func newProxyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "proxy",
		Short: "Run the sidecar: forward the pod's traffic and record it",
		Long: `Runs the sidecar, as rendered pods run /tapedeck-proxy: it forwards traffic and records
it. Environment variables configure it; docs/environment.md lists them. It also runs
without Kubernetes.

On SIGTERM or SIGINT the sidecar drains: open requests finish, then it writes the
recording and exits. A SIGINT during the drain ends it at once.`,
		Annotations: map[string]string{onSignal: drains},
		Example: `  REVERSE_PROXY_PORT=8080 TAPEDECK_SINK=file:///tmp/recordings tapedeck proxy
  PROXY_TYPE=forward HTTPS_PROXY= tapedeck proxy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return sidecar.Main(cmd.Context(), os.Getenv, buildVersion(), cmd.ErrOrStderr())
		},
	}
}
