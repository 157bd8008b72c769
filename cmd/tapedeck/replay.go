package main

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/signals"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/compare"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/schedule"
	"github.com/tapedeck/tapedeck/replay/stats"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// newReplayCommand sends recorded requests.
func newReplayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay PLACE [-- COMMAND [ARGUMENT...]]",
		Short: "Send recorded requests to a target and compare its answers",
		Long: `Sends the inbound requests of a recording to a target, compares the answers with
the recorded ones, and reports what is new. PLACE is a recording, a snapshot
(PLACE/snapshots/ID[@sha256:…]) or a file. Without --target, requests go to the
recorded port on this machine.

Requests go out at recorded times, whatever the answers take: an open loop. One
that carries a value that an earlier answer issues, such as a token or an id, waits
for that answer and sends the live value. --rate sends at a fixed rate. --users and
--sessions are closed loops. See docs/replay.md.

With --mock and a command, it starts a mock for the dependencies, runs the command
behind it, waits for the target's port, replays, and stops both.

` + replayExitCodes,
		Example: `  tapedeck replay recordings --target http://localhost:8080
  tapedeck replay recordings --mock -- ./checkout
  tapedeck replay recordings --target http://localhost:8080 --speed 10 --fail-if "latency.p95 > 100" --html report.html
  tapedeck replay recordings --target https://staging.example.com --only safe --set header.Authorization=env:TOKEN
  tapedeck replay recordings --target http://localhost:8080 --report main.json
  tapedeck replay recordings --target http://localhost:8080 --baseline main.json --junit replay.xml`,
		Annotations: map[string]string{onSignal: drains},
		Args:        placeAndPerhapsCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := coded(f.run(cmd, args[0], args[1:]))
			var reported exitError
			if _, ok := signals.Received(cmd.Context()); ok && err != nil && !errors.As(err, &reported) {
				return &codedError{codeIncomplete, fmt.Errorf("the replay was stopped before there was anything to report: %w", err)}
			}
			return err
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	fs := cmd.Flags()
	fs.StringVar(&f.target, "target", "", "`URL` that requests are sent to; by default the recorded port of localhost")
	fs.BoolVar(&f.rewriteHost, "rewrite-host", false, "send the target's host as Host instead of the recorded one")
	fs.StringVar(&f.caFile, "tls-ca", "", "`file` with the CAs that the target's certificate is verified by; the system's by default")
	fs.StringVar(&f.serverName, "tls-server-name", "", "`name` that the target's certificate must have; the target's host by default")
	fs.StringVar(&f.certFile, "tls-cert", "", "`file` with the client's certificate")
	fs.StringVar(&f.keyFile, "tls-key", "", "`file` with its key")
	fs.DurationVar(&f.timeout, "timeout", wire.DefaultTimeout, "how long an answer may make no progress")

	fs.StringVar(&f.speed, "speed", "1", "divides recorded times and pauses by a `factor`, as 2 or 2x")
	fs.IntVar(&f.load.Copies, "copies", 1, "how many copies of the recording are sent at the same time")
	fs.Float64Var(&f.load.Rate, "rate", 0, "send so many requests per second, in recorded order")
	fs.IntVarP(&f.load.Users, "users", "u", 0, "closed loop: so many `virtual users`, each going through the recording as fast as answers come")
	fs.IntVar(&f.load.Sessions, "sessions", 0, "closed loop: so many recorded `sessions` at a time, with their pauses")
	fs.StringArrayVar(&f.stages, "stage", nil, "a stage of the load, as `rate=50,for=30s,ramp=5s` or vus=10,for=1m; may be repeated")
	fs.IntVarP(&f.load.Passes, "times", "n", 0, "go through the recording so many times; by default once")
	fs.DurationVarP(&f.load.For, "for", "f", 0, "end after this `time`")
	fs.Int64Var(&f.load.Requests, "requests", 0, "end after so many requests")
	fs.StringVar(&f.only, "only", "", "`safe`: send only requests that change nothing, by their method")
	fs.IntVar(&f.maxInFlight, "max-in-flight", replay.DefaultInFlight, "bound on requests under way; what exceeds it is sent late, and counted")
	fs.DurationVar(&f.maxLag, "max-lag", replay.DefaultLag, "how late one request in a hundred may be sent; else the result is void")
	fs.Float64Var(&f.bounds.PerSecond, "max-rate", 5000, "refuse a load of more `requests per second`; 0: any")
	fs.Int64Var(&f.bounds.Requests, "max-requests", 5_000_000, "refuse a load of more `requests`; 0: any")

	fs.StringArrayVar(&f.set, "set", nil, "a value for a place of requests, as `header.Authorization=env:TOKEN`; may be repeated")
	fs.StringVar(&f.credentials, "credentials", "", "`file` with such values, one a line")
	fs.StringVar(&f.withoutCredentials, "without-credentials", "stop", "what to do with requests whose credentials are missing: `stop`, leave-out or send")
	fs.StringVar(&f.carryRules, "carry-rules", "", "`file` of rules for what is carried from answers to requests")

	fs.BoolVar(&f.noCompare, "no-compare", false, "do not compare answers")
	fs.StringVar(&f.baseline, "baseline", "", "`URL` of a build that each request is sent to as well, or the report of an earlier replay, to tell what is new")
	fs.StringVar(&f.accept, "accept", "", "write `file` with the rules that accept what is new")
	fs.BoolVar(&f.verifyFix, "verify-fix", false, "want recorded failures to be gone")
	f.matchFlags.register(fs)
	fs.StringArrayVar(&f.failIf, "fail-if", nil, "a `goal` that is missed if it holds, as \"latency.p95 > 100\"; may be repeated")

	fs.StringVarP(&f.output, "output", "o", "pretty", "form of the report on standard output: `pretty`, json, yaml, csv, or none")
	fs.StringVar(&f.report, "report", "", "write the report as JSON to `file`")
	fs.StringVar(&f.html, "html", "", "write it as one HTML page to `file`")
	fs.StringVar(&f.junit, "junit", "", "write it as JUnit XML to `file`")
	fs.StringVar(&f.markdown, "markdown", "", "write it as Markdown to `file`, such as $GITHUB_STEP_SUMMARY")

	fs.BoolVar(&f.mocks, "mock", false, "mock the recorded dependencies, and run the command behind the mock")
	fs.StringVar(&f.passthrough, "mock-passthrough", "", "`hosts` that are reached where the recording has no answer, separated by commas")

	fs.StringSliceVar(&f.query.Namespaces, "namespace", nil, "send only what was recorded in these `namespaces`")
	fs.StringSliceVarP(&f.query.Workloads, "workload", "w", nil, "send only what these `workloads` received")
	fs.StringSliceVar(&f.query.Clusters, "cluster", nil, "send only what was recorded in these `clusters`")
	fs.BoolVar(&f.allowIncomplete, "allow-incomplete", false, "replay a recording that is damaged, or lacks something that was recorded")
	fs.StringVar(&f.temp, "temp-dir", "", "`directory` for the file with recorded requests; the system's by default")
	fs.StringVar(&f.tempSize, "temp-size", "64Gi", "bound on that file's `size`")
	return cmd
}

