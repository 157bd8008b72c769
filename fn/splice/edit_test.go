package splice_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/fn/splice"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// edit applies a change, written on one line, to a tree. Paths are JSON pointers,
// and values are YAML:
//
//	set /a/b VALUE       change a value, or add it as the last of its mapping
//	insert /a/b VALUE    add before the entry at /a/b
//	append /a VALUE      add as the last item of a list
//	delete /a/b
//	flow /a VALUE        set, keeping the flow style of the VALUE
func edit(root *yaml.Node, line string) error {
	op, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	path, text, _ := strings.Cut(rest, " ")
	value, err := splice.Parse([]byte(text))
	if err != nil {
		return err
	}
	if value == nil {
		value = &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagNull}
	}
	if op != "flow" {
		plainStyle(value)
	}
	if path == "/" && op == "append" {
		root.Content = append(root.Content, value)
		return nil
	}
	if path == "/" {
		*root = *value
		return nil
	}
	parts := strings.Split(path, "/")[1:]
	n := root
	for _, part := range parts[:len(parts)-1] {
		if n = at(n, part); n == nil {
			return fmt.Errorf("%s: no %s", line, part)
		}
	}
	last := parts[len(parts)-1]
	if op == "append" {
		if n = at(n, last); n == nil {
			return fmt.Errorf("%s: no %s", line, last)
		}
		if n.Kind != yaml.SequenceNode {
			*n = yaml.Node{Kind: yaml.SequenceNode, Tag: yaml.NodeTagSeq}
		}
		n.Content = append(n.Content, value)
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
	}
	i, step := index(n, last), 1
	fresh := []*yaml.Node{value}
	if n.Kind == yaml.MappingNode {
		step = 2
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: unescape(last)}
		fresh = []*yaml.Node{key, value}
	}
	switch op {
	case "set", "flow":
		if i < 0 {
			n.Content = append(n.Content, fresh...)
		} else {
			n.Content[i+step-1] = value
		}
	case "insert":
		if n.Kind == yaml.MappingNode {
			i = 0
		}
		n.Content = append(n.Content[:i:i], append(fresh, n.Content[i:]...)...)
	case "delete":
		if i < 0 {
			return fmt.Errorf("%s: no %s", line, last)
		}
		n.Content = append(n.Content[:i:i], n.Content[i+step:]...)
	default:
		return fmt.Errorf("unknown edit %q", line)
	}
	return nil
}

func at(n *yaml.Node, part string) *yaml.Node {
	i := index(n, part)
	if i < 0 || i >= len(n.Content) {
		return nil
	}
	if n.Kind == yaml.MappingNode {
		i++
	}
	return n.Content[i]
}

// index returns the place of an entry in Content, or -1 if there is none.
func index(n *yaml.Node, part string) int {
	if n.Kind == yaml.SequenceNode {
		i, err := strconv.Atoi(part)
		if err != nil || i >= len(n.Content) {
			return -1
		}
		return i
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == unescape(part) {
			return i
		}
	}
	return -1
}

func unescape(part string) string {
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
}

// plainStyle makes a value parsed from a line look like one built in code.
func plainStyle(n *yaml.Node) {
	if len(n.Content) > 0 {
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode {
		tag := n.ShortTag()
		n.Style, n.Tag = 0, tag
	}
	for _, c := range n.Content {
		plainStyle(c)
	}
}

// spellings returns how text spells the nodes of its tree.
func spellings(text []byte, have, tree *yaml.Node) ([]splice.Spelling, error) {
	token, err := splice.Tokens(text, have)
	if err != nil {
		return nil, err
	}
	var list []splice.Spelling
	var visit func(*yaml.Node)
	visit = func(n *yaml.Node) {
		if t, ok := token(n); ok {
			list = append(list, splice.Spelling{Node: n, Token: t})
		}
		for _, c := range n.Content {
			visit(c)
		}
	}
	visit(tree)
	return list, nil
}
