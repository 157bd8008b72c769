package fn

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"github.com/tapedeck/tapedeck/transformer"
)

// ConfigAPIVersion and ConfigKind are the type of a functionConfig. It may also be a ConfigMap.
const (
	ConfigAPIVersion = "tapedeck.dev/v1alpha1"
	ConfigKind       = "Tapedeck"
)

// LoadConfig reads a configuration on top of another. It is a document of kind Tapedeck, or a
// ConfigMap whose data has the same names.
func LoadConfig(cfg transformer.Config, src Source) (transformer.Config, error) {
	n, err := splice.Parse(src.Text)
	if err != nil {
		return cfg, fmt.Errorf("read configuration %s: %w", src.Name, err)
	}
	if n == nil {
		return cfg, nil
	}
	if n, err = splice.Expand(n); err != nil {
		return cfg, fmt.Errorf("read configuration %s: %w", src.Name, err)
	}
	cfg, wrong := withFunctionConfig(cfg, n)
	errs := make([]error, len(wrong))
	for i, w := range wrong {
		errs[i] = fmt.Errorf("configuration %s: %s: %w", src.Name, w.path, w.err)
	}
	return cfg, errors.Join(errs...)
}

// misplacedConfigs reports configurations among the manifests, where they have no effect. It skips
// those that are marked as local, which are an orchestrator's.
func misplacedConfigs(objects []*transformer.Object) (results transformer.Results) {
	for _, o := range objects {
		if ref := o.Ref(); ref.Kind == ConfigKind && ref.APIVersion == ConfigAPIVersion && annotation(o.Node, transformer.LocalConfig) != "true" {
			r := transformer.NewResult(transformer.CodeConfigDocument, o.File, "%s is a configuration, which is not read from manifests; pass it with --config", ref)
			r.ResourceRef = &ref
			results = append(results, r)
		}
	}
	return results
}

// fieldError is a mistake in one field of a functionConfig.
type fieldError struct {
	path string
	err  error
}

// withFunctionConfig reads a functionConfig on top of a configuration. A missing one or null changes
// nothing.
func withFunctionConfig(cfg transformer.Config, n *yaml.Node) (transformer.Config, []fieldError) {
	switch {
	case n == nil || nodes.IsNull(n):
		return cfg, nil
	case n.Kind != yaml.MappingNode:
		return cfg, []fieldError{{"kind", errors.New("found no map, allowed: an object of kind " + ConfigKind + " or ConfigMap")}}
	}
	cfg = cfg.Clone()
	kind, apiVersion := nodes.StringAt(n, "kind"), nodes.StringAt(n, "apiVersion")
	var wrong []fieldError
	seen := map[string]bool{}
	once := func(path string) bool {
		if seen[path] {
			wrong = append(wrong, fieldError{path, errors.New("found twice, allowed: once")})
			return false
		}
		seen[path] = true
		return true
	}
	set := func(path, name string, v *yaml.Node, set func(name, value string) error) {
		value := v.Value
		switch {
		case !once(path):
			return
		case nodes.IsNull(v):
			return // as if it were absent
		case v.Kind == yaml.SequenceNode:
			values := make([]string, len(v.Content))
			for i, item := range v.Content {
				if item.Kind != yaml.ScalarNode || nodes.IsNull(item) {
					wrong = append(wrong, fieldError{fmt.Sprintf("%s[%d]", path, i), errors.New("found no value, allowed: a list of values")})
					return
				}
				values[i] = item.Value
			}
			value = strings.Join(values, ",")
		case v.Kind != yaml.ScalarNode:
			wrong = append(wrong, fieldError{path, errors.New("found a map, allowed: a value or a list")})
			return
		}
		if err := set(name, value); err != nil {
			wrong = append(wrong, fieldError{path, err})
		}
	}
	eachEntry(n, func(name string, _ *yaml.Node) { once(name) })
	for _, key := range []string{"spec", "data"} {
		if v := nodes.At(n, key); v != nil && v.Kind != yaml.MappingNode && !nodes.IsNull(v) {
			wrong = append(wrong, fieldError{key, errors.New("found no map, allowed: a map")})
		}
	}
	switch {
	case kind == "ConfigMap" && apiVersion == "v1":
		eachEntry(nodes.At(n, "data"), func(name string, v *yaml.Node) {
			set("data."+name, name, v, cfg.Set)
		})
	case kind == ConfigKind && apiVersion == ConfigAPIVersion:
		eachEntry(n, func(name string, _ *yaml.Node) {
			if !slices.Contains([]string{"apiVersion", "kind", "metadata", "spec"}, name) {
				wrong = append(wrong, fieldError{name, errors.New("no such field; allowed: apiVersion, kind, metadata, spec")})
			}
		})
		eachEntry(nodes.At(n, "spec"), func(name string, v *yaml.Node) {
			path := "spec." + name
			if name == "defaults" && v.Kind == yaml.MappingNode {
				once(path)
				eachEntry(v, func(name string, v *yaml.Node) { set(path+"."+name, name, v, cfg.SetDefault) })
				return
			}
			set(path, name, v, cfg.SetOption)
		})
	default:
		wrong = append(wrong, fieldError{"kind", fmt.Errorf("found kind %q of apiVersion %q, allowed: %s of %s, or ConfigMap of v1", kind, apiVersion, ConfigKind, ConfigAPIVersion)})
	}
	return cfg, wrong
}

