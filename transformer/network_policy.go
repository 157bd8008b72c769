package transformer

import (
	"slices"
	"strconv"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// followNetworkPolicy opens the sidecar's port wherever the application's port is open: for callers of
// the pods, and in the egress of pods that may call them. A NetworkPolicy sees the port of the pod,
// after the Service.
// Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/.
func followNetworkPolicy(in *input, w *workload, r contract.InRoute, o *Object) Results {
	spec := nodes.At(o.Node, "spec")
	from, to := r.App, r.In
	selects := func(w *workload) bool {
		return o.namespace() == w.namespace() && labelSelects(nodes.At(spec, "podSelector"), w.podLabels())
	}
	follow := followed{in: in, w: w, route: r, o: o}
	if selects(w) {
		for i, rule := range nodes.Items(nodes.At(spec, "ingress")) {
			path, ports := pathIndex("spec.ingress", i)+".ports", nodes.At(rule, "ports")
			follow.ports(ports, path, selects)
			if w.portAmong(ports, to) && !w.portAmong(ports, from) {
				follow.results = append(follow.results, result(CodePortExposed, o, "%s lets callers reach the sidecar's port %d of %s, but not port %d of the application. Through the sidecar they now reach the application. Remove the port from that rule, or set proxy-in-port to a port that no rule has",
					o.Ref(), to, w.id(), from).At(path, strconv.Itoa(to), ""))
			}
		}
	}
	for i, rule := range nodes.Items(nodes.At(spec, "egress")) {
		path, ports := pathIndex("spec.egress", i)+".ports", nodes.At(rule, "ports")
		switch sure, perhaps := in.reaches(o, rule, w); {
		case sure:
			follow.ports(ports, path, func(w *workload) bool { sure, _ := in.reaches(o, rule, w); return sure })
		case perhaps && w.portAmong(ports, from) && !w.portAmong(ports, to):
			follow.results = append(follow.results, result(CodePortNotFollowed, o, "%s allows port %d by address, or in a namespace that is not in the input. If that includes the pods of %s, their callers also need port %d",
				o.Ref(), from, w.id(), to).At(path, strconv.Itoa(from), strconv.Itoa(to)))
		}
	}
	return follow.all()
}

// ports adds the sidecar's port to a list that has the application's port.
func (f *followed) ports(list *yaml.Node, path string, concerns func(*workload) bool) {
	f.add(list, path, nodes.Mapping("protocol", "TCP", "port", f.route.In), concerns,
		func(w *workload, port int) bool { return w.portAmong(list, port) })
}

// reaches reports whether an egress rule leads to a workload's pods. sure means that it does, by their
// labels and those of their namespace. perhaps means that the render can't tell: it does not know the
// pods' addresses, nor the labels of a namespace that is not in the input.
func (in *input) reaches(o *Object, rule *yaml.Node, w *workload) (sure, perhaps bool) {
	peers := nodes.Items(nodes.At(rule, "to"))
	if len(peers) == 0 {
		return true, false
	}
	for _, peer := range peers {
		pods, namespaces := nodes.At(peer, "podSelector"), nodes.At(peer, "namespaceSelector")
		switch {
		case pods != nil && !labelSelects(pods, w.podLabels()):
		case pods == nil && namespaces == nil:
			perhaps = perhaps || nodes.At(peer, "ipBlock") != nil
		case namespaces == nil && o.namespace() != w.namespace():
		case namespaces == nil || labelSelects(namespaces, in.namespaceLabels(w.namespace())):
			sure = true
		default:
			perhaps = perhaps || in.namespaceOf(w.Object) == nil
		}
	}
	return sure, perhaps
}

// namespaceName is the label that Kubernetes sets on every namespace.
const namespaceName = "kubernetes.io/metadata.name"

// namespaceLabels returns the labels of a namespace, including the one that Kubernetes sets.
func (in *input) namespaceLabels(name string) map[string]string {
	labels := map[string]string{}
	if name != "" {
		labels[namespaceName] = name
	}
	if ns := in.find("", "Namespace", "", name); ns != nil {
		for k, v := range nodes.Strings(nodes.At(ns.Node, "metadata", "labels")) {
			labels[k] = v
		}
	}
	return labels
}

// portAmong reports whether the ports of a NetworkPolicy include a port of a workload's pods: by number,
// by name or in a range.
func (w *workload) portAmong(ports *yaml.Node, port int) bool {
	return slices.ContainsFunc(nodes.Items(ports), func(p *yaml.Node) bool {
		if proto := nodes.StringAt(p, "protocol"); proto != "" && proto != "TCP" {
			return false
		}
		first := nodes.Int(nodes.At(p, "port"))
		if first == 0 {
			first = w.portNumber(nodes.StringAt(p, "port"))
		}
		return spans(p, first, port)
	})
}

// spans reports whether a port of a NetworkPolicy, whose number is first, includes another port: it is
// the same, or begins a range that includes it.
func spans(p *yaml.Node, first, port int) bool {
	return first <= port && port <= max(first, nodes.Int(nodes.At(p, "endPort")))
}

// labelSelects evaluates a label selector. An empty one selects everything.
func labelSelects(selector *yaml.Node, labels map[string]string) bool {
	if !selects(nodes.Strings(nodes.At(selector, "matchLabels")), labels) {
		return false
	}
	return !slices.ContainsFunc(nodes.Items(nodes.At(selector, "matchExpressions")), func(e *yaml.Node) bool {
		value, has := labels[nodes.StringAt(e, "key")]
		among := slices.ContainsFunc(nodes.Items(nodes.At(e, "values")), func(v *yaml.Node) bool { return nodes.String(v) == value })
		switch nodes.StringAt(e, "operator") {
		case "In":
			return !has || !among
		case "NotIn":
			return has && among
		case "Exists":
			return !has
		case "DoesNotExist":
			return has
		}
		return true // Kubernetes has no such operator
	})
}

// pathIndex appends an item's index to a field path, for lists whose items have no name: `rules[#0]`.
func pathIndex(path string, i int) string { return pathItem(path, "#"+strconv.Itoa(i)) }
