package istio

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"istio.io/api/annotation"
	cni "istio.io/istio/cni/pkg/util"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"
)

// In an ambient mesh, a ztunnel on each node passes the traffic of pods. It gets its
// configuration from istiod's ambient index, over the workload API, and nothing of
// Envoy's configuration:
//
//	Service's address and port ──▶ workloads, target ports, a waypoint ──HBONE──▶ the pod's ztunnel: authorizations ──▶ pod

// ambientLabels selects the pods that Istio's CNI agent takes into the mesh, by
// the defaults of its chart.
var ambientLabels = []cni.EnablementSelector{
	{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"istio.io/dataplane-mode": "ambient"}}},
	{
		PodSelector:       metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "istio.io/dataplane-mode", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"none"}}}},
		NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"istio.io/dataplane-mode": "ambient"}},
	},
}

// enroll puts pods into the ambient mesh, like Istio's CNI agent. If there are any, it switches the
// control plane to ambient mode.
func (c *cluster) enroll(t *testing.T) {
	t.Helper()
	selectors, err := cni.NewCompiledEnablementSelectors(ambientLabels)
	if err != nil {
		t.Fatal(err)
	}
	namespaces, any := map[string]map[string]string{}, false
	for _, o := range c.objects {
		if ns, ok := o.(*corev1.Namespace); ok {
			namespaces[ns.Name] = ns.Labels
		}
	}
	for _, p := range c.pods {
		if selectors.Matches(p.Pod, namespaces[p.Namespace]) {
			metav1.SetMetaDataAnnotation(&p.ObjectMeta, annotation.AmbientRedirection.Name, constants.AmbientRedirectionEnabled)
			any = true
		}
	}
	if !any {
		return
	}
	for _, f := range []*bool{&features.EnableAmbient, &features.EnableAmbientWaypoints, &features.EnableHBONESend, &features.EnableSidecarHBONEListening} {
		test.SetForTest(t, f, true)
	}
	for _, o := range parse(t, c.istio) { // the index reads these from Kubernetes
		if o.GroupVersionKind().Group == "security.istio.io" && o.GetKind() != "RequestAuthentication" {
			c.addObject(t, o)
		}
	}
}

// ambient reports whether ztunnel passes the pod's traffic.
func (p *pod) ambient() bool { return cni.PodFullyEnrolled(p.Pod) }

// ztunnel is the configuration that istiod sends to ztunnel.
type ztunnel struct {
	services  []*workloadapi.Service
	workloads []*workloadapi.Workload
	policies  map[string]*security.Authorization // by namespace/name
}

func (c *control) ztunnel(t *testing.T) *ztunnel {
	t.Helper()
	z := &ztunnel{policies: map[string]*security.Authorization{}}
	all, _ := c.server.AmbientIndex.AddressInformation(nil)
	for _, a := range all {
		if s := a.GetService(); s != nil {
			z.services = append(z.services, s)
		} else if w := a.GetWorkload(); w != nil {
			z.workloads = append(z.workloads, w)
		}
	}
	for _, p := range c.server.AmbientIndex.Policies(nil) {
		z.policies[p.Authorization.Namespace+"/"+p.Authorization.Name] = p.Authorization
	}
	return z
}

func address(of []byte) string {
	a, _ := netip.AddrFromSlice(of)
	return a.String()
}

func (z *ztunnel) workload(ip string) *workloadapi.Workload {
	for _, w := range z.workloads {
		if slices.ContainsFunc(w.Addresses, func(a []byte) bool { return address(a) == ip }) {
			return w
		}
	}
	return nil
}

// land returns the workloads that a call of an address and port reaches.
func (z *ztunnel) land(c *control, ip string, port int) []Landing {
	var out []Landing
	for _, s := range z.services {
		if !slices.ContainsFunc(s.Addresses, func(a *workloadapi.NetworkAddress) bool { return address(a.Address) == ip }) {
			continue
		}
		for _, w := range z.workloads {
			for _, p := range w.Services[s.Namespace+"/"+s.Hostname].GetPorts() {
				if int(p.ServicePort) == port {
					to := s.Hostname
					if s.Waypoint != nil {
						to += " through its waypoint"
					}
					out = append(out, z.landing(c, to, w, int(p.TargetPort)))
				}
			}
		}
		return out
	}
	if w := z.workload(ip); w != nil {
		return []Landing{z.landing(c, "workload", w, port)}
	}
	return []Landing{{Cluster: "ztunnel passes it through", Address: ip, Port: port, name: c.names[ip]}}
}

