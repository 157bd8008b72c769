package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/signals"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/goal"
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

Several processes can send one recording: --shard divides it by session, and with
--meet they begin together and give one report.

` + replayExitCodes,
		Example: `  tapedeck replay recordings --target http://localhost:8080
  tapedeck replay recordings --mock -- ./checkout
  tapedeck replay recordings --target http://localhost:8080 --speed 10 --fail-if "latency.p95 > 100" --html report.html
  tapedeck replay recordings --target https://staging.example.com --only safe --set header.Authorization=env:TOKEN
  tapedeck replay recordings --target http://localhost:8080 --report main.json
  tapedeck replay recordings --target http://localhost:8080 --baseline main.json --junit replay.xml
  tapedeck replay recordings --target http://localhost:8080 --target 9090=http://localhost:9090 --slice cart:8080 --slice cart:9090
  tapedeck replay PLACE/snapshots/ID --target http://shop:8080 --meet PLACE --run nightly/7 --shard 0/3 --wait-for-target`,
		Annotations: map[string]string{onSignal: drains},
		Args:        placeAndPerhapsCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			e := newEnvoy()
			err := f.run(cmd, e, args[0], args[1:])
			var reported exitError
			if _, ok := signals.Received(cmd.Context()); ok && err != nil && !errors.As(err, &reported) {
				err = &codedError{codeIncomplete, fmt.Errorf("the replay was stopped before there was anything to report: %w", err)}
			}
			if err != nil && f.verdictElsewhere {
				err = &codedError{codePartFailed, err}
			}
			err = coded(err)
			if failed := f.lastWords(f.reported, err); failed != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: --termination-log: %s\n", failed)
			}
			if failed := e.end(cmd.Context(), f.envoy); failed != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: Envoy was not ended: %s\n", failed)
			}
			return err
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	fs := cmd.Flags()
	fs.StringArrayVar(&f.target, "target", nil, "`URL` that requests are sent to, or PORT=URL for those captured at a port; may be repeated; by default the recorded port of localhost")
	fs.BoolVar(&f.rewriteHost, "rewrite-host", false, "send the target's host as Host instead of the recorded one")
	fs.StringVar(&f.caFile, "tls-ca", "", "`file` with the CAs that the target's certificate is verified by; the system's by default")
	fs.StringVar(&f.serverName, "tls-server-name", "", "`name` that the target's certificate must have; the target's host by default")
	fs.StringVar(&f.certFile, "tls-cert", "", "`file` with the client's certificate")
	fs.StringVar(&f.keyFile, "tls-key", "", "`file` with its key")
	fs.DurationVar(&f.timeout, "timeout", wire.DefaultTimeout, "how long an answer may make no progress, and go on after --for")
	fs.DurationVar(&f.maxTime, "max-time", wire.DefaultMaxTime, "how long a request may take in all, beside what the recorded one took")

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
	fs.StringArrayVar(&f.credentials, "credentials", nil, "`file` with such values, one a line; may be repeated")
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
	f.clusterFlags.register(fs)
	fs.StringVar(&f.temp, "temp-dir", "", "`directory` for the file with recorded requests; the system's by default")
	fs.StringVar(&f.tempSize, "temp-size", "64Gi", "bound on that file's `size`")
	return cmd
}

// replayExitCodes describes them.
const replayExitCodes = `Exit codes: 0 passed, 1 goals missed, 2 could not run, 3 new differences, 4 mock
misses, 5 generator-bound: the result is void, 6 the input is incomplete or
credentials are missing. If several apply, the first of 6, 2, 5, 4, 3, 1. With
--meet, shard 0 has the verdict; 7 is that of another one that failed.`

type replayFlags struct {
	matchFlags
	clusterFlags
	target                                []string
	caFile, serverName, certFile, keyFile string
	rewriteHost                           bool
	timeout, maxTime, maxLag              time.Duration

	speed, only        string
	load               replay.Load
	stages             []string
	maxInFlight        int
	bounds             replay.Bounds
	set                []string
	credentials        []string
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

	reported *report.Report // nil: there is none yet
	sent     string         // what this process has sent, in words; "" if it has sent nothing
	// verdictElsewhere tells that shard 0 has the verdict, and this one is another.
	verdictElsewhere bool
}

func (f *replayFlags) run(cmd *cobra.Command, e *envoy, place string, command []string) (err error) {
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
	with, err := f.clusterFlags.parse()
	if err != nil {
		return err
	}
	to, err := parseTargets(f.target)
	if err != nil {
		return err
	}
	g := newGenerator(cmd, f, with, e)
	f.verdictElsewhere = g.meets() && g.shard.Index > 0
	leave, err := g.join(ctx)
	defer leave()
	if err != nil {
		return err
	}
	l, err := f.sendPart(cmd, g, to, load, set, place, command)
	if l != nil {
		defer l.plan.Close()
	}
	if err != nil {
		g.giveUp(ctx, err)
		return err
	}
	if f.verdictElsewhere {
		return nil
	}
	if err := f.conclude(ctx, g, goals); err != nil {
		return err
	}
	return f.finish(cmd, f.reported, l)
}

