package transformer

import (
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// Created is an object that a render adds, and the object next to which it is written.
type Created struct {
	*Object
	Beside *Object
}

// Output is the result of a render.
type Output struct {
	// Created has the new objects. If an earlier render already created an object, it is updated in
	// place instead.
	Created []Created
	// Edited has the objects of the input that may have changed.
	Edited []*Object
	// Deleted has the objects that an earlier render created and this one does not create.
	Deleted []*Object
	// Results has at least one entry for every workload.
	Results Results
}

// Render edits objects in place so that the annotated workloads capture their traffic. It first undoes
// an earlier render, so rendering rendered objects gives the same result.
//
// If the results have an error, the objects are in an undefined state and must not be written. Render
// is not safe for concurrent use on the same objects. It keeps no state between calls.
func Render(objects []*Object, cfg Config) Output {
	out, _ := render(objects, cfg, false)
	return out
}

// render renders, and describes the captures if explain is set.
func render(objects []*Object, cfg Config, explain bool) (out Output, captures []Capture) {
	former, undone, results := takeAllBack(objects)
	kept := without(objects, former)
	in := newInput(kept, &cfg)
	if results.Failed() {
		return Output{Results: in.nameTheRest(results)}, nil
	}

	out.Results = results
	for _, w := range in.workloads {
		w.said = in.decide(w)
		if explain && w.settings.Inject {
			w.known = in.know(w)
		}
		out.Results = append(out.Results, w.said...)
	}
	out.Results = append(out.Results, in.checkFields()...)
	out.Results = append(out.Results, in.addReplays()...)
	in.labelWorkloads()
	in.externals = in.openedHosts()
	out.Results = append(out.Results, in.unsupported(kept)...)
	var created []Created
	injected := map[*workload]Results{}
	for _, w := range in.renderOrder() {
		objects, results := in.inject(w)
		for _, o := range objects {
			created = append(created, Created{o, w.beside()})
		}
		injected[w] = w.news(results)
		w.said = append(w.said, injected[w]...)
	}
	for _, w := range in.workloads {
		out.Results = append(out.Results, injected[w]...)
	}
	replays, more := in.renderReplays()
	created, out.Results = append(created, replays...), append(out.Results, more...)
	out.Results = append(out.Results, in.checkQuotaSums()...)
	in.keepAliases(kept)
	for _, o := range kept {
		e := in.editors[o]
		if e != nil {
			out.Results = append(out.Results, e.finish()...)
		}
		t := undone[o]
		if e != nil || t != nil {
			out.Edited = append(out.Edited, o)
		}
		switch {
		case t == nil:
		case e != nil && len(e.log.paths()) > 0:
			out.Results = append(out.Results, result(CodeUndone, o, "this render first undid an earlier one: %s", t.did()))
		default:
			out.Results = append(out.Results, t.uninjected())
		}
	}
	held, more := in.holdAll(!out.Results.Failed())
	out.Results = append(out.Results, more...)
	var reused []*Object
	out.Results = in.nameTheRest(out.Results)
	out.Created, reused, out.Deleted = reuse(created, former)
	out.Edited = append(append(out.Edited, reused...), held...)
	out.Results = append(out.Results, deleted(out.Deleted)...)
	for _, w := range in.workloads {
		if explain && w.original == nil { // a copy is not in the input
			captures = append(captures, in.captureOf(w, undone[w.Object] != nil))
		}
	}
	return out, captures
}

// NotWritten adds a result for every workload that has none, when an error prevents rendering
// altogether.
func NotWritten(objects []*Object, results Results) Results {
	return newInput(objects, &Config{}).nameTheRest(results)
}

// nameTheRest adds a result for every workload and TrafficReplay that has none, because another object
// has an error.
func (in *input) nameTheRest(results Results) Results {
	named := map[ResourceRef]bool{}
	for _, r := range results {
		if r.ResourceRef != nil {
			named[*r.ResourceRef] = true
		}
	}
	asking := slices.Clone(in.byKind[replayGroup+"/"+trafficReplayKind])
	for _, w := range in.workloads {
		if w.original == nil { // a copy is not in the input
			asking = append(asking, w.Object)
		}
	}
	for _, o := range asking {
		if !named[o.Ref()] {
			results = append(results, result(CodeNotWritten, o, "not written, because other objects have errors"))
		}
	}
	return results
}

// without returns a list without some of its members.
func without[T comparable](all, gone []T) []T {
	drop := make(map[T]bool, len(gone))
	for _, v := range gone {
		drop[v] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(v T) bool { return drop[v] })
}

// unique returns each value once, in the order of first occurrence.
func unique(all []string) []string {
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(slices.Clone(all), func(v string) bool {
		again := seen[v]
		seen[v] = true
		return again
	})
}

// decide reads a workload's settings and decides whether it is injected.
func (in *input) decide(w *workload) Results {
	ignored := w.ignored()
	switch {
	case len(ignored) == 1 && ignored[0].Code() == CodeIgnored:
		return ignored
	case w.annotation(LocalConfig) == "true":
		return Results{result(CodeLocalConfig, w.Object, "not captured: %s is \"true\"", LocalConfig)}
	}
	settings, results := readSettings(w, in.cfg)
	w.settings = settings
	results = append(results, ignored...)
	if results.Failed() {
		return results
	}
	if !settings.Inject {
		return append(results, result(CodeNotRequested, w.Object, "not captured: the workload has no annotation %sinject: \"true\"", contract.SidecarPrefix).At(w.settings.where("inject"), w.settings.explicit["inject"].value, "true"))
	}
	inferred := in.infer(w)
	if skip, ok := skipReason(w, in); ok {
		if skip.Severity != Info {
			skip = skip.ifStrict(in.cfg)
		}
		return append(results, skip)
	}
	if w.podSpec() == nil {
		return append(results, result(CodeMalformed, w.Object, "%s: found nothing, allowed: the spec of a pod", w.at("spec")).At(w.at("spec"), "", ""))
	}
	results = append(results, inferred...)
	results = append(results, in.check(w)...)
	w.injecting = !results.Failed()
	return results
}

// check reports problems with a workload's settings and pods that rule out a sidecar.
func (in *input) check(w *workload) Results {
	results := in.checkShape(w)
	results = append(results, checkSettings(w, in.cfg)...)
	results = append(results, in.checkCaptureConfig(w)...)
	results = append(results, in.checkRedactKey(w)...)
	results = append(results, in.checkSinkToken(w)...)
	results = append(results, checkPorts(w)...)
	results = append(results, in.resolveHosts(w)...)
	return append(results, checkPod(w, in.cfg)...)
}

// ignored returns a result if a workload must be left alone, or if its annotation is unclear. It returns
// none if the annotation is absent or false.
func (w *workload) ignored() Results {
	var unclear Results
	for _, place := range w.annotated() {
		place = append(slices.Clone(place), "metadata", "annotations")
		value := nodes.At(w.Node, append(slices.Clone(place), contract.AnnotationIgnore)...)
		at := pathKey(strings.Join(place, "."), contract.AnnotationIgnore)
		switch {
		case value == nil, nodes.IsNull(value), strings.EqualFold(nodes.String(value), "false"):
		case strings.EqualFold(nodes.String(value), "true"):
			return Results{result(CodeIgnored, w.Object, "not captured: %s is \"true\"", contract.AnnotationIgnore).At(at, "true", "")}
		default:
			unclear = append(unclear, result(CodeBadValue, w.Object, "annotation %s: found %q, allowed: %s", contract.AnnotationIgnore, nodes.String(value), boolKind.Allowed).At(at, nodes.String(value), "true"))
		}
	}
	return unclear
}

// checkShape reports fields that the render must edit as lists or maps, and that have another type.
func (in *input) checkShape(w *workload) Results {
	var results Results
	expect := func(parent *yaml.Node, path, key string, kind yaml.Kind, word string) {
		if n := nodes.At(parent, key); n != nil && !nodes.IsNull(n) && n.Kind != kind {
			results = append(results, result(CodeMalformed, w.Object, "%s: found %s, allowed: %s", pathKey(path, key), describeKind(n), word).At(pathKey(path, key), nodes.String(n), ""))
		}
	}
	expect(w.Node, "", "metadata", yaml.MappingNode, "a map")
	if len(results) == 0 && w.name() == "" {
		results = append(results, result(CodeMalformed, w.Object, "metadata: found no name, allowed: name or generateName").At("metadata.name", "", ""))
	}
	expect(w.template, w.path, "metadata", yaml.MappingNode, "a map")
	expect(w.template, w.path, "spec", yaml.MappingNode, "a map")
	for _, key := range []string{"annotations", "labels"} {
		expect(nodes.At(w.Node, "metadata"), "metadata", key, yaml.MappingNode, "a map")
		expect(nodes.At(w.template, "metadata"), w.at("metadata"), key, yaml.MappingNode, "a map")
	}
	spec := w.podSpec()
	for _, key := range []string{"containers", "initContainers", "volumes"} {
		expect(spec, w.at("spec"), key, yaml.SequenceNode, "a list")
	}
	expect(spec, w.at("spec"), "securityContext", yaml.MappingNode, "a map")
	expect(nodes.At(spec, "securityContext"), w.at("spec.securityContext"), "sysctls", yaml.SequenceNode, "a list")
	if len(nodes.Items(nodes.At(spec, "containers"))) == 0 {
		results = append(results, result(CodeMalformed, w.Object, "the pod template has no containers").At(w.at("spec.containers"), "", ""))
	}
	edited := []string{"containers"}
	if w.settings.CaptureHosts != "" {
		edited = append(edited, "initContainers")
	}
	for _, list := range edited {
		for i, c := range nodes.Items(nodes.At(spec, list)) {
			path := w.at("spec."+list) + "[" + strconv.Itoa(i) + "]"
			if c.Kind != yaml.MappingNode || nodes.StringAt(c, "name") == "" {
				results = append(results, result(CodeMalformed, w.Object, "%s: found %s, allowed: a container with a name", path, describeKind(c)).At(path, nodes.String(c), ""))
				continue
			}
			for _, key := range []string{"env", "envFrom", "volumeMounts", "ports"} {
				expect(c, path, key, yaml.SequenceNode, "a list")
			}
		}
	}
	return results
}

func describeKind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case nodes.IsNull(n):
		return "nothing"
	default:
		return "a single value"
	}
}

