package transformer

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"sigs.k8s.io/yaml"
)

// istioModule returns the directory of the version of istio.io/api in go.mod.
func istioModule(t *testing.T) (dir, version string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", "istio.io/api").Output()
	dir, version, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || dir == "" {
		t.Fatalf("go list istio.io/api: %v", err)
	}
	return dir, version
}

func TestIstioRelease(t *testing.T) {
	if _, version := istioModule(t); !strings.HasPrefix(version, "v"+istioRelease+".") {
		t.Errorf("results say Istio %s, go.mod has istio.io/api %s", istioRelease, version)
	}
}

// schema is the schema of a field in a CustomResourceDefinition.
type schema struct {
	Properties           map[string]*schema
	Items                *schema
	AdditionalProperties any
	PreserveUnknown      bool `json:"x-kubernetes-preserve-unknown-fields"`
}

// TestIstioFields compares the fields that the renderer knows with those in
// Istio's CustomResourceDefinitions, for every kind and version.
func TestIstioFields(t *testing.T) {
	dir, _ := istioModule(t)
	text, err := os.ReadFile(filepath.Join(dir, "kubernetes/customresourcedefinitions.gen.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema schema }
				}
			}
		}
		if err := yaml.Unmarshal([]byte(doc), &crd); err != nil {
			t.Fatal(err)
		}
		if crd.Spec.Group == "" {
			continue
		}
		kind := crd.Spec.Group + "/" + crd.Spec.Names.Kind
		if istioKinds[kind] == nil {
			t.Errorf("istioKinds lacks %s", kind)
			continue
		}
		kinds[kind] = true
		for _, v := range crd.Spec.Versions {
			compareFields(t, kind+" "+v.Name+" spec", v.Schema.OpenAPIV3Schema.Properties["spec"], istioKinds[kind].ProtoReflect().Descriptor())
			for _, key := range sortedKeys(v.Schema.OpenAPIV3Schema.Properties) {
				if key != "spec" && key != "status" {
					t.Errorf("%s %s has a field %s", kind, v.Name, key)
				}
			}
		}
	}
	for kind := range istioKinds {
		if !kinds[kind] {
			t.Errorf("Istio has no kind %s", kind)
		}
	}
}

func compareFields(t *testing.T, path string, s *schema, m protoreflect.MessageDescriptor) {
	t.Helper()
	if m == nil || m.FullName().Parent() == "google.protobuf" || s == nil || s.PreserveUnknown {
		return
	}
	names := jsonNames(m.Fields())
	if old := istioOldNames[m.FullName()]; old != "" {
		names = append(names, old)
	}
	slices.Sort(names)
	if has := sortedKeys(s.Properties); !slices.Equal(has, names) {
		t.Errorf("%s: Kubernetes knows %v, and we know %v", path, has, names)
	}
	for name, property := range s.Properties {
		f := m.Fields().ByJSONName(name)
		switch {
		case f == nil:
		case f.IsMap():
			if values, ok := property.AdditionalProperties.(map[string]any); ok && values["properties"] != nil && f.MapValue().Message() == nil {
				t.Errorf("%s.%s has values with fields", path, name)
			}
		case f.IsList():
			compareFields(t, path+"."+name, property.Items, f.Message())
		default:
			compareFields(t, path+"."+name, property, f.Message())
		}
	}
}
