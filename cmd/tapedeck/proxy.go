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
		Long: `Runs the sidecar that rendered pods run as /tapedeck-proxy. It is configured by
its environment, as docs/environment.md lists it, and runs the same under Docker
or by hand.

It forwards and records until SIGTERM or SIGINT, then lets what is in flight
finish, writes what was recorded and exits. SIGINT while it drains ends it at once.`,
		Annotations: map[string]string{onSignal: drains},
		Example: `  REVERSE_PROXY_PORT=8080 TAPEDECK_SINK=file:///tmp/recordings tapedeck proxy
  PROXY_TYPE=forward HTTPS_PROXY= tapedeck proxy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return sidecar.Main(cmd.Context(), os.Getenv, buildVersion(), cmd.ErrOrStderr())
		},
	}
}
