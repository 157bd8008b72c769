package istio

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/transformer"
)

// network decides who reaches whom, like a network plugin, by the rules of
// https://kubernetes.io/docs/concepts/services-networking/network-policies/.
type network struct {
	pods       []*pod
	policies   []*networkingv1.NetworkPolicy
	namespaces map[string]map[string]string // their labels
}

func newNetwork(c *cluster) *network {
	n := &network{pods: c.pods, namespaces: map[string]map[string]string{}}
	for _, p := range c.pods {
		n.namespaces[p.Namespace] = map[string]string{}
	}
	for _, o := range c.objects {
		switch o := o.(type) {
		case *networkingv1.NetworkPolicy:
			n.policies = append(n.policies, o)
		case *corev1.Namespace:
			n.namespaces[o.Name] = o.Labels
		}
	}
	for name, of := range n.namespaces {
		labels := map[string]string{"kubernetes.io/metadata.name": name} // Kubernetes gives it to every namespace
		for k, v := range of {
			labels[k] = v
		}
		n.namespaces[name] = labels
	}
	return n
}

// peer is one end of a connection: a pod, or an address outside the cluster.
type peer struct {
	*pod
	address netip.Addr
}

func (p peer) String() string {
	if p.pod != nil {
		return p.Namespace + "/" + p.Name
	}
	return p.address.String()
}

// reaches reports whether one peer may open a connection to a pod's port.
func (n *network) reaches(t *testing.T, from peer, to *pod, port int) bool {
	t.Helper()
	return n.allows(t, networkingv1.PolicyTypeIngress, peer{to, netip.MustParseAddr(to.ip)}, from, to, port) &&
		(from.pod == nil || n.allows(t, networkingv1.PolicyTypeEgress, from, peer{to, netip.MustParseAddr(to.ip)}, to, port))
}

// allows reports whether the policies of one end let the other end pass. All do if no policy
// selects that end for the direction.
func (n *network) allows(t *testing.T, direction networkingv1.PolicyType, of, other peer, to *pod, port int) bool {
	t.Helper()
	isolated := false
	for _, p := range n.policies {
		types := p.Spec.PolicyTypes
		if len(types) == 0 { // fill it in like the API server
			types = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
			if len(p.Spec.Egress) > 0 {
				types = append(types, networkingv1.PolicyTypeEgress)
			}
		}
		if p.Namespace != of.Namespace || !slices.Contains(types, direction) || !matches(t, &p.Spec.PodSelector, of.Labels) {
			continue
		}
		isolated = true
		if direction == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				if n.amongPeers(t, p, r.From, other) && amongPorts(r.Ports, to, port) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			if n.amongPeers(t, p, r.To, other) && amongPorts(r.Ports, to, port) {
				return true
			}
		}
	}
	return !isolated
}

func (n *network) amongPeers(t *testing.T, policy *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, other peer) bool {
	t.Helper()
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		switch {
		case p.IPBlock != nil:
			return netip.MustParsePrefix(p.IPBlock.CIDR).Contains(other.address) && !slices.ContainsFunc(p.IPBlock.Except, func(cidr string) bool {
				return netip.MustParsePrefix(cidr).Contains(other.address)
			})
		case other.pod == nil:
			return false
		case p.NamespaceSelector == nil && other.Namespace != policy.Namespace:
			return false
		case p.NamespaceSelector != nil && !matches(t, p.NamespaceSelector, n.namespaces[other.Namespace]):
			return false
		}
		return p.PodSelector == nil || matches(t, p.PodSelector, other.Labels)
	})
}

// amongPorts reports whether a rule has the called port of the pod: by number, in a range, or by
// its name in a container.
func amongPorts(ports []networkingv1.NetworkPolicyPort, to *pod, port int) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		switch {
		case p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP:
			return false
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			return slices.ContainsFunc(to.Spec.Containers, func(c corev1.Container) bool {
				return slices.ContainsFunc(c.Ports, func(cp corev1.ContainerPort) bool { return cp.Name == p.Port.StrVal && int(cp.ContainerPort) == port })
			})
		case p.EndPort != nil:
			return int(p.Port.IntVal) <= port && port <= int(*p.EndPort)
		}
		return int(p.Port.IntVal) == port
	})
}

