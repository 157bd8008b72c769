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

// All objects of a replay are named after one base, NAME-replay-HASH:
//
// BASE            the copy, its Service and its policies
// BASE-mock       the responder and its Service
// NAME-replay-…   the Job, with a separate hash, because its template is immutable
//
// A new build, snapshot or setting changes the hash, so it makes another replay. A new image of
// Tapedeck makes another Job of the same replay.

// trafficReplayKind is the kind of the objects that request replays.
const trafficReplayKind = "TrafficReplay"

const (
	replayInfix     = "-replay-"
	responderSuffix = "-mock"
	// maxStem is the maximum length of NAME. With it, no name of a replay has more than 63 characters.
	// The longest name is that of a ServiceEntry. The name of a Job's pod, which is part of its host
	// name, is shorter: an index has at most 5 digits, because Kubernetes allows 100000 completions
	// (pkg/apis/batch/validation).
	maxStem = 63 - len(replayInfix) - hashLength - len("-generator-identity")
)

// replayBase matches the base of a replay's names.
var replayBase = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?` + replayInfix + hashPattern + `$`)

// nameReplays names replays. It must run before any edit, because the hash covers the pod templates as
// they are in the input.
func (in *input) nameReplays(replays []*replay) Results {
	var results Results
	taken := map[string]*replay{}
	for _, r := range replays {
		r.name = in.replayName(r)
		id := r.namespace() + "/" + r.name
		if first := taken[id]; first != nil {
			results = append(results, r.result(CodeReplayTwice, "%s requests the same replay as %s of %s, with the same settings; remove one of the two", orThis(r.at), orThis(first.at), first.from.Ref()))
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

// orThis returns the field that requests a replay, or "the object" if there is none.
func orThis(at string) string {
	if at == "" {
		return "the object"
	}
	return at
}

// replayName returns the base of a replay's names.
func (in *input) replayName(r *replay) string {
	settings := r.replaySpec
	settings.Hooks = nil // they are annotations of the Job, and don't change what it does
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

// identity returns the fields that identify an object, without its version.
func identity(o *Object) []string {
	return []string{o.group(), o.kind(), o.namespace(), o.name()}
}

// replayOptions returns the replay options whose values differ from the defaults. It leaves out the
// others so that a new option does not rename replays that don't use it.
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

// subject returns the object that a replay is named after: the workload, or else the object that
// requests the replay.
func (r *replay) subject() *Object {
	if r.w != nil {
		return r.w.Object
	}
	return r.from
}

// responderName returns the name of the responder and of its Service.
func (r *replay) responderName() string { return r.name + responderSuffix }

// serviceHost returns the host name with which the replay's pods call one of its Services. If the
// namespace is unknown, they are in the same one, so the short name is enough.
func (r *replay) serviceHost(name string) string {
	if ns := r.namespace(); ns != "" {
		return name + "." + ns
	}
	return name
}

func (r *replay) copyHost() string      { return r.serviceHost(r.name) }
func (r *replay) responderHost() string { return r.serviceHost(r.responderName()) }

// labels returns the two labels that select a part of a replay.
func (r *replay) labels(part string) map[string]string {
	return map[string]string{contract.LabelReplay: r.name, contract.LabelReplayPart: part}
}

// selector returns the same two labels as a mapping.
func (r *replay) selector(part string) *yaml.Node {
	return nodes.Mapping(contract.LabelReplay, r.name, contract.LabelReplayPart, part)
}

// labelsOfPods are the labels that the pods of a replay copy from the workload. A mesh and a cloud
// identify pods by them, so either all parts of a replay are in the mesh, or none. Applications do not
// use them as selectors.
var labelsOfPods = []string{
	"sidecar.istio.io/inject", "istio.io/rev", "istio.io/dataplane-mode", "istio.io/use-waypoint", "istio.io/use-waypoint-namespace",
	azureIdentity, "aadpodidbinding",
}

// azureIdentity is the label with which Azure gives a pod the identity of its service account
// (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html).
const azureIdentity = "azure.workload.identity/use"

// podLabels returns the labels of the pods of a part.
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

// object builds an object that belongs to a part of a replay.
func (r *replay) object(part, apiVersion, kind, name string, spec *yaml.Node) *Object {
	return &Object{File: r.from.File, Node: newObject(apiVersion, kind, name, r.namespace(), r.selector(part), nodes.Mapping(contract.AnnotationFor, r.subject().id()), "spec", spec)}
}

// replayStem turns a name into the first part of a replay's names. The name of a Service starts with a
// letter and has no dots (RFC 1035), unlike that of a workload.
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

// namedForReplay reports whether a name belongs to a replay of a workload.
func namedForReplay(name, workload string) bool {
	_, rest, found := strings.Cut(name, replayStem(workload)+replayInfix)
	return found && hashPrefix.MatchString(rest)
}

// ownOfReplay reports whether an object has the labels of an object of a replay, for one of the given
// parts, and the name of that part. A kustomization may have added a prefix and a suffix to the name.
func ownOfReplay(o *Object, parts ...string) (base, part string, own bool) {
	labels := nodes.Strings(nodes.At(o.Node, "metadata", "labels"))
	base, part = labels[contract.LabelReplay], labels[contract.LabelReplayPart]
	if !replayBase.MatchString(base) || !slices.Contains(parts, part) {
		return base, part, false
	}
	name := map[string]string{
		contract.PartCopy:      base,
		contract.PartResponder: base + responderSuffix,
		contract.PartGenerator: base[:len(base)-hashLength], // the Job's name has a separate hash
	}[part]
	return base, part, strings.Contains(o.name(), name)
}

// ownReplayDeployment reports whether a Deployment is the copy or the responder of a replay. Its
// selector must have exactly the two labels, and a responder's container must run the responder. The
// containers of a copy depend on its workload: see checkCopied. Images, variables and similar fields
// don't matter, because a kustomization may have changed them.
func ownReplayDeployment(o *Object) bool {
	base, part, own := ownOfReplay(o, contract.PartCopy, contract.PartResponder)
	spec := nodes.At(o.Node, "spec")
	selector := nodes.At(spec, "selector")
	return own && onlyKeys(selector, "matchLabels") && isSelector(nodes.At(selector, "matchLabels"), base, part) &&
		hasLabels(nodes.At(spec, "template", "metadata", "labels"), base, part) &&
		(part == contract.PartCopy || runs(spec, contract.ResponderContainer, "mock"))
}

// ownReplayService reports whether a Service leads to the copy or the responder of a replay. It must
// have the ports that a render writes, and accept calls only from inside the cluster.
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
		for i, p := range nodes.Items(nodes.At(spec, "ports")) { // a render may point the Service at the sidecar
			nodes.Set(ports.Content[i], "targetPort", nodes.At(p, "targetPort"))
		}
	}
	return own && onlyKeys(spec, "selector", "ports") && isSelector(nodes.At(spec, "selector"), base, part) && same(nodes.At(spec, "ports"), ports)
}

// ownReplayJob reports whether a Job is the generator of a replay. It must have no selector, and run the
// same command as a generator of that replay.
func ownReplayJob(o *Object) bool {
	base, part, own := ownOfReplay(o, contract.PartGenerator)
	spec := nodes.At(o.Node, "spec")
	return own && nodes.At(spec, "selector") == nil && hasLabels(nodes.At(spec, "template", "metadata", "labels"), base, part) &&
		runs(spec, contract.GeneratorContainer, "replay", "--run="+base+"/$("+contract.EnvRun+")")
}

// runs reports whether the pods of a spec have a single container, with the given name, that runs a
// Tapedeck command with the given arguments.
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

// checkCopied returns an error if a Deployment with the labels of a copy may not be one: the workload
// that it should be a copy of is not among the objects, and its pods don't look like those of a copy. If
// that workload is there, the Deployment counts as a copy whatever it runs, because a copy runs what its
// workload ran.
func checkCopied(o *Object, objects []*Object) error {
	base, part, _ := ownOfReplay(o, contract.PartCopy)
	if part != contract.PartCopy || !o.is("apps", "Deployment") {
		return nil
	}
	kind, name, _ := strings.Cut(o.annotation(contract.AnnotationFor), "/")
	if slices.ContainsFunc(objects, func(w *Object) bool { // its name may have got a prefix and a suffix since
		return w != o && w.kind() == kind && w.namespace() == o.namespace() && strings.Contains(w.name(), name) && w.annotation(contract.AnnotationFor) == ""
	}) {
		return nil
	}
	w := asWorkload(o)
	known := slices.Concat(labelsOfPods, []string{contract.LabelReplay, contract.LabelReplayPart, contract.LabelInjected, contract.LabelWorkload})
	for _, key := range sortedKeys(w.podLabels()) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("found no %s/%s in namespace %q that it could be a copy of, and pods with the label %s, which no copy has", kind, name, o.namespace(), key)
		}
	}
	for _, c := range w.allContainers() {
		if c.name() == contract.Container && sidecarVariables(c.Node) != nil || slices.ContainsFunc(nodes.Items(nodes.At(c.Node, "env")), func(v *yaml.Node) bool {
			return strings.HasPrefix(nodes.StringAt(v, "value"), "http://"+base+responderSuffix)
		}) {
			return nil
		}
	}
	return fmt.Errorf("found no %s/%s in namespace %q that it could be a copy of, and neither a sidecar nor a variable that leads its pods to a responder", kind, name, o.namespace())
}

// isSelector reports whether a mapping has exactly the two labels of a part of a replay.
func isSelector(n *yaml.Node, base, part string) bool {
	return n != nil && len(n.Content) == 4 && hasLabels(n, base, part)
}

// hasLabels reports whether a mapping includes the two labels of a part of a replay.
func hasLabels(n *yaml.Node, base, part string) bool {
	return nodes.StringAt(n, contract.LabelReplay) == base && nodes.StringAt(n, contract.LabelReplayPart) == part
}

const (
	hashLength  = 8
	hashPattern = `[a-z0-9]{8}`
)

var hashPrefix = regexp.MustCompile(`^` + hashPattern)

// hashOf returns a hash of values, in lower-case letters and digits. It hashes their JSON, which has the
// keys of maps in order.
func hashOf(values ...any) string {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err) // a type is wrong, not the input
	}
	sum := sha256.Sum256(text)
	const most = 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36
	digits := strconv.FormatUint(binary.BigEndian.Uint64(sum[:])%most, 36)
	return strings.Repeat("0", hashLength-len(digits)) + digits
}

// setFields returns the fields of a structure that are set. Leaving out the others keeps hashes stable
// when a structure gets a new field.
func setFields(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // as above
	}
	var fields any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		panic(err) // json.Marshal wrote this text
	}
	return withoutEmpty(fields)
}

// withoutEmpty drops empty fields. It returns nil if the whole value is empty.
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

// templateValue returns the parts of a pod template that determine its pods: the spec, the labels and
// the annotations. The YAML spelling does not matter.
func templateValue(w *workload) any {
	annotations, _ := plainValue(nodes.At(w.template, "metadata", "annotations")).(map[string]any)
	for key := range annotations {
		if bookkeeping.MatchString(key) { // the metadata of a Pod is also that of its template
			delete(annotations, key)
		}
	}
	return map[string]any{"spec": plainValue(w.podSpec()), "labels": plainValue(nodes.At(w.template, "metadata", "labels")), "annotations": annotations}
}

// plainValue returns a node's value, with maps and lists as encoding/json represents them. Different
// spellings of a number give the same value.
func plainValue(n *yaml.Node) any {
	switch {
	case n == nil || nodes.IsNull(n):
		return nil
	case n.Kind == yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if value := n.Content[i+1]; !nodes.IsNull(value) { // null is the same as no field
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
