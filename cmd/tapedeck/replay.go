package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/cmd/internal/signals"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/carry"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/meet"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// newReplayCommand sends recorded requests.
func newReplayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay PLACE [-- COMMAND [ARGUMENT...]]",
		Short: "Send recorded requests to a target and compare its answers",
		Long: `Sends the inbound requests of a recording to a target, compares the answers with
the recorded ones, and reports the differences that are new. PLACE is a recording, a snapshot
(PLACE/snapshots/ID[@sha256:…]) or a file. Without --target, requests go to the
recorded port on this machine.

Requests go out at recorded times, however long answers take (an open loop). If a
request carries a value from an earlier answer, such as a token or an ID, it waits for
that answer and sends the live value. --rate sends at a fixed rate. --users and
--sessions are closed loops. See docs/replay.md.

With --mock and a command, it starts a mock for the dependencies, runs the command
against it, waits for the target's port, replays, and stops both.

Several processes can send one recording: --shard divides it by session. With --meet
they begin together and write one report.

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
			if errors.Is(err, meet.ErrNoResult) {
				err = &codedError{codeIncomplete, err}
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
	f.register(cmd.Flags())
	return cmd
}

// register adds the flags.
func (f *replayFlags) register(fs *pflag.FlagSet) {
	f.targetFlags.register(fs)
	f.loadFlags.register(fs)
	f.suppliedFlags.register(fs)
	fs.StringVar(&f.only, "only", "", "`safe`: send only requests whose method changes nothing, such as GET")
	fs.BoolVar(&f.noCompare, "no-compare", false, "don't compare answers")
	fs.StringVar(&f.baseline, "baseline", "", "`URL` of another build, which gets each request too, or the file with an earlier replay's report; a difference that it shows too is not new")
	fs.BoolVar(&f.verifyFix, "verify-fix", false, "check that requests which failed in the recording succeed now")
	f.matchFlags.register(fs)
	fs.StringArrayVar(&f.failIf, "fail-if", nil, "miss a `goal`, and fail, if this condition holds, such as \"latency.p95 > 100\" or \"latency.p50 > recorded + 20ms\"; may be repeated")

	fs.BoolVar(&f.mocks, "mock", false, "mock the recorded dependencies, and run the command against the mock")
	fs.StringVar(&f.passthrough, "mock-passthrough", "", "connect to these `hosts` if the recording has no answer; separated by commas")

	fs.StringSliceVar(&f.query.Namespaces, "namespace", nil, "send only requests that were recorded in these `namespaces`")
	fs.StringSliceVarP(&f.query.Workloads, "workload", "w", nil, "send only requests that these `workloads` received")
	fs.StringSliceVar(&f.query.Clusters, "cluster", nil, "send only requests that were recorded in these `clusters`")
	fs.BoolVar(&f.allowIncomplete, "allow-incomplete", false, "replay a damaged or incomplete recording")
	f.clusterFlags.register(fs)
	fs.StringVar(&f.temp, "temp-dir", "", "`directory` for the file with recorded requests; the default is the system's")
	fs.StringVar(&f.tempSize, "temp-size", "64Gi", "largest `size` of the file with recorded requests")
	f.formFlags.register(fs)
}

// replayExitCodes describes the exit codes in the help.
const replayExitCodes = `Exit codes: 0 passed, 1 a goal was missed, 2 the replay could not run, 3 new
differences, 4 the mock had no answer for a request, 5 this machine was too slow, so
the result is void, 6 the input is incomplete or credentials are missing. If several
apply, the first of 6, 2, 5, 4, 3, 1. With --meet, shard 0 has the verdict, and another
shard that failed exits with 7.`

type replayFlags struct {
	targetFlags
	loadFlags
	suppliedFlags
	matchFlags
	formFlags
	clusterFlags
	only            string
	noCompare       bool
	baseline        string
	verifyFix       bool
	failIf          []string
	mocks           bool
	passthrough     string
	query           read.Query
	allowIncomplete bool
	temp, tempSize  string

	reported *report.Report // nil: there is none yet
	did      string         // what this process did, in words; "" if it did nothing yet
	// verdictElsewhere means that this is not shard 0, which has the verdict.
	verdictElsewhere bool
}

// asked has the flags and arguments, read and checked.
type asked struct {
	place   string
	command []string // to run; nil: none
	to      []targetFlag
	load    replay.Load
	set     []carry.Setting
	goals   []goal.Goal
	gathering
}

// parse reads flags and arguments, before anything takes time.
func (f *replayFlags) parse(place string, command []string) (a *asked, err error) {
	a = &asked{place: place, command: command}
	if a.goals, err = f.goals(); err != nil {
		return nil, err
	}
	if a.load, err = f.shape(f.timeout, f.maxTime); err != nil {
		return nil, err
	}
	if a.set, err = f.settings(); err != nil {
		return nil, err
	}
	if err := f.check(command); err != nil {
		return nil, err
	}
	if a.gathering, err = f.clusterFlags.parse(); err != nil {
		return nil, err
	}
	a.to, err = parseTargets(f.target)
	return a, err
}

func (f *replayFlags) run(cmd *cobra.Command, e *envoy, place string, command []string) error {
	ctx := cmd.Context()
	a, err := f.parse(place, command)
	if err != nil {
		return err
	}
	g := newGenerator(cmd, f, a.gathering, e)
	g.alike = alike(cmd.Flags(), place, f.set)
	f.verdictElsewhere = g.meets() && g.shard.Index > 0
	leave, err := g.join(ctx)
	defer leave()
	if err != nil {
		return err
	}
	l, err := f.sendPart(cmd, g, a)
	if l != nil {
		defer l.plan.Close()
		defer l.graph.Close()
	}
	if err != nil {
		g.giveUp(ctx, err)
		return err
	}
	if f.verdictElsewhere {
		return nil
	}
	if g.meeting == nil {
		f.reported.Judge(a.goals)
	} else if f.reported, err = g.conclude(ctx, a.goals); err != nil {
		return err
	}
	return f.finish(cmd, f.reported, l)
}

// sendPart loads the recording and sends this process's part of it. It loads nothing if
// nothing is left to send. It puts the report into f.reported, or stores it where the shards
// meet.
func (f *replayFlags) sendPart(cmd *cobra.Command, g *generator, a *asked) (*loaded, error) {
	if done, err := g.stand(cmd.Context()); err != nil || done {
		return nil, err
	}
	g.log.say("loading %s", a.place)
	l, err := f.prepare(cmd, a.place, a.to, g.alive)
	if err != nil {
		return nil, err
	}
	f.reported, err = f.play(cmd, g, a, l)
	return l, err
}

// play sends the loaded requests, and returns the report. If shards meet, it stores the
// result of its part instead.
func (f *replayFlags) play(cmd *cobra.Command, g *generator, a *asked, l *loaded) (r *report.Report, err error) {
	ctx := cmd.Context()
	o := replay.Options{Plan: l.plan, Graph: l.graph, Load: a.load, Set: a.set, Compare: l.compare, VerifyFix: f.verifyFix, MaxInFlight: f.maxInFlight, MaxLag: f.maxLag, Exact: true, Grace: f.timeout}
	f.bounds.InFlight = cmp.Or(f.maxInFlight, replay.DefaultInFlight)
	if o.Load, err = f.bounds.Check(a.load, l.plan); err != nil {
		return nil, err
	}
	g.options(&o)
	if g.mock != nil {
		g.mock.replayed = l.source
	}
	needs, err := f.preflight(cmd, l, &o)
	if err != nil {
		return nil, err
	}
	closeClients, err := f.clients(&o, l.targets)
	defer closeClients()
	if err != nil {
		return nil, err
	}
	local, err := f.startLocal(cmd, a, l.targets)
	defer local.stop(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.await(ctx, &o); err != nil {
		return nil, err
	}
	run := func(o *replay.Options) (*report.Report, error) {
		r, err := f.send(cmd, g, o)
		local.tellEnd(cmd)
		if err != nil {
			return nil, err
		}
		f.about(r, l, o, needs)
		f.unfired(r, l)
		local.addMock(r)
		return r, nil
	}
	if g.meeting != nil {
		return nil, g.send(ctx, g.header(l, &o, needs), &o, run)
	}
	resets, err := g.reset(ctx)
	if err != nil {
		return nil, err
	}
	if r, err = run(&o); err == nil {
		end, cancel := lasting(ctx)
		defer cancel()
		g.addMock(end, r, resets)
	}
	return r, err
}

// send runs the engine, and shows its progress.
func (f *replayFlags) send(cmd *cobra.Command, g *generator, o *replay.Options) (*report.Report, error) {
	p := newProgress(cmd.ErrOrStderr())
	if p.enabled() || g.log.w != nil {
		o.Progress = func(elapsed time.Duration, c stats.Counts) {
			p.show("%s: %d sent, %d failed", elapsed.Round(time.Second), c.Sent, c.Failed)
			g.progress(elapsed, c)
		}
	}
	defer p.clear()
	calm()
	return replay.Run(cmd.Context(), *o)
}

// local is what a replay runs itself: the mock, and the command that uses it.
type local struct {
	mock *standIn // nil: there is none
	app  *app     // nil: there is none
}

// startLocal starts the mock and the command if the flags ask for them, and waits until the
// targets listen. The caller must stop the result, even if there is an error.
func (f *replayFlags) startLocal(cmd *cobra.Command, a *asked, to *targets) (s local, err error) {
	ctx := cmd.Context()
	if f.mocks {
		if s.mock, err = f.startMock(cmd, a.place); err != nil {
			return s, err
		}
	}
	if len(a.command) == 0 {
		return s, nil
	}
	for _, t := range to.flags {
		if isTaken(ctx, t.url) {
			return s, fmt.Errorf("%s: another process listens on this address and would get the requests for %s: stop it, or let the command use another port and name that with --target", t.url.Host, a.command[0])
		}
	}
	s.app = startApp(cmd, a.command, s.mock)
	for _, t := range to.flags {
		if err := s.app.ready(ctx, t.url); err != nil {
			return s, err
		}
	}
	return s, nil
}

// tellEnd reports a command that has ended already.
func (s local) tellEnd(cmd *cobra.Command) {
	if s.app != nil {
		s.app.tellEnd(cmd)
	}
}

// addMock ends the mock and adds its counts to the report.
func (s local) addMock(r *report.Report) {
	if s.mock != nil {
		s.mock.end()
		r.Mock = summary(s.mock.Receipt())
	}
}

func (s local) stop(ctx context.Context) {
	if s.app != nil {
		s.app.stop(ctx)
	}
	if s.mock != nil {
		s.mock.end()
	}
}

// about fills in the version, the target, the needs, the source and the baseline of a report.
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

// calm lets the heap grow to five times the memory in use before a collection, within a bound.
// Sending makes mostly garbage, and a collection delays requests.
func calm() { boundGarbage(128<<20, 50, 400) }

// thrifty collects garbage early while a recording is loaded, to save memory.
func thrifty() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// check finds flags that contradict each other before anything takes time.
func (f *replayFlags) check(command []string) error {
	switch {
	case f.mocks && len(command) == 0:
		return errors.New("--mock: want a command to run against the mock, as in tapedeck replay PLACE --mock -- ./app")
	case f.passthrough != "" && !f.mocks:
		return errors.New("--mock-passthrough: it needs --mock")
	case f.only != "" && f.only != "safe":
		return fmt.Errorf("--only %q: want safe", f.only)
	case !slices.Contains([]string{"stop", "leave-out", "send"}, f.withoutCredentials):
		return fmt.Errorf("--without-credentials %q: want stop, leave-out or send", f.withoutCredentials)
	case f.noCompare && (f.accept != "" || f.baseline != "" || f.verifyFix):
		return errors.New("--no-compare: it can't be combined with --accept, --baseline and --verify-fix, which compare answers")
	case f.responder != "" && f.mocks:
		return errors.New("--responder and --mock: want one of them")
	case f.accept != "" && f.shard+f.meet != "":
		return errors.New("--accept: want it without --shard and --meet, because only a process that sends all requests can write the rules")
	case f.meet != "" && len(command) > 0:
		return errors.New("--meet: want it without a command: each shard would run its own, and all of them need one target")
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
