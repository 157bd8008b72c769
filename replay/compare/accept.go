package compare

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/match/rules"
)

// acceptRule is a rule in the format of package match/rules.
type acceptRule struct {
	Name   string   `yaml:"name"`
	Method []string `yaml:"method,flow,omitempty"`
	Path   string   `yaml:"path,omitempty"`
	Mask   []string `yaml:"mask,flow,omitempty"`
	Ignore []string `yaml:"ignore,flow,omitempty"`
}

// Accept returns a file of rules for package match that accept the new groups, and the groups that
// no rule can accept. endpoints lists the names of endpoints by number.
func (r *Result) Accept(endpoints []string) (file []byte, left []Group, err error) {
	by := map[int]*acceptRule{}
	var all []*acceptRule
	for _, g := range r.New() {
		place, ok := rulePlace(g.Pattern)
		if !ok {
			left = append(left, g)
			continue
		}
		one := by[g.Endpoint]
		if one == nil {
			one = &acceptRule{Name: "accepted: " + endpoints[g.Endpoint]}
			method, path, _ := strings.Cut(endpoints[g.Endpoint], " ")
			if one.Path = variable.ReplaceAllString(path, "*"); method == strings.ToUpper(method) {
				one.Method = []string{method}
			}
			by[g.Endpoint] = one
			all = append(all, one)
		}
		list := &one.Ignore
		if g.Kind == match.ValueChanged {
			list = &one.Mask
		}
		if !slices.Contains(*list, place) {
			*list = append(*list, place)
		}
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err = enc.Encode(struct {
		APIVersion string        `yaml:"apiVersion"`
		Kind       string        `yaml:"kind"`
		Rules      []*acceptRule `yaml:"rules"`
	}{rules.APIVersion, rules.Kind, append([]*acceptRule{}, all...)}); err != nil {
		return nil, nil, fmt.Errorf("write rules: %w", err)
	}
	if _, err := rules.Parse("accepted rules", out.Bytes()); err != nil {
		return nil, nil, fmt.Errorf("write rules that can be read again: %w", err)
	}
	return out.Bytes(), left, nil
}

// variable matches a segment that stands for a value in the name of an endpoint.
var variable = regexp.MustCompile(`\{\w+\}`)

// rulePlace returns the place with which a rule names a pattern.
func rulePlace(pattern string) (string, bool) {
	if strings.HasPrefix(pattern, "body:line") {
		pattern = "body"
	}
	place := "response:" + pattern
	_, err := rules.ParsePlace(place)
	return place, err == nil
}