// inject edits a workload that passed every check, and the objects around it.
func (in *input) inject(w *workload) ([]*Object, Results) {
	if in.sinkOf(w) != in.sink {
		defer in.recordingLocally()()
	}
	var results Results
	e := in.editorOf(w.Object)
	results = append(results, labelPods(e, w)...)
	results = append(results, in.hideFromOperator(e, w)...)

	var apps []*appEnv
	for _, c := range w.appContainers() {
		apps = append(apps, &appEnv{editor: e, in: in, w: w, c: c, results: &results})
	}
	for _, app := range apps {
		app.addExtra() // first, so that the sidecar also chains to a proxy among these variables
	}
	upstream := map[string]*yaml.Node{}
	switch {
	case w.settings.responder != "":
		upstream = chainToResponder(w, apps)
	case w.settings.outbound():
		upstream = chain(apps)
	}
	everything := w.original != nil && w.settings.responder != ""
	if len(w.settings.hosts) > 0 || everything {
		w.late, _ = in.lateContainers(w)
	}
	for _, c := range w.late { // the hosts file leads these to the sidecar; variables do so only in a copy
		apps = append(apps, &appEnv{editor: e, in: in, w: w, c: c, apart: !everything, results: &results})
	}
	for _, app := range apps {
		if w.settings.outbound() {
			app.pointAtProxy()
		}
		if w.settings.intercepts() {
			app.trust()
		}
		if w.settings.outbound() {
			app.optJava()
		}
		if len(w.settings.hosts) > 0 {
			app.mountHosts()
		}
	}
	results = append(results, in.openPorts(e, w)...)
	results = append(results, in.checkMountedNames(w)...)
	if w.mockedBy() == nil && w.settings.intercepts() && in.find("", "Secret", w.namespace(), in.cfg.CASecret) == nil {
		results = append(results, result(CodeCASecret, w.Object, "the sidecar intercepts TLS with the CA in Secret %s, which is not in the input. Without it, TLS passes through unread. `tapedeck ca` creates one", in.cfg.CASecret))
	}
	results = append(results, in.addSidecar(e, w, upstream)...)
	results = append(results, in.checkResources(w)...)
	for _, c := range w.allContainers() {
		results = append(results, in.checkMounts(w, c, nodes.Items(nodes.At(c.Node, "volumeMounts")))...)
	}
	results = append(results, in.checkSink(w)...)
	var policy *Object
	if w.original == nil { // the replay's policies handle the egress of a copy
		var more Results
		policy, more = in.egressPolicies(w, upstream)
		results = append(results, more...)
	}

	if s := &w.settings; s.outbound() && s.socks() {
		results = append(results, result(CodeSocks, w.Object, "%s %s", reasons[CodeSocks].Sentence, reasons[CodeSocks].Help).At(s.where("proxy-protocol"), s.ProxyProtocol, strings.Replace(s.ProxyProtocol, "socks", "http", 1)))
	}

	var created []*Object
	if w.settings.inbound() {
		filters := in.checkEnvoyFilters(w) // compares with the Sidecars before their edits
		switch in.cfg.Inbound {
		case inboundSidecar:
			objects, more := in.routeBySidecar(w)
			created, results = objects, append(results, more...)
		case inboundService:
			results = append(results, in.routeByService(w)...)
		}
		results = append(results, in.checkRoutes(w)...)
		results = append(results, filters...)
	}
	if created == nil {
		results = append(results, in.checkEgress(w)...)
	}
	if policy != nil {
		created = append(created, policy)
	}
	entries, more := in.serviceEntriesOnce(w)
	created, results = append(created, entries...), append(results, more...)
	if results.Failed() {
		return nil, results
	}
	done := result(CodeInjected, w.Object, "injected: %s", w.settings.describe()).At(w.settings.where("inject"), "true", "")
	return created, append(Results{done}, results...)
}