// callers returns every pod, and addresses inside and outside of every block.
func (n *network) callers() []peer {
	var out []peer
	for _, p := range n.pods {
		out = append(out, peer{p, netip.MustParseAddr(p.ip)})
	}
	addresses := map[netip.Addr]bool{netip.MustParseAddr("203.0.113.200"): true}
	add := func(peers []networkingv1.NetworkPolicyPeer) {
		for _, p := range peers {
			if p.IPBlock == nil {
				continue
			}
			for _, cidr := range append([]string{p.IPBlock.CIDR}, p.IPBlock.Except...) {
				addresses[netip.MustParsePrefix(cidr).Addr().Next()] = true
			}
		}
	}
	for _, p := range n.policies {
		for _, r := range p.Spec.Ingress {
			add(r.From)
		}
	}
	for a := range addresses {
		out = append(out, peer{nil, a})
	}
	return out
}

// listens returns the ports on which something listens in a pod, each with the
// port at which it was reached without Tapedeck.
func (n *network) listens(t *testing.T, c *cluster, p *pod) map[int]int {
	t.Helper()
	ports := map[int]int{}
	for _, s := range c.services {
		for _, sp := range s.Spec.Ports {
			if port := int(p.port(sp)); port != 0 && slices.Contains(c.behind(s), p) {
				ports[port] = port
			}
		}
	}
	for _, of := range p.Spec.Containers {
		for _, cp := range of.Ports {
			ports[int(cp.ContainerPort)] = int(cp.ContainerPort)
		}
	}
	if ours := container(p.Pod, contract.Container); ours != nil {
		for _, cp := range ours.Ports {
			delete(ports, int(cp.ContainerPort))
		}
		for _, r := range routes(t, p) {
			ports[r.App] = r.App
			if env(ours, contract.EnvProxyInAddress) == "all" {
				ports[r.In] = r.App
			}
		}
	}
	return ports
}

// changes lists the callers that reach an application only with Tapedeck, through the sidecar or
// not, and those that reach it only without.
func changes(t *testing.T, before, after *cluster) (gained, lost []string) {
	t.Helper()
	was, is := newNetwork(before), newNetwork(after)
	for _, to := range after.pods {
		for port, former := range is.listens(t, after, to) {
			for _, from := range is.callers() {
				then := from
				if from.pod != nil {
					then.pod = before.pod(t, from.Name)
				}
				could, can := was.reaches(t, then, before.pod(t, to.Name), former), is.reaches(t, from, to, port)
				text := fmt.Sprintf("%s -> %s:%d", from, to.Name, port)
				switch {
				case can && !could:
					gained = append(gained, text)
				case could && !can:
					lost = append(lost, text)
				}
			}
		}
	}
	return gained, lost
}

// TestNetworkPoliciesHold checks, in every case with NetworkPolicies, who reaches which port.
// Those who reached the application reach the sidecar if the Service leads there, nobody else does,
// and nothing else changes. The report says so if, and only if, that is impossible.
func TestNetworkPoliciesHold(t *testing.T) {
	in, compared := newInjector(t, true), 0
	for _, r := range everything(t, "native") {
		rest := "\n---\n" + r.cluster
		if !strings.Contains(r.input+rest, "kind: NetworkPolicy") {
			continue
		}
		before, after := newCluster(t, in, r.input+rest, "", nil), newCluster(t, in, r.output+rest, "", nil)
		t.Run(r.name, func(t *testing.T) {
			compared++
			gained, lost := changes(t, before, after)
			// A policy that also selects hook Pods and CronJobs opens the sidecar's
			// port on them, too. They never serve, so nobody listens there.
			gained = slices.DeleteFunc(gained, func(call string) bool {
				return r.name == "inbound-service-not-serving" && (strings.HasSuffix(call, "-> app-test:4143") || strings.HasSuffix(call, "-> report:4143"))
			})
			for _, c := range []struct {
				what  string
				who   []string
				named bool
			}{
				{"gained", gained, r.says(transformer.CodePortExposed)},
				{"lost", lost, r.says(transformer.CodePortNotFollowed)},
			} {
				if len(c.who) > 0 && !c.named {
					t.Errorf("%s: %v", c.what, c.who)
				}
				if r.name != "inbound-service-policies" && len(c.who) == 0 && c.named {
					t.Errorf("the report says that somebody has %s, but nobody has", c.what)
				}
			}
			if r.cfg.Inbound != "service" {
				return
			}
			// As they were, the policies keep callers from the sidecar.
			stale := newCluster(t, in, r.output+rest, "", nil)
			stale.objects = slices.DeleteFunc(stale.objects, isNetworkPolicy)
			for _, o := range before.objects {
				if isNetworkPolicy(o) {
					stale.objects = append(stale.objects, o)
				}
			}
			if gained, lost := changes(t, before, stale); len(lost) == 0 && len(gained) == 0 {
				t.Error("nothing would change if no policy followed: the case proves nothing")
			}
		})
	}
	if compared < 5 {
		t.Errorf("only %d cases have NetworkPolicies", compared)
	}
}

