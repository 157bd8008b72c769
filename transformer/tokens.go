package transformer

import (
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// parseToken parses a value's spelling.
func parseToken(token string) (*yaml.Node, error) {
	if token == "" {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagNull}, nil
	}
	n, err := yaml.Parse(token)
	if err != nil {
		return nil, err
	}
	unplace(n.YNode())
	return n.YNode(), nil
}

// unplace takes away where nodes stand: it is not in the input that they do.
func unplace(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	for _, c := range n.Content {
		unplace(c)
	}
}

// secondLine matches the indicator that brings the value of a key behind `?`.
var secondLine = regexp.MustCompile(`\n( *):\s`)

// parsePair parses a pair's spelling: one of a block, or of brackets, or with
// the brackets where it is the encoder's.
func parsePair(token string) (key, value *yaml.Node, err error) {
	indent := ""
	if m := secondLine.FindStringSubmatch(token); m != nil && strings.HasPrefix(token, "?") {
		indent = m[1]
	}
	for _, text := range []string{indent + token, "{" + token + "\n}"} {
		n, err := parseToken(text)
		if err == nil && n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Kind == yaml.ScalarNode {
			return n.Content[0], n.Content[1], nil
		}
	}
	return nil, nil, fmt.Errorf("found %q, allowed: a key and its value", token)
}
