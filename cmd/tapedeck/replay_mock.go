package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tapedeck/tapedeck/replay/report"
)

// beforeName is the object with the responder's receipt from before the run, which the
// responder loses when it is reset.
const beforeName = "mock-before.json"

// reset resets the responder. Its receipt from before the first reset counts, because it
// includes the target's start. A receipt from before a later reset does not count: it belongs
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

// keepBefore keeps the responder's receipt before a reset, in case the answer to the reset is
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

// findBefore reads the receipt that an earlier process stored.
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

// addMock adds the responder's receipt to the report. resets is the number of its resets when
// the run began. If the number has changed, the receipt does not cover the whole run.
func (g *generator) addMock(ctx context.Context, r *report.Report, resets string) {
	if g.mock == nil {
		return
	}
	lacks := func(format string, args ...any) {
		r.Problems = append(r.Problems, report.Exit{Code: report.Incomplete, Reason: fmt.Sprintf(format, args...)})
	}
	if g.before == nil && g.meeting != nil {
		if err := g.findBefore(ctx); err != nil {
			lacks("the responder's receipt from before the run can't be read: %s", err)
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
		lacks("the responder restarted during the run, and its earlier receipt is lost")
	case strconv.FormatInt(now.Resets, 10) != resets:
		lacks("somebody else reset the responder during the run, so its earlier misses are not known: its receipt says resets: %d, want %s; let only this run reach its admin port", now.Resets, cmp.Or(resets, "(unknown)"))
	}
}