// replayExitCodes describes them.
const replayExitCodes = `Exit codes: 0 passed, 1 goals missed, 2 could not run, 3 new differences, 4 mock
misses, 5 generator-bound: the result is void, 6 the input is incomplete or
credentials are missing. If several apply, the first of 6, 2, 5, 4, 3, 1.`

type replayFlags struct {
	matchFlags
	target, caFile, serverName, certFile, keyFile string
	rewriteHost                                   bool
	timeout, maxLag                               time.Duration

	speed, only        string
	load               replay.Load
	stages             []string
	maxInFlight        int
	bounds             replay.Bounds
	set                []string
	credentials        string
	withoutCredentials string
	carryRules         string

	noCompare, verifyFix                  bool
	baseline, accept                      string
	failIf                                []string
	output, report, html, junit, markdown string
	mocks                                 bool
	passthrough                           string
	query                                 read.Query
	allowIncomplete                       bool
	temp, tempSize                        string
}

// loaded is a recording that is ready to be sent.
type loaded struct {
	plan    *plan.Plan
	graph   *carry.Graph
	compare *replay.Comparison
	matcher *match.Matcher
	rules   *carry.Rules
	source  mock.Source
}

func (f *replayFlags) run(cmd *cobra.Command, place string, command []string) (err error) {
	ctx := cmd.Context()
	goals, err := f.goals()
	if err != nil {
		return err
	}
	load, err := f.shape()
	if err != nil {
		return err
	}
	set, err := f.settings()
	if err != nil {
		return err
	}
	if err := f.check(command); err != nil {
		return err
	}
	l, err := f.prepare(cmd, place)
	if err != nil {
		return err
	}
	defer l.plan.Close()
	o := replay.Options{Plan: l.plan, Graph: l.graph, Load: load, Set: set, Compare: l.compare, VerifyFix: f.verifyFix, MaxInFlight: f.maxInFlight, MaxLag: f.maxLag}
	f.bounds.InFlight = cmp.Or(f.maxInFlight, replay.DefaultInFlight)
	if o.Load, err = f.bounds.Check(load, l.plan); err != nil {
		return err
	}
	needs, err := f.preflight(cmd, l, &o)
	if err != nil {
		return err
	}
	target, err := f.targetURL(l.plan)
	if err != nil {
		return err
	}
	if o.Target, err = f.client(target, load); err != nil {
		return fmt.Errorf("--target: %w", err)
	}
	defer o.Target.Close()
	if u, isURL := baselineURL(f.baseline); isURL {
		if o.Baseline, err = f.client(u, load); err != nil {
			return fmt.Errorf("--baseline: %w", err)
		}
		defer o.Baseline.Close()
	}
	var dependencies *standIn
	if f.mocks {
		if dependencies, err = f.startMock(cmd, place); err != nil {
			return err
		}
		defer dependencies.end()
	}
	var app *app
	if len(command) > 0 {
		if isTaken(ctx, target) {
			return fmt.Errorf("%s: somebody listens there already, and would get the requests meant for %s: stop it, or give the command another port and say so with --target", target.Host, command[0])
		}
		app = startApp(cmd, command, dependencies)
		defer app.stop(ctx)
		if err := app.ready(ctx, target); err != nil {
			return err
		}
	}
	p := newProgress(cmd.ErrOrStderr())
	o.Progress = func(elapsed time.Duration, c stats.Counts) {
		p.show("%s: %d sent, %d failed", elapsed.Round(time.Second), c.Sent, c.Failed)
	}
	calm()
	r, err := replay.Run(ctx, o)
	p.clear()
	if app != nil {
		app.tellEnd(cmd)
	}
	if err != nil {
		return err
	}
	r.Version, r.Target, r.Source.Place, r.Source.SHA256, r.Source.Findings = buildVersion(), target.String(), l.source.Place, l.source.SHA256, l.source.Findings
	if f.allowIncomplete {
		r.Source.Findings = nil
	}
	if o.Baseline != nil {
		r.Baseline = f.baseline
	}
	r.Needs = needs
	f.unfired(r, l)
	if dependencies != nil {
		dependencies.end()
		r.Mock = dependencies.summary()
	}
	r.Judge(goals)
	return f.finish(cmd, r, l)
}

