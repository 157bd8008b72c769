package transformer

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// These constants identify the API of TrafficReplays.
const (
	replayGroup      = "speedscale.com"
	replayAPIVersion = replayGroup + "/v1"
)

// replayRequest is a request for a replay, as annotations or a TrafficReplay express it.
type replayRequest struct {
	from *Object
	// at is the field path of the request.
	at string

	SnapshotID, TestConfigID string
	Mode, BuildTag, Timeout  string
	URL                      string
	Secrets                  []string
	LowData                  bool
	How                      string
	Shards, Replicas         int
	FailIf                   string
	Passthrough              []string
	Hooks                    string

	targets []replayTarget
	// said has the settings that were written explicitly, without those from defaults.
	said []statement
}

// replayTarget is the target of the requests: a workload, or only a URL.
type replayTarget struct {
	at  string // its field path; "" for the whole object
	w   *workload
	ref objectRef
	URI string
	// Tests and Mocks are slice keys.
	Tests, Mocks []string
	// listed says what an empty list of mocks means. If it is set, nothing is mocked. Otherwise the
	// dependencies that the workload called are mocked.
	listed  bool
	Routing string
}

type objectRef struct{ Name, Kind, Namespace, APIVersion string }

// target returns the only target of an annotated workload.
func (q *replayRequest) target() *replayTarget { return &q.targets[0] }

// targetAt returns a target of a TrafficReplay.
func (q *replayRequest) targetAt(i int) *replayTarget {
	for len(q.targets) <= i {
		q.targets = append(q.targets, replayTarget{at: pathIndex("spec.workloads", len(q.targets)), listed: true})
	}
	return &q.targets[i]
}

// only returns the target that the field workloadRef names.
func (q *replayRequest) only() *replayTarget {
	t := q.targetAt(0)
	t.at, t.listed = "spec.workloadRef", false
	return t
}

// statement returns the setting that was written under one of some names, or an empty one.
func (q *replayRequest) statement(names ...string) statement {
	for _, s := range q.said {
		if slices.Contains(names, s.name) {
			return s
		}
	}
	return statement{label: names[0], path: q.at}
}

// TrafficReplayFields returns the table of the fields of a TrafficReplay's spec. The names and their
// meaning come from the ecosystem's CustomResourceDefinition, speedscale.com/v1.
func TrafficReplayFields() []ReplayField { return rowsOf(trafficReplayFields) }

