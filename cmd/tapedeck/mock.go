package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/wrap"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/front"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/mock/passthrough"
	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/redact"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// newMockCommand makes the command that stands in for dependencies.
func newMockCommand() *cobra.Command {
	var f mockFlags
	cmd := &cobra.Command{
		Use:   "mock PLACE [-- COMMAND [ARGUMENT...]]",
		Short: "Stand in for recorded dependencies, and run a command against them",
		Long: `Answers an application's outbound requests with recorded answers, and makes no
connections. PLACE is a recording, a snapshot (PLACE/snapshots/ID[@sha256:…]) or a
file. With a command, it runs the command and sends its traffic to the mock;
without one, it serves until it is interrupted.

The mock is a forward proxy (HTTP, CONNECT, SOCKS4, SOCKS5) that intercepts TLS with a
CA made for this run. It also answers direct requests, by their Host. For clients that
can't use a proxy, --map opens further ports.

A request that is not in the recording is a miss. It gets HTTP 501 with an
explanation, gRPC's INTERNAL, or a reset. See docs/mock.md.

` + mockExitCodes,
		Example: `  tapedeck mock recordings -- ./checkout
  tapedeck mock recordings --fail-on-miss -- go test ./...
  tapedeck mock recordings --map 5432=postgres://db:5432 --passthrough auth.example.com -- npm test
  tapedeck mock recordings --fault 'api.stripe.com/v1:rate=1/10,status=503' --latency recorded
  tapedeck mock s3://recordings/prod/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e --listen :8080`,
		Annotations: map[string]string{onSignal: drains},
		Args:        placeAndPerhapsCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.chosen = cmd.Flags().Changed
			return coded(f.run(cmd, args[0], args[1:]))
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	fs := cmd.Flags()
	fs.StringArrayVar(&f.listen, "listen", []string{"localhost:4140"}, "`address` to listen on, as PORT or HOST:PORT; with a command, any free port")
	fs.StringVar(&f.admin, "admin", "localhost:4141", "`address` for /healthz, /metrics, /receipt, /reset and /faults; with a command, any free port")
	fs.BoolVar(&f.adminFaults, "admin-faults", false, "let everyone who reaches the admin address change the fault rules; the default is loopback only")
	fs.StringArrayVar(&f.maps, "map", nil, "open a further port that answers for a server, as `LISTEN=[PROTOCOL://]HOST[:PORT]`")
	fs.StringVar(&f.repeat, "repeat", string(order.Last), "what to answer once all recorded answers of a request were given: the `last` one, cycle or miss")
	fs.StringVar(&f.latency, "latency", "streams", "recorded delays to repeat: `none`, streams (between events and messages), recorded (also before answers), or a factor such as 0.5x")
	fs.StringArrayVar(&f.faults, "fault", nil, "make answers fail, as `PATTERN:NAME=VALUE[,…]`; see docs/mock.md")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the random choice of answers that fail")
	fs.StringArrayVar(&f.passthrough, "passthrough", nil, "connect to this `host` if the recording has no answer: HOST, HOST:PORT or *.HOST")
	fs.StringVar(&f.record, "record", "", "record requests and answers, tagged with the verdict, in this `place`; a bucket gets them at the end")
	f.matchFlags.register(fs)
	fs.BoolVar(&f.refreshDates, "refresh-dates", false, "move Date, Expires, Last-Modified and the times of cookies to now")
	fs.BoolVar(&f.allowCut, "allow-cut", false, "serve answers that were recorded only in part")
	fs.BoolVar(&f.allowIncomplete, "allow-incomplete", false, "serve a damaged or incomplete recording")
	fs.BoolVar(&f.failOnMiss, "fail-on-miss", false, "exit with 4 if the recording had no answer for a request")
	fs.StringVar(&f.receipt, "receipt", "", "write the receipt to this `file` as JSON")
	fs.BoolVar(&f.explain, "explain", false, "print on standard error how each answer was chosen")
	fs.StringVar(&f.direction, "direction", "out", "answer from `out`bound exchanges, as dependencies do, or from inbound ones, as the workload does")
	fs.StringSliceVarP(&f.query.Namespaces, "namespace", "n", nil, "load only what was recorded in these `namespaces`")
	fs.StringSliceVarP(&f.query.Workloads, "workload", "w", nil, "load only what these `workloads` recorded")
	fs.StringSliceVar(&f.query.Clusters, "cluster", nil, "load only what was recorded in these `clusters`")
	fs.StringArrayVar(&f.slices, "slice", nil, "answer only from exchanges with this `key`, SERVICE:HOST:PORT or a unique part of it; may be repeated")
	fs.StringVar(&f.ca, "ca", "", "`directory` with the CA's tls.crt and tls.key; by default each run makes a CA and doesn't store it")
	fs.StringVar(&f.temp, "temp-dir", "", "`directory` for temporary files, such as the recorded answers; the default is the system's")
	fs.StringVar(&f.tempSize, "temp-size", "64Gi", "largest `size` of the file with recorded answers")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "also log faults")
	return cmd
}

