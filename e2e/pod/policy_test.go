package pod

import (
	"cmp"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// endpoint is a pod as the network knows it.
type endpoint struct {
	namespace string
	labels    map[string]string
	ip        string
	ports     map[string]int32 // by name
}

// endpointOf returns the pod of a template at an address.
func endpointOf(namespace, ip string, template corev1.PodTemplateSpec) endpoint {
	e := endpoint{namespace, template.Labels, ip, map[string]int32{}}
	for _, c := range slices.Concat(template.Spec.InitContainers, template.Spec.Containers) {
		for _, p := range c.Ports {
			e.ports[p.Name] = p.ContainerPort
		}
	}
	return e
}

// firewall enforces NetworkPolicies on the node, like a network plugin, by the rules
// of https://kubernetes.io/docs/concepts/services-networking/network-policies/:
//
//	FORWARD ─▶ POD-egress ─▶ POD-ingress     of the pods that a policy selects
//	               │ a rule allows it: the packet is marked
//	               ▼ no mark
//	             REJECT
//
// Answers pass. It rejects packets that a plugin would drop, so that tests need not wait.
type firewall struct {
	t          *testing.T
	pods       []endpoint
	namespaces map[string]map[string]string // labels beside the name
	chains     strings.Builder              // the declared chains, for iptables-restore
	rules      strings.Builder
}

// enforce puts the policies into effect, and replaces earlier ones.
func (n *network) enforce(t *testing.T, policies []networkingv1.NetworkPolicy, pods []endpoint, namespaces map[string]map[string]string) {
	t.Helper()
	f := &firewall{t: t, pods: pods, namespaces: namespaces}
	f.rule("FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
	for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress} {
		for _, pod := range pods {
			f.isolate(direction, pod, policies)
		}
	}
	cmd := exec.Command("ip", "netns", "exec", string(n.node), "iptables-restore")
	cmd.Stdin = strings.NewReader("*filter\n:FORWARD ACCEPT [0:0]\n" + f.chains.String() + f.rules.String() + "COMMIT\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("iptables-restore: %v\n%s\n%s", err, out, f.rules.String())
	}
}

func (f *firewall) rule(format string, args ...any) {
	fmt.Fprintf(&f.rules, "-A "+format+"\n", args...)
}

// chain declares a chain and returns its name.
func (f *firewall) chain() string {
	name := fmt.Sprintf("policy-%d", strings.Count(f.chains.String(), "\n"))
	fmt.Fprintf(&f.chains, ":%s - [0:0]\n", name)
	return name
}

// isolate lets pass, in one direction, what policies that select the pod allow. If none selects
// it, everything passes.
func (f *firewall) isolate(direction networkingv1.PolicyType, pod endpoint, policies []networkingv1.NetworkPolicy) {
	own, other := "-s", "-d"
	if direction == networkingv1.PolicyTypeIngress {
		own, other = other, own
	}
	chain := ""
	for _, p := range policies {
		if p.Namespace != pod.namespace || !slices.Contains(typesOf(p), direction) || !f.matches(&p.Spec.PodSelector, pod.labels) {
			continue
		}
		if chain == "" {
			chain = f.chain()
			f.rule("FORWARD %s %s -j %s", own, pod.ip, chain)
			f.rule("%s -j MARK --set-mark 0", chain)
		}
		if direction == networkingv1.PolicyTypeEgress {
			for _, r := range p.Spec.Egress {
				f.allow(chain, other, p.Namespace, r.To, r.Ports, nil)
			}
			continue
		}
		for _, r := range p.Spec.Ingress {
			f.allow(chain, other, p.Namespace, r.From, r.Ports, &pod)
		}
	}
	if chain != "" {
		f.rule("%s -m mark ! --mark 1 -j REJECT --reject-with icmp-admin-prohibited", chain)
	}
}

// typesOf returns the directions of a policy, which the API server fills in.
func typesOf(p networkingv1.NetworkPolicy) []networkingv1.PolicyType {
	types := p.Spec.PolicyTypes
	if len(types) == 0 {
		types = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(p.Spec.Egress) > 0 {
			types = append(types, networkingv1.PolicyTypeEgress)
		}
	}
	return types
}

// allow marks what one rule lets pass. Ports are those of to, or of each peer if to is nil.
func (f *firewall) allow(chain, side, namespace string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, to *endpoint) {
	if len(peers) == 0 {
		f.mark(chain, "", ports, cmp.Or(to, &endpoint{}))
	}
	for _, peer := range peers {
		if block := peer.IPBlock; block != nil {
			if isIPv6(block.CIDR) {
				continue // nobody has such an address here
			}
			within := f.chain()
			f.rule("%s %s %s -j %s", chain, side, block.CIDR, within)
			for _, cidr := range block.Except {
				f.rule("%s %s %s -j RETURN", within, side, cidr)
			}
			f.mark(within, "", ports, cmp.Or(to, &endpoint{}))
			continue
		}
		for _, pod := range f.pods {
			inside := pod.namespace == namespace
			if peer.NamespaceSelector != nil {
				inside = f.matches(peer.NamespaceSelector, f.labelsOf(pod.namespace))
			}
			if inside && (peer.PodSelector == nil || f.matches(peer.PodSelector, pod.labels)) {
				f.mark(chain, side+" "+pod.ip, ports, cmp.Or(to, &pod))
			}
		}
	}
}

// mark marks the ports of a pod, or all of them without a list.
func (f *firewall) mark(chain, match string, ports []networkingv1.NetworkPolicyPort, of *endpoint) {
	if len(ports) == 0 {
		f.rule("%s %s -j MARK --set-mark 1", chain, match)
	}
	for _, p := range ports {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		name := strings.ToLower(string(protocol))
		port := fmt.Sprintf("-p %[1]s -m %[1]s", name)
		switch {
		case p.Port == nil:
		case p.Port.Type == intstr.String && of.ports[p.Port.StrVal] == 0:
			continue // nobody has a port of that name
		case p.Port.Type == intstr.String:
			port += fmt.Sprintf(" --dport %d", of.ports[p.Port.StrVal])
		case p.EndPort != nil:
			port += fmt.Sprintf(" --dport %d:%d", p.Port.IntVal, *p.EndPort)
		default:
			port += fmt.Sprintf(" --dport %d", p.Port.IntVal)
		}
		f.rule("%s %s %s -j MARK --set-mark 1", chain, match, port)
	}
}

func (f *firewall) labelsOf(namespace string) map[string]string {
	all := map[string]string{"kubernetes.io/metadata.name": namespace} // Kubernetes gives it to every namespace
	maps.Copy(all, f.namespaces[namespace])
	return all
}

func (f *firewall) matches(selector *metav1.LabelSelector, set map[string]string) bool {
	f.t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		f.t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}
