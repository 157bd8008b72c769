package splice

import (
	"strconv"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A Duplicate is a key that occurs again in one mapping.
type Duplicate struct {
	// Path is the path of the key: `spec.containers[0].name`.
	Path string
	// Line is the line of the repetition, and First that of the key's first occurrence, from 1.
	Line, First int
}

// Duplicates returns the keys that occur more than once in a mapping, in the order of the text. YAML
// forbids them, but the parser of the nodes accepts them, and decoders disagree about which one
// counts.
func Duplicates(node *yaml.Node) []Duplicate {
	var found []Duplicate
	findDuplicates(content(node), "", &found)
	return found
}

func findDuplicates(n *yaml.Node, path string, found *[]Duplicate) {
	if n == nil {
		return
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, c := range n.Content {
			findDuplicates(c, path+"["+strconv.Itoa(i)+"]", found)
		}
	case yaml.MappingNode:
		lines := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			at := k.Value
			if k.Kind == yaml.AliasNode && k.Alias != nil {
				at = k.Alias.Value
			}
			if path != "" {
				at = path + "." + at
			}
			id := keyID(k)
			if first, ok := lines[id]; ok {
				*found = append(*found, Duplicate{Path: at, Line: k.Line, First: first})
			} else {
				lines[id] = k.Line
			}
			findDuplicates(n.Content[i+1], at, found)
		}
	}
}