// calm lets garbage grow to four times what is in use, unless GOGC says otherwise: sending
// makes little but garbage, and collecting it takes time that requests are sent late by.
func calm() {
	debug.FreeOSMemory()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// check finds flags that contradict each other before anything takes time.
func (f *replayFlags) check(command []string) error {
	switch {
	case f.mocks && len(command) == 0:
		return errors.New("--mock: want a command that is run behind the mock, as in tapedeck replay PLACE --mock -- ./app")
	case f.passthrough != "" && !f.mocks:
		return errors.New("--mock-passthrough: it is for --mock, which is missing")
	case f.only != "" && f.only != "safe":
		return fmt.Errorf("--only %q: want safe", f.only)
	case !slices.Contains([]string{"stop", "leave-out", "send"}, f.withoutCredentials):
		return fmt.Errorf("--without-credentials %q: want stop, leave-out or send", f.withoutCredentials)
	case f.noCompare && (f.accept != "" || f.baseline != "" || f.verifyFix):
		return errors.New("--no-compare: nothing is compared, so --accept, --baseline and --verify-fix have no meaning")
	case (f.certFile == "") != (f.keyFile == ""):
		return errors.New("--tls-cert and --tls-key: want both or none")
	case f.output != "none":
		if _, err := report.FormNamed(f.output); err != nil {
			return fmt.Errorf("--output: %w, none", err)
		}
	}
	return f.checkFiles()
}

// written is a file that a replay writes. The rules of --accept have no form.
type written struct{ flag, file, form string }

func (f *replayFlags) files() []written {
	return []written{{"accept", f.accept, ""}, {"report", f.report, "json"}, {"html", f.html, "html"}, {"junit", f.junit, "junit"}, {"markdown", f.markdown, "markdown"}}
}

// checkFiles finds files that can't be written before the replay, which may take hours.
func (f *replayFlags) checkFiles() error {
	flags := map[string]string{}
	for _, one := range f.files() {
		if one.file == "" {
			continue
		}
		name := filepath.Clean(one.file)
		if other, ok := flags[name]; ok && name != os.DevNull {
			return fmt.Errorf("--%s and --%s: both would write %s", other, one.flag, one.file)
		}
		flags[name] = one.flag
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			return fmt.Errorf("--%s %s: it is a directory, want the name of a file", one.flag, one.file)
		}
		if _, err := os.Stat(filepath.Dir(name)); err != nil {
			return fmt.Errorf("--%s: %w", one.flag, err)
		}
	}
	return nil
}

