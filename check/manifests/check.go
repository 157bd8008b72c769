package manifests

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// ErrNoWorkload says that there is nothing to check.
var ErrNoWorkload = errors.New("no workload in the input; allowed: manifests of Deployments, Jobs, Pods and the other kinds that docs/rendering.md lists")

const injectKey = contract.SidecarPrefix + "inject"

// Check reports what a render of the manifests with a configuration would capture. Manifests that
// can't be read become findings of the area Input. The error is ErrNoWorkload, or a failure that a
// user can't fix.
func Check(sources []fn.Source, cfg transformer.Config) (check.Report, error) {
	now, err := fn.Inspect(sources, cfg)
	if err != nil {
		return check.Report{}, fmt.Errorf("render manifests: %w", err)
	}
	c := checker{Inspection: now, results: group(now.Results)}
	if c.proposes() {
		all := now.Config.Clone()
		if err := all.SetDefault("inject", "true"); err != nil {
			return check.Report{}, fmt.Errorf("ask for all sidecars: %w", err)
		}
		then, err := fn.Inspect(sources, all)
		if err != nil {
			return check.Report{}, fmt.Errorf("render manifests with all sidecars: %w", err)
		}
		c.proposed = map[identity]transformer.Capture{}
		for _, capture := range then.Captures {
			c.proposed[identityOf(capture)] = capture
		}
		c.proposals = group(then.Results)
	}
	c.input()
	for _, capture := range now.Captures {
		c.workload(capture)
	}
	c.others()
	if len(c.Captures) == 0 && c.report.ExitCode() == check.Fine {
		return check.Report{}, ErrNoWorkload
	}
	return c.report, nil
}

// identity identifies an object of the input.
type identity struct {
	ref  transformer.ResourceRef
	file transformer.File
}

func identityOf(c transformer.Capture) identity { return identity{c.Workload, c.File} }

// group groups results by the object that they are about. Results about no object are under the
// zero identity, or under that of their file.
func group(all transformer.Results) map[identity]transformer.Results {
	by := map[identity]transformer.Results{}
	for _, r := range all {
		id := identityOfResult(r)
		by[id] = append(by[id], r)
	}
	return by
}

func identityOfResult(r transformer.Result) (id identity) {
	if r.ResourceRef != nil {
		id.ref = *r.ResourceRef
	}
	if r.File != nil {
		id.file = *r.File
	}
	return id
}

// checker runs one check.
type checker struct {
	fn.Inspection
	results map[identity]transformer.Results
	// proposed and proposals are the results of a render in which every workload asks for the
	// sidecar.
	proposed  map[identity]transformer.Capture
	proposals map[identity]transformer.Results

	report check.Report
}

// proposes reports whether some workload neither asks for the sidecar nor declines it.
func (c *checker) proposes() bool {
	return slices.ContainsFunc(c.Captures, func(capture transformer.Capture) bool {
		r, ok := find(c.results[identityOf(capture)], transformer.CodeNotRequested)
		return ok && saysNothing(r)
	})
}

// saysNothing reports whether the sidecar was simply not requested, rather than declined.
func saysNothing(r transformer.Result) bool { return r.Field == nil || r.Field.CurrentValue == "" }

func find(results transformer.Results, code transformer.Code) (transformer.Result, bool) {
	i := slices.IndexFunc(results, func(r transformer.Result) bool { return r.Code() == code })
	if i < 0 {
		return transformer.Result{}, false
	}
	return results[i], true
}

// subjectInput is the subject of findings about the input as a whole.
const subjectInput = "input"

// input adds the findings about the input as a whole.
func (c *checker) input() {
	switch n := c.Results.Count(transformer.Error); {
	case n > 0 && len(c.Captures) == 0: // the errors explain that nothing was examined
		return
	case n > 0:
		c.report.Add(check.Finding{Subject: subjectInput, Area: check.Capture, State: check.Problem, Code: string(transformer.CodeNotWritten),
			Found: "a render writes nothing because of " + plural(n, "error"), Fix: "fix the problems below; tapedeck render reports the same"})
		return
	}
	asked := func(capture transformer.Capture) bool {
		return capture.Injected || slices.ContainsFunc(c.results[identityOf(capture)], func(r transformer.Result) bool { return transformer.Reasons()[r.Code()].Skip })
	}
	if len(c.Captures) > 0 && !slices.ContainsFunc(c.Captures, asked) {
		c.report.Add(check.Finding{Subject: subjectInput, Area: check.Capture, State: check.Problem, Code: string(transformer.CodeNotRequested),
			Found: "nothing is captured: no workload asks for the sidecar", Fix: fmt.Sprintf("annotate one with %s: \"true\", or set inject: \"true\" under the configuration's defaults", injectKey)})
	}
}

// workload adds the findings about one workload.
func (c *checker) workload(capture transformer.Capture) {
	w := &workload{checker: c, Capture: capture, results: c.results[identityOf(capture)], subject: subject(capture.Workload)}
	delete(c.results, identityOf(capture))
	w.sidecar()
	if w.Injected {
		w.inbound()
		w.outbound()
		w.tls()
		w.filters()
		w.sink()
	}
	for _, r := range w.results {
		found := findings(w.subject, r)
		if r.Code() == transformer.CodeNoService && w.Config.Inbound == "service" { // nothing else would send calls to the sidecar
			found[0].State = check.Problem
		}
		w.add(found...)
	}
	slices.SortStableFunc(w.found, func(a, b check.Finding) int { return cmp.Compare(areaRank(a.Area), areaRank(b.Area)) })
	c.report.Add(w.found...)
}

