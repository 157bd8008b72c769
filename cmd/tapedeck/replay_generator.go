package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/meet"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// generator is the process of a replay in a cluster. It waits for Envoy, the responder and the
// target, and meets the other shards.
type generator struct {
	gathering
	f       *replayFlags
	log     *phases
	envoy   *envoy
	alike   string        // a digest of the settings that all shards have
	meeting *meet.Meeting // nil: no shards meet
	mock    *responder    // nil: there is none
	before  *report.Mock  // what the responder did before the run; nil: unknown
}

func newGenerator(cmd *cobra.Command, f *replayFlags, with gathering, e *envoy) *generator {
	g := &generator{gathering: with, f: f, log: &phases{}, envoy: e}
	if with.meets() || f.waitForTarget || f.envoy != envoyNone || with.responder != nil {
		g.log.w = cmd.ErrOrStderr()
	}
	if with.responder != nil {
		g.mock = &responder{url: with.responder, client: directClient(), patience: min(maxPatience, with.timeout)}
	}
	return g
}

// within returns a context that ends after the progress timeout.
func (g *generator) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if g.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, g.timeout)
}

// join waits for Envoy and meets the other shards. close ends the meeting.
func (g *generator) join(ctx context.Context) (close func(), err error) {
	quiet := g.log.repeat()
	close = func() {
		quiet()
		if g.meeting != nil {
			g.meeting.Close()
		}
	}
	waiting, cancel := g.within(ctx)
	defer cancel()
	if err := g.envoy.await(waiting, g.f.envoy, g.log.say); err != nil || !g.meets() {
		return close, err
	}
	place, err := openPlace(ctx, g.place)
	if err == nil {
		g.meeting, err = meet.Join(ctx, meet.Options{Store: place, Run: g.run, Shard: g.shard, Settings: g.alike, Timeout: g.timeout, Say: func(text string) { g.log.tell("%s", text) }})
	}
	if err != nil {
		return close, fmt.Errorf("--meet: %w", err)
	}
	return close, nil
}

// alive tells the other shards that there is progress.
func (g *generator) alive() {
	if g.meeting != nil {
		g.meeting.Alive()
	}
}

// await waits until the responder and the target are ready.
func (g *generator) await(ctx context.Context, o *replay.Options) error {
	waiting, cancel := g.within(ctx)
	defer cancel()
	if g.mock != nil {
		g.log.say("waiting for the responder")
		if err := g.mock.await(waiting); err != nil {
			return err
		}
	}
	if g.f.waitForTarget {
		g.log.say("waiting for the target to answer OPTIONS / with a status other than 502, 503 and 504")
		return awaitTargets(waiting, o)
	}
	return nil
}

// options sets the engine's options for a generator in a cluster.
func (g *generator) options(o *replay.Options) {
	o.Shard, o.ProgressTimeout = g.shard, g.f.progressTimeout
	if g.meeting == nil {
		return
	}
	o.ProgressTimeout, o.Alive = g.timeout, g.alive
}

// progress sets the line that counts requests.
func (g *generator) progress(elapsed time.Duration, c stats.Counts) {
	g.log.now("sending for %s: %d sent, %d failed", elapsed.Round(time.Second), c.Sent, c.Failed)
}

// header returns the report as it is before the first request is sent.
func (g *generator) header(l *loaded, o *replay.Options, needs []report.Need) *report.Report {
	r := &report.Report{Load: o.Load.Describe()}
	_, steps := o.Part()
	r.Source.Steps = int64(steps)
	g.f.about(r, l, o, needs)
	return r
}

// storing bounds the time that a process takes to store its results after a signal.
const storing = 20 * time.Second

// lasting returns a context for storing results, even after a signal has ended the run.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithTimeout(context.WithoutCancel(ctx), storing)
	}
	return context.WithCancel(ctx)
}

