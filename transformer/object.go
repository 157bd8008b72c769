package transformer

import (
	"cmp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// Text says how a document spells the nodes of its objects, so that an undo can restore the spelling.
type Text interface {
	// Token returns how a value is spelled; for a mapping's key, how the pair is spelled. It returns
	// false for an unknown node.
	Token(*yaml.Node) (string, bool)
	// Anchored reports whether the document has any anchors.
	Anchored() bool
	// Anchor returns the name of a node's anchor; "" if it has none.
	Anchor(*yaml.Node) string
}

// Type is an object's apiVersion and kind.
type Type struct{ APIVersion, Kind string }

// Object is one Kubernetes object of the input, with its origin.
type Object struct {
	// Node is the object's mapping, without aliases or merge keys. Render
	// edits it in place.
	Node *yaml.Node
	// File is the file from which the object was read, for results; it may be empty.
	File File
	// Text is the document of the object; it may be nil.
	Text Text
	// ItemOf is the type of the items of a list with one kind. Such an item need not state its type.
	ItemOf Type
	// Spelled has, after a render, the spelling of values that an undo restored.
	Spelled map[*yaml.Node]string
	// Held is set for an object that a render keeps in a ConfigMap; nil for others.
	Held *Held

	// outlived has the entries in the record of an earlier render for collections that others have
	// filled since.
	outlived map[string]*string
	// image is the sidecar's image if it was changed after an earlier render. written is the image
	// that this render wrote.
	image, written string
	// merged has the former entry that Istio made from Tapedeck's scrape annotations.
	merged *mergedScrape
}

func (o *Object) apiVersion() string {
	return cmp.Or(nodes.StringAt(o.Node, "apiVersion"), o.ItemOf.APIVersion)
}
func (o *Object) kind() string { return cmp.Or(nodes.StringAt(o.Node, "kind"), o.ItemOf.Kind) }
func (o *Object) name() string {
	if name := nodes.StringAt(o.Node, "metadata", "name"); name != "" {
		return name
	}
	return nodes.StringAt(o.Node, "metadata", "generateName")
}
func (o *Object) namespace() string { return nodes.StringAt(o.Node, "metadata", "namespace") }

// id returns KIND/NAME, which identifies the object within its namespace in labels, annotations and
// messages.
func (o *Object) id() string { return o.kind() + "/" + o.name() }

// group returns the API group; "" for the core group.
func (o *Object) group() string {
	if group, _, ok := strings.Cut(o.apiVersion(), "/"); ok {
		return group
	}
	return ""
}

// is reports whether the object has a group and kind, in any version.
func (o *Object) is(group, kind string) bool { return o.kind() == kind && o.group() == group }

func (o *Object) annotation(key string) string {
	return nodes.StringAt(o.Node, "metadata", "annotations", key)
}

// Ref returns the object's reference.
func (o *Object) Ref() ResourceRef {
	return ResourceRef{APIVersion: o.apiVersion(), Kind: o.kind(), Name: o.name(), Namespace: o.namespace()}
}

// spelling returns how the input spells a node.
func (o *Object) spelling(n *yaml.Node) (string, bool) {
	if s, ok := o.Spelled[n]; ok || o.Text == nil {
		return s, ok
	}
	return o.Text.Token(n)
}

// token returns how a node is spelled: with the input's spelling if that can be parsed alone, or else
// with the encoder's. The line break after a block scalar is part of its value, so token adds it if the
// value ends with one.
func (o *Object) token(n *yaml.Node) string {
	if s, ok := o.spelling(n); ok {
		if n.Kind == yaml.ScalarNode && strings.HasSuffix(n.Value, "\n") {
			s += "\n"
		}
		if was, err := parseToken(s); isAlias(s) || err == nil && same(was, n) {
			return s
		}
	}
	return printed(&yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style, Content: n.Content})
}

// pair returns how a pair is spelled: with the input's spelling if that can be parsed alone, or else
// as the encoder writes it inside brackets.
func (o *Object) pair(key, value *yaml.Node) string {
	if s, ok := o.spelling(key); ok {
		if k, v, err := parsePair(s); err == nil && same(k, key) && same(v, value) {
			return s
		}
	}
	pair := nodes.Mapping(key.Value, uncommented(value))
	pair.Style = yaml.FlowStyle
	return printed(pair)
}

// uncommented copies a tree without its anchors and comments. Inside brackets, a comment would swallow
// the text after it.
func uncommented(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style &^ (yaml.LiteralStyle | yaml.FoldedStyle)}
	for _, c := range n.Content {
		out.Content = append(out.Content, uncommented(c))
	}
	return out
}

func printed(n *yaml.Node) string {
	text, err := yaml.String(n)
	if err != nil {
		return n.Value
	}
	return strings.TrimSuffix(text, "\n")
}

// LocalConfig is the annotation with which KRM functions mark objects that are never applied:
// https://kpt.dev/reference/annotations/local-config/.
const LocalConfig = "config.kubernetes.io/local-config"
