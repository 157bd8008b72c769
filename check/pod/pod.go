// Package pod checks a running pod: it asks the sidecar's admin port what the sidecar has seen since it
// started, and reports for each area what it found and what to change.
//
//	/metrics ─▶ counters ─┐
//	                      ├─▶ observation ─▶ inbound, outbound, tls, sink, losses ─▶ check.Report
//	/status  ─▶ texts ────┘       × 2, to tell what happens now from what happened before
//
// Promises:
//
//   - Every finding has evidence. If the sidecar doesn't report something, as older ones may not, the
//     finding is [check.Unknown] with the reason, and never OK.
//   - The check sends two GET requests for each observation, follows no redirect, sends no credentials
//     and changes nothing.
//   - Answers are read within limits of size and time. If another program answers, the error says which.
//
// The package imports check, contract, internal/oneline, proxy/intercept for the names of outcomes,
// proxy/status, sidecar/ship for the reasons of a collector, and Prometheus' parser.
package pod

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/contract"
)

// Options configure a check.
type Options struct {
	// For is how long the pod is watched. The findings are then about that time, and also give the
	// numbers since the start. With 0, the check looks once, and the findings are about the time since
	// the sidecar started.
	For time.Duration
	// Watching, unless it is nil, is called when the time of For begins: a request sent now is seen.
	Watching func()
}

// Check checks the pod whose sidecar's admin port is at a URL, such as http://localhost:4100. An
// error means that nothing answers there, or that another program does.
func Check(ctx context.Context, at *url.URL, o Options) (check.Report, error) {
	c, err := newClient(at)
	if err != nil {
		return check.Report{}, err
	}
	first, err := c.observe(ctx)
	if err != nil {
		return check.Report{}, err
	}
	s := &seen{observation: first, at: c.base}
	if o.For > 0 {
		if o.Watching != nil {
			o.Watching()
		}
		select {
		case <-ctx.Done():
			return check.Report{}, ctx.Err()
		case <-time.After(o.For):
		}
		if s.observation, err = c.observe(ctx); err != nil {
			return check.Report{}, fmt.Errorf("after %v: %w", o.For, err)
		}
		s.before, s.watched = first.metrics, o.For
		if s.restarted = !first.sameProcess(s.observation); s.restarted {
			s.before = metrics{}
		}
	}
	return s.report(), nil
}

// seen has what was observed: the current state, and the metrics from before.
type seen struct {
	observation
	at        string        // the sidecar's address
	before    metrics       // when watching began; nil if the check looked once
	watched   time.Duration // 0 if the check looked once
	restarted bool          // while the pod was watched
}

// judges look at one area each, in the order of the report.
var judges = []struct {
	area  string
	judge func(*seen) []finding
}{
	{check.Capture, (*seen).capture},
	{check.Inbound, (*seen).inbound},
	{check.Outbound, (*seen).outbound},
	{check.TLS, (*seen).tls},
	{check.Sink, (*seen).sink},
	{check.Losses, (*seen).losses},
	{check.Filters, (*seen).filters},
}

// finding is a [check.Finding] without the fields that all findings of an area share.
type finding struct {
	state      check.State
	found, fix string
}

func (s *seen) report() (r check.Report) {
	subject := "sidecar at " + s.at
	if s.status != nil && s.status.Pod != "" {
		subject = "Pod " + s.status.Pod
	}
	for _, j := range judges {
		for _, f := range j.judge(s) {
			r.Add(check.Finding{Subject: subject, Area: j.area, State: f.state, Found: f.found, Fix: f.fix})
		}
	}
	return r
}

// count is the value of a counter.
type count struct {
	all, now float64 // since the start, and while the pod was watched
	ok       bool    // the counter exists
}

// count adds up the samples of a counter that have all of the labels, given as name, value, ….
func (s *seen) count(name string, labels ...string) (c count) {
	c.all, c.ok = s.metrics.sum(name, labels...)
	c.now = c.all
	if s.before != nil {
		before, _ := s.before.sum(name, labels...)
		if c.now -= before; c.now < 0 { // another process began at 0
			c.now = c.all
		}
	}
	return c
}

// recent returns the number on which a verdict is based: while the pod was watched, or else since
// the start.
func (s *seen) recent(c count) float64 {
	if s.before != nil {
		return c.now
	}
	return c.all
}

// times returns how often something was counted, and since when.
func (s *seen) times(c count, noun string) string {
	if s.before == nil {
		return fmt.Sprintf("%s since the start", number(c.all, noun))
	}
	return fmt.Sprintf("%s in %v, %.0f since the start", number(c.now, noun), s.watched, c.all)
}

// number returns a number with its noun.
func number(n float64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%.0f %ss", n, noun)
}