var trafficReplayFields = []fieldRow[replayRequest]{
	{ReplayField{Path: "snapshotID", Kind: snapshotKind, Doc: "As the annotation `snapshot-id`."},
		into(func(q *replayRequest) *string { return &q.SnapshotID })},
	{ReplayField{Path: "testConfigID", Kind: idKind, Default: standardConfig, Doc: "As `testconfig-id`."},
		into(func(q *replayRequest) *string { return &q.TestConfigID })},
	{ReplayField{Path: "mode", Kind: modeKind, Default: string(fullReplay), Doc: "As `mode`."},
		into(func(q *replayRequest) *string { return &q.Mode })},
	{ReplayField{Path: "buildTag", Kind: lineKind, When: withGenerator, Doc: "As `build-tag`."},
		into(func(q *replayRequest) *string { return &q.BuildTag })},
	{ReplayField{Path: "customURL", Kind: urlKind, When: withGenerator, Doc: "As `sut-url`, for every workload; without workloads, requests are sent there and nothing is mocked."},
		into(func(q *replayRequest) *string { return &q.URL })},
	{ReplayField{Path: "timeout", Kind: durationKind, Default: contract.DefaultReplayTimeout, When: withGenerator, Doc: "As `timeout`."},
		into(func(q *replayRequest) *string { return &q.Timeout })},
	{ReplayField{Path: "secretRefs[].name", Kind: secretKind, When: withGenerator, Doc: "As `secrets`."},
		addTo(func(q *replayRequest) *[]string { return &q.Secrets })},
	{ReplayField{Path: "workloads[].ref.name", Kind: nameKind, Doc: "Name of the workload, or of a Service that leads to one, in the input. Each workload gets a separate replay."},
		func(q *replayRequest, at []int, v string) { q.targetAt(at[0]).ref.Name = v }},
	{ReplayField{Path: "workloads[].ref.kind", Kind: lineKind, Default: "Deployment", Doc: "Kind of the workload."},
		func(q *replayRequest, at []int, v string) { q.targetAt(at[0]).ref.Kind = v }},
	{ReplayField{Path: "workloads[].ref.namespace", Kind: namespaceKind, Doc: "Namespace of the workload; that of the TrafficReplay if unset."},
		func(q *replayRequest, at []int, v string) { q.targetAt(at[0]).ref.Namespace = v }},
	{ReplayField{Path: "workloads[].ref.apiVersion", Kind: lineKind, Doc: "API version of the workload. Only its group matters."},
		func(q *replayRequest, at []int, v string) { q.targetAt(at[0]).ref.APIVersion = v }},
	{ReplayField{Path: "workloads[].customURI", Kind: urlKind, Doc: "Replaces `customURL` for this entry; without `ref`, requests are sent there and nothing is mocked."},
		func(q *replayRequest, at []int, v string) { q.targetAt(at[0]).URI = v }},
	{ReplayField{Path: "workloads[].tests[]", Kind: sliceKind, When: withGenerator, Doc: "Recorded requests to send to the workload: `*` for all; if there are none, those that it received."},
		func(q *replayRequest, at []int, v string) { addSlice(&q.targetAt(at[0]).Tests, v) }},
	{ReplayField{Path: "workloads[].mocks[]", Kind: sliceKind, When: withResponder, Doc: "Recorded answers that the responder gives: `*` for all. If there are none, nothing is mocked."},
		func(q *replayRequest, at []int, v string) { addSlice(&q.targetAt(at[0]).Mocks, v) }},
	{ReplayField{Path: "workloads[].routing", Kind: routingKind, When: withResponder, Doc: "`hostalias` also leads the copy to the responder through a [hosts file](outbound.md#hosts-file)."},
		func(q *replayRequest, at []int, v string) { q.targetAt(at[0]).Routing = v }},

	{ReplayField{Path: "workloadRef.name", Kind: nameKind, Doc: "Deprecated: the only workload, with what it received as tests and what it called as mocks."},
		func(q *replayRequest, _ []int, v string) { q.only().ref.Name = v }},
	{ReplayField{Path: "workloadRef.kind", Kind: lineKind, Default: "Deployment", Doc: "Deprecated: its kind."},
		func(q *replayRequest, _ []int, v string) { q.only().ref.Kind = v }},
	{ReplayField{Path: "workloadRef.namespace", Kind: namespaceKind, Doc: "Deprecated: its namespace."},
		func(q *replayRequest, _ []int, v string) { q.only().ref.Namespace = v }},
	{ReplayField{Path: "workloadRef.apiVersion", Kind: lineKind, Doc: "Deprecated: its API version."},
		func(q *replayRequest, _ []int, v string) { q.only().ref.APIVersion = v }},
	{ReplayField{Path: "workloads[].inTrafficKey", Kind: sliceKind, When: withGenerator, Doc: "Deprecated: one of `tests`."},
		func(q *replayRequest, at []int, v string) { addSlice(&q.targetAt(at[0]).Tests, v) }},
	{ReplayField{Path: "workloads[].inTrafficKeys[]", Kind: sliceKind, When: withGenerator, Doc: "Deprecated: `tests`."},
		func(q *replayRequest, at []int, v string) { addSlice(&q.targetAt(at[0]).Tests, v) }},
	{ReplayField{Path: "workloads[].outTrafficKeys[]", Kind: sliceKind, When: withResponder, Doc: "Deprecated: `mocks`."},
		func(q *replayRequest, at []int, v string) { addSlice(&q.targetAt(at[0]).Mocks, v) }},
	{ReplayField{Path: "generatorLowData", Kind: boolKind, Default: "false", When: withGenerator, Doc: "Deprecated: as `generator-low-data`."},
		func(q *replayRequest, _ []int, v string) { q.LowData = v == "true" }},

	{ReplayField: ReplayField{Path: "cleanup", NoMeaning: gitRemoves}},
	{ReplayField: ReplayField{Path: "ttlAfterReady", NoMeaning: gitRemoves}},
	{ReplayField: ReplayField{Path: "needsReport", NoMeaning: "a generator always writes a report; a responder without a generator has its receipt at /receipt"}},
	{ReplayField: ReplayField{Path: "configChecksum", NoMeaning: "an operator wrote it, and Tapedeck doesn't read it"}},
	{ReplayField: ReplayField{Path: "collectLogs", NoMeaning: logsAreThere}},
	{ReplayField: ReplayField{Path: "responderLowData", NoMeaning: "a responder never keeps more than the counts of its receipt and the first misses"}},
	{ReplayField: ReplayField{Path: "proxyMode", NoMeaning: noSidecarField}},
	{ReplayField: ReplayField{Path: "sidecar", NoMeaning: noSidecarField}},
}

const noSidecarField = "the annotations " + contract.SidecarPrefix + "* of the workload say how it is captured, and its copy is captured in the same way"

// addSlice adds a slice key to a list.
func addSlice(keys *[]string, v string) { *keys = append(*keys, v) }

// readReplays reads the requests of annotations and TrafficReplays. It returns the replays sorted by
// the namespace, kind and name of their workloads, whatever their order in the input.
func (in *input) readReplays() (replays []*replay, results Results) {
	for _, w := range in.workloads {
		more, found := in.annotatedReplay(w)
		replays, results = append(replays, more...), append(results, found...)
	}
	for _, o := range in.byKind[replayGroup+"/"+trafficReplayKind] {
		more, found := in.trafficReplay(o)
		replays, results = append(replays, more...), append(results, found...)
	}
	slices.SortStableFunc(replays, func(a, b *replay) int {
		return cmp.Or(strings.Compare(a.namespace(), b.namespace()), cmp.Compare(a.rank(), b.rank()), strings.Compare(a.subject().name(), b.subject().name()),
			strings.Compare(a.from.name(), b.from.name()))
	})
	return replays, append(results, checkShared(replays)...)
}

