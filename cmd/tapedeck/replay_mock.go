package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tapedeck/tapedeck/replay/report"
)

// beforeName is the object with what the responder did before the run: once it is reset, it
// does not know it any more.
const beforeName = "mock-before.json"

// reset has the responder begin anew. Its receipt from before the first reset counts, since
// the target's start is in it. A receipt from before a later reset does not count: it belongs
// to an earlier process. reset returns the number of resets as text, "" without a responder.
func (g *generator) reset(ctx context.Context) (resets string, err error) {
	if g.mock == nil {
		return "", nil
	}
	if err := g.keepBefore(ctx); err != nil {
		return "", err
	}
	r, err := g.mock.reset(ctx)
	if err != nil {
		return "", err
	}
	if r.Resets == 0 {
		g.before = summary(r)
	}
	return strconv.FormatInt(r.Resets+1, 10), nil
}

// keepBefore keeps what the responder did before it is reset, in case the answer to that is
// lost, and stores it in case this process dies.
func (g *generator) keepBefore(ctx context.Context) error {
	r, err := g.mock.receipt(ctx)
	if err != nil || r.Resets > 0 {
		return err
	}
	g.before = summary(r)
	if g.meeting == nil {
		return nil
	}
	text, err := json.Marshal(g.before)
	if err != nil {
		return err
	}
	return g.meeting.Keep(ctx, beforeName, text)
}

// findBefore finds what a process before has stored of it.
func (g *generator) findBefore(ctx context.Context) error {
	text, err := g.meeting.Kept(ctx, beforeName)
	if err != nil || text == nil {
		return err
	}
	m := new(report.Mock)
	if err := json.Unmarshal(text, m); err != nil {
		return fmt.Errorf("%s: %w", beforeName, err)
	}
	g.before = m
	return nil
}

// addMock adds what the responder did to the report. resets is how often it had been reset
// when the run began: another number tells that its receipt is not of the whole run.
func (g *generator) addMock(ctx context.Context, r *report.Report, resets string) {
	if g.mock == nil {
		return
	}
	lacks := func(format string, args ...any) {
		r.Problems = append(r.Problems, report.Exit{Code: report.Incomplete, Reason: fmt.Sprintf(format, args...)})
	}
	if g.before == nil && g.meeting != nil {
		if err := g.findBefore(ctx); err != nil {
			lacks("it is not known what the target asked the responder for before the run: %s", err)
		}
	}
	now, err := g.mock.receipt(ctx)
	if err != nil {
		lacks("the responder's receipt can't be read: %s", err)
		return
	}
	r.Mock = summary(now)
	if g.before != nil {
		r.Mock.Add(g.before)
	}
	switch {
	case now.Resets == 0:
		lacks("the responder was started anew during the run: what it did before is not known")
	case strconv.FormatInt(now.Resets, 10) != resets:
		lacks("somebody else reset the responder during the run, so that it is not known what it missed before: its receipt says resets: %d, want %s; let nobody but this run reach its admin port", now.Resets, cmp.Or(resets, "(unknown)"))
	}
}
