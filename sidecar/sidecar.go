// Package sidecar is the sidecar as a process: it reads the environment, joins
// the proxy's tap to the recording, and runs both until it is told to stop.
//
//	environment ─▶ Config ─▶ proxy ─▶ tap ─▶ decoders ─▶ redaction ─▶ queue ─▶ segments
//
// The proxy forwards whether or not capture works. Close writes what was
// recorded. The package imports contract, proxy and its subpackages, recording
// and Prometheus' client: no YAML, no cloud SDK and no CLI framework.
package sidecar

import (
	"context"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tapedeck/tapedeck/proxy"
)

// heapGrowth is by how many per cent the heap may grow before it is collected,
// unless GOGC says otherwise. A sidecar stands beside every pod, so memory is
// dearer than the few per mille of processor time that Go's default of 100 spares.
const heapGrowth = 50

// Main runs the sidecar that the environment describes until ctx ends and its
// connections have drained. version goes into the records; the log goes to w as
// JSON lines, at the level that the environment names.
func Main(ctx context.Context, getenv func(string) string, version string, w io.Writer) error {
	cfg, err := FromEnv(getenv)
	if err != nil {
		return err
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	return Run(ctx, cfg, version, slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: cfg.LogLevel})))
}

// Run runs a sidecar until ctx ends and its connections have drained.
func Run(ctx context.Context, cfg Config, version string, log *slog.Logger) error {
	taken, err := Open(cfg, version, log)
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
	log.Info("starting", "version", version, "type", cfg.Type, "protocol", cfg.Protocols, "sink", cfg.Sink)
	return proxy.Run(ctx, cfg.forwarding(), log, taken.Open, metrics)
}

// forwarding returns the proxy's configuration, with its share of the memory.
func (c Config) forwarding() proxy.Config {
	c.TapMemory, c.Config.Pod = c.Memory/tapPart, c.Identity.Pod
	return c.Config
}
