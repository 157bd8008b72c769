package transformer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// TrafficReplays and TestConfigs describe what to render. Clusters need not know their kinds, so a
// render replaces each with a ConfigMap that keeps its text:
//
// TrafficReplay ──Render──▶ ConfigMap ──Render──▶ the same ConfigMap
//       ▲                       │
//       └───────Uninject────────┘
//
// The reader of the input opens these ConfigMaps before the render, so that the rest of it sees only
// TrafficReplays and TestConfigs.

// Held is the text of an object that a render keeps in a ConfigMap.
type Held struct {
	// Text is the object as its document spells it, without annotations of orchestrators.
	Text string
	// JSON reports whether the text is JSON.
	JSON bool
	// ConfigMap replaces the object; nil if the object itself is written. A render sets it, and an
	// undo sets it to nil.
	ConfigMap *yaml.Node
	// Err says why a ConfigMap can't keep the text, or why the kept text can't be read. In the second
	// case ConfigMap is the object's own node.
	Err error
}

// heldKinds are the kinds that a render keeps in ConfigMaps, in the only version that it reads.
var heldKinds = []Type{{replayAPIVersion, trafficReplayKind}, {testConfigAPIVersion, testConfigKind}}

// maxHeld is the size limit of a ConfigMap, in bytes:
// https://kubernetes.io/docs/concepts/configuration/configmap/.
const maxHeld = 1 << 20

// objectName matches the names that Kubernetes allows for a ConfigMap (RFC 1123).
var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

const maxObjectName = 253

// Holdable reports whether an object has a kind that a render keeps in a ConfigMap.
func (o *Object) Holdable() bool {
	return slices.Contains(heldKinds, Type{o.apiVersion(), o.kind()})
}

// IsHolder reports whether an object claims to be a ConfigMap in which a render keeps another object.
func (o *Object) IsHolder() bool {
	return o.is("", "ConfigMap") && nodes.At(o.Node, "metadata", "annotations", contract.AnnotationHolds) != nil
}

// HeldText returns the text that a ConfigMap keeps.
func (o *Object) HeldText() (string, error) {
	data := nodes.At(o.Node, "data")
	switch {
	case len(nodes.Strings(nodes.At(o.Node, "binaryData"))) > 0:
		return "", errors.New("found binaryData, allowed: data with one key")
	case data == nil || data.Kind != yaml.MappingNode || len(data.Content) != 2:
		return "", fmt.Errorf("found %d keys under data, allowed: one", len(nodes.Strings(data)))
	}
	key, text := data.Content[0].Value, data.Content[1]
	if !slices.ContainsFunc(heldKinds, func(t Type) bool { return key == heldKey(t.Kind, false) || key == heldKey(t.Kind, true) }) {
		return "", fmt.Errorf("found key %q under data, allowed: %s", key, oneOf(heldKeys()))
	}
	if text.Kind != yaml.ScalarNode || text.ShortTag() != yaml.NodeTagString {
		return "", fmt.Errorf("data.%s: found %s, allowed: a text", key, describeKind(text))
	}
	return text.Value, checkHeldSize(text.Value)
}

