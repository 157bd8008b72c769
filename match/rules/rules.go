// Package rules reads the file by which users tell match what to leave out of a
// comparison, what may hold any value, and what has to be compared.
//
//	apiVersion: tapedeck.dev/v1alpha1
//	kind: MatchRules
//	rules:
//	- path: /v1/payments
//	  mask: ["body:$.payment.id"]
//
// One table of keys and one of places make the parser, the JSON Schema and the
// reference. Each rule counts how often it changed a comparison, so one that never did
// can be reported.
//
// It imports contract and match/canon, the standard library and go.yaml.in/yaml/v3.
package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"go.yaml.in/yaml/v3"
)

const (
	APIVersion = "tapedeck.dev/v1alpha1"
	Kind       = "MatchRules"
	// maxFile is how long a file of rules may be, maxRules how many it may have.
	maxFile  = 1 << 20
	maxRules = 1000
)

// Action is what a rule does with a place.
type Action uint8

const (
	// Ignore leaves the place out: it may hold anything, or be missing.
	Ignore Action = iota
	// Mask lets the place hold any value. It has to be there.
	Mask
	// Require compares the place as it stands, whatever else would mask it. A header
	// is only compared if a rule requires it.
	Require
	numActions
)

// Key is a key of a rule: a row of the table.
type Key struct {
	Name, Doc, Example string
	// Action that the key's places are for; only of those with Places.
	Action Action
	Places bool
}

var keys = []Key{
	{Name: "name", Doc: "What reports call the rule. Default: its number.", Example: "payment ids"},
	{Name: "method", Doc: "Only requests with one of these methods; `*` stands for any characters. For gRPC it is POST.", Example: "[GET, HEAD]"},
	{Name: "host", Doc: "Only requests for one of these hosts, without port, in any case; `*` stands for any characters.", Example: `"*.example.com"`},
	{Name: "path", Doc: "Only requests with one of these paths; `*` stands for any characters, `/` included. For gRPC it is `/package.Service/Method`.", Example: "/v1/*"},
	{Name: "ignore", Doc: "Places that are left out: they may hold anything, or be missing.", Example: `["query:utm_*"]`, Action: Ignore, Places: true},
	{Name: "mask", Doc: "Places that may hold any value. An equal value still goes first.", Example: `["body:$.payment.id"]`, Action: Mask, Places: true},
	{Name: "require", Doc: "Places that are compared as they stand, whatever would mask them. Headers are only compared if a rule requires them.", Example: `["header:X-Tenant"]`, Action: Require, Places: true},
}

// Keys returns the table of keys of a rule.
func Keys() []Key { return keys }

// Rule is one rule of a file.
type Rule struct {
	Name string
	// Line of the file on which it begins.
	Line int
	// Places that it is about, in the order of the file.
	Places []Place

	method, host, path []string
	fired              atomic.Uint64
}

// Fired tells how often the rule changed how a live request or response was compared.
func (r *Rule) Fired() uint64 { return r.fired.Load() }

// Fire counts one time.
func (r *Rule) Fire() { r.fired.Add(1) }

func (r *Rule) appliesTo(method, host, path string) bool {
	return anyGlob(r.method, method) && anyGlob(r.host, host) && anyGlob(r.path, path)
}

func anyGlob(patterns []string, s string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return glob(p, s) })
}

// Set is the rules of a file. It is safe for concurrent use. A nil Set has none.
type Set struct{ rules []*Rule }

// Rules returns all rules, in the order of the file.
func (s *Set) Rules() []*Rule {
	if s == nil {
		return nil
	}
	return s.rules
}

// Unfired returns the rules that never changed a comparison.
func (s *Set) Unfired() []*Rule {
	var all []*Rule
	for _, r := range s.Rules() {
		if r.Fired() == 0 {
			all = append(all, r)
		}
	}
	return all
}

