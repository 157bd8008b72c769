package main

import (
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/sidecar"
)

// The sidecar starts with every environment that the renderer's own cases write:
// what one side takes for valid, the other does too.
func TestTheSidecarTakesWhatIsRendered(t *testing.T) {
	files, err := filepath.Glob("../../fn/testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	sidecars := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range archive.Files {
			if part.Name != "want.yaml" {
				continue
			}
			objects, err := kio.FromBytes(part.Data)
			if err != nil {
				continue // what is no object passes as it is
			}
			for _, o := range objects {
				for _, env := range sidecarsOf(o.YNode()) {
					sidecars++
					if _, err := sidecar.FromEnv(func(name string) string { return env[name] }); err != nil {
						t.Errorf("%s: %v", filepath.Base(file), err)
					}
				}
			}
		}
	}
	if sidecars < len(files)/2 {
		t.Errorf("found %d sidecars in %d cases", sidecars, len(files))
	}
}

// reference is what Kubernetes expands in the value of a variable: $(NAME), and $$
// to a single $.
var reference = regexp.MustCompile(`\$\$|\$\([-._a-zA-Z0-9]+\)`)

// sidecarsOf returns the environments of the sidecars in a node. What Kubernetes
// would fill in is an address.
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