// Open replaces a ConfigMap with the object that it keeps, which was read from its HeldText. A
// ConfigMap is foreign input. So the object must have one of a few kinds, the recorded name, and the
// ConfigMap's namespace.
func (o *Object) Open(held *yaml.Node) error {
	inner := &Object{Node: held, File: o.File}
	recorded := o.annotation(contract.AnnotationHolds)
	switch {
	case !inner.Holdable():
		return fmt.Errorf("found an object of kind %s in %s, allowed: %s", inner.kind(), inner.apiVersion(), heldKindNames())
	case nodes.StringAt(held, "metadata", "name") == "":
		return fmt.Errorf("found a %s without metadata.name, allowed: the object that annotation %s names", inner.kind(), contract.AnnotationHolds)
	case recorded != inner.id():
		return fmt.Errorf("found %s, and annotation %s says %q; allowed: the object that it names", inner.id(), contract.AnnotationHolds, recorded)
	case inner.namespace() != o.namespace():
		return fmt.Errorf("found %s in namespace %q, and the ConfigMap is in namespace %q; a namespace that an overlay sets must come before Tapedeck", inner.id(), inner.namespace(), o.namespace())
	case nodes.At(o.Node, "data").Content[0].Value != heldKey(inner.kind(), false) && nodes.At(o.Node, "data").Content[0].Value != heldKey(inner.kind(), true):
		return fmt.Errorf("found a %s under data.%s", inner.kind(), nodes.At(o.Node, "data").Content[0].Value)
	}
	for _, key := range []string{contract.AnnotationUndo, contract.AnnotationFor, contract.AnnotationHolds} {
		if nodes.At(held, "metadata", "annotations", key) != nil {
			return fmt.Errorf("%s has annotation %s, which is not allowed in the input of a render", inner.id(), key)
		}
	}
	setBookkeeping(held, o.Node)
	o.Held.ConfigMap, o.Node = o.Node, held
	return nil
}

// heldKey returns the key of a ConfigMap that has the text of an object.
func heldKey(kind string, json bool) string {
	if json {
		return strings.ToLower(kind) + ".json"
	}
	return strings.ToLower(kind) + ".yaml"
}

func heldKeys() (keys []string) {
	for _, t := range heldKinds {
		keys = append(keys, heldKey(t.Kind, false), heldKey(t.Kind, true))
	}
	return keys
}

func heldKindNames() string {
	var names []string
	for _, t := range heldKinds {
		names = append(names, t.Kind+" in "+t.APIVersion)
	}
	return oneOf(names)
}

func checkHeldSize(text string) error {
	if len(text) > maxHeld {
		return fmt.Errorf("found text of %d bytes, allowed: %d, the maximum size of a ConfigMap", len(text), maxHeld)
	}
	return nil
}

// holderName returns the name of the ConfigMap that keeps an object.
func holderName(kind, name string) string { return name + "-" + strings.ToLower(kind) }

// holdAll keeps in ConfigMaps the objects whose kinds a cluster need not know. It returns the objects
// whose document in the output changes, and reports them if there will be an output.
func (in *input) holdAll(written bool) (edited []*Object, results Results) {
	for _, o := range in.objects {
		if o.Held == nil {
			continue
		}
		if leftAlone(o) != "" {
			if o.Held.ConfigMap != nil {
				o.Held.ConfigMap = nil
				edited = append(edited, o)
			}
			continue
		}
		if err := in.checkHoldable(o); err != nil {
			results = append(results, result(CodeHoldRefused, o, "%s can't be kept in a ConfigMap: %v", o.Ref(), err))
			continue
		}
		in.hold(o)
		edited = append(edited, o)
		if written {
			results = append(results, result(CodeHeld, o, "kept as ConfigMap %s, so the cluster does not need the kind %s", holderName(o.kind(), o.name()), o.kind()))
		}
	}
	return edited, results
}

// checkHoldable says why no ConfigMap can keep an object.
func (in *input) checkHoldable(o *Object) error {
	name := nodes.StringAt(o.Node, "metadata", "name")
	holder := holderName(o.kind(), name)
	created := "ConfigMap/" + o.namespace() + "/" + holder
	switch {
	case o.Held.Err != nil:
		return o.Held.Err
	case name == "":
		return errors.New("metadata: found no name, allowed: a name")
	case len(holder) > maxObjectName || !objectName.MatchString(holder):
		return fmt.Errorf("metadata.name: found %q, allowed: at most %d lower-case letters, digits, '-' and '.'", name, maxObjectName-len(holderName(o.kind(), "")))
	case in.find("", "ConfigMap", o.namespace(), holder) != nil || in.createdNames[created]:
		return fmt.Errorf("the input has a ConfigMap %s, the name that it would get, or another %s with its name; rename one of the two", holder, o.kind())
	}
	in.createdNames[created] = true
	return checkHeldSize(o.Held.Text)
}