// stand handles a process that starts late, because it replaces another one or because all is
// done. done means that there is nothing to send.
func (g *generator) stand(ctx context.Context) (done bool, err error) {
	if g.meeting == nil {
		return false, nil
	}
	standing, err := g.meeting.Standing(ctx)
	if err != nil {
		return false, err
	}
	switch standing {
	case meet.Begun:
		return true, g.succeed(ctx, "another process began part %d of the run", g.shard.Index)
	case meet.Stored:
		g.did("part %d of the run has a result; this process sent nothing", g.shard.Index)
		return true, nil
	case meet.Reported:
		g.did("the run has a report; this process sent nothing")
		return true, nil
	}
	return false, nil
}

// did logs what this process did. lastWords repeats it.
func (g *generator) did(format string, args ...any) {
	g.f.did = fmt.Sprintf(format, args...)
	g.log.tell("%s", g.f.did)
}

// succeed waits for the result of the process that sends the part, or stores one in its place.
func (g *generator) succeed(ctx context.Context, format string, args ...any) error {
	g.f.did = fmt.Sprintf(format, args...) + "; this one sent nothing"
	g.log.say(format+": waiting for its result", args...)
	return g.meeting.Succeed(ctx)
}

// giveUp tells the other shards that this one fails, and why, so that none waits for it. After
// a signal it tells them nothing: another process takes over the part.
func (g *generator) giveUp(ctx context.Context, reason error) {
	if g.meeting == nil || ctx.Err() != nil {
		return
	}
	if err := g.meeting.Fail(ctx, reason); err != nil {
		g.log.tell("could not tell the other shards that this one failed, so they wait for --progress-timeout: %s", err)
	}
}

// send sends the part once all shards are ready, and stores the result.
func (g *generator) send(ctx context.Context, header *report.Report, o *replay.Options, run func(*replay.Options) (*report.Report, error)) error {
	g.log.say("ready to send part %d of %d: %d requests; waiting for the start", g.shard.Index, g.shard.Of, header.Source.Steps)
	at, mine, err := g.meeting.Start(ctx, header, g.reset)
	if err != nil {
		return err
	}
	if !mine {
		return g.succeed(ctx, "another process sends part %d", g.shard.Index)
	}
	g.log.say("sending")
	late := time.Since(at)
	if o.Start = at; late > 0 { // this shard learned of the start late, or clocks differ: move its whole part
		o.Start = time.Now()
	}
	if late > tellLate {
		g.log.tell("the run began %s ago, by the clock of shard 0", late.Round(time.Millisecond))
	}
	r, err := run(o)
	if err != nil {
		return err
	}
	total := r.Results.Total()
	g.did("part %d of %d: sent %d requests, of which %d failed", g.shard.Index, g.shard.Of, total.Sent, total.Failed)
	end, cancel := lasting(ctx)
	defer cancel()
	return g.meeting.Finish(end, r)
}

// tellLate is the smallest delay of a shard's start that is logged.
const tellLate = time.Second

// conclude waits for the results of all parts, stores the report of the run and returns it.
// Only shard 0 calls it.
func (g *generator) conclude(ctx context.Context, goals []goal.Goal) (*report.Report, error) {
	end, cancel := lasting(ctx)
	defer cancel()
	if standing, err := g.meeting.Standing(end); err != nil {
		return nil, err
	} else if standing == meet.Reported {
		return g.meeting.Report(end)
	}
	if g.shard.Of > 1 {
		g.log.say("waiting for the results of %d parts", g.shard.Of)
	}
	results, notes, err := g.meeting.Collect(end)
	if err != nil {
		return nil, err
	}
	r := results[0]
	if g.shard.Of == 1 {
		r.Shard = nil
	} else if r, err = replay.Merge(results); err != nil {
		return nil, err
	}
	if r.Merged != nil {
		r.Merged.Notes = notes
	}
	g.addMock(end, r, g.meeting.Prepared())
	r.Judge(goals)
	if r, err = g.meeting.Publish(end, r); err == nil {
		g.log.tell("the report is in %s", g.place.Join(g.run, meet.ReportName))
	}
	return r, err
}