func eachEntry(n *yaml.Node, f func(name string, v *yaml.Node)) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		f(n.Content[i].Value, n.Content[i+1])
	}
}

// Schema returns the JSON Schema of the functionConfig's own kind, built from
// the tables of options and annotations.
// Source: https://json-schema.org/draft/2020-12.
func Schema() map[string]any {
	spec := map[string]any{}
	for _, o := range transformer.Options() {
		spec[o.Name] = property(o.Kind, o.Doc, o.Default)
	}
	defaults := map[string]any{}
	for _, a := range transformer.Annotations() {
		p := property(a.Kind, a.Doc, a.Default)
		if a.Kind.Name == "list" {
			p["type"] = "string"
			delete(p, "items")
		}
		defaults[a.Name] = p
	}
	spec["defaults"] = map[string]any{
		"type": "object", "additionalProperties": false, "properties": defaults,
		"description": "Annotations, by name without prefix, for every workload that does not set them itself; `inject` here requests the sidecar for all workloads.",
	}
	return map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                ConfigKind,
		"type":                 "object",
		"required":             []string{"apiVersion", "kind"},
		"additionalProperties": false,
		"properties": map[string]any{
			"apiVersion": map[string]any{"const": ConfigAPIVersion},
			"kind":       map[string]any{"const": ConfigKind},
			"metadata":   map[string]any{"type": "object"},
			"spec":       map[string]any{"type": "object", "additionalProperties": false, "properties": spec},
		},
	}
}

func property(k transformer.Kind, doc, value string) map[string]any {
	p := map[string]any{"description": doc}
	switch {
	case slices.Contains(k.Enum, "true"): // YAML does not read true as a string
		p["enum"] = []any{true, false}
		for _, v := range k.Enum {
			p["enum"] = append(p["enum"].([]any), v)
		}
	case k.Enum != nil:
		p["enum"] = k.Enum
	case k.Name == "port" || k.Name == "port or name" || k.Name == "number":
		p["type"] = []string{"integer", "string"}
		p["pattern"] = k.Pattern
	case k.Name == "list":
		p["type"] = []string{"array", "string"}
		p["items"] = map[string]any{"type": "string"}
	case k.Name == "quantity" || k.Name == "size":
		p["type"] = []string{"string", "number"}
		p["pattern"] = k.Pattern
	default:
		p["type"] = "string"
		if k.Pattern != "" {
			p["pattern"] = k.Pattern
		}
	}
	if value != "" {
		p["default"] = value
	}
	return p
}