func isNetworkPolicy(o runtime.Object) bool { _, ok := o.(*networkingv1.NetworkPolicy); return ok }

// TestNetwork checks the evaluator against the rules that Kubernetes documents.
func TestNetwork(t *testing.T) {
	in := newInjector(t, true)
	const pods = `apiVersion: v1
kind: Pod
metadata: {name: db, labels: {role: db}}
spec:
  containers:
  - {name: db, image: db, ports: [{name: sql, containerPort: 6379}]}
---
apiVersion: v1
kind: Pod
metadata: {name: front, labels: {role: frontend}}
spec:
  containers: [{name: front, image: front}]
---
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {project: mine}}
---
apiVersion: v1
kind: Pod
metadata: {name: guest, namespace: other, labels: {role: frontend}}
spec:
  containers: [{name: guest, image: guest}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec:
  podSelector: {matchLabels: {role: db}}
`
	for _, c := range []struct {
		name, policy           string
		front, guest, far, sql bool // who reaches 6379, and front 7000
	}{
		{"no ingress rule lets nobody in", "  policyTypes: [Ingress]\n", false, false, false, false},
		{"no policy for ingress lets all in", "  policyTypes: [Egress]\n", true, true, true, true},
		{"an empty rule lets all in", "  ingress: [{}]\n", true, true, true, true},
		{"a pod selector alone is of the policy's namespace", "  ingress: [{from: [{podSelector: {matchLabels: {role: frontend}}}]}]\n", true, false, false, true},
		{"a namespace selector", "  ingress: [{from: [{namespaceSelector: {matchLabels: {project: mine}}}]}]\n", false, true, false, false},
		{"both selectors of one peer have to match", "  ingress: [{from: [{namespaceSelector: {matchLabels: {project: mine}}, podSelector: {matchLabels: {role: none}}}]}]\n", false, false, false, false},
		{"two peers are an or", "  ingress: [{from: [{namespaceSelector: {matchLabels: {project: mine}}}, {podSelector: {}}]}]\n", true, true, false, true},
		{"a block without an exception", "  ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]\n", false, false, true, false},
		{"a block with an exception", "  ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}]}]\n", false, false, false, false},
		{"a port by name", "  ingress: [{from: [{podSelector: {}}], ports: [{port: sql}]}]\n", true, false, false, false},
		{"a port of another protocol", "  ingress: [{from: [{podSelector: {}}], ports: [{protocol: UDP, port: 6379}]}]\n", false, false, false, false},
		{"a range of ports", "  ingress: [{from: [{podSelector: {}}], ports: [{port: 6000, endPort: 7000}]}]\n", true, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newCluster(t, in, pods+c.policy, "", nil)
			n, db := newNetwork(k), k.pod(t, "db")
			at := func(name string) peer { return peer{k.pod(t, name), netip.MustParseAddr(k.pod(t, name).ip)} }
			got := []bool{n.reaches(t, at("front"), db, 6379), n.reaches(t, at("guest"), db, 6379), n.reaches(t, peer{nil, netip.MustParseAddr("203.0.113.200")}, db, 6379), n.reaches(t, at("front"), db, 7000)}
			if want := []bool{c.front, c.guest, c.far, c.sql}; !slices.Equal(got, want) {
				t.Errorf("front, guest and far at 6379, front at 7000: got %v, want %v", got, want)
			}
		})
	}
}