// mockExitCodes describes the exit codes in the help.
const mockExitCodes = `Exit codes: 0 success, 1 a fault rule never fired, 2 the mock could not run, 4 a
request was a miss and --fail-on-miss is given, 6 the recording is damaged or
incomplete, 100 only the command failed; its status is printed.`

// placeAndPerhapsCommand accepts PLACE, or PLACE -- COMMAND.
func placeAndPerhapsCommand(cmd *cobra.Command, args []string) error {
	if dash := cmd.ArgsLenAtDash(); dash == 1 && len(args) > 1 || dash < 0 && len(args) == 1 {
		return nil
	}
	return wrongArguments(cmd, args)
}

type mockFlags struct {
	matchFlags
	listen, maps, faults, passthrough       []string
	slices                                  []string
	admin, repeat, latency, record          string
	receipt, direction, ca, temp, tempSize  string
	seed                                    uint64
	refreshDates, allowCut, allowIncomplete bool
	failOnMiss, explain, verbose            bool
	adminFaults                             bool
	query                                   read.Query
	chosen                                  func(flag string) bool
}

// mockGrace bounds the time of requests that are under way when the mock ends.
const mockGrace = time.Second

func (f *mockFlags) run(cmd *cobra.Command, place string, command []string) (err error) {
	started := time.Now().UTC()
	ctx := cmd.Context()
	log := f.logger(cmd.ErrOrStderr())
	m, err := f.start(cmd, place, len(command) > 0, log)
	if err != nil {
		return err
	}
	if m.kept != nil {
		defer m.kept.out.close(ctx) // the run never began
	}
	defer m.end()
	complete := func(r mock.Receipt) mock.Receipt {
		if r.Version, r.Recording = buildVersion(), m.source; r.Resets == 0 {
			r.Started = started
		}
		return r
	}
	closeAdmin, admin, err := f.serveAdmin(ctx, m.Mock, complete, log)
	if err != nil {
		return err
	}
	defer closeAdmin()
	f.announce(cmd.ErrOrStderr(), m, admin)
	var ran *mock.Command
	if len(command) == 0 {
		<-ctx.Done()
	} else {
		status, err := wrap.Run(ctx, wrap.Command{
			Args: command, Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
			Env: wrap.Environment(m.Addr().Port, m.trust),
		}, drainTime)
		if err != nil {
			return err
		}
		ran = &mock.Command{Args: command, Status: status.Code, Signal: status.Signal}
	}
	m.end()
	if m.kept != nil {
		if err := m.kept.finish(ctx); err != nil {
			return &codedError{codeIncomplete, fmt.Errorf("--record %s: %w", f.record, err)}
		}
	}
	return f.sumUp(cmd, complete(m.Receipt()), ran)
}

// settle returns the memory that loading took, and bounds the garbage of serving, which adds to
// a large recording's index.
func settle() { boundGarbage(64<<20, 10, 100) }