func (f *replayFlags) goals() (all []goal.Goal, err error) {
	for _, text := range f.failIf {
		g, err := goal.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--fail-if: %w", err)
		}
		all = append(all, g)
	}
	return all, nil
}

// shape reads the flags of the load.
func (f *replayFlags) shape() (l replay.Load, err error) {
	l = f.load
	if l.Speed, err = strconv.ParseFloat(strings.TrimSuffix(f.speed, "x"), 64); err != nil || !(l.Speed >= 1e-6 && l.Speed <= 1e6) { // false for NaN
		return l, fmt.Errorf("--speed %q: want a factor from 0.000001 to 1000000, such as 2 or 0.5x", f.speed)
	}
	for _, one := range []struct {
		flag        string
		value       any
		number      float64
		least, most float64
	}{
		{"rate", l.Rate, l.Rate, 0, 1e6},
		{"users", l.Users, float64(l.Users), 0, math.Inf(1)},
		{"sessions", l.Sessions, float64(l.Sessions), 0, math.Inf(1)},
		{"copies", l.Copies, float64(l.Copies), 1, math.Inf(1)},
		{"times", l.Passes, float64(l.Passes), 0, math.Inf(1)},
		{"requests", l.Requests, float64(l.Requests), 0, math.Inf(1)},
		{"for", l.For, float64(l.For), 0, math.Inf(1)},
		{"timeout", f.timeout, float64(f.timeout), 0, math.Inf(1)},
		{"max-in-flight", f.maxInFlight, float64(f.maxInFlight), 0, math.Inf(1)},
		{"max-lag", f.maxLag, float64(f.maxLag), 0, math.Inf(1)},
		{"max-rate", f.bounds.PerSecond, f.bounds.PerSecond, 0, math.Inf(1)},
		{"max-requests", f.bounds.Requests, float64(f.bounds.Requests), 0, math.Inf(1)},
	} {
		switch {
		case one.number >= one.least && one.number <= one.most:
		case math.IsInf(one.most, 1):
			return l, fmt.Errorf("--%s %v: want %.0f or more", one.flag, one.value, one.least)
		default:
			return l, fmt.Errorf("--%s %v: want a number from %.0f to %.0f", one.flag, one.value, one.least, one.most)
		}
	}
	ways := 0
	for _, set := range []bool{l.Rate != 0, l.Users != 0, l.Sessions != 0, len(f.stages) > 0} {
		if set {
			ways++
		}
	}
	switch {
	case ways > 1:
		return l, errors.New("--rate, --users, --sessions and --stage: want one of them")
	case l.Copies > 1 && ways > 0:
		return l, errors.New("--copies: it multiplies recorded times, and is not for --rate, --users, --sessions and --stage")
	}
	for _, text := range f.stages {
		unit, s, err := schedule.ParseStage(text)
		if err != nil {
			return l, fmt.Errorf("--stage: %w", err)
		}
		if users := unit == "vus"; len(l.Stages) > 0 && users != l.StagesAreUsers {
			return l, fmt.Errorf("--stage %s: want stages of rates or of vus, not both", text)
		} else {
			l.StagesAreUsers = users
		}
		l.Stages = append(l.Stages, s)
	}
	return l, nil
}

