package splice

import (
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Equal reports whether two expanded trees mean the same: they have the same kinds, resolved tags and
// values, and mappings have the same keys in any order. It ignores comments, styles, anchors and the
// spelling of null. A key that occurs more than once must occur as often, with the same values in the
// same order. Aliases are equal if they name the same anchor.
func Equal(a, b *yaml.Node) bool {
	a, b = content(a), content(b)
	if a == nil || b == nil {
		return a == b
	}
	if !sameShape(a, b) {
		return false
	}
	switch a.Kind {
	case yaml.ScalarNode:
		return sameScalar(a, b)
	case yaml.AliasNode:
		return a.Value == b.Value
	case yaml.MappingNode:
		return equalMappings(a, b)
	}
	if len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !Equal(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// sameShape reports whether two nodes have the same kind and tag.
func sameShape(a, b *yaml.Node) bool {
	return a.Kind == b.Kind && (a.Tag == b.Tag && a.Tag != "" || a.ShortTag() == b.ShortTag())
}

// sameScalar compares two scalars with the same tag.
func sameScalar(a, b *yaml.Node) bool {
	return a.Value == b.Value || a.ShortTag() == yaml.NodeTagNull
}

func equalMappings(a, b *yaml.Node) bool {
	if len(a.Content) != len(b.Content) {
		return false
	}
	i := 0
	for i < len(a.Content) && sameKey(a.Content[i], b.Content[i]) {
		if i+1 < len(a.Content) && !Equal(a.Content[i+1], b.Content[i+1]) {
			// Unless the same key occurs again, this difference is final.
			break
		}
		i += 2
	}
	if i >= len(a.Content) {
		return true
	}
	values := make(map[string]*yaml.Node, len(b.Content)/2)
	var seen occurrences
	for j := 0; j+1 < len(b.Content); j += 2 {
		values[seen.number(keyID(b.Content[j]))] = b.Content[j+1]
	}
	seen = nil
	for j := 0; j+1 < len(a.Content); j += 2 {
		v, ok := values[seen.number(keyID(a.Content[j]))]
		if !ok || !Equal(a.Content[j+1], v) {
			return false
		}
	}
	return true
}

// sameKey is a cheap sufficient test for keyID(a) == keyID(b).
func sameKey(a, b *yaml.Node) bool {
	return a.Kind == yaml.ScalarNode && b.Kind == yaml.ScalarNode && sameShape(a, b) && sameScalar(a, b)
}

// keyID returns an ID of a key. Keys are Equal if and only if their IDs are equal.
func keyID(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode && n.Alias != nil && n.Alias.Kind == yaml.ScalarNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.Tag == yaml.NodeTagString {
		return "s" + n.Value // most keys by far; they need no builder
	}
	var b strings.Builder
	writeID(&b, n, 0)
	return b.String()
}

func writeID(b *strings.Builder, n *yaml.Node, depth int) {
	for n.Kind == yaml.AliasNode && n.Alias != nil && depth < 100 {
		n = n.Alias
		depth++ // so that an alias inside its own anchor ends
	}
	tag := n.ShortTag()
	switch {
	case n.Kind == yaml.ScalarNode && tag == yaml.NodeTagString && depth == 0:
		b.WriteString("s" + n.Value)
		return
	case n.Kind == yaml.ScalarNode && tag == yaml.NodeTagNull:
		b.WriteString("\x01null")
		return
	}
	b.WriteString("\x01" + strconv.Itoa(int(n.Kind)) + tag + "\x00" + strconv.Itoa(len(n.Value)) + ":" + n.Value)
	if depth >= 100 {
		return
	}
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		b.WriteString("(")
		for _, c := range n.Content {
			writeID(b, c, depth+1)
		}
		b.WriteString(")")
	}
}

// occurrences makes IDs that occur more than once distinct.
type occurrences map[string]int

func (o *occurrences) number(id string) string {
	if *o == nil {
		*o = occurrences{}
	}
	n := (*o)[id]
	(*o)[id] = n + 1
	if n == 0 {
		return id
	}
	return strconv.Itoa(n) + id // no id begins with a digit
}