// boundGarbage returns free memory to the system. Unless GOGC is set, it also bounds the bytes of
// garbage before a collection, within percentages of the memory in use now. Go's default is 100
// percent.
func boundGarbage(bytes, least, most uint64) {
	debug.FreeOSMemory()
	if os.Getenv("GOGC") != "" {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(int(max(least, min(most, 100*bytes/max(1, m.HeapAlloc)))))
}

func (f *mockFlags) logger(w io.Writer) *slog.Logger {
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// options reads the flags that say how the mock answers.
func (f *mockFlags) options(log *slog.Logger, wraps bool) (o mock.Options, err error) {
	o = mock.Options{AllowCut: f.allowCut, RefreshDates: f.refreshDates, Grace: mockGrace, Log: log}
	if wraps { // only the command uses the ports, and it gets them in its environment
		if !f.chosen("listen") {
			f.listen = []string{"127.0.0.1:0"}
		}
		if !f.chosen("admin") {
			f.admin = "127.0.0.1:0"
		}
	}
	for _, text := range f.listen {
		address, err := front.ParseListen(text)
		if err != nil {
			return o, fmt.Errorf("--listen: %w", err)
		}
		o.Listen = append(o.Listen, address)
	}
	for _, text := range f.maps {
		m, err := front.ParseMap(text)
		if err != nil {
			return o, fmt.Errorf("--map: %w", err)
		}
		o.Maps = append(o.Maps, m)
	}
	if o.Policy, err = order.ParsePolicy(f.repeat); err != nil {
		return o, fmt.Errorf("--repeat: %w", err)
	}
	if o.Latency, err = mock.ParseLatency(f.latency); err != nil {
		return o, fmt.Errorf("--latency: %w", err)
	}
	if len(f.faults) > 0 {
		if o.Faults, err = fault.New(f.seed, f.faults); err != nil {
			return o, fmt.Errorf("--fault: %w", err)
		}
	}
	if len(f.passthrough) > 0 {
		if o.Passthrough, err = passthrough.New(f.passthrough, nil, log); err != nil {
			return o, fmt.Errorf("--passthrough: %w", err)
		}
	}
	switch strings.ToLower(f.direction) {
	case "out", "in":
	default:
		return o, fmt.Errorf("--direction %q: want out or in", f.direction)
	}
	return o, nil
}

// authority loads the CA, or makes one for the run, and writes the trust files.
func (f *mockFlags) authority(o *mock.Options) (*wrap.CA, error) {
	if f.ca == "" {
		trust, err := wrap.NewCA(f.temp)
		if err == nil {
			o.Authority = trust.Authority
		}
		return trust, err
	}
	authority, err := ca.Load(f.ca)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	o.Authority = authority
	return wrap.Trust(authority, f.temp)
}

// load loads the recording.
func (f *mockFlags) load(cmd *cobra.Command, place string, key redactKey) (*mock.Library, mock.Source, error) {
	ctx := cmd.Context()
	from, source, err := sourceOf(ctx, place)
	if err != nil {
		return nil, source, err
	}
	matcher, redacts, _, err := f.matcher(key)
	if err != nil {
		return nil, source, err
	}
	size, err := contract.ParseSize(f.tempSize)
	if err != nil {
		return nil, source, fmt.Errorf("--temp-size: %w", err)
	}
	p := newProgress(cmd.ErrOrStderr())
	lo := mock.LoadOptions{Matcher: matcher, Redact: redacts, Dir: f.temp, Limit: size, Progress: func(n int) { p.show("loading: %d exchanges", n) }}
	direction := strings.ToUpper(f.direction)
	lo.Inbound = direction == recording.In
	if !key.given {
		lo.Foreign = func(*recording.Exchange) bool { return true }
	}
	q, err := read.Slice(ctx, f.query, convert.Files{}, direction, f.slices, from)
	if err != nil {
		return nil, source, fmt.Errorf("--slice: %w", err)
	}
	var lib *mock.Library
	var r *read.Reader
	var hashed *mock.Hashed
	for _, order := range []read.Order{read.Streamed, read.Sorted} {
		hashed = mock.NewHashed(from)
		if r, err = read.Open(ctx, q, read.Options{Order: order, TempDir: f.temp, Foreign: convert.Files{}}, hashed); err != nil {
			return nil, source, err
		}
		if lib, err = mock.Load(ctx, r.Exchanges(), lo); err != nil || r.Report().Count(read.Divided) == 0 {
			break
		}
		lib.Close() // conversations came in pieces; sorting takes longer, but gives whole ones
	}
	p.clear()
	if errors.Is(err, mock.ErrEmpty) {
		if damage := r.Report().Err(); damage != nil { // which may be the cause
			return nil, source, &codedError{codeIncomplete, fmt.Errorf("%s: %w; %w", place, err, damage)}
		}
		err = fmt.Errorf("%s: %w", place, err)
		if direction == recording.Out {
			err = fmt.Errorf("%w: no outbound exchange is in it; calls to localhost, and calls of programs that ignore HTTP_PROXY, are not recorded (docs/outbound.md)", err)
		}
	}
	if err != nil {
		return nil, source, err
	}
	if err := wasRead(place, &source, r.Report(), hashed, key, f.allowIncomplete, "serves"); err != nil {
		lib.Close()
		return nil, source, err
	}
	return lib, source, nil
}

// wasRead sets the findings and the hash of a source after the whole place was read. It returns
// an error for damage and gaps unless they are allowed, and for a key that is not the
// recording's. does is the verb of the command in that error.
func wasRead(place string, source *mock.Source, r *read.Report, hashed *mock.Hashed, key redactKey, allowed bool, does string) error {
	for _, found := range r.Findings() {
		if read.Kinds()[found.Kind].Severity > read.Normal {
			source.Findings = append(source.Findings, found.String())
		}
	}
	if err := r.Err(); err != nil && !allowed {
		return &codedError{codeIncomplete, fmt.Errorf("%s: %w; --allow-incomplete %s the rest", place, err, does)}
	}
	if source.SHA256 == "" {
		source.SHA256 = hashed.Sum()
	}
	return checkKeys(r, key)
}

// sourceOf opens a place, a snapshot or a file.
func sourceOf(ctx context.Context, name string) (read.Store, mock.Source, error) {
	source := mock.Source{Place: name}
	if place, err := contract.ParsePlace(name); err == nil {
		if ref, is, err := place.Snapshot(); err == nil && is {
			s, snap, err := openSource(ctx, place)
			if err != nil {
				return nil, source, err
			}
			ref.Digest = snap.Digest
			source.Place, source.SHA256 = ref.String(), ref.Digest
			return s, source, nil
		}
	}
	s, err := openToRead(ctx, name)
	return s, source, err
}

// kept records exchanges, and brings them to the place of --record.
type kept struct {
	*spool.Recorder
	out *output
}

// sink opens the place of --record; it returns nil without the flag.
func (f *mockFlags) sink(ctx context.Context, key redactKey) (*kept, error) {
	if f.record == "" {
		return nil, nil
	}
	out, err := newOutput(ctx, f.record, f.temp, openPlace)
	if err != nil {
		return nil, fmt.Errorf("--record: %w", err)
	}
	so := spool.Options{Redact: redact.Options{Key: key.bytes}}
	so.Cluster, so.Namespace, so.Workload, so.Pod = recording.Undefined, "local", "mock", fmt.Sprintf("local-%d", os.Getpid())
	r, err := spool.Open(out.dir, so)
	if err != nil {
		return nil, fmt.Errorf("--record: %w", err)
	}
	return &kept{r, out}, nil
}

// finish writes the exchanges that are still queued, and brings all to the place.
func (k *kept) finish(ctx context.Context) error {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := errors.Join(k.Close(ending), k.out.close(ctx)); err != nil {
		return err
	}
	s := k.Stats()
	if n := s.Total(); n > 0 {
		return fmt.Errorf("%d exchanges were dropped", n)
	}
	return nil
}

// serveAdmin serves the admin address. complete fills in the fields of a receipt that the mock
// doesn't have.
func (f *mockFlags) serveAdmin(ctx context.Context, m *mock.Mock, complete func(mock.Receipt) mock.Receipt, log *slog.Logger) (stop func(), at net.Addr, err error) {
	listen, err := front.ParseListen(f.admin)
	if err != nil {
		return nil, nil, fmt.Errorf("--admin: %w", err)
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(m.Collector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	say := func(w http.ResponseWriter, r mock.Receipt) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = writeJSON(w, complete(r))
	}
	mux.HandleFunc("GET /receipt", func(w http.ResponseWriter, _ *http.Request) { say(w, m.Receipt()) })
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) { say(w, m.Reset()) })
	mux.Handle("PUT /faults", f.mayChangeFaults(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		var set *fault.Set
		if lines := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' }); err == nil && len(lines) > 0 {
			set, err = fault.New(f.seed, lines)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m.SetFaults(set)
		w.WriteHeader(http.StatusNoContent)
	}))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, nil, takenPort(fmt.Errorf("--admin: %w", err), func(int) string { return "--admin" })
	}
	handler := http.NewCrossOriginProtection().Handler(mux) // web pages of other origins can't reset the mock
	if a := l.Addr().(*net.TCPAddr); a.IP.IsLoopback() {
		handler = address.OnLoopback(handler)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends with Close
	}()
	return func() {
		_ = srv.Close()
		<-done
	}, l.Addr(), nil
}

