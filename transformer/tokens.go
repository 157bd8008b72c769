package transformer

import (
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// parseToken parses the spelling of a value.
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

// unplace removes the positions of nodes, which are not positions in the input.
func unplace(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	for _, c := range n.Content {
		unplace(c)
	}
}

// secondLine matches the indicator before the value of a key that follows `?`.
var secondLine = regexp.MustCompile(`\n( *):\s`)

// parsePair parses the spelling of a pair: from a block, from inside brackets, or, for the encoder's
// spelling, with its brackets.
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