// sendPart loads the recording and sends this process's part of it, unless it is found that
// nothing is left to send: then nothing is loaded. The report is in f.reported, or where
// shards meet.
func (f *replayFlags) sendPart(cmd *cobra.Command, g *generator, to []targetFlag, load replay.Load, set []carry.Setting, place string, command []string) (*loaded, error) {
	if done, err := g.stand(cmd.Context()); err != nil || done {
		return nil, err
	}
	g.log.say("loading %s", place)
	l, err := f.prepare(cmd, place, to, g.alive)
	if err != nil {
		return nil, err
	}
	f.reported, err = f.play(cmd, g, l, load, set, place, command)
	return l, err
}

// conclude judges the report, which it waits for where shards meet.
func (f *replayFlags) conclude(ctx context.Context, g *generator, goals []goal.Goal) (err error) {
	if g.meeting == nil {
		f.reported.Judge(goals)
		return nil
	}
	f.reported, err = g.conclude(ctx, goals)
	return err
}

// play sends what was loaded, and returns the report. Where shards meet, it stores the part's
// result instead.
func (f *replayFlags) play(cmd *cobra.Command, g *generator, l *loaded, load replay.Load, set []carry.Setting, place string, command []string) (r *report.Report, err error) {
	ctx := cmd.Context()
	o := replay.Options{Plan: l.plan, Graph: l.graph, Load: load, Set: set, Compare: l.compare, VerifyFix: f.verifyFix, MaxInFlight: f.maxInFlight, MaxLag: f.maxLag, Grace: f.timeout}
	f.bounds.InFlight = cmp.Or(f.maxInFlight, replay.DefaultInFlight)
	if o.Load, err = f.bounds.Check(load, l.plan); err != nil {
		return nil, err
	}
	g.options(&o)
	needs, err := f.preflight(cmd, l, &o)
	if err != nil {
		return nil, err
	}
	closeClients, err := f.clients(&o, l.targets)
	defer closeClients()
	if err != nil {
		return nil, err
	}
	var dependencies *standIn
	if f.mocks {
		if dependencies, err = f.startMock(cmd, place); err != nil {
			return nil, err
		}
		defer dependencies.end()
	}
	var app *app
	if len(command) > 0 {
		for _, t := range l.targets.flags {
			if isTaken(ctx, t.url) {
				return nil, fmt.Errorf("%s: somebody listens there already, and would get the requests meant for %s: stop it, or give the command another port and say so with --target", t.url.Host, command[0])
			}
		}
		app = startApp(cmd, command, dependencies)
		defer app.stop(ctx)
		for _, t := range l.targets.flags {
			if err := app.ready(ctx, t.url); err != nil {
				return nil, err
			}
		}
	}
	if err := g.await(ctx, &o); err != nil {
		return nil, err
	}
	run := func(o *replay.Options) (*report.Report, error) {
		p := newProgress(cmd.ErrOrStderr())
		o.Progress = func(elapsed time.Duration, c stats.Counts) {
			p.show("%s: %d sent, %d failed", elapsed.Round(time.Second), c.Sent, c.Failed)
			g.progress(elapsed, c)
		}
		if !p.is() && g.log.w == nil {
			o.Progress = nil
		}
		calm()
		r, err := replay.Run(ctx, *o)
		p.clear()
		if app != nil {
			app.tellEnd(cmd)
		}
		if err != nil {
			return nil, err
		}
		f.about(r, l, o, needs)
		f.unfired(r, l)
		if dependencies != nil {
			dependencies.end()
			r.Mock = summary(dependencies.Receipt())
		}
		return r, nil
	}
	if g.meeting != nil {
		return nil, g.send(ctx, g.header(l, &o, needs), &o, run)
	}
	if err := g.reset(ctx); err != nil {
		return nil, err
	}
	if r, err = run(&o); err == nil {
		end, cancel := lasting(ctx)
		defer cancel()
		g.addMock(end, r)
	}
	return r, err
}

// about fills in what a report is about.
func (f *replayFlags) about(r *report.Report, l *loaded, o *replay.Options, needs []report.Need) {
	r.Version, r.Target, r.BuildTag, r.Needs = buildVersion(), l.targets.String(), f.buildTag, needs
	r.Source.Place, r.Source.SHA256, r.Source.Findings = l.source.Place, l.source.SHA256, l.source.Findings
	if f.allowIncomplete {
		r.Source.Findings = nil
	}
	if o.Baseline != nil {
		r.Baseline = f.baseline
	}
}

// calm lets garbage grow to four times what is in use, if that is no more than a bound: sending
// makes little but garbage, and collecting it takes time that requests are sent late by.
func calm() { boundGarbage(128<<20, 50, 400) }

// thrifty keeps what waits for being collected small while a recording is loaded.
func thrifty() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
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
	case f.responder != "" && f.mocks:
		return errors.New("--responder and --mock: want one mock")
	case f.accept != "" && f.shard+f.meet != "":
		return errors.New("--accept: rules come from one process that sends all, without --shard and --meet")
	case f.meet != "" && len(command) > 0:
		return errors.New("--meet: it is for a target that all shards reach, and a command is run by each of them")
	case (f.certFile == "") != (f.keyFile == ""):
		return errors.New("--tls-cert and --tls-key: want both or none")
	case f.output != "none":
		if _, err := report.FormNamed(f.output); err != nil {
			return fmt.Errorf("--output: %w, none", err)
		}
	}
	return f.checkFiles()
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
		{"max-time", f.maxTime, float64(f.maxTime), 0, math.Inf(1)},
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
	for _, file := range f.credentials {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--credentials: %w", err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			if err := add(fmt.Sprintf("--credentials %s: line %d", file, i+1), line); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}
