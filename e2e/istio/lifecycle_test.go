package istio

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// mode is one way to install Istio and to render.
type mode struct {
	nativeEnvoy, hold bool
	sidecar           string
}

func (m mode) String() string {
	return fmt.Sprintf("native Envoy %t, hold application %t, sidecar %s", m.nativeEnvoy, m.hold, m.sidecar)
}

func modes() []mode {
	var out []mode
	for _, native := range []bool{true, false} {
		for _, hold := range []bool{true, false} {
			for _, sidecar := range []string{"native", "classic"} {
				out = append(out, mode{native, hold, sidecar})
			}
		}
	}
	return out
}

func (m mode) injector(t *testing.T) *injector {
	return newInjector(t, m.nativeEnvoy, fmt.Sprintf("values.global.proxy.holdApplicationUntilProxyStarts=%t", m.hold))
}

// rendered is one input and its render.
type rendered struct {
	name          string
	input, output string
	cluster, mesh string // its surroundings
	cfg           transformer.Config
	results       transformer.Results
}

// says reports whether the report has a result with a code.
func (r rendered) says(code transformer.Code) bool {
	return slices.ContainsFunc(r.results, func(r transformer.Result) bool { return r.Code() == code })
}

// injected returns the renders with Tapedeck's container, in a form that the injector reads.
func injected(t *testing.T, sidecar string) []rendered {
	return slices.DeleteFunc(everything(t, sidecar), func(r rendered) bool {
		return strings.Contains(r.input, "kind: ResourceList") || !strings.Contains(r.output, "name: "+contract.Container)
	})
}

// everything returns all inputs that can be rendered, here and among the renderer's own cases.
func everything(t *testing.T, sidecar string) []rendered {
	t.Helper()
	var out []rendered
	for _, dir := range []string{"testdata", "../../fn/testdata/render"} {
		files, err := filepath.Glob(dir + "/*.txtar")
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases found: %v", err)
		}
		for _, file := range files {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := &testCase{Archive: archive}
			cfg := transformer.DefaultConfig()
			if err := cfg.Set("sidecar", sidecar); err != nil {
				t.Fatal(err)
			}
			if text := c.section("config.yaml"); text != "" {
				if cfg, err = fn.LoadConfig(cfg, fn.Source{Text: []byte(text)}); err != nil {
					continue // the case is about that
				}
			}
			input := c.section("input.yaml")
			text, results := render(t, input, cfg)
			if text == "" {
				continue
			}
			out = append(out, rendered{strings.TrimSuffix(filepath.Base(file), ".txtar"), input, text, c.section("cluster.yaml"), c.section("mesh.yaml"), cfg, results})
		}
	}
	return out
}

// TestInjectedPodsStart passes every rendered pod through Istio's injector, in
// every mode. It asserts that the containers can start one after the other, that
// the injector left ours alone, and that it did the same to the application's as
// without Tapedeck.
func TestInjectedPodsStart(t *testing.T) {
	for _, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			in := m.injector(t)
			pods := 0
			for _, r := range injected(t, m.sidecar) {
				before := podsOf(t, in, r.input)
				for name, p := range podsOf(t, in, r.output) {
					ours := container(p.sent, contract.Container)
					if ours == nil {
						continue
					}
					if sent := before[name].sent; sent != nil && container(sent, contract.Container) != nil && ours.SecurityContext == nil {
						continue // the case abbreviates an earlier render, and this one leaves it alone
					}
					if container(p.sent, "istio-proxy") != nil {
						continue // injected before, in a different mode
					}
					if container(p.admitted, "istio-proxy") == nil || p.sent.Annotations["inject.istio.io/templates"] != "" {
						continue // no Envoy: nothing to prove
					}
					pods++
					where := r.name + " " + name
					checkStart(t, where, m, p)
					checkUntouched(t, where, p, before[name])
				}
			}
			if pods < 30 {
				t.Errorf("only %d pods were injected", pods)
			}
		})
	}
}

// admission is a pod before and after Istio's webhook.
type admission struct {
	kind           string
	sent, admitted *corev1.Pod
}

