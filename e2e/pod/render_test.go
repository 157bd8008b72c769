package pod

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

// rendered is the output of `tapedeck render`.
type rendered struct {
	pod     corev1.PodTemplateSpec
	objects []object
}

// object is a rendered object, as it was written.
type object struct {
	metav1.PartialObjectMetadata
	text string
}

// render renders a file of testdata, after edits to its text.
func render(t *testing.T, file string, edits ...string) *rendered {
	t.Helper()
	input := strings.NewReplacer(edits...).Replace(readFile(t, filepath.Join("testdata", file)))
	return renderText(t, input, "--config", "testdata/tapedeck.yaml")
}

// renderText renders manifests from standard input or from files, and parses the output.
func renderText(t *testing.T, input string, args ...string) *rendered {
	t.Helper()
	if why := missing(); why != "" {
		t.Skip(why)
	}
	cmd := exec.Command(filepath.Join(bin, "image", "tapedeck"), append([]string{"render"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("render: %v\n%s", err, &stderr)
	}
	r := &rendered{}
	for _, doc := range strings.Split(string(out), "\n---\n") {
		o := object{text: doc}
		decode(t, doc, &o.PartialObjectMetadata)
		r.objects = append(r.objects, o)
		var workload struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if o.Kind != "Deployment" && o.Kind != "Job" {
			continue
		}
		if decode(t, doc, &workload); workload.Spec.Template.Labels[contract.LabelWorkload] != "" && o.Labels[contract.LabelReplay] == "" {
			r.pod = workload.Spec.Template
		}
	}
	return r
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("read %s: %v", text, err)
	}
}

// without leaves out the objects of a kind that the render created.
func (r *rendered) without(kind string) *rendered {
	out := *r
	out.objects = slices.DeleteFunc(slices.Clone(r.objects), func(o object) bool {
		return o.Kind == kind && o.Annotations[contract.AnnotationFor] != ""
	})
	return &out
}

// manifests returns the objects as one stream.
func (r *rendered) manifests() string {
	var texts []string
	for _, o := range r.objects {
		texts = append(texts, o.text)
	}
	return strings.Join(texts, "\n---\n")
}

// container returns a container of the pod by name.
func (r *rendered) container(t *testing.T, name string) corev1.Container {
	t.Helper()
	all := append(slices.Clone(r.pod.Spec.InitContainers), r.pod.Spec.Containers...)
	i := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("the rendered pod has no container %s", name)
	}
	return all[i]
}

var reference = regexp.MustCompile(`\$\$|\$\(([^)]+)\)`)

// facts are the values of the downward API for a pod, by the path of a field.
type facts map[string]string

// factsOf returns the facts of the application's pod, at an address.
func factsOf(ip string) facts {
	return facts{
		"metadata.name": "app-0", "metadata.namespace": "shop", "spec.nodeName": "node", "spec.serviceAccountName": "default",
		"status.hostIP": "10.244.1.1", "status.podIP": ip,
	}
}

// environment returns a container's environment as the kubelet makes it, in a pod with these
// facts. expand expands the references in a text as the kubelet does.
func environment(c corev1.Container, pod facts) (out []string, expand func(string) string) {
	known := map[string]string{"KUBERNETES_SERVICE_HOST": apiService}
	expand = func(text string) string {
		return reference.ReplaceAllStringFunc(text, func(ref string) string {
			if ref == "$$" {
				return "$"
			}
			if v, ok := known[ref[2:len(ref)-1]]; ok {
				return v
			}
			return ref
		})
	}
	out = []string{"KUBERNETES_SERVICE_HOST=" + apiService}
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			value = pod[e.ValueFrom.FieldRef.FieldPath]
		}
		value = expand(value)
		known[e.Name] = value
		out = append(out, e.Name+"="+value)
	}
	return out, expand
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
