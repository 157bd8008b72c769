package pod

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// rendered is what `tapedeck render` wrote.
type rendered struct {
	pod      corev1.PodTemplateSpec
	objects  []object
	services []corev1.Service
}

// object is one of Istio's, as far as the stand-in follows it.
type object struct {
	Kind     string            `json:"kind"`
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		WorkloadSelector struct {
			Labels map[string]string `json:"labels"`
		} `json:"workloadSelector"`
		Ingress []struct {
			Port struct {
				Number int `json:"number"`
			} `json:"port"`
			DefaultEndpoint string `json:"defaultEndpoint"`
		} `json:"ingress"`
		Egress []struct {
			Hosts []string `json:"hosts"`
		} `json:"egress"`
		Hosts []string `json:"hosts"`
		Ports []struct {
			Number int `json:"number"`
		} `json:"ports"`
	} `json:"spec"`
}

// render renders testdata/shop.yaml, with edits to the text before.
func render(t *testing.T, edits ...string) *rendered {
	t.Helper()
	input := strings.NewReplacer(edits...).Replace(readFile(t, "testdata/shop.yaml"))
	return renderText(t, input, "--config", "testdata/tapedeck.yaml")
}

// renderText renders manifests from standard input or from files, and takes
// apart what came out.
func renderText(t *testing.T, input string, args ...string) *rendered {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "image", "tapedeck"), append([]string{"render"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("render: %v\n%s", err, &stderr)
	}
	r := &rendered{}
	for _, doc := range strings.Split(string(out), "\n---\n") {
		var o object
		decode(t, doc, &o)
		switch o.Kind {
		case "Deployment", "Job":
			var d struct {
				Spec struct {
					Template corev1.PodTemplateSpec `json:"template"`
				} `json:"spec"`
			}
			decode(t, doc, &d)
			if d.Spec.Template.Labels[contract.LabelWorkload] != "" {
				r.pod = d.Spec.Template
			}
		case "Service":
			var s corev1.Service
			decode(t, doc, &s)
			r.services = append(r.services, s)
		default:
			r.objects = append(r.objects, o)
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

// without leaves out the objects of a kind that were created by the render.
func (r *rendered) without(kind string) *rendered {
	out := *r
	out.objects = slices.DeleteFunc(slices.Clone(r.objects), func(o object) bool {
		return o.Kind == kind && o.Metadata.Annotations[contract.AnnotationFor] != ""
	})
	return &out
}

// container returns one of the pod's by name.
func (r *rendered) container(t *testing.T, name string) corev1.Container {
	t.Helper()
	all := append(slices.Clone(r.pod.Spec.InitContainers), r.pod.Spec.Containers...)
	i := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("the rendered pod has no container %s", name)
	}
	return all[i]
}

// sidecar is the Sidecar that selects the pod; without one, Istio's default.
func (r *rendered) sidecar() object {
	for _, o := range r.objects {
		if o.Kind == "Sidecar" && subset(o.Spec.WorkloadSelector.Labels, r.pod.Labels) {
			return o
		}
	}
	return object{}
}

// inbound is the pod's inbound listeners, as Istio makes them of the Sidecar:
// each of its ports leads to its default endpoint.
func (r *rendered) inbound() map[int]string {
	out := map[int]string{}
	for _, in := range r.sidecar().Spec.Ingress {
		out[in.Port.Number] = in.DefaultEndpoint
	}
	return out
}

// imports tells whether the Sidecar's egress lets a namespace's hosts in.
func (r *rendered) imports(namespace string) bool {
	egress := r.sidecar().Spec.Egress
	for _, e := range egress {
		for _, host := range e.Hosts {
			from, _, _ := strings.Cut(host, "/")
			if from == "*" || from == namespace || from == "." && namespace == "shop" {
				return true
			}
		}
	}
	return len(egress) == 0
}

func subset(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// route is one host that the registry has, as cmd/envoy reads it.
type route struct {
	Host     string
	Port     int
	Endpoint string
	MTLS     bool
}

// routes is the registry: the Services, which are in the mesh, and the hosts
// of the ServiceEntries that the Sidecar's egress imports.
func (r *rendered) routes() (out []route) {
	pods := map[string]string{"app": podIP, "dependency": dependencyIP}
	for _, s := range r.services {
		for _, port := range s.Spec.Ports {
			for _, host := range []string{s.Name, s.Name + "." + s.Namespace + ".svc.cluster.local"} {
				out = append(out, route{host, int(port.Port), fmt.Sprintf("%s:%d", pods[s.Name], port.Port), true})
			}
		}
	}
	for _, o := range r.objects {
		if o.Kind != "ServiceEntry" || !r.imports(o.Metadata.Namespace) {
			continue
		}
		for _, host := range o.Spec.Hosts {
			for _, port := range o.Spec.Ports {
				out = append(out, route{Host: host, Port: port.Number})
			}
		}
	}
	return out
}

// facts are what the kubelet fills in.
var facts = map[string]string{
	"metadata.name": "app-0", "metadata.namespace": "shop", "spec.nodeName": "node", "spec.serviceAccountName": "default",
	"status.hostIP": "10.244.1.1", "status.podIP": podIP,
}

var reference = regexp.MustCompile(`\$\$|\$\(([^)]+)\)`)

// environment is what the kubelet makes of a container's env.
func environment(c corev1.Container) []string {
	known := map[string]string{"KUBERNETES_SERVICE_HOST": apiService}
	out := []string{"KUBERNETES_SERVICE_HOST=" + apiService}
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			value = facts[e.ValueFrom.FieldRef.FieldPath]
		}
		value = reference.ReplaceAllStringFunc(value, func(ref string) string {
			if ref == "$$" {
				return "$"
			}
			if v, ok := known[ref[2:len(ref)-1]]; ok {
				return v
			}
			return ref
		})
		known[e.Name] = value
		out = append(out, e.Name+"="+value)
	}
	return out
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
