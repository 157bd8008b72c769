package istio

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	meshconfig "istio.io/api/mesh/v1alpha1"
	chart "istio.io/istio/operator/pkg/render"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/kube/inject"
	"istio.io/istio/pkg/test"
)

// injector is Istio's injector, as its chart installs it.
type injector struct {
	templates inject.Templates
	values    inject.ValuesConfig
	mesh      *meshconfig.MeshConfig
	webhooks  []admissionv1.MutatingWebhook
	native    bool
}

// charts caches the output of the chart by its values, because rendering takes
// seconds.
var charts sync.Map

// newInjector installs Istio's injector with a few values of the chart.
func newInjector(t *testing.T, native bool, set ...string) *injector {
	t.Helper()
	key := strings.Join(set, ",")
	install, _ := charts.LoadOrStore(key, sync.OnceValues(func() (*injector, error) { return installInjector(set) }))
	in, err := install.(func() (*injector, error))()
	if err != nil {
		t.Fatal(err)
	}
	copied := *in
	copied.native, copied.mesh = native, proto.Clone(in.mesh).(*meshconfig.MeshConfig)
	return &copied
}

func installInjector(set []string) (*injector, error) {
	manifests, _, err := chart.GenerateManifest(nil, append([]string{"profile=empty", "components.pilot.enabled=true"}, set...), false, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("render Istio's chart: %w", err)
	}
	in := &injector{mesh: mesh.DefaultMeshConfig()}
	for _, set := range manifests {
		for _, o := range set.Manifests {
			data, _ := o.Object["data"].(map[string]any)
			switch {
			case o.GetKind() == "ConfigMap" && o.GetName() == "istio-sidecar-injector":
				cfg, err := inject.UnmarshalConfig([]byte(data["config"].(string)))
				if err != nil {
					return nil, err
				}
				if in.templates, err = inject.ParseTemplates(cfg.RawTemplates); err != nil {
					return nil, err
				}
				if in.values, err = inject.NewValuesConfig(data["values"].(string)); err != nil {
					return nil, err
				}
			case o.GetKind() == "ConfigMap" && o.GetName() == "istio":
				if in.mesh, err = mesh.ApplyMeshConfig(data["mesh"].(string), in.mesh); err != nil {
					return nil, err
				}
			case o.GetKind() == "MutatingWebhookConfiguration":
				var cfg admissionv1.MutatingWebhookConfiguration
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &cfg); err != nil {
					return nil, err
				}
				in.webhooks = append(in.webhooks, cfg.Webhooks...)
			}
		}
	}
	if in.templates == nil || len(in.webhooks) == 0 {
		return nil, fmt.Errorf("render Istio's chart: no injector in it")
	}
	return in, nil
}

// admit passes a pod through the webhook, which injects it or leaves it alone.
func (in *injector) admit(t *testing.T, ns *corev1.Namespace, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	if !slices.ContainsFunc(in.webhooks, func(w admissionv1.MutatingWebhook) bool {
		return matches(t, w.NamespaceSelector, ns.Labels) && matches(t, w.ObjectSelector, p.Labels)
	}) {
		return p
	}
	in.choose(t)
	out, err := inject.IntoObject(nil, in.templates, in.values, "default", in.mesh, p, func(string) {})
	if err != nil {
		t.Fatalf("inject %s: %v", p.Name, err)
	}
	return out.(*corev1.Pod)
}

// choose chooses whether Envoy is a native sidecar.
func (in *injector) choose(t *testing.T) {
	mode := features.NativeSidecarModeEnabled
	if !in.native {
		mode = features.NativeSidecarModeDisabled
	}
	test.SetForTest(t, &features.EnableNativeSidecars, mode)
}

// file injects a stream of manifests, like istioctl kube-inject.
func (in *injector) file(t *testing.T, manifests string) string {
	t.Helper()
	in.choose(t)
	var out bytes.Buffer
	if err := inject.IntoResourceFile(nil, in.templates, in.values, "default", in.mesh, strings.NewReader(manifests), &out, func(string) {}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func matches(t *testing.T, selector *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}

// injected reports whether a pod has Envoy.
func (p *pod) injected() bool {
	return inject.FindSidecar(p.Pod) != nil
}

// redirects reports whether iptables redirects calls of a port to Envoy,
// according to the arguments of istio-init.
func (p *pod) redirects(port int) bool {
	setup := container(p.Pod, "istio-init")
	if setup == nil {
		return false
	}
	list := func(flag string) []string {
		i := slices.Index(setup.Args, flag)
		return strings.Split(setup.Args[i+1], ",")
	}
	in, out := list("-b"), list("-d")
	n := fmt.Sprint(port)
	return (slices.Contains(in, "*") || slices.Contains(in, n)) && !slices.Contains(out, n)
}

// container returns the container of any kind with a name, or nil.
func container(p *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