// settings reads what the user supplies.
func (f *replayFlags) settings() (all []carry.Setting, err error) {
	add := func(where, line string) error {
		one, err := carry.ParseSetting(line, os.LookupEnv)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		all = append(all, one)
		return nil
	}
	for _, line := range f.set {
		if err := add("--set", line); err != nil {
			return nil, err
		}
	}
	if f.credentials == "" {
		return all, nil
	}
	text, err := os.ReadFile(f.credentials)
	if err != nil {
		return nil, fmt.Errorf("--credentials: %w", err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := add(fmt.Sprintf("--credentials %s: line %d", f.credentials, i+1), line); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// prepare loads the recording.
func (f *replayFlags) prepare(cmd *cobra.Command, place string) (l *loaded, err error) {
	ctx := cmd.Context()
	l = &loaded{}
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	var redacts func(*recording.Exchange)
	var token func(string) string
	if l.matcher, redacts, token, err = f.matcher(key); err != nil {
		return nil, err
	}
	if f.carryRules != "" {
		text, err := os.ReadFile(f.carryRules)
		if err == nil {
			l.rules, err = carry.ParseRules(f.carryRules, text, os.LookupEnv)
		}
		if err != nil {
			return nil, fmt.Errorf("--carry-rules: %w", err)
		}
	}
	size, err := contract.ParseSize(f.tempSize)
	if err != nil {
		return nil, fmt.Errorf("--temp-size: %w", err)
	}
	var from read.Store
	if from, l.source, err = sourceOf(ctx, place); err != nil {
		return nil, err
	}
	hashed := mock.NewHashed(from)
	q := f.query
	q.Direction = recording.In
	reader, err := read.Open(ctx, q, read.Options{Order: read.Sorted, TempDir: f.temp}, hashed)
	if err != nil {
		return nil, err
	}
	p := newProgress(cmd.ErrOrStderr())
	o := replay.PrepareOptions{
		Endpoint: carry.Endpoint, Rules: l.rules, Dir: f.temp, Limit: size,
		Progress: func(n int) {
			if n%256 == 0 {
				p.show("loading: %d requests", n)
			}
		},
	}
	if f.only == "safe" {
		o.Leave = replay.Unsafe
	}
	if !f.noCompare {
		// The earlier report names endpoints, whose numbers are known when the plan is made.
		l.compare = &replay.Comparison{Redact: redacts, Token: token, Hasher: compare.NewHasher(), Comparer: compare.New(compare.Options{Matcher: l.matcher, ForeignTokens: !key.given})}
		o.Compare = l.compare
	}
	l.plan, l.graph, err = replay.Prepare(ctx, reader.Exchanges(), o)
	p.clear()
	if err != nil {
		return nil, err
	}
	ready := l.plan
	defer func() {
		if err != nil {
			ready.Close()
		}
	}()
	for _, found := range reader.Report().Findings() {
		if read.Kinds()[found.Kind].Severity > read.Normal {
			l.source.Findings = append(l.source.Findings, found.String())
		}
	}
	if err := reader.Report().Err(); err != nil && !f.allowIncomplete {
		return nil, &codedError{codeIncomplete, fmt.Errorf("%s: %w; --allow-incomplete sends what there is", place, err)}
	}
	l.source.SHA256 = cmp.Or(l.source.SHA256, hashed.Sum())
	if err := checkKeys(reader.Report(), key); err != nil {
		return nil, err
	}
	if _, isURL := baselineURL(f.baseline); f.baseline != "" && !isURL {
		if err := f.earlier(l); err != nil {
			return nil, fmt.Errorf("--baseline: %w", err)
		}
	}
	if len(l.plan.Steps) == 0 {
		selected := ""
		if len(f.query.Namespaces)+len(f.query.Workloads)+len(f.query.Clusters) > 0 {
			selected = " of what --namespace, --workload and --cluster select"
		}
		return nil, fmt.Errorf("%s: there is nothing to send: no inbound request was found%s%s", place, selected, leftOut(l.plan))
	}
	return l, nil
}

func leftOut(p *plan.Plan) string {
	if len(p.Left) == 0 {
		return ""
	}
	left := p.Left[0]
	return fmt.Sprintf("; %d were left out, the first of them %s: %s", left.Count, left.Example, left.Reason)
}

// earlier takes the report of an earlier replay for the baseline.
func (f *replayFlags) earlier(l *loaded) error {
	file, err := os.Open(f.baseline)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := report.Read(file)
	if err != nil {
		return fmt.Errorf("%s: %w", f.baseline, err)
	}
	if r.Source.SHA256 != l.source.SHA256 {
		return fmt.Errorf("%s is the report of another recording (sha256:%s), and this one is sha256:%s: replay this one against the baseline first", f.baseline, r.Source.SHA256, l.source.SHA256)
	}
	observed, err := compare.DecodeObserved(r.Observed, l.plan.Endpoints)
	if err != nil {
		return fmt.Errorf("%s: %w", f.baseline, err)
	}
	l.compare.Comparer.Baseline(observed)
	return nil
}

// baselineURL tells a URL from the name of a file.
func baselineURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && u.Scheme != "" && u.Host != ""
}

// preflight lists what only the client has, and stops if it is missing.
func (f *replayFlags) preflight(cmd *cobra.Command, l *loaded, o *replay.Options) (all []report.Need, err error) {
	missing := l.graph.Missing(o.Set)
	lacks := map[string]bool{}
	for _, n := range missing {
		lacks[n.Place+" "+n.Token] = true
	}
	for _, n := range l.graph.Needs() {
		one := report.Need{Site: report.Site{Endpoint: n.Endpoint, Place: n.Place}, Count: int64(len(n.Steps)), Supplied: "a setting"}
		if lacks[n.Place+" "+n.Token] {
			one.Supplied = map[string]string{"leave-out": "left out", "send": "sent as recorded"}[f.withoutCredentials]
		}
		all = append(all, one)
	}
	if len(missing) == 0 {
		return all, nil
	}
	switch f.withoutCredentials {
	case "leave-out":
		out := map[int]bool{}
		for _, n := range missing {
			for _, step := range n.Steps {
				out[step] = true
			}
		}
		o.Skip = func(step int) string {
			if out[step] {
				return "credentials are missing"
			}
			return ""
		}
		return all, nil
	case "send":
		return all, nil
	}
	w := cmd.ErrOrStderr()
	fmt.Fprintln(w, "These requests need secrets that only their client has, and that are redacted in the recording:")
	for i, n := range missing {
		if i == 20 {
			fmt.Fprintf(w, "  and %d more\n", len(missing)-i)
			break
		}
		fmt.Fprintf(w, "  %-28s %s  needed %d×, first by %s\n", n.Place, n.Token, len(n.Steps), n.Endpoint)
	}
	return nil, &codedError{codeIncomplete, fmt.Errorf("credentials are missing: supply them, as with --set %s=env:NAME or --credentials FILE, or say --without-credentials leave-out or send", strings.TrimPrefix(missing[0].Place, "req."))}
}

// targetURL is where requests go: by default, loopback at the port that was captured.
func (f *replayFlags) targetURL(p *plan.Plan) (*url.URL, error) {
	if f.target != "" {
		text := f.target
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--target: %w", err)
		}
		return u, nil
	}
	e, err := p.Exchange(0)
	if err != nil {
		return nil, err
	}
	port := e.Tags.Get(recording.TagReverseProxyPort)
	if port == "" {
		return nil, errors.New("--target: want a URL such as http://localhost:8080: the recording does not say on which port the requests were captured")
	}
	return &url.URL{Scheme: "http", Host: "localhost:" + port}, nil
}

// client makes a client for a target.
func (f *replayFlags) client(target *url.URL, load replay.Load) (*wire.Client, error) {
	if port := target.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%s: port %s: want one from 1 to 65535", target.Redacted(), port)
		}
	}
	config := &tls.Config{ServerName: f.serverName, MinVersion: tls.VersionTLS12}
	if f.caFile != "" {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--tls-ca %s: there is no certificate in it; want PEM", f.caFile)
		}
	}
	if f.certFile != "" {
		pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	pace := load.Speed
	if load.Users > 0 || load.StagesAreUsers {
		pace = 0
	}
	return wire.New(wire.Options{Target: target, RewriteHost: f.rewriteHost, TLS: config, Timeout: f.timeout, Run: hex.EncodeToString(id[:]), Pace: pace})
}

