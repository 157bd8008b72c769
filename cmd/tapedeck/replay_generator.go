package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/goal"
	"github.com/tapedeck/tapedeck/replay/meet"
	"github.com/tapedeck/tapedeck/replay/report"
	"github.com/tapedeck/tapedeck/replay/stats"
)

// generator is a replay's process in a cluster: what it waits for, and whom it meets.
type generator struct {
	gathering
	f       *replayFlags
	log     *phases
	envoy   *envoy
	meeting *meet.Meeting // nil: it meets nobody
	mock    *responder    // nil: there is none
	before  *mock.Receipt // what the responder did before the run; nil: it is not known
}

// phases are lines on standard error that say how far a process is: one for each phase, and
// one from time to time. A command that a person runs says nothing.
type phases struct {
	mu     sync.Mutex
	w      io.Writer // nil: nobody reads it
	phase  string
	since  time.Time
	detail string // of the phase, as of now
}

// sayEvery is how often a phase that goes on is told of.
const sayEvery = 30 * time.Second

// say begins a phase.
func (p *phases) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.since, p.detail = fmt.Sprintf(format, args...), time.Now(), ""
	p.write(p.phase)
}

// tell tells of something in a phase.
func (p *phases) tell(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write(fmt.Sprintf(format, args...))
}

// now sets what is told of the phase from time to time.
func (p *phases) now(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = fmt.Sprintf(format, args...)
}

func (p *phases) write(text string) {
	if p.w != nil {
		fmt.Fprintf(p.w, "tapedeck: %s\n", text)
	}
}

// repeat tells of phases that go on, until it is stopped.
func (p *phases) repeat() (stop func()) {
	ticker, end, ended := time.NewTicker(sayEvery), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
			}
			p.mu.Lock()
			switch {
			case p.detail != "":
				p.write(p.detail)
			case p.phase != "":
				p.write(fmt.Sprintf("%s (for %s)", p.phase, time.Since(p.since).Round(time.Second)))
			}
			p.mu.Unlock()
		}
	}()
	return func() {
		ticker.Stop()
		close(end)
		<-ended
	}
}

func newGenerator(cmd *cobra.Command, f *replayFlags, with gathering, e *envoy) *generator {
	g := &generator{gathering: with, f: f, log: &phases{}, envoy: e}
	if with.meets() || f.waitForTarget || f.envoy != envoyNone || with.responder != nil {
		g.log.w = cmd.ErrOrStderr()
	}
	if with.responder != nil {
		g.mock = &responder{with.responder, directClient()}
	}
	return g
}

// within bounds waiting for something by the progress timeout.
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
		g.meeting, err = meet.Join(ctx, meet.Options{Store: place, Run: g.run, Shard: g.shard, Timeout: g.timeout, Say: func(text string) { g.log.tell("%s", text) }})
	}
	if err != nil {
		return close, fmt.Errorf("--meet: %w", err)
	}
	return close, nil
}

// alive is called while there is progress.
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
		g.log.say("waiting for the target")
		return awaitTargets(waiting, o)
	}
	return nil
}

// beforeName is the object with what the responder did before the run.
const beforeName = "receipt-before.json"

// reset has the responder begin anew. What it did before the first time counts: the target's
// start. What it did before it was reset again is another process's, which is gone.
func (g *generator) reset(ctx context.Context) error {
	if g.mock == nil {
		return nil
	}
	if g.meeting != nil {
		so, err := g.mock.receipt(ctx)
		if err != nil {
			return err
		}
		if so.Resets == 0 { // kept for a process that takes this one's place
			text, err := json.Marshal(so)
			if err != nil {
				return err
			}
			if _, err := g.meeting.Keep(ctx, beforeName, text); err != nil {
				return err
			}
		}
	}
	r, err := g.mock.reset(ctx)
	if err == nil && r.Resets == 0 {
		g.before = &r
	}
	return err
}

// addMock adds what the responder did to the report.
func (g *generator) addMock(ctx context.Context, r *report.Report) {
	if g.mock == nil {
		return
	}
	lacks := func(format string, args ...any) {
		r.Problems = append(r.Problems, report.Exit{Code: report.Incomplete, Reason: fmt.Sprintf(format, args...)})
	}
	if g.before == nil && g.meeting != nil {
		var kept mock.Receipt
		text, err := g.meeting.Kept(ctx, beforeName)
		if err == nil && text != nil {
			err = json.Unmarshal(text, &kept)
		}
		if err != nil {
			lacks("it is not known what the target asked the responder for before the run: %s", err)
		} else if text != nil {
			g.before = &kept
		}
	}
	now, err := g.mock.receipt(ctx)
	if err != nil {
		lacks("the responder's receipt can't be read: %s", err)
		return
	}
	r.Mock = summary(now)
	if g.before != nil {
		r.Mock.Add(summary(*g.before))
	}
	if now.Resets == 0 {
		lacks("the responder was started anew during the run: what it did before is not known")
	}
}

