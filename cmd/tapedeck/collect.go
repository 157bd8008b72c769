package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/collector/compact"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/recording"
)

// newCollectCommand runs the collector.
func newCollectCommand() *cobra.Command {
	var f collectFlags
	cmd := &cobra.Command{
		Use:   "collect PLACE",
		Short: "Receive recordings from sidecars, and store them",
		Long: `Receives segments from sidecars, checks them, and stores each once in PLACE, a
directory or a bucket. It keeps no other state, so several collectors can share one
place. A sidecar needs the token of its namespace, which "tapedeck collect token"
prints. Readers use a second port, on loopback:

  kubectl port-forward -n speedscale deploy/collector 4311
  tapedeck inspect http://localhost:4311

See docs/collector.md.`,
		Example: `  tapedeck collect recordings --key-file key
  tapedeck collect s3://recordings/prod?region=eu-central-1 --listen :4310 --admin :4312 --key-file /etc/tapedeck/collector/key
  tapedeck collect /recordings --key-file new --key-file old --keep 720h --keep-bytes 500Gi`,
		Annotations: map[string]string{onSignal: drains},
		Args:        cobra.ExactArgs(1),
		RunE:        func(cmd *cobra.Command, args []string) error { return coded(f.run(cmd, args[0])) },
	}
	cmd.SetFlagErrorFunc(flagError)
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", fmt.Sprintf("localhost:%d", contract.CollectorPort), "`address` that receives segments, as PORT or HOST:PORT; :PORT is every interface")
	fs.StringVar(&f.read, "read", fmt.Sprintf("localhost:%d", contract.CollectorReadPort), "loopback `address` that serves stored recordings; \"\" turns it off")
	fs.StringVar(&f.admin, "admin", fmt.Sprintf("localhost:%d", contract.CollectorAdminPort), "`address` for /healthz and /metrics")
	fs.StringArrayVar(&f.keyFiles, "key-file", nil, "`file` with the key that tokens are made from. While you replace a key, give both files: tokens of both are valid. The file is read again when it changes")
	fs.StringArrayVar(&f.clusters, "cluster", nil, "accept only segments of this `cluster`; may be repeated. The default is every cluster that a token is for")
	fs.StringVar(&f.cert, "tls-cert", "", "PEM `file` with the certificate of the port that receives segments. Without it, the port speaks plain HTTP, for use behind a mesh. The file is read again when it changes")
	fs.StringVar(&f.key, "tls-key", "", "PEM `file` with the key of the certificate. The file is read again when it changes")
	fs.IntVar(&f.concurrency, "concurrency", collector.DefaultConcurrency, "`uploads` that are processed at the same time")
	fs.StringVar(&f.temp, "temp-dir", "", "`directory` for uploads until they are stored; the default is the system's")
	fs.StringVar(&f.tempSize, "temp-size", "2Gi", "largest `size` of all uploads there, 512Mi or more; one namespace may use half of it")
	fs.DurationVar(&f.wait, "wait", collector.DefaultWait, "how long an upload waits before it is rejected as busy")
	fs.DurationVar(&f.drain, "drain", collector.DefaultDrain, "how long running uploads may take after SIGTERM")
	fs.DurationVar(&f.keep, "keep", 0, "delete segments this long after their hour; 0 keeps them. Snapshots are never deleted")
	fs.StringVar(&f.keepBytes, "keep-bytes", "0", "delete the oldest segments if the total exceeds this `size`; 0 means no limit. Snapshots are never deleted")
	_ = cmd.MarkFlagRequired("key-file")
	_ = cmd.MarkFlagFilename("key-file")
	_ = cmd.MarkFlagFilename("tls-cert", "crt", "pem")
	_ = cmd.MarkFlagFilename("tls-key", "key", "pem")
	_ = cmd.MarkFlagDirname("temp-dir")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.AddCommand(newCollectTokenCommand(), newCollectKeyCommand())
	return cmd
}

type collectFlags struct {
	listen, read, admin       string
	keyFiles, clusters        []string
	cert, key, temp, tempSize string
	keepBytes                 string
	concurrency               int
	wait, drain, keep         time.Duration
}

func (f *collectFlags) run(cmd *cobra.Command, text string) error {
	ctx := cmd.Context()
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	place, err := contract.ParsePlace(text)
	if err != nil {
		return err
	}
	if _, snapshot, err := place.Snapshot(); err != nil || snapshot || place.IsCollector() {
		return fmt.Errorf("%s: want a directory or a bucket to store in", place)
	}
	o, err := f.options(log)
	if err != nil {
		return err
	}
	if o.Store, err = openPlace(ctx, place); err != nil {
		return err
	}
	o.Compacted = compact.NewLists(o.Store).Has
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o.Metrics = metrics
	c, err := collector.New(o)
	if err != nil {
		return err
	}
	ports := collector.Ports{Metrics: promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})}
	if f.cert != "" {
		if ports.TLS, err = collector.Certificate(f.cert, f.key, log); err != nil {
			return err
		}
	}
	if err := f.open(ctx, &ports); err != nil {
		return errors.Join(err, ports.Close())
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: receiving segments on %s for %s%s; metrics http://%s/metrics\n", ports.Write.Addr(), place, readAt(ports.Read), ports.Admin.Addr())
	return c.Serve(ctx, ports)
}