func podsOf(t *testing.T, in *injector, manifests string) map[string]admission {
	t.Helper()
	out := map[string]admission{}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{"istio-injection": "enabled"}}}
	for _, o := range parse(t, manifests) {
		m := template(o)
		if m == nil {
			continue
		}
		p := convert[corev1.Pod](t, m)
		p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		p.Name, p.Namespace = o.GetName(), "default"
		out[o.GetKind()+"/"+o.GetName()] = admission{o.GetKind(), p, in.admit(t, ns, p)}
	}
	return out
}

// step is one container, in the order in which the kubelet starts them.
type step struct {
	*corev1.Container
	init  bool
	waits []handler // what must succeed before the next container starts
}

// handler is the part that a probe and a hook have in common.
type handler struct {
	http *corev1.HTTPGetAction
	tcp  *corev1.TCPSocketAction
	grpc *corev1.GRPCAction
}

// agent reports whether Istio's agent answers: only the agent listens on its ports.
func (h handler) agent() bool {
	port := intstr.IntOrString{}
	switch {
	case h.http != nil:
		port = h.http.Port
	case h.tcp != nil:
		port = h.tcp.Port
	case h.grpc != nil:
		port = intstr.FromInt32(h.grpc.Port)
	}
	return slices.Contains([]string{"15020", "15021"}, port.String())
}

// starts returns a pod's containers as the kubelet starts them: init containers
// one after the other, each when the one before has ended or, with restartPolicy
// Always, has passed its startupProbe; then the others, each when the postStart
// hook of the one before has returned.
func starts(p *corev1.Pod) []step {
	var out []step
	for i := range p.Spec.InitContainers {
		s := step{Container: &p.Spec.InitContainers[i], init: true}
		if native(s.Container) && s.StartupProbe != nil {
			s.waits = append(s.waits, handler{s.StartupProbe.HTTPGet, s.StartupProbe.TCPSocket, s.StartupProbe.GRPC})
		}
		out = append(out, s)
	}
	for i := range p.Spec.Containers {
		s := step{Container: &p.Spec.Containers[i]}
		if l := s.Lifecycle; l != nil && l.PostStart != nil {
			s.waits = append(s.waits, handler{http: l.PostStart.HTTPGet, tcp: l.PostStart.TCPSocket})
		}
		out = append(out, s)
	}
	return out
}

func native(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func checkStart(t *testing.T, where string, m mode, p admission) {
	t.Helper()
	order := starts(p.admitted)
	at := map[string]int{}
	var names []string
	for i, s := range order {
		at[s.Name] = i
		names = append(names, s.Name)
	}
	ours, envoy := at[contract.Container], at["istio-proxy"]
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s; order: %s", where, fmt.Sprintf(format, args...), strings.Join(names, ", "))
	}
	for i, s := range order {
		for _, w := range s.waits {
			if w.agent() && envoy > i {
				fail("%s waits for Istio's agent, which starts after it", s.Name)
			}
		}
		if !s.init && s.Name != contract.Container && s.Name != "istio-proxy" {
			if i < ours {
				fail("the application's %s starts before the sidecar", s.Name)
			}
			if (m.nativeEnvoy || m.hold) && i < envoy {
				fail("the application's %s starts before Envoy", s.Name)
			}
		}
	}
	if order[envoy].init && ours < envoy {
		fail("the sidecar starts before a native Envoy")
	}
	if m.hold && !order[envoy].init && !order[ours].init && ours < envoy {
		fail("the sidecar starts before an Envoy that holds the others back")
	}
	if redirect, ok := at["istio-init"]; ok && order[ours].init && redirect < ours && ours < envoy {
		fail("the sidecar starts when traffic is redirected to an Envoy that is not there")
	}
	if id := order[ours].SecurityContext.RunAsUser; id != nil && *id == contract.EnvoyUID {
		fail("the sidecar runs as Envoy's user")
	}
	if (p.kind == "Job" || p.kind == "CronJob") && !(order[ours].init && native(order[ours].Container)) {
		fail("the sidecar keeps the Job from ending")
	}
}