// mayChangeFaults accepts requests over loopback, such as those of kubectl port-forward. In a
// cluster others reach the admin port too, and the workload under test must not decide which
// answers fail.
func (f *mockFlags) mayChangeFaults(change http.HandlerFunc) http.Handler {
	if f.adminFaults {
		return change
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if here == nil || !here.IP.IsLoopback() {
			http.Error(w, "fault rules can be changed over loopback only, as with kubectl port-forward; to allow it from anywhere, start the mock with --admin-faults", http.StatusForbidden)
			return
		}
		address.OnLoopback(change).ServeHTTP(w, r)
	})
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// announce prints the addresses of the mock.
func (f *mockFlags) announce(w io.Writer, m *standIn, admin net.Addr) {
	fmt.Fprintf(w, "tapedeck: %d recorded exchanges; proxy http://%s (also SOCKS), CA %s, metrics http://%s/metrics\n",
		m.lib.Len(), m.Addr(), filepath.Join(m.trust.Dir, filepath.Base(contract.CACert)), admin)
	for i, text := range f.maps {
		fmt.Fprintf(w, "tapedeck: %s listens on %s\n", text, m.MapAddr(i))
	}
}

// sumUp writes the receipt, and returns the exit code.
func (f *mockFlags) sumUp(cmd *cobra.Command, r mock.Receipt, ran *mock.Command) error {
	r.Command = ran
	unfired := r.UnfiredFaults()
	switch {
	case r.Missed > 0 && f.failOnMiss:
		r.ExitCode = codeMissed
	case len(unfired) > 0:
		r.ExitCode = codeUnfired
	case ran != nil && ran.Status != 0:
		r.ExitCode = codeCommandFailed
	}
	fmt.Fprint(cmd.ErrOrStderr(), r.String())
	for _, rule := range unfired {
		fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: a fault rule never fired, so it tested nothing: %s\n", rule)
	}
	if f.receipt != "" {
		if err := writeReceipt(f.receipt, r); err != nil {
			return err
		}
	}
	if r.ExitCode != 0 {
		return exitError(r.ExitCode)
	}
	return nil
}

// writeReceipt writes the receipt in one step: a reader sees all of it or nothing.
func writeReceipt(name string, r mock.Receipt) error {
	if err := writeWhole(name, 0o644, func(w io.Writer) error { return writeJSON(w, r) }); err != nil {
		return fmt.Errorf("--receipt: %w", err)
	}
	return nil
}
