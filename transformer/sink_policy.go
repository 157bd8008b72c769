package transformer

import (
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

const networkingGroup = "networking.k8s.io"

// hbonePort is the port on which pods of an ambient mesh accept calls from other pods of the mesh.
const hbonePort = "15008"

// openCollector lets a workload's pods reach the collector if policies restrict their egress. It adds
// a NetworkPolicy, because the rules of all policies add up, and reports it.
func (in *input) openCollector(w *workload, isolating []string, rules []*yaml.Node) (*Object, Results) {
	pods, ports := in.collectorPods(w)
	reached := func(port string) bool { return in.allowsPods(rules, w, in.sink.namespace(w), pods, port) }
	if !slices.ContainsFunc(ports, func(port string) bool { return !reached(port) }) {
		return nil, nil
	}
	if conflict := in.sameLabel(w, "NetworkPolicy"); conflict != nil {
		return nil, conflict
	}
	o := in.create(w, networkingGroup+"/v1", "NetworkPolicy", trimName(w.name())+sidecarSuffix, w.namespace(),
		collectorPolicy(w.label(), in.sink.inNamespace, pods, ports))
	where := "namespace " + in.sink.inNamespace
	if in.sink.inNamespace == "" {
		where = "this namespace"
	}
	return o, Results{result(CodeSinkPolicy, w.Object, "%s %s egress of the pod, so the render added %s, which allows the pods of %s with %s", strings.Join(isolating, " and "), verb(isolating, "restricts", "restrict"), o.Ref(), where, labelText(pods))}
}

func labelText(labels map[string]string) string {
	var out []string
	for _, key := range sortedKeys(labels) {
		out = append(out, key+"="+labels[key])
	}
	return strings.Join(out, ",")
}

// collectorPods returns the labels of the collector's pods and their ports, by number or name: those of
// its Service if the input has one, or else those in deploy/collector.
func (in *input) collectorPods(w *workload) (labels map[string]string, ports []string) {
	labels, ports = in.servicePods(in.sink.destination, w.namespace())
	if labels == nil {
		labels = map[string]string{contract.LabelCollector: contract.CollectorName}
		ports = []string{strconv.Itoa(contract.CollectorPort)}
		if in.sink.port != contract.CollectorPort {
			ports = append(ports, strconv.Itoa(in.sink.port)) // the Service may lead to either
		}
	} else if len(ports) == 0 { // its Service lacks the port that the sink names
		ports = []string{strconv.Itoa(contract.CollectorPort)}
	}
	if in.ambient(w) != "" {
		ports = append(ports, hbonePort)
	}
	return labels, ports
}

// allowsPods reports whether a rule allows traffic to pods with the given labels in a namespace, at a
// port, which is a number or a name.
func (in *input) allowsPods(rules []*yaml.Node, w *workload, namespace string, labels map[string]string, port string) bool {
	return slices.ContainsFunc(rules, func(rule *yaml.Node) bool {
		peers, ports := nodes.Items(nodes.At(rule, "to")), nodes.Items(nodes.At(rule, "ports"))
		to := len(peers) == 0 || slices.ContainsFunc(peers, func(peer *yaml.Node) bool {
			pods, namespaces := nodes.At(peer, "podSelector"), nodes.At(peer, "namespaceSelector")
			switch {
			case pods == nil && namespaces == nil: // these are addresses, which may or may not include a pod's
				return false
			case namespaces == nil && namespace != w.namespace(), namespaces != nil && !labelSelects(namespaces, in.namespaceLabels(namespace)):
				return false
			}
			return pods == nil || labelSelects(pods, labels)
		})
		return to && (len(ports) == 0 || slices.ContainsFunc(ports, func(p *yaml.Node) bool {
			first, wanted := nodes.Int(nodes.At(p, "port")), atoi(port)
			return isTCP(p) && (nodes.StringAt(p, "port") == "" || nodes.StringAt(p, "port") == port || first != 0 && spans(p, first, wanted))
		}))
	})
}

// collectorPolicy builds the spec of a NetworkPolicy that lets rewritten pods reach the collector.
func collectorPolicy(label, namespace string, pods map[string]string, ports []string) *yaml.Node {
	return nodes.Mapping(
		"podSelector", having(map[string]string{contract.LabelWorkload: label}),
		"policyTypes", []string{"Egress"},
		"egress", nodes.Sequence(egressRule([]*yaml.Node{podPeer(pods, namespace)}, ports...)),
	)
}

// ownNetworkPolicy reports whether collectorPolicy built the spec of a NetworkPolicy.
func ownNetworkPolicy(o *Object) bool {
	spec := nodes.At(o.Node, "spec")
	label := selected(nodes.At(spec, "podSelector"))[contract.LabelWorkload]
	for _, rule := range nodes.Items(nodes.At(spec, "egress")) {
		for _, to := range nodes.Items(nodes.At(rule, "to")) {
			pods, namespace := selected(nodes.At(to, "podSelector")), selected(nodes.At(to, "namespaceSelector"))[namespaceName]
			var ports []string
			for _, p := range nodes.Items(nodes.At(rule, "ports")) {
				ports = append(ports, nodes.StringAt(p, "port"))
			}
			return label != "" && len(pods) > 0 && len(ports) > 0 && same(spec, collectorPolicy(label, namespace, pods, ports))
		}
	}
	return false
}
