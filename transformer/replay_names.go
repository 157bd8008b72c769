package transformer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// Everything of a replay is named after one base, NAME-replay-HASH:
//
//	BASE            the copy, its Service and its policies
//	BASE-mock       the responder and its Service
//	NAME-replay-…   the Job, with a hash of its own: nobody may change the template of a Job
//
// A new build, snapshot or setting is another hash, and so another replay. A new image of
// Tapedeck is another Job of the same replay.

// trafficReplayKind is the kind of the objects that ask for replays.
const trafficReplayKind = "TrafficReplay"

const (
	replayInfix     = "-replay-"
	responderSuffix = "-mock"
	// maxStem is how long NAME may be, so that no name of a replay has more than 63
	// characters: the longest is that of a ServiceEntry. That of a Job's pod, which is a
	// part of its host name, is shorter: an index has 5 digits at most, as Kubernetes takes
	// 100000 completions (pkg/apis/batch/validation).
	maxStem = 63 - len(replayInfix) - hashLength - len("-generator-identity")
)

// replayBase matches the base of a replay's names.
var replayBase = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?` + replayInfix + hashPattern + `$`)

// nameReplays names replays. It comes before anything is edited: the hash is of the pod
// templates as they are in the input.
func (in *input) nameReplays(replays []*replay) Results {
	var results Results
	taken := map[string]*replay{}
	for _, r := range replays {
		r.name = in.replayName(r)
		id := r.namespace() + "/" + r.name
		if first := taken[id]; first != nil {
			results = append(results, r.result(CodeReplayTwice, "%s asks for the same replay as %s of %s, with the same settings; remove one of the two", orThis(r.at), orThis(first.at), first.from.Ref()))
			continue
		}
		taken[id] = r
		for _, o := range []*Object{
			in.find("apps", "Deployment", r.namespace(), r.name), in.find("apps", "Deployment", r.namespace(), r.responderName()),
			in.find("", "Service", r.namespace(), r.name), in.find("", "Service", r.namespace(), r.responderName()),
		} {
			if o != nil {
				results = append(results, result(CodeReplayName, o, "%s has a name that the replay of %s needs. It has no annotation %s, so no render created it; rename or remove it", o.Ref(), r.from.Ref(), contract.AnnotationFor).At("metadata.name", o.name(), ""))
			}
		}
	}
	return results
}

// orThis names what asks for a replay: the field, if there is one.
func orThis(at string) string {
	if at == "" {
		return "the object"
	}
	return at
}

// replayName returns the base of a replay's names.
func (in *input) replayName(r *replay) string {
	settings := r.replaySpec
	settings.Hooks = nil // they are the Job's own annotations, and none of what it does
	hashed := map[string]any{
		"from":     identity(r.from),
		"settings": setFields(settings),
		"snapshot": r.Snapshot.String(),
		"options":  in.replayOptions(),
	}
	if r.w != nil {
		hashed["workload"], hashed["template"] = identity(r.w.Object), templateValue(r.w)
	}
	return replayStem(r.subject().name()) + replayInfix + hashOf(hashed)
}

// identity is what tells an object from others, without its version.
func identity(o *Object) []string {
	return []string{o.group(), o.kind(), o.namespace(), o.name()}
}

// replayOptions returns the options that are about replays alone, where they are not
// as they are by default: a new option must not rename what does not use it.
func (in *input) replayOptions() map[string]any {
	set, usual := map[string]any{}, DefaultConfig()
	for i := range options {
		o := &options[i]
		is, was := reflect.ValueOf(o.target(in.cfg)).Elem().Interface(), reflect.ValueOf(o.target(&usual)).Elem().Interface()
		if strings.HasPrefix(o.Name, "replay") && !reflect.DeepEqual(is, was) {
			set[o.Name] = is
		}
	}
	return set
}

// subject is what a replay is named after: the workload, or what asks for the replay.
func (r *replay) subject() *Object {
	if r.w != nil {
		return r.w.Object
	}
	return r.from
}

// responderName is the name of the responder and of its Service.
func (r *replay) responderName() string { return r.name + responderSuffix }

// serviceHost is the name by which the replay's pods find one of its Services. Where the
// namespace is not known, they are in the same one.
func (r *replay) serviceHost(name string) string {
	if ns := r.namespace(); ns != "" {
		return name + "." + ns
	}
	return name
}

func (r *replay) copyHost() string      { return r.serviceHost(r.name) }
func (r *replay) responderHost() string { return r.serviceHost(r.responderName()) }

// labels are the two labels by which everything selects a part of a replay.
func (r *replay) labels(part string) map[string]string {
	return map[string]string{contract.LabelReplay: r.name, contract.LabelReplayPart: part}
}

// selector returns them as a mapping of an object's.
func (r *replay) selector(part string) *yaml.Node {
	return nodes.Mapping(contract.LabelReplay, r.name, contract.LabelReplayPart, part)
}

// labelsOfPods are the labels that the pods of a replay take over from the workload: by them a
// mesh and a cloud know pods, so either all parts of a replay are in the mesh, or none.
// Nothing of an application selects by them.
var labelsOfPods = []string{
	"sidecar.istio.io/inject", "istio.io/rev", "istio.io/dataplane-mode", "istio.io/use-waypoint", "istio.io/use-waypoint-namespace",
	azureIdentity, "aadpodidbinding",
}

// azureIdentity is the label by which Azure gives a pod the identity of its service account
// (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html).
const azureIdentity = "azure.workload.identity/use"

// podLabels returns the labels that the pods of a part have.
func (r *replay) podLabels(part string) *yaml.Node {
	labels := r.selector(part)
	if r.w == nil {
		return labels
	}
	original := r.w.podLabels()
	for _, key := range labelsOfPods {
		if value := original[key]; value != "" {
			nodes.Set(labels, key, nodes.New(value))
		}
	}
	return labels
}

// object builds an object of a part of a replay.
func (r *replay) object(part, apiVersion, kind, name string, spec *yaml.Node) *Object {
	return &Object{File: r.from.File, Node: newObject(apiVersion, kind, name, r.namespace(), r.selector(part), nodes.Mapping(contract.AnnotationFor, r.subject().id()), "spec", spec)}
}

// replayStem makes of a name what the names of a replay begin with. The name of a Service
// starts with a letter and has no dots (RFC 1035), unlike that of a workload.
func replayStem(name string) string {
	stem := strings.Trim(strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(name)), "-")
	if stem == "" || stem[0] < 'a' {
		stem = "w" + strings.TrimSuffix("-"+stem, "-")
	}
	return strings.TrimRight(stem[:min(len(stem), maxStem)], "-")
}

// namedForReplay tells whether a name is one of a replay of a workload.
func namedForReplay(name, workload string) bool {
	_, rest, found := strings.Cut(name, replayStem(workload)+replayInfix)
	return found && hashPrefix.MatchString(rest)
}

// ownOfReplay tells whether an object has the labels that every object of a replay has, for
// one of some parts, and a name of that part. A kustomization may have put a prefix and a
// suffix around the name.
func ownOfReplay(o *Object, parts ...string) (base, part string, own bool) {
	labels := nodes.Strings(nodes.At(o.Node, "metadata", "labels"))
	base, part = labels[contract.LabelReplay], labels[contract.LabelReplayPart]
	if !replayBase.MatchString(base) || !slices.Contains(parts, part) {
		return base, part, false
	}
	name := map[string]string{
		contract.PartCopy:      base,
		contract.PartResponder: base + responderSuffix,
		contract.PartGenerator: base[:len(base)-hashLength], // the Job has a hash of its own
	}[part]
	return base, part, strings.Contains(o.name(), name)
}

// ownReplayDeployment tells whether a Deployment is the copy or the responder of a replay:
// its pods are those with the two labels, and no others, and a responder's run what one runs.
// What a copy runs is up to its workload: see checkCopied. Images, variables and the like
// don't count, since a kustomization may have changed them.
func ownReplayDeployment(o *Object) bool {
	base, part, own := ownOfReplay(o, contract.PartCopy, contract.PartResponder)
	spec := nodes.At(o.Node, "spec")
	selector := nodes.At(spec, "selector")
	return own && onlyKeys(selector, "matchLabels") && isSelector(nodes.At(selector, "matchLabels"), base, part) &&
		hasLabels(nodes.At(spec, "template", "metadata", "labels"), base, part) &&
		(part == contract.PartCopy || runs(spec, contract.ResponderContainer, "mock"))
}

// ownReplayService tells whether a Service leads to the copy or the responder of a replay,
// by ports as a render writes them, and from inside the cluster alone.
func ownReplayService(o *Object) bool {
	base, part, own := ownOfReplay(o, contract.PartCopy, contract.PartResponder)
	spec := nodes.At(o.Node, "spec")
	ports := responderPorts()
	if part == contract.PartCopy {
		var numbers []int
		for _, p := range nodes.Items(nodes.At(spec, "ports")) {
			numbers = append(numbers, nodes.Int(nodes.At(p, "port")))
		}
		ports = copyServicePorts(numbers)
		for i, p := range nodes.Items(nodes.At(spec, "ports")) { // a render may lead the Service to the sidecar
			nodes.Set(ports.Content[i], "targetPort", nodes.At(p, "targetPort"))
		}
	}
	return own && onlyKeys(spec, "selector", "ports") && isSelector(nodes.At(spec, "selector"), base, part) && same(nodes.At(spec, "ports"), ports)
}

// ownReplayJob tells whether a Job is the generator of a replay: it selects no pods by
// labels of its own, and runs what a generator of that replay runs.
func ownReplayJob(o *Object) bool {
	base, part, own := ownOfReplay(o, contract.PartGenerator)
	spec := nodes.At(o.Node, "spec")
	return own && nodes.At(spec, "selector") == nil && hasLabels(nodes.At(spec, "template", "metadata", "labels"), base, part) &&
		runs(spec, contract.GeneratorContainer, "replay", "--run="+base+"/$("+contract.EnvRun+")")
}

// runs tells whether the pods of a spec have one container, of a name, which runs a command of
// Tapedeck's with some arguments.
func runs(spec *yaml.Node, name, command string, arguments ...string) bool {
	containers := nodes.Items(nodes.At(spec, "template", "spec", "containers"))
	if len(containers) != 1 || nodes.StringAt(containers[0], "name") != name || !same(nodes.At(containers[0], "command"), nodes.New([]string{contract.Binary})) {
		return false
	}
	args := nodes.Items(nodes.At(containers[0], "args"))
	return len(args) > 0 && nodes.String(args[0]) == command && !slices.ContainsFunc(arguments, func(a string) bool {
		return !slices.ContainsFunc(args, func(n *yaml.Node) bool { return nodes.String(n) == a })
	})
}

// checkCopied says why a Deployment that looks like a copy by its labels may be none: neither
// the workload that it is said to be a copy of is among the objects, nor are its pods like
// those of a copy. One beside its workload is taken for a copy, whatever it runs: that is as
// the workload was.
func checkCopied(o *Object, objects []*Object) error {
	base, part, _ := ownOfReplay(o, contract.PartCopy)
	if part != contract.PartCopy || !o.is("apps", "Deployment") {
		return nil
	}
	kind, name, _ := strings.Cut(o.annotation(contract.AnnotationFor), "/")
	if slices.ContainsFunc(objects, func(w *Object) bool { // which may have a prefix and a suffix since
		return w != o && w.kind() == kind && w.namespace() == o.namespace() && strings.Contains(w.name(), name) && w.annotation(contract.AnnotationFor) == ""
	}) {
		return nil
	}
	w := asWorkload(o)
	known := slices.Concat(labelsOfPods, []string{contract.LabelReplay, contract.LabelReplayPart, contract.LabelInjected, contract.LabelWorkload})
	for _, key := range sortedKeys(w.podLabels()) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("found no %s/%s in namespace %q that it is a copy of, and pods with the label %s, which no copy has", kind, name, o.namespace(), key)
		}
	}
	for _, c := range w.allContainers() {
		if c.name() == contract.Container && sidecarVariables(c.Node) != nil || slices.ContainsFunc(nodes.Items(nodes.At(c.Node, "env")), func(v *yaml.Node) bool {
			return strings.HasPrefix(nodes.StringAt(v, "value"), "http://"+base+responderSuffix)
		}) {
			return nil
		}
	}
	return fmt.Errorf("found no %s/%s in namespace %q that it is a copy of, and no sidecar and no variable that leads its pods to a responder", kind, name, o.namespace())
}

// isSelector tells whether a mapping has the two labels of a part of a replay, and no other.
func isSelector(n *yaml.Node, base, part string) bool {
	return n != nil && len(n.Content) == 4 && hasLabels(n, base, part)
}

// hasLabels tells whether labels have the two of a part of a replay.
func hasLabels(n *yaml.Node, base, part string) bool {
	return nodes.StringAt(n, contract.LabelReplay) == base && nodes.StringAt(n, contract.LabelReplayPart) == part
}

const (
	hashLength  = 8
	hashPattern = `[a-z0-9]{8}`
)

var hashPrefix = regexp.MustCompile(`^` + hashPattern)

// hashOf returns a hash of values, as small letters and digits. It is of their JSON, where
// the keys of maps are in order.
func hashOf(values ...any) string {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err) // a wrong type, not wrong input
	}
	sum := sha256.Sum256(text)
	const most = 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36
	digits := strconv.FormatUint(binary.BigEndian.Uint64(sum[:])%most, 36)
	return strings.Repeat("0", hashLength-len(digits)) + digits
}

// setFields returns the fields of a structure that are set, since one that is new and not set must
// not change a hash.
func setFields(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // as above
	}
	var fields any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		panic(err) // it was marshalled just now
	}
	return withoutEmpty(fields)
}

// withoutEmpty drops empty fields; nil if a value is empty itself.
func withoutEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			if v[key] = withoutEmpty(v[key]); v[key] == nil {
				delete(v, key)
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
	case json.Number:
		if v == "0" {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}

// templateValue returns of a pod template what makes its pods: the spec, the labels and
// the annotations. How it is written in YAML does not matter.
func templateValue(w *workload) any {
	annotations, _ := plainValue(nodes.At(w.template, "metadata", "annotations")).(map[string]any)
	for key := range annotations {
		if bookkeeping.MatchString(key) { // a Pod is its own template
			delete(annotations, key)
		}
	}
	return map[string]any{"spec": plainValue(w.podSpec()), "labels": plainValue(nodes.At(w.template, "metadata", "labels")), "annotations": annotations}
}

// plainValue returns a node's value, with maps and lists as encoding/json has them. Texts
// that say the same number are the same.
func plainValue(n *yaml.Node) any {
	switch {
	case n == nil || nodes.IsNull(n):
		return nil
	case n.Kind == yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if value := n.Content[i+1]; !nodes.IsNull(value) { // which is to say nothing
				m[n.Content[i].Value] = plainValue(value)
			}
		}
		return m
	case n.Kind == yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = plainValue(item)
		}
		return list
	}
	var whole int64
	var number float64
	switch n.ShortTag() {
	case yaml.NodeTagBool:
		return nodes.IsTrue(n)
	case yaml.NodeTagInt:
		if n.Decode(&whole) == nil {
			return whole
		}
	case yaml.NodeTagFloat:
		if n.Decode(&number) != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			break
		}
		if whole = int64(number); number == float64(whole) {
			return whole
		}
		return number
	}
	return n.Value
}
