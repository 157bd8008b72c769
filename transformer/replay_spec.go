package transformer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// nameKind accepts the name of an object.
var nameKind = patternKind("name", "the name of an object", `^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// resolveTargets finds the workloads that a TrafficReplay names.
func (in *input) resolveTargets(q *replayRequest) (results Results) {
	const list = "spec.workloads"
	if n := len(nodes.Items(nodes.At(q.from.Node, "spec", "workloads"))); n > 0 {
		if ref := q.statement("workloadRef.name", "workloadRef.kind", "workloadRef.namespace", "workloadRef.apiVersion"); ref.name != "" {
			return Results{ref.result(CodeBadCombination, q.from, "is set together with %s, which replaces it; allowed: one of them", list)}
		}
		q.targetAt(n - 1) // so that empty entries count too
	}
	if len(q.targets) == 0 {
		if q.URL == "" {
			return Results{result(CodeBadCombination, q.from, "%s: found no workload, and no spec.customURL; allowed: one of them", list).At(list, "", "")}
		}
		q.targets = []replayTarget{{at: "spec", listed: true}}
		return nil
	}
	for i := range q.targets {
		t := &q.targets[i]
		switch {
		case t.ref == objectRef{} && t.URI == "":
			results = append(results, result(CodeBadValue, q.from, "%s: found neither ref nor customURI, allowed: the name of a workload under ref, or a URL", t.at).At(t.at, "", ""))
		case t.ref == objectRef{}:
		case t.ref.Name == "":
			results = append(results, result(CodeBadValue, q.from, "%s: the name of the workload is missing or wrong, allowed: %s", t.at, nameKind.Allowed).At(t.at, "", ""))
		default:
			w, r := in.replayedTo(q.from, t)
			if w == nil {
				results = append(results, r)
			}
			t.w = w
		}
	}
	return results
}

// replayedTo finds the workload that a reference names, or to which a named Service leads. If there is
// none, it returns an error.
func (in *input) replayedTo(from *Object, t *replayTarget) (*workload, Result) {
	ref := t.ref
	ref.Kind, ref.Namespace = cmp.Or(ref.Kind, "Deployment"), cmp.Or(ref.Namespace, from.namespace())
	group, hasGroup := "", ref.APIVersion != ""
	if before, _, ok := strings.Cut(ref.APIVersion, "/"); ok {
		group = before
	}
	at := t.at + ".ref"
	if strings.HasSuffix(t.at, "Ref") {
		at = t.at
	}
	fail := func(code Code, message string, args ...any) (*workload, Result) {
		return nil, result(code, from, "%s: %s", at, fmt.Sprintf(message, args...)).At(at, ref.Kind+"/"+ref.Name, "")
	}
	var found []*workload
	if s := in.find("", "Service", ref.Namespace, ref.Name); s != nil && ref.Kind == "Service" && group == "" {
		for _, w := range in.workloads {
			if leads := asService(s); leads != nil && w.namespace() == ref.Namespace && w.serves() && selects(leads.selector, w.podLabels()) {
				found = append(found, w)
			}
		}
		if len(found) != 1 {
			return fail(CodeReplayWorkload, "Service %s leads to %d workloads of the input, allowed: the name and kind of one workload; the input has %s", ref.Name, len(found), in.workloadNames(ref.Namespace))
		}
	}
	var others []string // apiVersions
	for _, w := range in.workloads {
		switch {
		case w.Object.kind() != ref.Kind || w.name() != ref.Name || w.namespace() != ref.Namespace:
		case hasGroup && w.group() != group:
			others = append(others, w.apiVersion())
		default:
			found = append(found, w)
		}
	}
	where := ""
	if ref.Namespace != "" {
		where = " in namespace " + ref.Namespace
	}
	switch {
	case len(found) == 0 && len(others) > 0:
		return fail(CodeReplayWorkload, "found apiVersion %s of %s/%s%s, allowed: %s, which it has in the input", ref.APIVersion, ref.Kind, ref.Name, where, oneOf(others))
	case len(found) == 0:
		return fail(CodeReplayWorkload, "found %s/%s%s, which is not in the input, allowed: a workload that is rendered together with the %s; the input has %s", ref.Kind, ref.Name, where, trafficReplayKind, in.workloadNames(ref.Namespace))
	case len(found) > 1:
		return fail(CodeReplayWorkload, "found %s/%s%s, which exists %d times, allowed: one; give its apiVersion", ref.Kind, ref.Name, where, len(found))
	}
	if why := found[0].leftAlone(); why != "" {
		return fail(CodeBadCombination, "found %s, which must not be rendered: %s; allowed: remove that, or the reference", found[0].Ref(), why)
	}
	return found[0], Result{}
}

// workloadNames lists, for messages, the workloads of a namespace, or all workloads if it has none.
func (in *input) workloadNames(namespace string) string {
	var here, all []string
	for _, w := range in.workloads {
		all = append(all, w.Ref().String())
		if w.namespace() == namespace {
			here = append(here, w.id())
		}
	}
	names := here
	if len(here) == 0 {
		names = all
	}
	slices.Sort(names)
	switch more := len(names) - 5; {
	case len(names) == 0:
		return "no workloads"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), more)
	}
	return strings.Join(names, ", ")
}

// replaysOf builds the replays of a request.
func (in *input) replaysOf(q *replayRequest) (replays []*replay, results Results) {
	config, results := in.testConfig(q)
	if results.Failed() {
		return nil, results
	}
	results = append(results, in.checkHasPlace(q)...)
	base := replaySpec{
		Mode: replayMode(cmp.Or(q.Mode, config.mode, string(fullReplay))), BuildTag: q.BuildTag, Timeout: cmp.Or(q.Timeout, contract.DefaultReplayTimeout),
		Secrets: unique(q.Secrets), InPlace: q.How == replayInPlace, Shards: max(q.Shards, 1), Replicas: max(q.Replicas, 1),
		Passthrough:    unique(slices.Concat(in.cfg.ReplayPassthrough, q.Passthrough, config.passthrough)),
		GeneratorFlags: slices.Concat(config.generator, q.flags(config)), ResponderFlags: config.responder,
		Hooks: q.hooks(),
	}
	base.Snapshot, _ = contract.ParseSnapshotRef(q.SnapshotID)
	if base.Snapshot.Digest == "" {
		r := q.statement("snapshot-id", "snapshotID").result(CodeSnapshotUnpinned, q.from, "names a snapshot without its digest, so whoever can write to the place can replace it; write ID@sha256:DIGEST, as `tapedeck snapshot create` and `show` print it")
		results = append(results, r.ifStrict(in.cfg))
	}
	for _, s := range q.said {
		if s.when != nil && !s.when.replays(&base) {
			results = append(results, s.result(CodeNeedless, q.from, "has no effect; allowed: with %s", s.when.Doc))
		}
	}
	if base.Mode != responderOnly {
		results = append(results, q.checkCompares(config)...)
	}
	if base.Mode != generatorOnly && config.needsHosts && len(base.Passthrough) == 0 {
		results = append(results, q.statement("testconfig-id", "testConfigID").result(CodeBadCombination, q.from,
			"is %s, which lets the responder reach hosts for which the snapshot has no answer, but no host is listed; allowed: a list in annotation %sreplay-passthrough or option replayPassthrough", config.name, contract.OwnPrefix))
	}
	if url := q.statement("customURL"); url.name != "" && len(q.targets) > 0 && !slices.ContainsFunc(q.targets, func(t replayTarget) bool { return t.URI == "" }) {
		results = append(results, url.result(CodeNeedless, q.from, "has no effect, because every entry of spec.workloads has a customURI, which replaces it"))
	}
	base.trim()
	for i := range q.targets {
		r, more := q.replayOf(&q.targets[i], base)
		r.inferred = config.name
		replays, results = append(replays, r), append(results, more...)
	}
	if results.Failed() {
		return nil, results
	}
	return replays, results
}

// flags returns the generator flags that the request itself sets.
func (q *replayRequest) flags(config *testConfig) (flags []string) {
	if q.LowData && !slices.Contains(config.generator, noCompare) {
		flags = append(flags, noCompare)
	}
	for _, goal := range lines(q.FailIf) {
		flags = append(flags, "--fail-if="+goal)
	}
	return flags
}

// hooks returns the hook annotations for the Job.
func (q *replayRequest) hooks() map[string]string {
	hooks, _ := parseHooks(q.Hooks)
	if q.from.is(replayGroup, trafficReplayKind) {
		for key, value := range nodes.Strings(nodes.At(q.from.Node, "metadata", "annotations")) {
			if _, given := hooks[key]; !given && isHook(key) {
				hooks[key] = value
			}
		}
	}
	return hooks
}

// trim removes the settings that have no effect in the replay's mode, so that they don't change its
// name.
func (s *replaySpec) trim() {
	if s.Mode == responderOnly {
		s.BuildTag, s.Secrets, s.Shards, s.GeneratorFlags, s.URL = "", nil, 1, nil, ""
		s.Timeout = contract.DefaultReplayTimeout
	}
	if s.Mode == generatorOnly || s.Mocks.None {
		s.ResponderFlags, s.Passthrough, s.HostsFile = nil, nil, false
	}
	if s.InPlace {
		s.Replicas = 1
	}
}

// replayOf builds the replay for one target.
func (q *replayRequest) replayOf(t *replayTarget, base replaySpec) (*replay, Results) {
	r := &replay{replaySpec: base, from: q.from, at: cmp.Or(t.at, q.at), w: t.w}
	var results Results
	bad := func(code Code, message string, args ...any) {
		results = append(results, r.result(code, message, args...))
	}
	r.URL, r.urlAt = q.URL, q.statement("sut-url", "customURL").path
	if t.URI != "" { // the URL of the target is more specific
		r.URL, r.urlAt = t.URI, t.at+".customURI"
	}
	r.Tests, r.Mocks = slicesOf(t.Tests), slicesOf(t.Mocks)
	if t.listed && len(t.Mocks) == 0 {
		r.Mocks = traffic{None: true}
	}
	if t.Routing == routingNAT {
		bad(CodeNoMeaning, "routing nat has no effect: %s", noNAT)
	}
	r.HostsFile = t.Routing == routingHosts
	host := r.url().host
	switch {
	case t.w == nil && r.Mode == responderOnly:
		bad(CodeBadCombination, "%s: a responder mocks the dependencies of a workload, but there is only a URL; allowed: a ref, or mode %s", r.at, generatorOnly)
	case t.w == nil && host == "":
		results = append(results, r.aboutURL(CodeBadCombination, "%s: found no host, allowed without a workload: a URL with one", r.urlAt))
	case t.w == nil:
		r.Mode, r.Mocks = generatorOnly, traffic{None: true}
		if len(t.Tests) == 0 {
			r.Tests = traffic{All: true}
		}
		if len(t.Mocks) > 0 {
			bad(CodeNeedless, "%s.mocks has no effect: a responder mocks the dependencies of a workload in the input, but there is only a URL", r.at)
		}
	case r.Mode == responderOnly && r.Mocks.None:
		bad(CodeBadCombination, "%s.mocks: found none, so with mode %s nothing runs; allowed: slice keys, or * for all", r.at, responderOnly)
	case r.Mode == fullReplay && r.Mocks.None:
		bad(CodeReplayNotMocked, "%s.mocks: found none, so nothing is mocked. The copy calls its real dependencies, and what it writes there is permanent; list slice keys, or * for all", r.at)
	}
	if t.w != nil && host != "" && r.Mode == fullReplay && !r.InPlace {
		results = append(results, r.aboutURL(CodeBadCombination, "the requests of this replay would go to host %s, where the copy is not, and the program there calls its real dependencies; allowed: only a scheme or a port, mode %s, or annotation %sreplay: %s", host, generatorOnly, contract.OwnPrefix, replayInPlace))
	}
	if r.Mode == generatorOnly {
		r.Mocks = traffic{None: true}
	}
	if r.Mode == responderOnly {
		r.Tests = traffic{None: true}
	}
	r.trim()
	return r, results
}

// slicesOf parses slice keys.
func slicesOf(keys []string) traffic {
	if slices.Contains(keys, everything) {
		return traffic{All: true}
	}
	return traffic{Keys: unique(keys)}
}

// checkHasPlace reports if a replay has no place for its snapshot.
func (in *input) checkHasPlace(q *replayRequest) Results {
	p, err := contract.ParsePlace(in.cfg.ReplayPlace)
	switch {
	case in.cfg.ReplayPlace == "" || err != nil:
		return Results{result(CodeReplayNoPlace, q.from, "a replay needs the option replayPlace, the place of its snapshot and its report, but it is not set; allowed: %s. A collector's URL is not allowed, because a replay can't write there", replayPlaceKind.Allowed).At(q.at, "", "")}
	case p.IsDir() && in.cfg.ReplayClaim == "":
		return Results{result(CodeReplayNoPlace, q.from, "the option replayPlace is a directory, but the option replayClaim is not set, so its pods have no volume; allowed: the name of a PersistentVolumeClaim, or a bucket for replayPlace").At(q.at, "", "")}
	}
	return nil
}

// rendered describes a replay, and the inferred settings.
func (r *replay) rendered() Result {
	var to string
	switch {
	case r.elsewhere():
		to = r.URL
	case r.InPlace:
		to = r.w.Ref().String() + " in place"
	default:
		to = fmt.Sprintf("%s, a copy of %s with replicas %d", r.copied.Ref(), r.w.Ref(), r.Replicas)
	}
	parts := []string{fmt.Sprintf("%s of snapshot %s against %s", r.Mode, r.Snapshot.ID, to)}
	if r.generates() {
		parts = append(parts, fmt.Sprintf("tests %s", r.Tests), fmt.Sprintf("shards %d", r.Shards))
	}
	if r.Mode != generatorOnly {
		parts = append(parts, fmt.Sprintf("mocks %s", r.Mocks))
	}
	parts = append(parts, "test config "+r.inferred)
	return r.result(CodeReplayRendered, "replayed: %s", strings.Join(parts, ", "))
}

// String describes the selection, for results.
func (t traffic) String() string {
	switch {
	case t.None:
		return "none"
	case t.All:
		return "all"
	case len(t.Keys) > 0:
		return strings.Join(t.Keys, " ")
	}
	return "of the workload"
}