// checkUntouched checks that the injector left the sidecar alone, and did to the application's
// probes what it does without Tapedeck.
func checkUntouched(t *testing.T, where string, p, before admission) {
	t.Helper()
	if diff := cmp.Diff(container(p.sent, contract.Container), container(p.admitted, contract.Container)); diff != "" {
		t.Errorf("%s: the injector changed the sidecar (-sent +admitted):\n%s", where, diff)
	}
	if before.admitted == nil {
		return // the copy of a replay, which does not exist without Tapedeck
	}
	for _, c := range p.admitted.Spec.Containers {
		was := container(before.admitted, c.Name)
		if c.Name == contract.Container || c.Name == "istio-proxy" || was == nil {
			continue
		}
		for _, probes := range [][2]*corev1.Probe{{was.LivenessProbe, c.LivenessProbe}, {was.ReadinessProbe, c.ReadinessProbe}, {was.StartupProbe, c.StartupProbe}} {
			if diff := cmp.Diff(probes[0], probes[1]); diff != "" {
				t.Errorf("%s: a probe of %s (-without +with):\n%s", where, c.Name, diff)
			}
		}
	}
	const probers = "ISTIO_KUBE_APP_PROBERS"
	if diff := cmp.Diff(envoyEnv(&pod{Pod: before.admitted}, probers), envoyEnv(&pod{Pod: p.admitted}, probers)); diff != "" {
		t.Errorf("%s: what Istio's agent probes (-without +with):\n%s", where, diff)
	}
}

