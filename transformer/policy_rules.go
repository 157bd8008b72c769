package transformer

import (
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// NetworkPolicies that a render writes are built of these. They select by expressions: a
// kustomization that gives all objects a label adds it to matchLabels, and other pods would
// not have it.

// having builds a selector of what has labels; without any, of everything.
func having(labels map[string]string) *yaml.Node {
	if len(labels) == 0 {
		return mapping()
	}
	var expressions []*yaml.Node
	for _, key := range sortedKeys(labels) {
		expressions = append(expressions, mapping("key", key, "operator", "In", "values", []string{labels[key]}))
	}
	return mapping("matchExpressions", sequence(expressions...))
}

// selected returns the labels of a selector that having built.
func selected(selector *yaml.Node) map[string]string {
	out := map[string]string{}
	for _, e := range items(field(selector, "matchExpressions")) {
		for _, v := range items(field(e, "values")) {
			out[strAt(e, "key")] = str(v)
		}
	}
	return out
}

// podPeer builds the peer that pods with labels are, in a namespace or, if that is "", in
// the policy's own.
func podPeer(labels map[string]string, namespace string) *yaml.Node {
	if namespace == "" {
		return mapping("podSelector", having(labels))
	}
	return mapping("namespaceSelector", having(map[string]string{namespaceName: namespace}), "podSelector", having(labels))
}

// tcpPorts builds the list of a rule's ports, by number or name.
func tcpPorts(ports []string) *yaml.Node {
	var open []*yaml.Node
	for _, port := range ports {
		var value any = port
		if n := atoi(port); n != 0 {
			value = n
		}
		open = append(open, mapping("protocol", "TCP", "port", value))
	}
	return sequence(open...)
}

// egressRule and ingressRule build a rule. Without peers it holds for all, and without ports
// for every port.
func egressRule(to []*yaml.Node, ports ...string) *yaml.Node { return policyRule("to", to, ports) }
func ingressRule(from []*yaml.Node, ports ...string) *yaml.Node {
	return policyRule("from", from, ports)
}

func policyRule(direction string, peers []*yaml.Node, ports []string) *yaml.Node {
	rule := mapping()
	if len(peers) > 0 {
		rule.Content = append(rule.Content, node(direction), sequence(peers...))
	}
	if len(ports) > 0 {
		rule.Content = append(rule.Content, node("ports"), tcpPorts(ports))
	}
	return rule
}
