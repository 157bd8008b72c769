package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/proxy/capture"
)

// heapGrowth is by how many per cent the heap may grow before it is collected,
// unless GOGC says otherwise. A sidecar stands beside every pod, so memory is
// dearer than the few per mille of processor time that Go's default of 100 spares.
const heapGrowth = 50

// newProxyCommand runs the sidecar.
func newProxyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "proxy",
		Short: "Run the sidecar: forward the pod's traffic and record it",
		Long: `Runs the sidecar that rendered pods run. It is configured by its environment, as
docs/environment.md lists it, and runs the same under Docker or by hand.

It forwards and records until SIGTERM or SIGINT, then lets what is in flight
finish, writes what was recorded and exits.`,
		Example: `  REVERSE_PROXY_PORT=8080 TAPEDECK_SINK=file:///tmp/recordings tapedeck proxy
  PROXY_TYPE=forward HTTPS_PROXY= tapedeck proxy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := proxy.FromEnv(os.Getenv)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(heapGrowth)
			}
			log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: cfg.LogLevel}))
			return runProxy(cmd.Context(), cfg, log)
		},
	}
}

func runProxy(ctx context.Context, cfg proxy.Config, log *slog.Logger) error {
	taken, err := capture.Open(cfg, buildVersion(), log)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), proxy.CloseTime)
		defer cancel()
		if err := taken.Close(ctx); err != nil { // no failure of the pod's
			log.Error("the end of the recording is lost", proxy.LogError, err)
		}
	}()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(taken, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return proxy.Run(ctx, cfg, log, taken.Open, metrics)
}