// unfired reports rules that had no effect.
func (f *replayFlags) unfired(r *report.Report, l *loaded) {
	if set := l.matcher.Rules(); set != nil {
		for _, rule := range set.Unfired() {
			r.UnfiredRules = append(r.UnfiredRules, fmt.Sprintf("%s:%d: %s", f.rules, rule.Line, rule.Name))
		}
	}
	if l.rules != nil {
		for _, name := range l.rules.Unfired() {
			r.UnfiredRules = append(r.UnfiredRules, fmt.Sprintf("%s: %s", f.carryRules, name))
		}
	}
}

// finish writes the report in all forms, and returns the exit code. A form that can't be
// written does not keep the others from it.
func (f *replayFlags) finish(cmd *cobra.Command, r *report.Report, l *loaded) error {
	var failed []error
	for _, one := range f.files() {
		if one.file == "" {
			continue
		}
		write := func() error { return writeReport(one.file, one.form, r) }
		if one.form == "" {
			write = func() error { return f.writeRules(cmd, l) }
		}
		if err := write(); err != nil {
			failed = append(failed, fmt.Errorf("--%s: %w", one.flag, err))
		}
	}
	if f.output != "none" {
		form, err := report.FormNamed(f.output)
		if err == nil {
			err = form.Write(cmd.OutOrStdout(), r)
		}
		failed = append(failed, err)
	}
	switch err := errors.Join(failed...); {
	case err != nil && r.ExitCode == codeIncomplete:
		return &codedError{codeIncomplete, err}
	case err != nil:
		return err
	case r.ExitCode != 0:
		return exitError(r.ExitCode)
	}
	return nil
}

// writeRules writes the rules that accept what is new.
func (f *replayFlags) writeRules(cmd *cobra.Command, l *loaded) error {
	rules, left, err := l.compare.Comparer.Finish().Accept(l.plan.Endpoints)
	if err != nil {
		return err
	}
	for _, g := range left {
		fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: no rule can accept %s of %s\n", g.Pattern, l.plan.Endpoints[g.Endpoint])
	}
	return writeWhole(f.accept, func(w io.Writer) error { _, err := w.Write(rules); return err })
}

// writeReport writes a file at once or not at all.
func writeReport(name, form string, r *report.Report) error {
	to, err := report.FormNamed(form)
	if err != nil {
		return err
	}
	return writeWhole(name, func(w io.Writer) error { return to.Write(w, r) })
}