// TestProbesOfTheApplication shows the effect of the rewrite: the agent asks the
// application's own port, and ignores the sidecar's exec probes.
func TestProbesOfTheApplication(t *testing.T) {
	const manifest = `apiVersion: v1
kind: Pod
metadata:
  name: app
  labels: {app: app}
  annotations:
    sidecar.speedscale.com/inject: "true"
    sidecar.speedscale.com/proxy-type: reverse
    sidecar.speedscale.com/proxy-port: "8080"
spec:
  containers:
  - name: app
    image: registry.example/app:1
    ports: [{name: web, containerPort: 8080}]
    readinessProbe: {httpGet: {port: web, path: /ready}}
    livenessProbe: {tcpSocket: {port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  selector: {app: app}
  ports: [{name: http, port: 80, targetPort: web}]
`
	for _, inbound := range []string{"sidecar", "service"} {
		t.Run(inbound, func(t *testing.T) {
			cfg := transformer.DefaultConfig()
			if err := cfg.Set("inbound", inbound); err != nil {
				t.Fatal(err)
			}
			out, _ := render(t, manifest, cfg)
			p := podsOf(t, newInjector(t, true), out)["Pod/app"].admitted
			var probers map[string]any
			if err := json.Unmarshal([]byte(envoyEnv(&pod{Pod: p}, "ISTIO_KUBE_APP_PROBERS")), &probers); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{
				"/app-health/app/readyz": map[string]any{"httpGet": map[string]any{"path": "/ready", "port": 8080.0}, "timeoutSeconds": nil},
				"/app-health/app/livez":  map[string]any{"tcpSocket": map[string]any{"port": 8080.0}, "timeoutSeconds": nil},
			}
			for _, v := range probers {
				delete(v.(map[string]any), "timeoutSeconds")
				v.(map[string]any)["timeoutSeconds"] = nil
			}
			if diff := cmp.Diff(want, probers, cmp.FilterPath(func(path cmp.Path) bool {
				return strings.Contains(path.String(), "scheme")
			}, cmp.Ignore())); diff != "" {
				t.Errorf("what Istio's agent probes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestInjectedManifestsRenderTheSame passes every rendered manifest through
// istioctl kube-inject, and back through the renderer: nothing changes. Undoing
// the render gives the output of kube-inject for the input.
//
// There is one exception: the template for proxyless gRPC adds what gRPC needs to
// every container except its own, including a classic sidecar. Rendering again
// writes that container as it was before the injection. It opens no gRPC
// channels, so it does not need the additions.
func TestInjectedManifestsRenderTheSame(t *testing.T) {
	for _, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			in, proxyless := m.injector(t), 0
			for _, r := range injected(t, m.sidecar) {
				if strings.Contains(r.output, `"spelled":{`) {
					continue // kube-inject writes everything again, including aliases, so there is less to undo
				}
				if strings.Contains(r.output, contract.LabelReplay) {
					continue // the name of a replay depends on the pod template, which kube-inject changes
				}
				sent := in.file(t, r.output)
				again, _ := render(t, sent, r.cfg)
				exception := r.cfg.Sidecar == "classic" && strings.Contains(sent, "inject.istio.io/templates: grpc-agent")
				if exception {
					proxyless++
					ours := func(manifests string) *corev1.Container {
						return container(podsOf(t, in, manifests)["Deployment/app"].sent, contract.Container)
					}
					if diff := cmp.Diff(ours(r.output), ours(again)); diff != "" {
						t.Errorf("%s: the sidecar, rendered again (-before the injection +after):\n%s", r.name, diff)
					}
					added := ours(sent)
					added.Env = slices.DeleteFunc(added.Env, func(e corev1.EnvVar) bool { return strings.HasPrefix(e.Name, "GRPC_XDS_") })
					added.VolumeMounts = slices.DeleteFunc(added.VolumeMounts, func(m corev1.VolumeMount) bool {
						return slices.Contains([]string{"istio-data", "istio-xds", "workload-certs"}, m.Name)
					})
					if diff := cmp.Diff(ours(r.output), added); diff != "" {
						t.Errorf("%s: the template adds more to the sidecar than gRPC needs (-before +after):\n%s", r.name, diff)
					}
					sent, again = withoutOurs(t, sent), withoutOurs(t, again)
				}
				if diff := cmp.Diff(sent, again); diff != "" {
					t.Errorf("%s: rendering what was injected (-before +after):\n%s", r.name, diff)
				}
				if exception {
					continue // and annotations that remain say that the container is Istio's
				}
				if strings.Contains(r.input, contract.AnnotationUndo) || strings.Contains(r.input, contract.AnnotationFor) {
					continue // the input is already the output of a render
				}
				back, _, err := fn.Uninject([]fn.Source{{Text: []byte(in.file(t, r.output))}})
				if err != nil {
					t.Fatal(err)
				}
				want, got := objects(t, in.file(t, r.input)), objects(t, string(back))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: what uninject leaves (-injected input +uninjected):\n%s", r.name, diff)
				}
			}
			if m.sidecar == "classic" && proxyless == 0 {
				t.Error("no case is proxyless with a classic sidecar: take the exception out")
			}
		})
	}
}

// withoutOurs removes the sidecar from every pod.
func withoutOurs(t *testing.T, manifests string) string {
	t.Helper()
	var docs []string
	for _, o := range parse(t, manifests) {
		if m := template(o); m != nil {
			spec := m["spec"].(map[string]any)
			spec["containers"] = slices.DeleteFunc(list(spec, "containers"), func(c any) bool { return c.(map[string]any)["name"] == contract.Container })
			o.Object["template"] = m
			delete(o.Object, "spec")
		}
		text, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, string(text))
	}
	return strings.Join(docs, "\n")
}

// objects reads a stream for comparison. It removes what Istio noted about the pod's
// containers and about the ports that bypass Envoy, because that includes ours.
func objects(t *testing.T, manifests string) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, o := range parse(t, manifests) {
		if m := template(o); m != nil {
			for _, c := range append(list(m, "spec", "initContainers"), list(m, "spec", "containers")...) {
				c := c.(map[string]any)
				c["env"] = slices.DeleteFunc(list(c, "env"), func(e any) bool {
					name := e.(map[string]any)["name"]
					return name == "ISTIO_META_APP_CONTAINERS" || name == "ISTIO_META_POD_PORTS"
				})
				for i, arg := range list(c, "args") {
					list(c, "args")[i] = strings.NewReplacer(",4143", "", ",4144", "").Replace(fmt.Sprint(arg))
				}
			}
			metadata, _ := m["metadata"].(map[string]any)
			annotations, _ := metadata["annotations"].(map[string]any)
			for _, key := range []string{"kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"} {
				delete(annotations, key) // ours were written before Istio's
			}
			o.Object["template"] = m
			delete(o.Object, "spec")
		}
		out[o.GetKind()+"/"+o.GetNamespace()+"/"+o.GetName()] = withoutEmpty(o.Object)
	}
	return out
}

func list(m map[string]any, path ...string) []any {
	l, _, _ := unstructured.NestedFieldNoCopy(m, path...)
	out, _ := l.([]any)
	return out
}

// withoutEmpty removes empty values, some of which a typed printer writes.
func withoutEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if v[k] = withoutEmpty(child); v[k] == nil {
				delete(v, k)
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = withoutEmpty(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	}
	return v
}