// options adds to the engine's options what a generator in a cluster needs.
func (g *generator) options(o *replay.Options) {
	o.Shard, o.ProgressTimeout = g.shard, g.f.progressTimeout
	if g.meeting == nil {
		return
	}
	o.ProgressTimeout, o.Alive = g.timeout, g.alive
}

// progress tells of requests.
func (g *generator) progress(elapsed time.Duration, c stats.Counts) {
	g.log.now("sending for %s: %d sent, %d failed", elapsed.Round(time.Second), c.Sent, c.Failed)
}

// header is what a report has before anything is sent.
func (g *generator) header(l *loaded, o *replay.Options, needs []report.Need) *report.Report {
	r := &report.Report{Load: o.Load.Describe()}
	_, steps := o.Part()
	r.Source.Steps = int64(steps)
	g.f.about(r, l, o, needs)
	return r
}

// storing is how long a process that is told to end may take to store what it has.
const storing = 20 * time.Second

// lasting is the context for storing something, whether or not a signal has ended the run.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithTimeout(context.WithoutCancel(ctx), storing)
	}
	return context.WithCancel(ctx)
}

// stand does what a process does that comes late: it takes the place of another one, or finds
// that all is done. done tells that nothing is to be sent.
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
		g.log.say("part %d of the run was begun by another process: waiting for its result", g.shard.Index)
		return true, g.meeting.Succeed(ctx)
	case meet.Stored:
		g.log.tell("part %d of the run has a result", g.shard.Index)
		return true, nil
	case meet.Reported:
		g.log.tell("the run has a report")
		return true, nil
	}
	return false, nil
}

// giveUp lets the other shards know that this one fails, and why, so that none waits for it.
// One that is told to end leaves its part to the process that takes its place.
func (g *generator) giveUp(ctx context.Context, reason error) {
	if g.meeting == nil || ctx.Err() != nil {
		return
	}
	if err := g.meeting.Fail(ctx, reason); err != nil {
		g.log.tell("the other shards wait for this one until --progress-timeout, since it could not let them know: %s", err)
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
		g.log.say("another process sends part %d: waiting for its result", g.shard.Index)
		return g.meeting.Succeed(ctx)
	}
	g.log.say("sending")
	late := time.Since(at)
	if o.Start = at; late > 0 { // this one learned of it late, or clocks differ: its part is moved as a whole
		o.Start = time.Now()
	}
	if late > tellLate {
		g.log.tell("the run began %s ago by the clock of part 0", late.Round(time.Millisecond))
	}
	r, err := run(o)
	if err != nil {
		return err
	}
	total := r.Results.Total()
	g.f.sent = fmt.Sprintf("part %d of %d: sent %d requests, of which %d failed", g.shard.Index, g.shard.Of, total.Sent, total.Failed)
	g.log.tell("%s", g.f.sent)
	end, cancel := lasting(ctx)
	defer cancel()
	return g.meeting.Finish(end, r)
}

// tellLate is from which on it is told of that a shard begins late.
const tellLate = time.Second

// conclude waits for the results of all parts, and returns the report of the run, which is
// stored. Only index 0 does it.
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
	g.addMock(end, r)
	r.Judge(goals)
	if r, err = g.meeting.Publish(end, r); err == nil {
		g.log.tell("the report is in %s", g.place.Join(g.run, meet.ReportName))
	}
	return r, err
}

// maxTermination is how much of a file Kubernetes shows with the state of a container.
const maxTermination = 4096

// lastWords writes the summary of a report, or what failed, where Kubernetes shows it.
func (f *replayFlags) lastWords(r *report.Report, failed error) error {
	name := f.terminationLog
	if name == "" {
		if info, err := os.Stat(contract.TerminationLog); f.meet == "" || err != nil || !info.Mode().IsRegular() {
			return nil
		}
		name = contract.TerminationLog
	}
	var text strings.Builder
	var reported exitError
	if failed != nil && !errors.As(failed, &reported) {
		fmt.Fprintf(&text, "tapedeck: %s\n", failed)
	}
	if r == nil && f.sent != "" {
		fmt.Fprintln(&text, f.sent)
	}
	if r != nil {
		for _, x := range r.Exits {
			fmt.Fprintln(&text, x)
		}
		if form, err := report.FormNamed("pretty"); err == nil {
			_ = form.Write(&text, r) // never fails
		}
	}
	// Not under another name first: the file is mounted.
	return os.WriteFile(name, []byte(wholeLines(text.String(), maxTermination)), 0o644)
}

// wholeLines keeps as many lines as fit; of a first line that is longer, its beginning.
func wholeLines(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := strings.LastIndexByte(text[:most], '\n') + 1
	if end == 0 {
		return strings.ToValidUTF8(text[:most], "")
	}
	return text[:end]
}