// hold replaces an object with a ConfigMap, or updates the ConfigMap that already replaces it.
func (in *input) hold(o *Object) {
	text := nodes.New(o.Held.Text)
	text.Style = textStyle(o.Held.Text)
	fresh := newObject("v1", "ConfigMap", holderName(o.kind(), o.name()), o.namespace(), nil, nodes.Mapping(contract.AnnotationHolds, o.id()),
		"data", nodes.Mapping(heldKey(o.kind(), o.Held.JSON), text))
	old := o.Held.ConfigMap
	if old == nil {
		setBookkeeping(fresh, o.Node)
		o.Held.ConfigMap = fresh
		return
	}
	keepForeign(old, fresh)
	*old = *fresh
}

// unrepresentable matches texts that a literal block scalar does not preserve byte for byte.
var unrepresentable = regexp.MustCompile(`^\s|[ \t]+(\n|$)|[^\n\t -~\x{a1}-\x{2027}\x{202a}-\x{d7ff}\x{e000}-\x{fefe}\x{ff00}-\x{fffd}\x{10000}-\x{10ffff}]|\n\n$`)

// textStyle returns the YAML style of a text: a literal block if that keeps its bytes.
func textStyle(text string) yaml.Style {
	if text == "" || unrepresentable.MatchString(text) {
		return yaml.DoubleQuotedStyle
	}
	return yaml.LiteralStyle
}

// release replaces ConfigMaps with the objects that they keep.
func release(objects []*Object) (edited []*Object, results Results) {
	for _, o := range objects {
		if o.Held == nil || o.Held.ConfigMap == nil {
			continue
		}
		name := nodes.StringAt(o.Held.ConfigMap, "metadata", "name")
		o.Held.ConfigMap = nil
		edited = append(edited, o)
		results = append(results, result(CodeUninjected, o, "an earlier render was undone: ConfigMap %s is now %s again", name, o.Ref()))
	}
	return edited, results
}

// checkHolders reports ConfigMaps that keep something no render writes, and those that were renamed
// after a render.
func checkHolders(objects []*Object) (results Results) {
	at := pathKey("metadata.annotations", contract.AnnotationHolds)
	for _, o := range objects {
		value := nodes.At(o.Node, "metadata", "annotations", contract.AnnotationHolds)
		switch {
		case value == nil && (o.Held == nil || o.Held.ConfigMap == nil):
		case value != nil && (o.Held == nil || o.Held.Err == nil):
			results = append(results, result(CodeHoldRefused, o, "annotation %s: found it on kind %s, allowed: on a ConfigMap that a render wrote; remove it", contract.AnnotationHolds, o.kind()).At(at, nodes.String(value), ""))
		case value != nil:
			results = append(results, result(CodeHoldRefused, o, "no render wrote the ConfigMap %s: %v; remove it, or render from the original manifest", o.Ref(), o.Held.Err).At(at, nodes.String(value), ""))
		default:
			if name, want := nodes.StringAt(o.Held.ConfigMap, "metadata", "name"), holderName(o.kind(), o.name()); name != want {
				results = append(results, result(CodeReplayRenamed, o, "the ConfigMap that keeps %s was renamed from %s to %s after the render. %s", o.Ref(), want, name, reasons[CodeReplayRenamed].Help).At("metadata.name", name, want))
			}
		}
	}
	return results
}