// when returns how long ago something happened, by the sidecar's own clock.
func (s *seen) when(t time.Time) string {
	if s.status == nil || t.IsZero() || s.status.Time.IsZero() {
		return "at an unknown time"
	}
	if ago := s.status.Time.Sub(t); ago >= time.Second {
		return span(ago) + " ago"
	}
	return "just now"
}

// span returns a time in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// lately is the age up to which a failure counts, when the check looks once.
const lately = 5 * time.Minute

// isRecent reports whether something happened recently enough for a verdict: while the pod was
// watched or, if the check looks once, lately.
func (s *seen) isRecent(t time.Time) bool {
	if s.status == nil {
		return false
	}
	if s.before != nil {
		return !t.Before(s.status.Time.Add(-s.watched))
	}
	return s.status.Time.Sub(t) <= lately
}

// kubeName matches names that are safe in a command that somebody copies. A sidecar could report a
// name that makes a shell do more.
var kubeName = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)/([a-z0-9][a-z0-9.-]*)$`)

// names returns the namespace and the pod's name, or placeholders.
func (s *seen) names() (namespace, pod string) {
	if s.status != nil {
		if m := kubeName.FindStringSubmatch(s.status.Pod); m != nil && len(m[0]) < 400 {
			return m[1], m[2]
		}
	}
	return "NAMESPACE", "POD"
}

// logs returns the command that shows the sidecar's log.
func (s *seen) logs() string {
	namespace, pod := s.names()
	return fmt.Sprintf("`kubectl logs -n %s %s -c %s`", namespace, pod, contract.Container)
}

// causes lists possible causes, the most likely one first.
func causes(first string, then ...string) string {
	var b strings.Builder
	b.WriteString(first)
	for i, cause := range then {
		sep := "; "
		if i == 0 {
			sep = ". If that changes nothing: "
		}
		fmt.Fprintf(&b, "%s(%d) %s", sep, i+1, cause)
	}
	return b.String()
}

// older is the fix if the sidecar is too old to report what a check needs.
const older = "render with an image of this release. If this is the port of PROMETHEUS_PORT, forward port 4100 instead"

// lacks returns the finding for something that the sidecar doesn't count.
func lacks(what string) []finding {
	return []finding{{check.Unknown, "this sidecar doesn't count " + what + ": it is older than this check", older}}
}

// raiseMemory is the fix if memory is short.
const raiseMemory = "raise the annotation " + contract.SidecarPrefix + "memory-limit"

// capture judges the sidecar as a whole.
func (s *seen) capture() []finding {
	var all []finding
	add := func(state check.State, found, fix string) { all = append(all, finding{state, found, fix}) }
	switch {
	case s.restarted:
		add(check.Partly, "the sidecar restarted while it was watched: its counters started at 0 again", "look for the reason in `kubectl describe pod`, and in "+strings.TrimSuffix(s.logs(), "`")+" --previous`")
	case s.status == nil:
		add(check.Unknown, fmt.Sprintf("the sidecar gives only counters: %s", s.noStatus), older)
	default:
		add(check.OK, fmt.Sprintf("sidecar %s, started %s", orUnknown(s.status.Version), s.when(s.status.Started)), "")
	}
	if s.status != nil && s.status.Draining {
		add(check.Partly, "the sidecar is draining: it was told to stop", "check a pod that isn't being deleted")
	}
	if s.off() {
		add(check.LeftOut, "capture is off: traffic passes, and nothing is recorded",
			fmt.Sprintf("set the key capture to on in the ConfigMap that the annotation %[1]scapture-config names, or else the annotation %[1]scapture", contract.OwnPrefix))
	}
	if valid, ok := s.metrics.sum("tapedeck_capture_config_ok"); ok && valid == 0 {
		add(check.Partly, "the files that choose what to capture are invalid: the last valid settings stay in force", "fix the ConfigMap; the error is in "+s.logs())
	}
	for _, short := range []struct{ gives, found string }{
		{"capture", "memory is short: nothing is captured for now"},
		{"inbound_connections", "memory is short: no inbound connection is accepted for now"},
		{"outbound_connections", "memory is short: no outbound connection is accepted for now"},
	} {
		if now, ok := s.metrics.sum("tapedeck_memory_shortage", "gives", short.gives); ok && now > 0 {
			add(check.Problem, short.found, raiseMemory)
		}
	}
	for _, scarce := range []struct{ reason, fix string }{
		{"memory", raiseMemory},
		{"descriptors", "raise the limit on open files of the container's runtime"},
	} {
		if held := s.count("tapedeck_accepts_held_total", "reason", scarce.reason); s.recent(held) > 0 {
			add(check.Partly, fmt.Sprintf("connections waited to be accepted for lack of %s: %s", scarce.reason, s.times(held, "time")), scarce.fix)
		}
	}
	return all
}

func orUnknown(version string) string {
	if version == "" {
		return "of an unknown version"
	}
	return version
}