func (z *ztunnel) landing(c *control, to string, w *workloadapi.Workload, port int) Landing {
	how := "in plaintext"
	if w.TunnelProtocol == workloadapi.TunnelProtocol_HBONE {
		how = "by HBONE"
	}
	ip := address(w.Addresses[0])
	return Landing{Cluster: "ztunnel " + how + " to " + to, Address: ip, Port: port, name: c.names[ip]}
}

// enforces returns the authorizations that ztunnel checks for a port of a pod, in the same words
// as for Envoy.
func (z *ztunnel) enforces(ip string, port int) string {
	w := z.workload(ip)
	var names []string
	for key, p := range z.policies {
		applies := slices.Contains(w.AuthorizationPolicies, key) || p.Scope == security.Scope_NAMESPACE && p.Namespace == w.Namespace || p.Scope == security.Scope_GLOBAL
		if applies && concerns(p, uint32(port)) {
			names = append(names, fmt.Sprintf("%s %s", p.Action, p.Name))
		}
	}
	sort.Strings(names)
	return strings.Join(append([]string{"ztunnel"}, names...), ", ")
}

// concerns reports whether an authorization can match a call of a port: one of its groups does,
// all of a group's rules do, and one of a rule's matches does.
func concerns(p *security.Authorization, port uint32) bool {
	return slices.ContainsFunc(p.Groups, func(g *security.Group) bool {
		return !slices.ContainsFunc(g.Rules, func(r *security.Rules) bool {
			return !slices.ContainsFunc(r.Matches, func(m *security.Match) bool {
				return (len(m.DestinationPorts) == 0 || slices.Contains(m.DestinationPorts, port)) && !slices.Contains(m.NotDestinationPorts, port)
			})
		})
	})
}

// TestAmbientIgnoresSidecars checks that a Sidecar does not change where the Service leads, in
// what istiod sends to ztunnel.
func TestAmbientIgnoresSidecars(t *testing.T) {
	_, with := readCase(t, "testdata/cannot-ambient-unseen.txtar").judge(t)
	if !strings.Contains(with.istio, "kind: Sidecar") {
		t.Fatal("no Sidecar was written, so nothing is proven")
	}
	z, app := with.ztunnel(t), with.pod(t, "app")
	ports := z.workload(app.ip).Services["shop/app.shop.svc.cluster.local"].GetPorts()
	if len(ports) != 1 || ports[0].TargetPort != application {
		t.Errorf("the Service leads to %v", ports)
	}
}

// TestWaypoint checks that the Envoy of a waypoint sends calls of the Service to the sidecar if the
// Service leads there, and to the application if there is only a Sidecar.
func TestWaypoint(t *testing.T) {
	for file, want := range map[string]int{"service-route-ambient-waypoint": 4143, "cannot-ambient-waypoint-unseen": application} {
		t.Run(file, func(t *testing.T) {
			_, with := readCase(t, "testdata/"+file+".txtar").judge(t)
			p := with.pod(t, "waypoint")
			proxy := with.server.SetupProxy(&model.Proxy{
				ID: p.Name + "." + p.Namespace, Type: model.Waypoint, IPAddresses: []string{p.ip}, ConfigNamespace: p.Namespace, Labels: p.Labels,
				Metadata: &model.NodeMetadata{Namespace: p.Namespace, Labels: p.Labels, IstioVersion: istioVersion, ClusterID: "Kubernetes"},
			})
			var got []string
			for _, cla := range with.server.Endpoints(proxy) {
				if !strings.HasPrefix(cla.ClusterName, "inbound-vip|80|") || !strings.HasSuffix(cla.ClusterName, "|app.shop.svc.cluster.local") {
					continue
				}
				for _, locality := range cla.Endpoints {
					for _, e := range locality.LbEndpoints {
						got = append(got, fmt.Sprint(e.GetMetadata().GetFilterMetadata()["envoy.filters.listener.original_dst"], e.GetEndpoint().GetAddress()))
					}
				}
			}
			if text := strings.Join(got, "\n"); len(got) == 0 || !strings.Contains(text, fmt.Sprintf("%s:%d", with.pod(t, "app").ip, want)) {
				t.Errorf("the waypoint sends calls to %q, not to port %d", text, want)
			}
		})
	}
}
