package transformer

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// With the sidecar, the application's calls still leave from the same pod, so a policy that allowed
// them still does. The sidecar needs more than the application in three cases: it looks up names itself,
// even for clients that were given addresses; a ServiceEntry opens hosts that only the mesh knew; and
// recordings go to a collector.

// egressPolicies reports NetworkPolicies that isolate a workload's pods and block traffic that the
// sidecar needs. Policies add up: traffic is allowed if one of them allows it. So egressPolicies
// returns a policy that allows a collector in the cluster.
func (in *input) egressPolicies(w *workload, upstream map[string]*yaml.Node) (*Object, Results) {
	if w.mockedBy() != nil {
		return nil, nil // the replay's own policy allows everything that it needs
	}
	var isolating []string
	var rules []*yaml.Node
	for _, o := range in.byKind[networkingGroup+"/NetworkPolicy"] {
		spec := nodes.At(o.Node, "spec")
		if o.namespace() != w.namespace() || !labelSelects(nodes.At(spec, "podSelector"), w.podLabels()) {
			continue
		}
		types := nodes.Items(nodes.At(spec, "policyTypes"))
		named := slices.ContainsFunc(types, func(n *yaml.Node) bool { return nodes.String(n) == "Egress" })
		if named || len(types) == 0 && len(nodes.Items(nodes.At(spec, "egress"))) > 0 {
			isolating = append(isolating, o.Ref().String())
			rules = append(rules, nodes.Items(nodes.At(spec, "egress"))...)
		}
	}
	if len(isolating) == 0 {
		return nil, nil
	}
	var results Results
	lacks := func(what string) {
		results = append(results, result(CodeEgressPolicy, w.Object, "%s %s egress of the pod and %s not allow %s", strings.Join(isolating, " and "), verb(isolating, "restricts", "restrict"), verb(isolating, "does", "do"), what))
	}
	// The pods of OpenShift's DNS listen on 5353, and a policy sees the pod's port.
	var names []string
	if w.settings.outbound() && len(upstream) == 0 {
		names = append(names, "the names that the application calls")
	}
	if in.sink != nil && !in.sink.isAddress() {
		names = append(names, "the collector's name")
	}
	if len(names) > 0 && !allowsPort(rules, true, 53, 5353) {
		lacks("DNS: the sidecar looks up " + strings.Join(names, " and ") + "; allow ports 53 of UDP and TCP to the cluster's DNS")
	}
	if (in.cfg.ServiceEntry != "" || len(in.cfg.ServiceEntryHosts) > 0) && !allowsPort(rules, false, 443) {
		lacks("port 443, on which the ServiceEntry opens hosts")
	}
	switch {
	case in.sink == nil:
	case in.sink.service != "":
		policy, more := in.openCollector(w, isolating, rules)
		return policy, append(results, more...)
	case !allowsPort(rules, false, in.sink.port):
		lacks(fmt.Sprintf("port %d, on which recordings go to %s; a policy can't name a host, so allow that port to the collector's addresses", in.sink.port, in.sink.host))
	}
	return nil, results
}

func verb(of []string, one, many string) string {
	if len(of) == 1 {
		return one
	}
	return many
}

// allowsPort reports whether a rule allows one of the wanted ports. If dns is set, it also accepts a
// port whose name begins with dns.
func allowsPort(rules []*yaml.Node, dns bool, wanted ...int) bool {
	return slices.ContainsFunc(rules, func(rule *yaml.Node) bool {
		ports := nodes.Items(nodes.At(rule, "ports"))
		return len(ports) == 0 || slices.ContainsFunc(ports, func(p *yaml.Node) bool {
			if nodes.At(p, "port") == nil {
				return true // all ports of the protocol
			}
			return dns && strings.HasPrefix(nodes.StringAt(p, "port"), "dns") ||
				slices.ContainsFunc(wanted, func(n int) bool { return spans(p, nodes.Int(nodes.At(p, "port")), n) })
		})
	})
}
