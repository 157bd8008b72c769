package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/sidecar"
	"github.com/tapedeck/tapedeck/transformer"
)

// TestTheSidecarTakesWhatIsRendered checks that the sidecar accepts every environment that the
// renderer writes in its own cases.
func TestTheSidecarTakesWhatIsRendered(t *testing.T) {
	cases := renderedCases(t)
	sidecars := 0
	for name, objects := range cases {
		for _, o := range objects {
			for _, env := range sidecarsOf(o.YNode()) {
				sidecars++
				if _, err := sidecar.FromEnv(func(name string) string { return env[name] }); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	if sidecars < len(cases)/2 {
		t.Errorf("found %d sidecars in %d cases", sidecars, len(cases))
	}
}

// renderedCases renders the renderer's own cases, and returns the objects of each.
func renderedCases(t *testing.T) map[string][]*yaml.RNode {
	t.Helper()
	files, err := filepath.Glob("../../fn/testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	cases := map[string][]*yaml.RNode{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sections := map[string][]byte{}
		for _, part := range archive.Files {
			sections[part.Name] = part.Data
		}
		cfg, err := fn.LoadConfig(transformer.DefaultConfig(), fn.Source{Text: sections["config.yaml"]})
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := fn.Render([]fn.Source{{Text: sections["input.yaml"]}}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		// Text that is not an object is not for the sidecar.
		if objects, err := kio.FromBytes(out); err == nil {
			cases[strings.TrimSuffix(filepath.Base(file), ".txtar")] = objects
		}
	}
	return cases
}

// reference matches the text that Kubernetes expands in the value of a variable: $(NAME), and $$
// to a single $.
var reference = regexp.MustCompile(`\$\$|\$\([-._a-zA-Z0-9]+\)`)

// sidecarsOf returns the environments of the sidecars in a node. An address replaces every value
// that Kubernetes would fill in.
func sidecarsOf(n *yaml.Node) (envs []map[string]string) {
	if n.Kind == yaml.MappingNode {
		var c struct {
			Name string
			Env  []struct{ Name, Value string }
		}
		if n.Decode(&c) == nil && c.Name == contract.Container {
			env := map[string]string{}
			for _, v := range c.Env {
				env[v.Name] = reference.ReplaceAllStringFunc(v.Value, func(ref string) string {
					if ref == "$$" {
						return "$"
					}
					return "10.0.0.1"
				})
			}
			return append(envs, env)
		}
	}
	for _, child := range n.Content {
		envs = append(envs, sidecarsOf(child)...)
	}
	return envs
}