// marks returns the labels that the pods of an injected workload get.
func (w *workload) marks() [][2]string {
	marks := [][2]string{{contract.LabelInjected, "true"}, {contract.LabelWorkload, w.label()}}
	if w.replay != nil && w.original == nil {
		marks = append(marks, [2]string{contract.LabelReplay, w.replay.name}, [2]string{contract.LabelReplayPart, contract.PartCopy})
	}
	return marks
}

// labelPods marks the pods so that selectors find them, and so that Prometheus scrapes them if that
// was requested.
func labelPods(e *editor, w *workload) Results {
	metadata, path := e.collection(w.template, w.path, "metadata", yaml.MappingNode)
	labels, path := e.collection(metadata, path, "labels", yaml.MappingNode)
	for _, l := range w.marks() {
		if nodes.KeyIndex(labels, l[0]) >= 0 {
			e.replace(labels, path, l[0], l[1])
		} else {
			e.put(labels, path, l[0], l[1])
		}
	}
	return annotateScrape(e, w)
}

// serviceEntriesOnce builds the ServiceEntries once, next to the first workload.
func (in *input) serviceEntriesOnce(w *workload) ([]*Object, Results) {
	if in.serviceEntriesDone {
		return nil, nil
	}
	in.serviceEntriesDone = true
	return in.serviceEntries(w)
}
