package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/wrap"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/sidecar"
)

// newRecordCommand captures without a cluster: it runs a command beside the sidecar.
func newRecordCommand() *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record PLACE -- COMMAND [ARGUMENT...]",
		Short: "Run a command and record its traffic, without a cluster",
		Long: `Runs a command on this machine with the sidecar beside it, and records its traffic. The
command gets the proxy variables that a render sets in a pod, so its calls go through
the sidecar, which intercepts TLS with a CA made for this run. With --port, the sidecar
also listens in front of the command and records its callers.

If PLACE is a bucket, the recording is kept in a temporary directory and uploaded when
the command has ended.
Programs that ignore proxy variables, and calls to localhost, are not recorded. If
PLACE has earlier exchanges, the run adds to them.

The sidecar's own variables (docs/environment.md) work here too, such as
TAPEDECK_OPAQUE_BYTES, TAPEDECK_CAPTURE_EXCLUDE and TAPEDECK_REDACT_HEADERS.

` + exitCodes,
		Example: `  tapedeck record recordings -- ./checkout
  tapedeck record recordings --port 8080 -- npm start    # then call localhost:4143
  tapedeck record recordings -- go test ./...`,
		Annotations: map[string]string{onSignal: drains},
		Args:        placeAndCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			return coded(f.run(cmd, args[0], args[1:]))
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	cmd.Flags().SetInterspersed(true)
	cmd.Flags().StringVar(&f.workload, "workload", "", "workload name in the recording; the default is the name of the command")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "local", "namespace in the recording")
	cmd.Flags().IntVar(&f.port, "port", 0, "`port` that the command serves, to record its callers; 0 records none")
	cmd.Flags().IntVar(&f.in, "in-port", 4143, "with --port: the `port` that callers use instead")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log what the sidecar does")
	return cmd
}

type recordFlags struct {
	workload, namespace string
	port, in            int
	verbose             bool
}

// noOutbound explains a recording without outbound exchanges.
const noOutbound = "no outbound call was seen: calls to localhost, and programs that ignore HTTP_PROXY, are not recorded; call the host's name (docs/outbound.md)"

// drainTime bounds how long connections that are still open may take once the command has
// ended.
const drainTime = 5 * time.Second

func (f *recordFlags) run(cmd *cobra.Command, place string, args []string) error {
	out, err := newOutput(cmd.Context(), place, "", openPlace)
	if err != nil {
		return err
	}
	defer out.close(cmd.Context()) // if the run never began
	ca, err := wrap.NewCA("")
	if err != nil {
		return err
	}
	defer ca.Remove()
	cfg, err := f.config(out.dir, ca, args[0])
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))

	if out.hasExchanges(cmd.Context()) {
		fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: %s has earlier exchanges; this run adds to them\n", place)
	}
	var kept spool.Stats
	var outbound uint64
	listening := make(chan net.Addr, 1)
	cfg.Listening = func(p *proxy.Proxy) { listening <- p.OutAddr() }
	cfg.Recorded = func(s spool.Stats, out uint64) { kept, outbound = s, out }
	ctx, stop := context.WithCancel(context.WithoutCancel(cmd.Context()))
	defer stop()
	running := make(chan error, 1)
	go func() { running <- sidecar.Run(ctx, cfg, buildVersion(), log) }()
	var addr net.Addr
	select {
	case addr = <-listening:
	case err := <-running:
		return takenPort(err, func(int) string { return "--in-port" })
	}
	if f.port > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: callers of port %d are recorded on localhost:%d\n", f.port, f.in)
	}
	status, err := wrap.Run(cmd.Context(), wrap.Command{
		Args: args, Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
		Env: wrap.Environment(addr.(*net.TCPAddr).Port, ca),
	}, drainTime)
	stop()
	if err := errors.Join(err, <-running); err != nil {
		return err
	}
	if err := out.close(cmd.Context()); err != nil {
		return &codedError{codeIncomplete, err}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: recorded in %s: %d; the command: %v\n", place, kept.Stored, status)
	if outbound == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: %s\n", noOutbound)
	}
	switch dropped := kept.Total(); {
	case kept.Err != nil:
		return fmt.Errorf("the recording is incomplete: %w", kept.Err)
	case dropped > 0:
		return &codedError{codeIncomplete, fmt.Errorf("the recording is incomplete: %d exchanges were dropped", dropped)}
	case status.Code != 0:
		return exitError(codeCommandFailed)
	}
	return nil
}

// config is the sidecar's, by its variables, with the bounds of a laptop.
func (f *recordFlags) config(dir string, ca *wrap.CA, program string) (sidecar.Config, error) {
	own := map[string]string{
		contract.EnvSink:         contract.Place{Scheme: "file", Path: dir}.String(),
		contract.EnvProxyType:    "forward",
		contract.EnvAppLabel:     cmp.Or(f.workload, filepath.Base(program)),
		contract.EnvPodNamespace: f.namespace,
		contract.EnvPodName:      fmt.Sprintf("local-%d", os.Getpid()), // which tells runs apart
		contract.EnvTLSCertDir:   ca.Dir,
		contract.EnvDrain:        drainTime.String(),
	}
	defaults := map[string]string{contract.EnvMemory: "256Mi", contract.EnvBodyLimit: "16Mi", contract.EnvSinkSize: "0"}
	if f.port > 0 {
		own[contract.EnvProxyType], own[contract.EnvReverseProxyPort] = "dual", fmt.Sprint(f.port)
		own[contract.EnvProxyInPort] = fmt.Sprint(f.in)
	}
	cfg, err := sidecar.FromEnv(func(name string) string {
		if v, ok := own[name]; ok {
			return v
		}
		return cmp.Or(os.Getenv(name), defaults[name])
	})
	cfg.OutPort, cfg.AdminPort = 0, 0 // any free ones
	cfg.TLSOut, cfg.Authority = true, ca.Authority
	return cfg, err
}
