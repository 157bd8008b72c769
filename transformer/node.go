package transformer

import (
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// The helpers below read and build yaml.Nodes. Reading tolerates anything:
// a missing key, or a value of another kind, is nil or empty, since what the
// API server would reject is not ours to reject.

// field returns the value at a path of mapping keys, or nil.
func field(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		i := keyIndex(n, key)
		if i < 0 {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}

// number returns a scalar's value as a number, and 0 for anything else.
func number(n *yaml.Node) int {
	v, _ := strconv.Atoi(str(n))
	return v
}

// keyIndex returns the index in n.Content of a mapping's key, or -1.
func keyIndex(n *yaml.Node, key string) int {
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

// str returns a scalar's value, and "" for anything else.
func str(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == yaml.NodeTagNull {
		return ""
	}
	return n.Value
}

// strAt returns the scalar at a path, or "".
func strAt(n *yaml.Node, path ...string) string { return str(field(n, path...)) }

// isTrue tells whether a plain scalar is true to Kubernetes, which reads
// booleans as YAML 1.1 does.
func isTrue(n *yaml.Node) bool {
	if n == nil || n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return false
	}
	switch n.Value {
	case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y":
		return true
	}
	return false
}

// items returns a sequence's items, and nothing for anything else.
func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// setPair gives a key of a mapping a value.
func setPair(m *yaml.Node, key string, value *yaml.Node) {
	if i := keyIndex(m, key); i >= 0 {
		m.Content[i+1] = value
		return
	}
	m.Content = append(m.Content, node(key), value)
}

// named returns the item of a sequence whose name is given, or nil.
func named(seq *yaml.Node, name string) *yaml.Node {
	for _, item := range items(seq) {
		if strAt(item, "name") == name {
			return item
		}
	}
	return nil
}

// isNull tells a value that is written but empty, such as `env:`.
func isNull(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == yaml.NodeTagNull
}

// strMap returns a mapping's scalar entries.
func strMap(n *yaml.Node) map[string]string {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	m := make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		m[n.Content[i].Value] = str(n.Content[i+1])
	}
	return m
}

// itemID returns what identifies an item of a sequence: its value, or the
// field that Kubernetes and Istio merge such lists by.
func itemID(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	for _, path := range [][]string{{"mountPath"}, {"name"}, {"containerPort"}, {"port", "number"}, {"port"}} {
		if id := strAt(n, path...); id != "" {
			return id
		}
	}
	if hosts := items(field(n, "hosts")); len(hosts) > 0 { // an egress listener has no name
		return str(hosts[0])
	}
	return ""
}

// mapping builds a mapping from alternating keys and values: strings, ints,
// bools, nodes, and slices of them. A nil value leaves its key out.
func mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
	for i := 0; i+1 < len(pairs); i += 2 {
		value := node(pairs[i+1])
		if value == nil {
			continue
		}
		n.Content = append(n.Content, node(pairs[i]), value)
	}
	return n
}

// sequence builds a sequence; nil items are left out.
func sequence[T any](values ...T) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: yaml.NodeTagSeq}
	for _, v := range values {
		if item := node(v); item != nil {
			n.Content = append(n.Content, item)
		}
	}
	return n
}

// node turns a Go value into a YAML node, nil into nil.
func node(v any) *yaml.Node {
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
		return sequence(v...)
	case []*yaml.Node:
		return sequence(v...)
	default:
		return nil
	}
}

// pathKey writes a key into a field path: `metadata.annotations[a.b/c]`.
func pathKey(path, key string) string {
	if strings.ContainsAny(key, "./[]") {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// pathItem writes an item's identity into a field path: `containers[app]`.
func pathItem(path, id string) string { return path + "[" + id + "]" }
