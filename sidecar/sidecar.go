// Package sidecar runs the sidecar as a process. It reads the environment, connects the
// proxy's tap to the recording, and runs both until its context ends.
//
//	environment ─▶ Config ─▶ proxy ─▶ tap ─▶ decoders ─▶ redaction ─▶ queue ─▶ segments
//	                                                                             │ ship
//	                                                                             ▼
//	                                                                         collector
//
// The proxy forwards even if capture or the collector fails. At the end, the sidecar writes
// the remaining records. The package imports contract and its filter, proxy and its
// subpackages, recording, its subpackage, the Prometheus client, x/sys/unix and the standard
// library: no YAML, no cloud SDK and no CLI framework.
package sidecar

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/proxy/status"
)

// heapGrowth is the percentage by which the heap may grow before a collection, unless GOGC
// sets another. Every pod has a sidecar, so memory matters more than the few tenths of a
// percent of processor time that Go's default of 100 would save. It applies once the sidecar
// listens: the start fits into the 4 MiB that Go's default begins with, and a collection
// during the start would only take pages that the runtime keeps.
const heapGrowth = 50

// Main runs the sidecar with the environment's configuration until ctx ends and its
// connections have drained. Records have the version. The log goes to w as JSON lines, at
// the level that the environment sets. If nothing reads w, log lines are dropped, and nothing
// else is affected.
func Main(ctx context.Context, getenv func(string) string, version string, w io.Writer) error {
	cfg, err := FromEnv(getenv)
	if err != nil {
		return err
	}
	if getenv("GOGC") == "" {
		cfg.Listening = func(*proxy.Proxy) { debug.SetGCPercent(heapGrowth) }
	}
	signal.Ignore(syscall.SIGPIPE) // a write to a log that nobody reads must not end the process
	lines := newLogQueue(w)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logTime)
		defer cancel()
		lines.close(ctx)
	}()
	log := slog.New(slog.NewJSONHandler(lines, &slog.HandlerOptions{Level: cfg.LogLevel}))
	slog.SetDefault(log) // for libraries that log by themselves, such as net/http
	further := []prometheus.Collector{lines}
	if memory := confine(&cfg, os.DirFS("/"), getenv, log); memory != nil {
		further = append(further, memory)
		defer memory.watch(ctx)()
	}
	return Run(ctx, cfg, version, log, further...)
}

// Run runs a sidecar until ctx ends and its connections have drained. It serves its metrics
// together with those of further.
func Run(ctx context.Context, cfg Config, version string, log *slog.Logger, further ...prometheus.Collector) error {
	taken, err := Open(cfg, version, log)
	if err != nil {
		return err
	}
	podTime, cancel := podTime(ctx, cfg.Drain)
	defer cancel()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), proxy.CloseTime)
		defer cancel()
		err := taken.Close(ctx)
		if err != nil { // the pod does not fail because of it
			log.Error("the end of the recording is lost", proxy.LogError, err)
		}
		if cfg.Recorded != nil {
			cfg.Recorded(taken.recorder.Stats(), taken.outbound.Load())
		}
		if err == nil { // otherwise the disk may not answer, so the shipper gets no more time
			ctx, cancel = context.WithTimeout(podTime, cfg.Drain+proxy.StopTime)
			defer cancel()
		}
		taken.closeShipper(ctx)
	}()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(further...)
	metrics.MustRegister(taken, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	log.Info("starting", "version", version, "type", cfg.Type, "protocol", cfg.Protocols, "sink", cmp.Or(cfg.Collector, contract.Place{Scheme: "file", Path: cfg.Sink}).String())
	watching, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { taken.chooser.watch(watching, reread) })
	defer watch.Wait()
	defer cancel()
	p, err := proxy.Listen(ctx, taken.forwarding(cfg, version), log, taken.Open, metrics)
	if err != nil {
		return err
	}
	taken.ship(p)
	if cfg.Listening != nil {
		cfg.Listening(p)
	}
	debug.FreeOSMemory() // frees the memory that the start took, for example for the trust files
	return p.Serve(ctx)
}

// forwarding returns the proxy's configuration, with its share of the memory.
func (c *Capture) forwarding(cfg Config, version string) proxy.Config {
	cfg.TapMemory, cfg.Config.Pod = cfg.Memory/tapPart, cfg.Identity.Pod
	cfg.Paused = &c.chooser.paused
	cfg.Describe = func(s *status.Status) {
		s.Version, s.Sink = version, c.sink(cfg)
		s.Pod = status.Text(path.Join(cfg.Identity.Namespace, cfg.Identity.Pod))
	}
	return cfg.Config
}
