// Package rulefile reads the common parts of files of rules: the frame with apiVersion, kind and a list
// of rules, mappings without unknown keys, and patterns.
//
//	apiVersion: tapedeck.dev/v1alpha1
//	kind: MatchRules
//	rules:
//	- path: /v1/payments
//
// Errors name the line, what was found and what is allowed. [Schema] describes the frame.
//
// It imports the standard library and go.yaml.in/yaml/v3.
package rulefile

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxFile is the maximum size of a file of rules, in bytes.
	maxFile = 1 << 20
	// maxRules is the maximum number of rules in a file.
	maxRules = 1000
)

// Parse reads a file of rules of a version and kind. It calls read with each rule and its number, from 1.
// Errors begin with the file's name.
func Parse(file string, data []byte, apiVersion, kind string, read func(n *yaml.Node, number int) error) error {
	if len(data) > maxFile {
		return fmt.Errorf("%s: the file has %d bytes; at most %d are allowed", file, len(data), maxFile)
	}
	var root yaml.Node
	err := yaml.Unmarshal(data, &root)
	if err == nil {
		err = parse(&root, apiVersion, kind, read)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func parse(root *yaml.Node, apiVersion, kind string, read func(n *yaml.Node, number int) error) error {
	if root.Kind != yaml.DocumentNode || len(root.Content) == 0 {
		return fmt.Errorf("the file is empty; want apiVersion: %s, kind: %s and rules", apiVersion, kind)
	}
	top := root.Content[0]
	var rules *yaml.Node
	found := map[string]string{}
	err := Mapping(top, "the file", []string{"apiVersion", "kind", "metadata", "rules"}, func(key string, value *yaml.Node) error {
		switch key {
		case "rules":
			rules = value
		case "apiVersion", "kind":
			text, err := Scalar(value, key)
			found[key] = text
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, want := range [][2]string{{"apiVersion", apiVersion}, {"kind", kind}} {
		if found[want[0]] != want[1] {
			return fmt.Errorf("line %d: %s is %q, want %s", top.Line, want[0], found[want[0]], want[1])
		}
	}
	if rules == nil || rules.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: want a list of rules under rules", top.Line)
	}
	if len(rules.Content) > maxRules {
		return fmt.Errorf("line %d: found %d rules; at most %d are allowed", rules.Line, len(rules.Content), maxRules)
	}
	for i, n := range rules.Content {
		if err := read(n, i+1); err != nil {
			return err
		}
	}
	return nil
}

// Schema returns the JSON Schema of a file of rules. Each rule has some of the properties, and
// matches at least one of the schemas in does.
func Schema(apiVersion, kind string, properties map[string]any, does []any) map[string]any {
	return map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                kind,
		"type":                 "object",
		"additionalProperties": false,
		"required":             []any{"apiVersion", "kind", "rules"},
		"properties": map[string]any{
			"apiVersion": map[string]any{"const": apiVersion},
			"kind":       map[string]any{"const": kind},
			"metadata":   map[string]any{"type": "object"},
			"rules": map[string]any{"type": "array", "maxItems": maxRules, "items": map[string]any{
				"type": "object", "additionalProperties": false, "properties": properties, "anyOf": does,
			}},
		},
	}
}

// Mapping reads the keys of a mapping. Unknown and repeated keys are errors.
func Mapping(n *yaml.Node, what string, allowed []string, f func(key string, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want %s to be a mapping with %s", n.Line, what, strings.Join(allowed, ", "))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !slices.Contains(allowed, key.Value) {
			return fmt.Errorf("line %d: unknown key %q in %s; allowed are %s", key.Line, key.Value, what, strings.Join(allowed, ", "))
		}
		if seen[key.Value] {
			return fmt.Errorf("line %d: the key %q is repeated in %s", key.Line, key.Value, what)
		}
		seen[key.Value] = true
		if err := f(key.Value, value); err != nil {
			return err
		}
	}
	return nil
}

// Scalar reads a string.
func Scalar(n *yaml.Node, key string) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return "", fmt.Errorf("line %d: %s: want a text", n.Line, key)
	}
	return n.Value, nil
}

// List reads a string, or a list of strings.
func List(n *yaml.Node, key string) ([]string, error) {
	if n.Kind != yaml.SequenceNode {
		text, err := Scalar(n, key)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: want a text or a list of texts", n.Line, key)
		}
		return []string{text}, nil
	}
	if len(n.Content) == 0 {
		return nil, fmt.Errorf("line %d: %s: found an empty list, want one or more texts", n.Line, key)
	}
	var all []string
	for _, c := range n.Content {
		text, err := Scalar(c, key)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}

// Glob reports whether a text matches a pattern in which `*` matches any characters. Its cost is at most
// the product of their lengths.
func Glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// AnyGlob reports whether a text matches one of several patterns. If there are none, every text matches.
func AnyGlob(patterns []string, s string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return Glob(p, s) })
}