// Parse reads a file of rules. Errors name the file, the line, what was found and what
// is allowed.
func Parse(file string, data []byte) (*Set, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", file, len(data), maxFile)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s := new(Set)
	if err := s.file(&root); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

func (s *Set) file(root *yaml.Node) error {
	if root.Kind != yaml.DocumentNode || len(root.Content) == 0 {
		return fmt.Errorf("empty; want apiVersion: %s, kind: %s and rules", APIVersion, Kind)
	}
	top := root.Content[0]
	var rules *yaml.Node
	found := map[string]string{}
	err := mapping(top, "the file", []string{"apiVersion", "kind", "metadata", "rules"}, func(key string, value *yaml.Node) error {
		switch key {
		case "rules":
			rules = value
		case "apiVersion", "kind":
			text, err := scalar(value, key)
			found[key] = text
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, want := range [][2]string{{"apiVersion", APIVersion}, {"kind", Kind}} {
		if found[want[0]] != want[1] {
			return fmt.Errorf("line %d: %s is %q, want %s", top.Line, want[0], found[want[0]], want[1])
		}
	}
	if rules == nil || rules.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: want rules, a list", top.Line)
	}
	if len(rules.Content) > maxRules {
		return fmt.Errorf("line %d: %d rules, at most %d are allowed", rules.Line, len(rules.Content), maxRules)
	}
	for i, n := range rules.Content {
		r, err := parseRule(n, i+1)
		if err != nil {
			return err
		}
		s.rules = append(s.rules, r)
	}
	return nil
}

func parseRule(n *yaml.Node, number int) (*Rule, error) {
	r := &Rule{Name: fmt.Sprintf("rule %d", number), Line: n.Line}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	err := mapping(n, "a rule", names, func(key string, value *yaml.Node) (err error) {
		switch key {
		case "name":
			r.Name, err = scalar(value, key)
		case "method":
			r.method, err = list(value, key)
		case "host":
			r.host, err = list(value, key)
			for i := range r.host {
				r.host[i] = strings.ToLower(r.host[i])
			}
		case "path":
			r.path, err = list(value, key)
		default:
			err = r.places(keys[slices.Index(names, key)], value)
		}
		return err
	})
	if err == nil && len(r.Places) == 0 {
		err = fmt.Errorf("line %d: %s does nothing; want ignore, mask or require", n.Line, r.Name)
	}
	return r, err
}

func (r *Rule) places(k Key, value *yaml.Node) error {
	texts, err := list(value, k.Name)
	if err != nil {
		return err
	}
	for i, text := range texts {
		p, err := ParsePlace(text)
		if err == nil && p.Kind == Header && k.Action == Mask && !p.Response {
			err = errors.New("a request's headers are not compared, so there is nothing to mask; want ignore nothing, or require it")
		}
		if err != nil {
			line := value.Line
			if value.Kind == yaml.SequenceNode {
				line = value.Content[i].Line
			}
			return fmt.Errorf("line %d: %s: place %q: %w", line, k.Name, text, err)
		}
		p.Action, p.Rule = k.Action, r
		r.Places = append(r.Places, p)
	}
	return nil
}

// mapping walks a mapping's keys. Unknown ones and ones that stand twice are errors.
func mapping(n *yaml.Node, what string, allowed []string, f func(key string, value *yaml.Node) error) error {
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
			return fmt.Errorf("line %d: the key %q stands twice in %s", key.Line, key.Value, what)
		}
		seen[key.Value] = true
		if err := f(key.Value, value); err != nil {
			return err
		}
	}
	return nil
}

func scalar(n *yaml.Node, key string) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return "", fmt.Errorf("line %d: %s: want a text", n.Line, key)
	}
	return n.Value, nil
}

// list reads a text, or a list of texts.
func list(n *yaml.Node, key string) ([]string, error) {
	if n.Kind != yaml.SequenceNode {
		text, err := scalar(n, key)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: want a text or a list of texts", n.Line, key)
		}
		return []string{text}, nil
	}
	if len(n.Content) == 0 {
		return nil, fmt.Errorf("line %d: %s: an empty list; want one or more texts", n.Line, key)
	}
	var all []string
	for _, c := range n.Content {
		text, err := scalar(c, key)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}

// glob matches a text with a pattern in which `*` stands for any characters. Its cost is
// the product of their lengths at most.
func glob(pattern, s string) bool {
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