// areas is the order of a workload's findings, by area.
var areas = []string{check.Input, check.Capture, check.Inbound, check.Outbound, check.TLS, check.Filters, check.Sink, check.Losses, check.Mesh, check.Replay}

func areaRank(area string) int { return slices.Index(areas, area) }

// others adds findings for the results that are about no workload, in their order.
func (c *checker) others() {
	for _, r := range c.Results {
		if _, ours := c.results[identityOfResult(r)]; !ours {
			continue
		}
		about := subjectInput
		switch {
		case r.ResourceRef != nil:
			about = subject(*r.ResourceRef)
		case r.File != nil && r.File.Path != "":
			about = r.File.Path
		}
		c.report.Add(findings(about, r)...)
	}
}

// subject names an object.
func subject(r transformer.ResourceRef) string {
	name := r.Name
	if r.Namespace != "" {
		name = r.Namespace + "/" + name
	}
	return r.Kind + " " + name
}

// workload is one workload that is checked.
type workload struct {
	*checker
	transformer.Capture
	results transformer.Results
	subject string
	found   []check.Finding
}

func (w *workload) add(findings ...check.Finding) { w.found = append(w.found, findings...) }

// say adds a finding. Its fix is "" only if the state is OK.
func (w *workload) say(area string, state check.State, code transformer.Code, fix, format string, args ...any) {
	w.add(check.Finding{Subject: w.subject, Area: area, State: state, Code: string(code), Fix: fix, Found: fmt.Sprintf(format, args...)})
}

// sidecar reports whether the workload has a sidecar and, if not, what one annotation would capture.
func (w *workload) sidecar() {
	switch {
	case w.Injected && w.Stale[w.File]:
		w.say(check.Capture, check.Unknown, transformer.CodeUndone, "run tapedeck render --diff with the same --config and --set as for the render: it shows what changes",
			"the manifest has the sidecar of an earlier render, and rendering it now changes it: the findings are about the result")
	case w.Injected && w.Rendered:
		w.say(check.Capture, check.OK, transformer.CodeInjected, "", "the manifest has the sidecar, and rendering it again changes nothing")
	case w.Injected:
		w.say(check.Capture, check.OK, transformer.CodeInjected, "", "a render adds the sidecar")
	}
	if _, ok := find(w.results, transformer.CodeUninjected); ok {
		w.say(check.Capture, check.LeftOut, transformer.CodeUninjected, fmt.Sprintf("set %s: \"true\" to keep it", injectKey), "the manifest has the sidecar of an earlier render, which the next render removes")
	}
	if r, ok := find(w.results, transformer.CodeNotRequested); ok {
		w.notRequested(r)
	}
}

func (w *workload) notRequested(r transformer.Result) {
	fix := fmt.Sprintf("set %s: \"true\"", injectKey)
	if !saysNothing(r) {
		w.say(check.Capture, check.LeftOut, r.Code(), fix, "not captured: %s is %q", injectKey, r.Field.CurrentValue)
		return
	}
	then, ok := w.proposed[identityOf(w.Capture)]
	if ok && then.Injected {
		w.say(check.Capture, check.LeftOut, r.Code(), fix, "not captured: nothing asks for the sidecar. One annotation would capture %s", offers(then))
		return
	}
	for _, p := range w.proposals[identityOf(w.Capture)] {
		if transformer.Reasons()[p.Code()].Skip || p.Severity == transformer.Error {
			f := findings(w.subject, p)[0]
			w.say(check.Capture, check.LeftOut, p.Code(), f.Fix, "not captured: nothing asks for the sidecar, and the annotation alone would not be enough: %s", strings.TrimPrefix(f.Found, "not captured: "))
			return
		}
	}
	w.say(check.Capture, check.LeftOut, r.Code(), fix, "not captured: nothing asks for the sidecar")
}

// offers describes in a few words what a capture captures.
func offers(c transformer.Capture) string {
	var parts, names []string
	if ports := captured(c); len(ports) > 0 && c.Inbound {
		parts = append(parts, "inbound calls of "+portList(ports))
	}
	for _, x := range c.Containers {
		if x.Proxied {
			names = append(names, x.Name)
		}
	}
	if len(names) > 0 {
		parts = append(parts, fmt.Sprintf("outbound HTTP, HTTPS and gRPC of %s %s", noun(len(names), "container"), some(names)))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", and ")
}

// captured returns the ports that are captured.
func captured(c transformer.Capture) (ports []int) {
	for _, p := range c.Ports {
		if p.In != 0 {
			ports = append(ports, p.Number)
		}
	}
	return ports
}

func portList(ports []int) string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = strconv.Itoa(p)
	}
	return noun(len(ports), "port") + " " + some(names)
}

// shown bounds the names that a finding lists.
const shown = 10

// some lists the first names, and how many more there are.
func some(names []string) string {
	if more := len(names) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), more)
	}
	if last := len(names) - 1; last > 0 {
		return strings.Join(names[:last], ", ") + " and " + names[last]
	}
	return strings.Join(names, "")
}

func noun(n int, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}

func plural(n int, one string) string { return strconv.Itoa(n) + " " + noun(n, one) }