// checkRenamed reports a Deployment, Service or Job of a replay whose name is not the rendered one, or
// whose namespace is not the one that its URLs name. The other objects of a replay are renamed
// together with these.
func checkRenamed(o *Object) Results {
	base := nodes.StringAt(o.Node, "metadata", "labels", contract.LabelReplay)
	if !replayBase.MatchString(base) || !o.is("apps", "Deployment") && !o.is("", "Service") && !o.is("batch", "Job") {
		return nil
	}
	if called := calledNamespace(o, base); called != "" && o.namespace() != "" && called != o.namespace() {
		return Results{result(CodeReplayRenamed, o, "the URLs of %s have the namespace %s, but it is in %s. %s", o.Ref(), called, o.namespace(), reasons[CodeReplayRenamed].Help).At("metadata.namespace", o.namespace(), called)}
	}
	hash, known := strings.CutPrefix(strings.TrimSuffix(o.name(), responderSuffix), base[:len(base)-hashLength])
	if known && len(hash) == hashLength { // not compared with base, because a Job has a separate hash
		return nil
	}
	return Results{result(CodeReplayRenamed, o, "%s %s", reasons[CodeReplayRenamed].Sentence, reasons[CodeReplayRenamed].Help).At("metadata.name", o.name(), "")}
}

// calledNamespace returns the namespace in which the containers of a replay's object call its
// Services; "" if they name none.
func calledNamespace(o *Object, base string) string {
	w := asWorkload(o)
	if w == nil {
		return ""
	}
	host := regexp.MustCompile("://" + regexp.QuoteMeta(base) + "(?:" + responderSuffix + `)?\.([-a-z0-9]+):`)
	for _, c := range w.allContainers() {
		texts := append(nodes.Items(nodes.At(c.Node, "command")), nodes.Items(nodes.At(c.Node, "args"))...)
		for _, v := range nodes.Items(nodes.At(c.Node, "env")) {
			texts = append(texts, nodes.At(v, "value"))
		}
		for _, text := range texts {
			if m := host.FindStringSubmatch(nodes.String(text)); m != nil {
				return m[1]
			}
		}
	}
	return ""
}

// setBookkeeping copies to a node the annotations with which an orchestrator tracks the object that it
// replaces.
func setBookkeeping(n, from *yaml.Node) {
	books := nodes.At(from, "metadata", "annotations")
	for i := 0; books != nil && books.Kind == yaml.MappingNode && i+1 < len(books.Content); i += 2 {
		if bookkeeping.MatchString(books.Content[i].Value) {
			annotations := mapAt(nodes.At(n, "metadata"), "annotations")
			nodes.Set(annotations, books.Content[i].Value, books.Content[i+1])
		}
	}
}

// mapAt returns the mapping under a key, and creates it if there is none.
func mapAt(m *yaml.Node, key string) *yaml.Node {
	if v := nodes.At(m, key); v != nil && v.Kind == yaml.MappingNode {
		return v
	}
	fresh := nodes.Mapping()
	nodes.Set(m, key, fresh)
	return fresh
}

// WithoutBookkeeping returns a copy of an object without the annotations with which an orchestrator
// tracks it; nil if it has none.
func WithoutBookkeeping(n *yaml.Node) *yaml.Node {
	annotations := nodes.At(n, "metadata", "annotations")
	if annotations == nil || annotations.Kind != yaml.MappingNode {
		return nil
	}
	kept := *annotations
	kept.Content = nil
	for i := 0; i+1 < len(annotations.Content); i += 2 {
		if !bookkeeping.MatchString(annotations.Content[i].Value) {
			kept.Content = append(kept.Content, annotations.Content[i], annotations.Content[i+1])
		}
	}
	if len(kept.Content) == len(annotations.Content) {
		return nil
	}
	metadata := withPair(nodes.At(n, "metadata"), "annotations", &kept)
	return withPair(n, "metadata", metadata)
}

// withPair returns a copy of a mapping with a new value for a key. It removes the key if the value is an
// empty collection.
func withPair(m *yaml.Node, key string, value *yaml.Node) *yaml.Node {
	out := *m
	out.Content = slices.Clone(m.Content)
	i := nodes.KeyIndex(m, key)
	if len(value.Content) == 0 {
		out.Content = slices.Delete(out.Content, i, i+2)
	} else {
		out.Content[i+1] = value
	}
	return &out
}
