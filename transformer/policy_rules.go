package transformer

import (
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// These functions build the NetworkPolicies that a render writes. Selectors use expressions, because a
// kustomization that labels all objects would also add its label to matchLabels, and the selected pods
// may not have that label.

// having builds a selector for objects with labels; without labels it selects everything.
func having(labels map[string]string) *yaml.Node {
	if len(labels) == 0 {
		return nodes.Mapping()
	}
	var expressions []*yaml.Node
	for _, key := range sortedKeys(labels) {
		expressions = append(expressions, nodes.Mapping("key", key, "operator", "In", "values", []string{labels[key]}))
	}
	return nodes.Mapping("matchExpressions", nodes.Sequence(expressions...))
}

// selected returns the labels in a selector that having built.
func selected(selector *yaml.Node) map[string]string {
	out := map[string]string{}
	for _, e := range nodes.Items(nodes.At(selector, "matchExpressions")) {
		for _, v := range nodes.Items(nodes.At(e, "values")) {
			out[nodes.StringAt(e, "key")] = nodes.String(v)
		}
	}
	return out
}

// podPeer builds the peer for pods with labels, in a namespace; "" is the policy's namespace.
func podPeer(labels map[string]string, namespace string) *yaml.Node {
	if namespace == "" {
		return nodes.Mapping("podSelector", having(labels))
	}
	return nodes.Mapping("namespaceSelector", having(map[string]string{namespaceName: namespace}), "podSelector", having(labels))
}

// tcpPorts builds the list of ports in a rule, by number or name.
func tcpPorts(ports []string) *yaml.Node {
	var open []*yaml.Node
	for _, port := range ports {
		var value any = port
		if n := atoi(port); n != 0 {
			value = n
		}
		open = append(open, nodes.Mapping("protocol", "TCP", "port", value))
	}
	return nodes.Sequence(open...)
}

// egressRule and ingressRule build a rule. Without peers it applies to everyone, and without ports to
// every port.
func egressRule(to []*yaml.Node, ports ...string) *yaml.Node { return policyRule("to", to, ports) }
func ingressRule(from []*yaml.Node, ports ...string) *yaml.Node {
	return policyRule("from", from, ports)
}

func policyRule(direction string, peers []*yaml.Node, ports []string) *yaml.Node {
	rule := nodes.Mapping()
	if len(peers) > 0 {
		rule.Content = append(rule.Content, nodes.New(direction), nodes.Sequence(peers...))
	}
	if len(ports) > 0 {
		rule.Content = append(rule.Content, nodes.New("ports"), tcpPorts(ports))
	}
	return rule
}
