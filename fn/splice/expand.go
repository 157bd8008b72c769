package splice

import (
	"errors"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// maxAliased limits how many nodes the aliases of one document may expand to.
const maxAliased = 1 << 20

// Expand returns a deep copy of node. It replaces every alias with a copy of its target, and every
// merge key (`<<`) with the merged pairs. Explicit keys win over merged ones, and earlier sources over
// later ones. Callers edit this tree. Copies keep Line, Column, Style and comments; an alias's copy
// has the alias's position. An alias inside its own anchor, a merge of something other than a mapping,
// and an expansion beyond a million nodes are errors.
func Expand(node *yaml.Node) (*yaml.Node, error) {
	if node = content(node); node == nil {
		return nil, nil
	}
	e := expander{open: map[*yaml.Node]bool{}}
	return e.node(node)
}

// expander resolves aliases. open has the anchors that are being expanded.
type expander struct {
	open    map[*yaml.Node]bool
	aliased int
	pairs   map[*yaml.Node]*yaml.Node // copy → original, if requested
}

func (e *expander) node(n *yaml.Node) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		var out *yaml.Node
		err := e.through(n, func(target *yaml.Node) (err error) {
			out, err = e.node(target)
			return err
		})
		if err != nil {
			return nil, err
		}
		out.Line, out.Column = n.Line, n.Column
		e.note(out, n)
		return out, nil
	}
	if len(e.open) > 0 {
		if e.aliased++; e.aliased > maxAliased {
			return nil, fmt.Errorf("line %d: the aliases expand to more than %d nodes", n.Line, maxAliased)
		}
	}
	out := new(yaml.Node)
	*out = *n
	out.Anchor, out.Alias, out.Content = "", nil, nil
	e.note(out, n)
	if n.Kind == yaml.MappingNode {
		return out, e.mapping(n, out)
	}
	if len(n.Content) > 0 {
		out.Content = make([]*yaml.Node, len(n.Content))
	}
	for i, c := range n.Content {
		item, err := e.node(c)
		if err != nil {
			return nil, err
		}
		out.Content[i] = item
	}
	return out, nil
}

func (e *expander) note(copied, original *yaml.Node) {
	if e.pairs != nil {
		e.pairs[copied] = original
	}
}

// through calls f with the target of an alias, unless the target is already being expanded.
func (e *expander) through(alias *yaml.Node, f func(*yaml.Node) error) error {
	target := alias.Alias
	if target == nil {
		return fmt.Errorf("line %d: alias *%s has no anchor", alias.Line, alias.Value)
	}
	if e.open[target] {
		return fmt.Errorf("line %d: alias *%s is inside its own anchor", alias.Line, alias.Value)
	}
	e.open[target] = true
	defer delete(e.open, target)
	return f(target)
}

func (e *expander) mapping(n, out *yaml.Node) error {
	if len(n.Content) > 0 {
		out.Content = make([]*yaml.Node, 0, len(n.Content))
	}
	var taken map[string]bool // only allocated for mappings with a merge key
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if isMerge(k) {
			if taken == nil {
				taken = explicitKeys(n)
			}
			if err := e.merge(v, out, taken); err != nil {
				return err
			}
			continue
		}
		key, err := e.node(k)
		if err != nil {
			return err
		}
		value, err := e.node(v)
		if err != nil {
			return err
		}
		out.Content = append(out.Content, key, value)
	}
	return nil
}

var errMerge = errors.New("a merge key (<<) takes a mapping, an alias of one, or a list of those")

// merge appends to out the pairs of a merge key's value that are not taken.
func (e *expander) merge(v, out *yaml.Node, taken map[string]bool) error {
	switch v.Kind {
	case yaml.AliasNode:
		return e.through(v, func(target *yaml.Node) error {
			if target.Kind != yaml.MappingNode {
				return fmt.Errorf("line %d: %w", v.Line, errMerge)
			}
			return e.merge(target, out, taken)
		})
	case yaml.MappingNode:
		source, err := e.node(v)
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(source.Content); i += 2 {
			id := keyID(source.Content[i])
			if !taken[id] {
				taken[id] = true
				out.Content = append(out.Content, source.Content[i], source.Content[i+1])
			}
		}
		return nil
	case yaml.SequenceNode:
		for _, c := range v.Content {
			if c.Kind == yaml.SequenceNode {
				return fmt.Errorf("line %d: %w", c.Line, errMerge)
			}
			if err := e.merge(c, out, taken); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("line %d: %w", v.Line, errMerge)
}

// explicitKeys returns the keys of a mapping that a merge key must not override.
func explicitKeys(n *yaml.Node) map[string]bool {
	keys := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; !isMerge(k) {
			keys[keyID(k)] = true
		}
	}
	return keys
}

// isMerge reports whether a mapping's key is `<<`, unquoted.
func isMerge(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Value == "<<" && k.ShortTag() == yaml.MergeTag
}

// expanded returns n itself if it has no aliases and no merge keys, and otherwise its expansion, with
// the spellings moved to the copies.
func expanded(n *yaml.Node, spellings *[]Spelling) (*yaml.Node, error) {
	if n == nil || !hasAlias(n) {
		return n, nil
	}
	e := expander{open: map[*yaml.Node]bool{}}
	if spellings != nil && len(*spellings) > 0 {
		e.pairs = map[*yaml.Node]*yaml.Node{}
	}
	out, err := e.node(n)
	if err != nil || e.pairs == nil {
		return out, err
	}
	tokens := map[*yaml.Node]string{}
	for _, s := range *spellings {
		tokens[s.Node] = s.Token
	}
	var moved []Spelling
	for copied, original := range e.pairs {
		if token, ok := tokens[original]; ok {
			moved = append(moved, Spelling{copied, token})
		}
	}
	*spellings = moved
	return out, nil
}

// hasAlias reports whether a tree has aliases or merge keys.
func hasAlias(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		return true
	}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && isMerge(c) || hasAlias(c) {
			return true
		}
	}
	return false
}

// uncommented copies an expanded tree for the encoder. It drops comments, which would occur twice or
// swallow the text after them. It writes out two scalars that the encoder gets wrong: null as a key,
// and the string `<<`.
func uncommented(n *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value, Style: n.Style}
	if n.Kind == yaml.ScalarNode && out.Tag == yaml.NodeTagNull {
		out.Value = "null"
	}
	if out.Value == "<<" && out.Tag == yaml.NodeTagString {
		out.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		out.Content = append(out.Content, uncommented(c))
	}
	return out
}
