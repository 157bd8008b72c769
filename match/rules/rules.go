// Package rules reads the user's matching rules: which places are ignored, which may have any
// value, and which must be compared.
//
//	apiVersion: tapedeck.dev/v1alpha1
//	kind: MatchRules
//	rules:
//	- path: /v1/payments
//	  mask: ["body:$.payment.id"]
//
// The parser, the JSON Schema and the reference come from one table of keys and one of places.
// Each rule counts how often it changed a comparison, so that unused rules can be reported.
//
// It imports internal/rulefile and match/canon, the standard library and go.yaml.in/yaml/v3.
package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"go.yaml.in/yaml/v3"

	"github.com/tapedeck/tapedeck/internal/rulefile"
)

const (
	APIVersion = "tapedeck.dev/v1alpha1"
	Kind       = "MatchRules"
)

// Action is the effect of a rule on a place.
type Action uint8

const (
	// Ignore leaves the place out: it may have any value, or be missing.
	Ignore Action = iota
	// Mask lets the place have any value, but it must exist.
	Mask
	// Require compares the place literally, even if something else would mask it. Headers are
	// compared only if a rule requires them.
	Require
	numActions
)

// Key is a key of a rule: a row of the table.
type Key struct {
	Name, Doc, Example string
	// Action is the effect on the key's places, if the key has places.
	Action Action
	Places bool
}

var keys = []Key{
	{Name: "name", Doc: "What reports call the rule. Default: its number.", Example: "payment ids"},
	{Name: "method", Doc: "Only requests with one of these methods; `*` stands for any characters. For gRPC it is POST.", Example: "[GET, HEAD]"},
	{Name: "host", Doc: "Only requests for one of these hosts, without the port, in any case; `*` stands for any characters.", Example: `"*.example.com"`},
	{Name: "path", Doc: "Only requests with one of these paths; `*` stands for any characters, `/` included. For gRPC it is `/package.Service/Method`.", Example: "/v1/*"},
	{Name: "ignore", Doc: "Places to leave out: they may have any value or be missing.", Example: `["query:utm_*"]`, Action: Ignore, Places: true},
	{Name: "mask", Doc: "Places that may have any value. A request with an equal value still takes precedence.", Example: `["body:$.payment.id"]`, Action: Mask, Places: true},
	{Name: "require", Doc: "Places to compare literally, even if something else would mask them. Headers are compared only if a rule requires them.", Example: `["header:X-Tenant"]`, Action: Require, Places: true},
}

// Keys returns the table of keys of a rule.
func Keys() []Key { return keys }

// Rule is one rule of a file.
type Rule struct {
	Name string
	// Line is the line of the file on which the rule begins.
	Line int
	// Places are the rule's places, in the order of the file.
	Places []Place

	method, host, path []string
	fired              atomic.Uint64
}

// Fired returns how often the rule changed the comparison of a live request or response.
func (r *Rule) Fired() uint64 { return r.fired.Load() }

// Fire adds one to Fired.
func (r *Rule) Fire() { r.fired.Add(1) }

func (r *Rule) appliesTo(method, host, path string) bool {
	return rulefile.AnyGlob(r.method, method) && rulefile.AnyGlob(r.host, host) && rulefile.AnyGlob(r.path, path)
}

// Set has the rules of a file. It is safe for concurrent use. A nil Set has no rules.
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
	s := new(Set)
	err := rulefile.Parse(file, data, APIVersion, Kind, func(n *yaml.Node, number int) error {
		r, err := parseRule(n, number)
		s.rules = append(s.rules, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func parseRule(n *yaml.Node, number int) (*Rule, error) {
	r := &Rule{Name: fmt.Sprintf("rule %d", number), Line: n.Line}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	err := rulefile.Mapping(n, "a rule", names, func(key string, value *yaml.Node) (err error) {
		switch key {
		case "name":
			r.Name, err = rulefile.Scalar(value, key)
		case "method":
			r.method, err = rulefile.List(value, key)
		case "host":
			r.host, err = rulefile.List(value, key)
			for i := range r.host {
				r.host[i] = strings.ToLower(r.host[i])
			}
		case "path":
			r.path, err = rulefile.List(value, key)
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
	texts, err := rulefile.List(value, k.Name)
	if err != nil {
		return err
	}
	for i, text := range texts {
		p, err := ParsePlace(text)
		if err == nil && p.Kind == Header && k.Action == Mask && !p.Response {
			err = errors.New("request headers are compared only if a rule requires them, so there is nothing to mask; remove the place or require it")
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