// rank orders replays by the kinds of their workloads. Replays without a workload come last.
func (r *replay) rank() int {
	if r.w != nil {
		return r.w.kind.rank()
	}
	return len(workloadKinds)
}

// checkShared reports several replays of one workload if one of them is in place. The pods can use
// only one responder, and copies would use it too.
func checkShared(replays []*replay) (results Results) {
	first := map[*workload]*replay{}
	for _, r := range replays {
		switch other := first[r.w]; {
		case r.elsewhere():
		case other == nil:
			first[r.w] = r
		case r.InPlace || other.InPlace:
			results = append(results, r.result(CodeReplayShared, "a replay uses %s in place, and %s asks for another replay of it; allowed: one replay in place, or copies", r.w.Ref(), other.from.Ref()))
		}
	}
	return results
}

// annotatedReplay reads the annotations of a workload.
func (in *input) annotatedReplay(w *workload) ([]*replay, Results) {
	q := replayRequest{from: w.Object, targets: []replayTarget{{w: w}}}
	if key, at := w.replayKey(); key == "" {
		return nil, nil
	} else if why := w.leftAlone(); why != "" {
		return nil, Results{result(CodeReplayIgnored, w.Object, "annotation %s: not replayed, because %s", key, why).At(at, "", "")}
	}
	results := q.readAnnotations(in.cfg, w.annotated())
	asked := q.statement("snapshot-id")
	q.at = asked.path
	switch {
	case results.Failed():
		return nil, results
	case len(q.said) == 0:
		return nil, results // only settings without effect
	case q.SnapshotID == "":
		first := q.said[0]
		return nil, append(results, result(CodeReplayNoSnapshot, w.Object, "%s is set, but %ssnapshot-id is not, which asks for the replay; set it, or remove %s", first.label, contract.ReplayPrefix, first.label).At(first.path, first.value, ""))
	}
	replays, more := in.replaysOf(&q)
	return replays, append(results, more...)
}

// replayKey returns the first replay annotation of a workload, and its field path.
func (w *workload) replayKey() (key, at string) {
	for _, place := range w.annotated() {
		place = append(slices.Clone(place), "metadata", "annotations")
		annotations := nodes.At(w.Node, place...)
		for i := 0; annotations != nil && i+1 < len(annotations.Content); i += 2 {
			if key := annotations.Content[i].Value; isReplayKey(key) {
				return key, pathKey(strings.Join(place, "."), key)
			}
		}
	}
	return "", ""
}

// leftAlone says why a workload must not be rendered; "" if it may be.
func (w *workload) leftAlone() string {
	if ignored := w.ignored(); len(ignored) == 1 && ignored[0].Code() == CodeIgnored {
		return contract.AnnotationIgnore + ` is "true"`
	}
	return leftAlone(w.Object)
}

// leftAlone says why an object must not be rendered; "" if it may be.
func leftAlone(o *Object) string {
	switch {
	case strings.EqualFold(o.annotation(contract.AnnotationIgnore), "true"):
		return contract.AnnotationIgnore + ` is "true"`
	case o.annotation(LocalConfig) == "true":
		return LocalConfig + ` is "true"`
	}
	return ""
}

// trafficReplay reads a TrafficReplay.
func (in *input) trafficReplay(o *Object) ([]*replay, Results) {
	if why := leftAlone(o); why != "" {
		return nil, Results{result(CodeReplayIgnored, o, "not replayed, because %s", why)}
	}
	if value := o.annotation(contract.AnnotationIgnore); value != "" && !strings.EqualFold(value, "false") {
		at := pathKey("metadata.annotations", contract.AnnotationIgnore)
		return nil, Results{result(CodeBadValue, o, "annotation %s: found %q, allowed: %s", contract.AnnotationIgnore, value, boolKind.Allowed).At(at, value, "true")}
	}
	if o.apiVersion() != replayAPIVersion {
		return nil, Results{result(CodeBadValue, o, "apiVersion: found %q, allowed: %s", o.apiVersion(), replayAPIVersion).At("apiVersion", o.apiVersion(), replayAPIVersion)}
	}
	q := replayRequest{from: o, at: "spec"}
	results := q.readAnnotations(in.cfg, [][]string{nil})
	f := fields[replayRequest]{rows: trafficReplayFields, of: o, texts: true, cfg: in.cfg}
	if spec := nodes.At(o.Node, "spec"); spec != nil {
		said, more := f.read(spec, "spec", &q)
		q.said, results = append(q.said, said...), append(results, more...)
	}
	results = append(results, in.resolveTargets(&q)...)
	if q.SnapshotID == "" && !results.Failed() {
		results = append(results, result(CodeReplayNoSnapshot, o, "spec.snapshotID: found nothing, allowed: %s", snapshotKind.Allowed).At("spec.snapshotID", "", ""))
	}
	if results.Failed() {
		return nil, results
	}
	replays, more := in.replaysOf(&q)
	return replays, append(results, more...)
}
