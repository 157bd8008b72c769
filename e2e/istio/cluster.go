package istio

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	kubelib "istio.io/istio/pkg/kube"

	"github.com/tapedeck/tapedeck/contract"
)

// cluster is what Kubernetes makes of manifests: every workload has its pods,
// and every Service has the addresses of the pods that it selects.
type cluster struct {
	pods     []*pod
	services []*corev1.Service
	objects  []runtime.Object // all objects of Kubernetes' own kinds
	istio    string           // all objects of Istio's kinds, as one stream
	names    map[string]string
	at       addresses
}

// addresses are the addresses of pods, by the workload's name. A pod that is not
// listed gets a unique one.
type addresses map[string][]string

// pod is one pod, and the address that it has with and without the sidecar.
type pod struct {
	*corev1.Pod
	ip string
}

// previous marks the pods of the revision before the render, in a rollout.
const previous = "@previous"

// newCluster applies manifests. If there is a former revision, its pods run too.
func newCluster(t *testing.T, in *injector, manifests, former string, at addresses) *cluster {
	t.Helper()
	c := &cluster{names: map[string]string{}, at: at}
	objects := parse(t, manifests)
	namespaces := map[string]*corev1.Namespace{}
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			namespaces[o.GetName()] = convert[corev1.Namespace](t, o.Object)
		}
	}
	for _, o := range objects {
		if ns := o.GetNamespace(); ns != "" && namespaces[ns] == nil {
			namespaces[ns] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: map[string]string{"istio-injection": "enabled"}}}
			c.objects = append(c.objects, namespaces[ns])
		}
	}
	var istio []string
	for _, o := range objects {
		switch {
		case strings.HasSuffix(o.GroupVersionKind().Group, "istio.io"):
			// Objects that were there before the render are older, and Istio prefers older ones.
			created := time.Unix(1000, 0)
			if o.GetAnnotations()[contract.AnnotationFor] != "" {
				created = time.Unix(2000, 0)
			}
			o.SetCreationTimestamp(metav1.NewTime(created.UTC()))
			text, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			istio = append(istio, string(text))
		case o.GetKind() == "Service":
			s := convert[corev1.Service](t, o.Object)
			if s.Spec.ClusterIP == "" && s.Spec.Type != corev1.ServiceTypeExternalName {
				s.Spec.ClusterIP = fmt.Sprintf("10.96.0.%d", len(c.services)+1)
			}
			for i := range s.Spec.Ports { // fill them in like the API server
				port := &s.Spec.Ports[i]
				if port.Protocol == "" {
					port.Protocol = corev1.ProtocolTCP
				}
				if port.TargetPort == (intstr.IntOrString{}) {
					port.TargetPort = intstr.FromInt32(port.Port)
				}
			}
			c.services = append(c.services, s)
			c.objects = append(c.objects, s)
		case template(o) == nil:
			c.addObject(t, o)
		}
	}
	c.istio = strings.Join(istio, "---\n")
	c.addPods(t, in, namespaces, objects, "")
	if former != "" {
		c.addPods(t, in, namespaces, parse(t, former), previous)
	}
	for _, s := range c.services {
		c.addEndpoints(s)
	}
	return c
}

func (c *cluster) addObject(t *testing.T, o *unstructured.Unstructured) {
	text, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	typed, _, err := kubelib.IstioCodec.UniversalDeserializer().Decode(text, nil, nil)
	if runtime.IsNotRegisteredError(err) || o.GetKind() == "" {
		return // not of a kind that concerns Istio, or not an object
	}
	if err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	c.objects = append(c.objects, typed)
}

// template returns the pod template of a workload, or nil.
func template(o *unstructured.Unstructured) map[string]any {
	path := map[string][]string{"Pod": {}, "CronJob": {"spec", "jobTemplate", "spec", "template"}}[o.GetKind()]
	if path == nil {
		path = []string{"spec", "template"}
	}
	m, _, _ := unstructured.NestedMap(o.Object, path...)
	if _, ok := m["spec"]; !ok {
		return nil
	}
	return m
}

// addPods runs one pod of every workload, and two of a StatefulSet, as the
// injecting webhook would let them in.
func (c *cluster) addPods(t *testing.T, in *injector, namespaces map[string]*corev1.Namespace, objects []*unstructured.Unstructured, revision string) {
	t.Helper()
	for _, o := range objects {
		m := template(o)
		if m == nil {
			continue
		}
		names := []string{o.GetName()}
		if o.GetKind() == "StatefulSet" {
			names = []string{o.GetName() + "-0", o.GetName() + "-1"}
		}
		for _, name := range names {
			p := convert[corev1.Pod](t, m)
			p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
			p.Namespace = o.GetNamespace()
			p.Name = name
			if o.GetKind() == "StatefulSet" {
				p.Spec.Hostname, p.Spec.Subdomain = name, nested(o, "spec", "serviceName")
			}
			p = in.admit(t, namespaces[p.Namespace], p)
			p.Name = strings.ReplaceAll(name+revision, "@", "-at-")
			ip := fmt.Sprintf("10.0.0.%d", len(c.pods)+1)
			if p.Spec.HostNetwork {
				ip = fmt.Sprintf("192.168.0.%d", len(c.pods)+1)
			}
			ips := c.at[p.Name]
			if ips == nil {
				ips = []string{ip}
			}
			p.Status = corev1.PodStatus{
				Phase: corev1.PodRunning, PodIP: ips[0],
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			}
			for _, ip := range ips {
				p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
				c.names[ip] = name + revision
			}
			c.pods = append(c.pods, &pod{p, ips[0]})
			c.objects = append(c.objects, p)
		}
	}
}

