package transformer

import (
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// lostItem returns the path of the first missing item on a path; "" if all exist.
func lostItem(n *yaml.Node, path string) string {
	at := ""
	for _, step := range splitPath(path) {
		item := n != nil && n.Kind == yaml.SequenceNode
		if item {
			at = pathItem(at, step)
		} else {
			at = pathKey(at, step)
		}
		switch n = walk(n, []string{step}); {
		case n == nil && item:
			return at
		case n == nil:
			return ""
		}
	}
	return ""
}

// lookup returns the node at a path, or nil.
func lookup(n *yaml.Node, path string) *yaml.Node { return walk(n, splitPath(path)) }

func walk(n *yaml.Node, steps []string) *yaml.Node {
	for _, step := range steps {
		switch {
		case n == nil:
			return nil
		case n.Kind == yaml.SequenceNode:
			i := childIndex(n, step)
			if i < 0 {
				return nil
			}
			n = n.Content[i]
		default:
			n = nodes.At(n, step)
		}
	}
	return n
}

// childIndex returns the index of the last item of a sequence with an identity, because the last one
// applies if a variable is set twice. An item without an identity has its index: #0 is the first item.
func childIndex(seq *yaml.Node, id string) int {
	if digits, ok := strings.CutPrefix(id, "#"); ok {
		if i, err := strconv.Atoi(digits); err == nil && i >= 0 && i < len(seq.Content) {
			return i
		}
	}
	for i := len(seq.Content) - 1; i >= 0; i-- {
		if nodes.ID(seq.Content[i]) == id {
			return i
		}
	}
	if id == "" {
		return onceNameless(seq)
	}
	return -1
}

// laterIdentities are the fields that did not yet identify items in records of earlier versions.
var laterIdentities = []string{"metadata", "devicePath", "number", "key", "ip", "topologyKey"}

// onceNameless returns the index of the item that earlier versions recorded with an empty
// identity, such as a port of a ServiceEntry without a name. It returns -1 if there are several
// such items, because the record does not say which one it means.
func onceNameless(seq *yaml.Node) int {
	found := -1
	for i, item := range seq.Content {
		if field, _ := nodes.Identity(item); slices.Contains(laterIdentities, field) {
			if found >= 0 {
				return -1
			}
			found = i
		}
	}
	return found
}

func removeChild(parent *yaml.Node, id string) {
	switch {
	case parent == nil:
	case parent.Kind == yaml.SequenceNode:
		if i := childIndex(parent, id); i >= 0 {
			parent.Content = append(parent.Content[:i], parent.Content[i+1:]...)
		}
	case parent.Kind == yaml.MappingNode:
		if i := nodes.KeyIndex(parent, id); i >= 0 {
			parent.Content = append(parent.Content[:i], parent.Content[i+2:]...)
		}
	}
}

// splitPath splits a field path: `a.b[c.d].e` is a, b, c.d, e.
func splitPath(path string) []string {
	var steps []string
	for path != "" {
		if rest, ok := strings.CutPrefix(path, "["); ok {
			step, after, _ := strings.Cut(rest, "]")
			steps, path = append(steps, step), strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(steps, path)
		}
		steps = append(steps, path[:end])
		path = path[end:]
		path = strings.TrimPrefix(path, ".")
	}
	return steps
}

// pathKey appends a key to a field path: `metadata.annotations[a.b/c]`.
func pathKey(path, key string) string {
	if strings.ContainsAny(key, "./[]") {
		return pathItem(path, key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// pathItem appends an item's identity to a field path: `containers[app]`.
func pathItem(path, id string) string { return path + "[" + id + "]" }