func readAt(l net.Listener) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf("; read them from the place http://%s", l.Addr())
}

// options reads the flags.
func (f *collectFlags) options(log *slog.Logger) (o collector.Options, err error) {
	o = collector.Options{
		Clusters: f.clusters, Concurrency: f.concurrency, TempDir: f.temp, Wait: f.wait, Drain: f.drain, Keep: f.keep, Log: log,
	}
	if o.Keys, err = collector.KeyFiles(f.keyFiles, log); err != nil {
		return o, fmt.Errorf("--key-file: %w", err)
	}
	if o.TempBytes, err = contract.ParseSize(f.tempSize); err != nil {
		return o, fmt.Errorf("--temp-size: %w", err)
	}
	if o.KeepBytes, err = contract.ParseSize(f.keepBytes); err != nil {
		return o, fmt.Errorf("--keep-bytes: %w", err)
	}
	for _, flag := range []struct {
		name  string
		value any
		wrong bool
		want  string
	}{
		{"concurrency", f.concurrency, f.concurrency < 1, "1 upload or more"},
		{"temp-size", f.tempSize, o.TempBytes < 2*contract.MaxSegmentBytes, "512Mi or more: a segment has up to 256Mi, and one namespace gets half of the size"},
		{"wait", f.wait, f.wait <= 0, "a duration above 0, such as 5s"},
		{"drain", f.drain, f.drain <= 0, "a duration above 0, such as 20s"},
		{"keep", f.keep, f.keep < 0, "a duration such as 720h, or 0 to keep segments for ever"},
	} {
		if flag.wrong {
			return o, fmt.Errorf("--%s %v: want %s", flag.name, flag.value, flag.want)
		}
	}
	return o, nil
}

// open listens on the ports.
func (f *collectFlags) open(ctx context.Context, p *collector.Ports) error {
	for _, port := range []struct {
		flag, at string
		to       *net.Listener
	}{{"listen", f.listen, &p.Write}, {"read", f.read, &p.Read}, {"admin", f.admin, &p.Admin}} {
		if port.at == "" && port.flag == "read" {
			continue
		}
		address, err := front.ParseListen(port.at)
		if err != nil {
			return fmt.Errorf("--%s: %w", port.flag, err)
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("--%s: %w", port.flag, err)
		}
		*port.to = l
	}
	return nil
}

// newCollectTokenCommand prints the token of a namespace.
func newCollectTokenCommand() *cobra.Command {
	var cluster, namespace, keyFile string
	cmd := &cobra.Command{
		Use:   "token --namespace NAMESPACE --key-file FILE",
		Short: "Print the token with which the sidecars of a namespace send to a collector",
		Long: `Derives the token of a namespace from the collector's key. It goes into a Secret of
that namespace, tapedeck-collector-token unless the option sinkTokenSecret names
another. The token lets its holder store recordings of that namespace, and nothing
more. The cluster must be the one that the render was given with the option
cluster.`,
		Example: `  tapedeck collect token --namespace shop --cluster c1 --key-file key |
    kubectl create secret generic tapedeck-collector-token -n shop --from-file=token=/dev/stdin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := collector.ReadKey(keyFile)
			if err != nil {
				return coded(fmt.Errorf("--key-file: %w", err))
			}
			if namespace == "" {
				return coded(errors.New("--namespace: want the name of a namespace"))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), contract.CollectorToken(key, recording.KeyPart(cluster), recording.KeyPart(namespace)))
			return err
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	fs := cmd.Flags()
	fs.StringVarP(&namespace, "namespace", "n", "", "`namespace` of the sidecars")
	fs.StringVar(&cluster, "cluster", recording.Undefined, "`cluster` of the sidecars, as in the option cluster of the render")
	fs.StringVar(&keyFile, "key-file", "", "`file` with the collector's key")
	_ = cmd.MarkFlagRequired("namespace")
	_ = cmd.MarkFlagRequired("key-file")
	_ = cmd.MarkFlagFilename("key-file")
	return cmd
}

// newCollectKeyCommand makes a key.
func newCollectKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Print a new random key for a collector",
		Long: `Prints a key of 130 random bits as text. It belongs in a Secret that only the collector
mounts. The tokens of all namespaces are derived from it, so keep a copy where you keep
secrets.`,
		Example: `  tapedeck collect key > key
  kubectl create secret generic tapedeck-collector-key -n speedscale --from-file=key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), rand.Text()+"\n")
			return err
		},
	}
}