func nested(o *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}

// addEndpoints writes the EndpointSlices of a Service: one for each address of
// a pod, since two pods may have different numbers for the same port name.
func (c *cluster) addEndpoints(s *corev1.Service) {
	for _, p := range c.behind(s) {
		ready, name := true, p.Spec.Hostname
		var ports []discoveryv1.EndpointPort
		for _, port := range s.Spec.Ports {
			if n := p.port(port); n != 0 {
				ports = append(ports, discoveryv1.EndpointPort{Name: &port.Name, Port: &n, Protocol: &port.Protocol, AppProtocol: port.AppProtocol})
			}
		}
		if ports == nil {
			continue
		}
		for i, ip := range p.addresses() {
			slice := &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Name: fmt.Sprintf("%s-%s-%d", s.Name, p.Name, i), Namespace: s.Namespace,
					Labels: map[string]string{discoveryv1.LabelServiceName: s.Name},
				},
				AddressType: family(ip),
				Endpoints: []discoveryv1.Endpoint{{
					Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
					TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p.Name, Namespace: p.Namespace},
				}},
				Ports: ports,
			}
			if name != "" {
				slice.Endpoints[0].Hostname = &name
			}
			c.objects = append(c.objects, slice)
		}
	}
}

// addresses returns all addresses of a pod.
func (p *pod) addresses() (out []string) {
	for _, ip := range p.Status.PodIPs {
		out = append(out, ip.IP)
	}
	return out
}

func family(ip string) discoveryv1.AddressType {
	if strings.Contains(ip, ":") {
		return discoveryv1.AddressTypeIPv6
	}
	return discoveryv1.AddressTypeIPv4
}

// port resolves a Service's port to the pod's; 0 if its name is unknown.
func (p *pod) port(port corev1.ServicePort) int32 {
	if port.TargetPort.Type == intstr.Int {
		return port.TargetPort.IntVal
	}
	for _, c := range p.Spec.Containers {
		for _, cp := range c.Ports {
			if cp.Name == port.TargetPort.StrVal {
				return cp.ContainerPort
			}
		}
	}
	return 0
}

func subset(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// pod returns a pod by its workload's name.
func (c *cluster) pod(t *testing.T, name string) *pod {
	t.Helper()
	name = strings.ReplaceAll(name, "@", "-at-")
	i := slices.IndexFunc(c.pods, func(p *pod) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("no pod is named %s", name)
	}
	return c.pods[i]
}

// resolve returns the address of a name in the cluster: that of a Service, of a
// pod of a headless Service, or of a pod.
func (c *cluster) resolve(host string) string {
	for _, s := range c.services {
		for _, suffix := range []string{"", "." + s.Namespace, "." + s.Namespace + ".svc.cluster.local"} {
			name := s.Name + suffix
			if host == name && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone {
				return s.Spec.ClusterIP
			}
			for _, p := range c.behind(s) {
				if host == p.Spec.Hostname+"."+name || host == name && s.Spec.ClusterIP == corev1.ClusterIPNone {
					return p.ip
				}
			}
		}
	}
	for _, p := range c.pods {
		if host == p.Name {
			return p.ip
		}
	}
	return "203.0.113.9" // a public address
}

// behind returns the pods that a Service selects.
func (c *cluster) behind(s *corev1.Service) []*pod {
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var out []*pod
	for _, p := range c.pods {
		if p.Namespace == s.Namespace && subset(s.Spec.Selector, p.Labels) {
			out = append(out, p)
		}
	}
	return out
}

// translate does what kube-proxy does with an address and a port.
func (c *cluster) translate(address string, port int) []Landing {
	for _, s := range c.services {
		if s.Spec.ClusterIP != address {
			continue
		}
		var out []Landing
		for _, p := range c.behind(s) {
			for _, sp := range s.Spec.Ports {
				if int(sp.Port) == port {
					out = append(out, Landing{Address: p.ip, Port: int(p.port(sp))})
				}
			}
		}
		return out
	}
	return []Landing{{Address: address, Port: port}}
}

// parse reads a stream of objects. Objects without a namespace are in default.
func parse(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, doc := range strings.Split("\n"+manifests, "\n---") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatalf("read %s: %v", doc, err)
		}
		if len(o.Object) == 0 {
			continue
		}
		for _, o := range itemsOf(o) {
			if o.GetNamespace() == "" && o.GetKind() != "Namespace" && o.GetKind() != "GatewayClass" {
				o.SetNamespace("default")
			}
			out = append(out, o)
		}
	}
	return out
}

// itemsOf returns the objects of a ResourceList, and anything else unchanged.
func itemsOf(o *unstructured.Unstructured) []*unstructured.Unstructured {
	if o.GetKind() != "ResourceList" {
		return []*unstructured.Unstructured{o}
	}
	var out []*unstructured.Unstructured
	items, _, _ := unstructured.NestedSlice(o.Object, "items")
	for _, item := range items {
		out = append(out, &unstructured.Unstructured{Object: item.(map[string]any)})
	}
	return out
}

func convert[T any](t *testing.T, m map[string]any) *T {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("read %s: %v", text, err)
	}
	return out
}
