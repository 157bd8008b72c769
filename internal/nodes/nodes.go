// Package nodes reads, builds and identifies YAML nodes, for the packages that render
// manifests.
//
// Reading never fails: a missing key, or a value of another kind, gives nil or an empty result. A render
// leaves it to the API server to reject such manifests.
//
// It imports kyaml's yaml package and the standard library.
package nodes

import (
	"strconv"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// At returns the value at a path of mapping keys, or nil. If a key occurs twice, the first
// one counts.
func At(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		i := KeyIndex(n, key)
		if i < 0 {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}

// KeyIndex returns the index in n.Content of a mapping's key, or -1.
func KeyIndex(n *yaml.Node, key string) int {
	if n == nil || n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i].Kind == yaml.ScalarNode {
			return i
		}
	}
	return -1
}

// String returns a scalar's value, and "" for null and for anything else.
func String(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == yaml.NodeTagNull {
		return ""
	}
	return n.Value
}

// StringAt returns the scalar at a path, or "".
func StringAt(n *yaml.Node, path ...string) string { return String(At(n, path...)) }

// Strings returns a mapping's scalar entries.
func Strings(n *yaml.Node) map[string]string {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	m := make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		m[n.Content[i].Value] = String(n.Content[i+1])
	}
	return m
}

// Int returns a scalar's value as a number, and 0 for anything else.
func Int(n *yaml.Node) int {
	v, _ := strconv.Atoi(String(n))
	return v
}

// IsTrue reports whether Kubernetes reads a plain scalar as true. It reads booleans as
// YAML 1.1 does.
func IsTrue(n *yaml.Node) bool {
	if n == nil || n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return false
	}
	switch n.Value {
	case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y":
		return true
	}
	return false
}

// IsNull reports whether a value is written but empty, such as that of `env:`.
func IsNull(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == yaml.NodeTagNull
}

// Items returns a sequence's items, and nothing for anything else.
func Items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// Named returns the item of a sequence that has a name, or nil.
func Named(seq *yaml.Node, name string) *yaml.Node {
	for _, item := range Items(seq) {
		if StringAt(item, "name") == name {
			return item
		}
	}
	return nil
}

// Set sets the value of a key in a mapping.
func Set(m *yaml.Node, key string, value *yaml.Node) {
	if i := KeyIndex(m, key); i >= 0 {
		m.Content[i+1] = value
		return
	}
	m.Content = append(m.Content, New(key), value)
}

// Mapping builds a mapping from alternating keys and values, which are as for New. It
// leaves out a key whose value is nil.
func Mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
	for i := 0; i+1 < len(pairs); i += 2 {
		value := New(pairs[i+1])
		if value == nil {
			continue
		}
		n.Content = append(n.Content, New(pairs[i]), value)
	}
	return n
}

// Sequence builds a sequence. It leaves out nil items.
func Sequence[T any](values ...T) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: yaml.NodeTagSeq}
	for _, v := range values {
		if item := New(v); item != nil {
			n.Content = append(n.Content, item)
		}
	}
	return n
}

// New turns a string, an int, a bool, a node, or a slice of strings or nodes into a node,
// and nil into nil.
func New(v any) *yaml.Node {
	switch v := v.(type) {
	case *yaml.Node:
		return v
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: v}
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagInt, Value: strconv.Itoa(v)}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagBool, Value: strconv.FormatBool(v)}
	case []string:
		return Sequence(v...)
	case []*yaml.Node:
		return Sequence(v...)
	default:
		return nil
	}
}
