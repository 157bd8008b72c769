package transformer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// routeBySidecar makes Envoy send the captured ports to the sidecar. It patches the Sidecar that
// already selects the pods, or creates a new one.
func (in *input) routeBySidecar(w *workload) ([]*Object, Results) {
	matching := in.sidecarsSelecting(w)
	base, results := in.namespaceSidecar(w)
	switch {
	case len(matching) == 1:
		return nil, in.patchSidecar(w, matching[0])
	case len(matching) > 1:
		names := make([]string, len(matching))
		for i, s := range matching {
			names[i] = s.Ref().String()
		}
		return nil, Results{result(CodeSidecarConflict, w.Object, "several Sidecars select the pods of %s: %s. Istio uses one of them, and does not define which; allowed: one", w.id(), strings.Join(names, " and "))}
	case results.Failed():
		return nil, results
	}
	sidecar, results := in.newSidecar(w, base)
	return []*Object{sidecar}, results
}

// hasSelector reports whether a Sidecar has a selector. An empty selector selects every pod, and still
// takes precedence over Sidecars without one.
func hasSelector(o *Object) bool {
	selector := nodes.At(o.Node, "spec", "workloadSelector")
	return selector != nil && !nodes.IsNull(selector)
}

// sidecarsSelecting returns the input's Sidecars whose selector matches the workload's pods.
func (in *input) sidecarsSelecting(w *workload) []*Object {
	var out []*Object
	for _, o := range in.byKind[istioGroup+"/Sidecar"] {
		if sidecarSelects(o, w) {
			out = append(out, o)
		}
	}
	return out
}

// sidecarSelects reports whether a Sidecar has a selector that matches a workload's pods.
func sidecarSelects(o *Object, w *workload) bool {
	return o.namespace() == w.namespace() && hasSelector(o) && selectsPods(nodes.At(o.Node, "spec", "workloadSelector", "labels"), w)
}

// sidecarsHolding returns the Sidecars that apply to a workload's pods: those that select them, or
// else the Sidecar of the namespace.
func (in *input) sidecarsHolding(w *workload) []*Object {
	holding := in.sidecarsSelecting(w)
	if base, _ := in.namespaceSidecar(w); len(holding) == 0 && base != nil {
		holding = append(holding, base)
	}
	return holding
}

// namespaceSidecar returns the Sidecar of the workload's namespace, or else that of the mesh; nil if
// the input has neither.
func (in *input) namespaceSidecar(w *workload) (*Object, Results) {
	for _, namespace := range []string{w.namespace(), rootNamespace} {
		var found []*Object
		for _, o := range in.byKind[istioGroup+"/Sidecar"] {
			if o.namespace() == namespace && !hasSelector(o) {
				found = append(found, o)
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return nil, Results{result(CodeSidecarConflict, w.Object, "two Sidecars in one namespace have no selector, %s and %s; allowed: one, for the workloads that no other Sidecar selects", found[0].Ref(), found[1].Ref())}
		}
	}
	return nil, nil
}

// rootNamespace is the namespace of objects that apply to the whole mesh.
const rootNamespace = "istio-system"

// sameLabel reports another workload whose pods have, or will have, the label with which an object of
// some kind selects a workload's pods. The object would apply to those pods too. sameLabel reports
// each label once.
func (in *input) sameLabel(w *workload, kind string) Results {
	label := podLabel{w.namespace(), w.label()}
	all := in.labelled[label]
	i := slices.IndexFunc(all, func(other *workload) bool { return other.Object != w.Object })
	if i < 0 {
		return nil
	}
	delete(in.labelled, label)
	switch other := all[i]; {
	case !other.injecting:
		return Results{result(CodeSidecarConflict, other.Object, "the pods of %s have the label %s: %s, by which the %s of %s selects its pods; remove the label", other.id(), contract.LabelWorkload, w.label(), kind, w.id()).
			At(pathKey(other.at("metadata.labels"), contract.LabelWorkload), w.label(), "")}
	case nodes.StringAt(w.Node, "metadata", "name") == "":
		return Results{result(CodeSidecarConflict, w.Object, "another %s in the input has the generateName %s too, so a %s for one would select the pods of both; allowed: a name, or a different generateName", w.Object.kind(), w.name(), kind).At("metadata", w.name(), "")}
	}
	return Results{result(CodeSidecarConflict, w.Object, "the input has %s more than once (%s, %s), and a %s for one would select the pods of all; remove all but one, or render them separately if they are for different clusters", w.Ref(), all[0].File.place(), all[1].File.place(), kind).At("metadata.name", w.name(), "")}
}

// newSidecar builds a Sidecar for the workload. It selects pods by a label that only rewritten pods of
// this workload have, so pods of the previous revision keep their listeners until they are gone. It
// copies all settings of the namespace's Sidecar, because a Sidecar inherits nothing
// (istio/istio#59376).
func (in *input) newSidecar(w *workload, base *Object) (*Object, Results) {
	if conflict := in.sameLabel(w, "Sidecar"); conflict != nil {
		return nil, conflict
	}
	own := &networking.Sidecar{WorkloadSelector: &networking.WorkloadSelector{Labels: map[string]string{contract.LabelWorkload: w.label()}}}
	var inherited *yaml.Node
	var results Results
	switch {
	case base != nil:
		inherited = yaml.CopyYNode(nodes.At(base.Node, "spec"))
	case len(in.cfg.Egress) > 0 || in.cfg.OutboundTrafficPolicy != "":
		if len(in.cfg.Egress) > 0 {
			own.Egress = []*networking.IstioEgressListener{{Hosts: in.cfg.Egress}}
		}
		if mode := in.cfg.OutboundTrafficPolicy; mode != "" {
			own.OutboundTrafficPolicy = &networking.OutboundTrafficPolicy{Mode: networking.OutboundTrafficPolicy_Mode(networking.OutboundTrafficPolicy_Mode_value[mode])}
		}
	case w.mockedBy() != nil: // it must not reach anything that it would inherit
	default:
		lost := result(CodeEgress, w.Object, "the Sidecar of %s allows egress to every host. If the namespace has a Sidecar outside this input, render them together, or set the options egress and outboundTrafficPolicy", w.id())
		results = append(results, lost.ifStrict(in.cfg))
	}
	ingress := nodes.At(inherited, "ingress")
	if ingress == nil {
		ingress = nodes.Sequence[*yaml.Node]()
	}
	spec := istioNode(own)
	spec.Content = slices.Insert(spec.Content, 2, nodes.New("ingress"), ingress) // after the selector
	for i := 0; inherited != nil && i+1 < len(inherited.Content); i += 2 {
		if key := inherited.Content[i].Value; key != "ingress" && key != "workloadSelector" {
			spec.Content = append(spec.Content, inherited.Content[i], inherited.Content[i+1])
		}
	}
	o := in.create(w, istioGroup+"/"+in.version, "Sidecar", trimName(w.name())+sidecarSuffix, w.namespace(), spec)
	if base == nil {
		base = o
	}
	// The object is new, so the editor's record is not used.
	results = append(in.capture(newEditor(o), w, base), results...)
	if r := w.mockedBy(); r != nil {
		in.confine(nodes.At(o.Node, "spec"), r)
	}
	return o, results
}

// opens reports whether an egress list allows a whole namespace.
func opens(entries []*yaml.Node, namespace, from string) bool {
	for _, entry := range entries {
		if nodes.At(entry, "port") != nil {
			continue
		}
		for _, h := range nodes.Items(nodes.At(entry, "hosts")) {
			switch ns, dns, _ := strings.Cut(nodes.String(h), "/"); {
			case dns != "*":
			case ns == "*", ns == namespace, ns == "." && from == namespace:
				return true
			}
		}
	}
	return false
}

// patchSidecar points the captured ports of an existing Sidecar at Tapedeck's sidecar.
func (in *input) patchSidecar(w *workload, sidecar *Object) Results {
	for _, other := range in.workloads {
		if other.Node != w.Node && other.asked() != w.asked() && sidecarSelects(sidecar, other) {
			return Results{result(CodeSidecarConflict, w.Object, "the pods of %s are selected by %s, which also selects those of %s. Istio uses one Sidecar for each pod, so the change would affect both; allowed: a Sidecar for this workload alone",
				w.id(), sidecar.Ref(), other.id())}
		}
	}
	if nodes.At(sidecar.Node, "spec") == nil {
		return Results{result(CodeMalformed, sidecar, "%s has no spec", sidecar.Ref())}
	}
	// The original's sidecar listens on the same ports, so they already lead to the copy's sidecar.
	if w.original != nil && sidecarSelects(sidecar, w.original) {
		return in.checkSelecting(w.replay, contract.PartCopy, sidecar)
	}
	captured := slices.Sorted(maps.Keys(w.captured(nodes.At(sidecar.Node, "spec", "ingress"))))
	results := in.capture(in.editorOf(sidecar), w, sidecar)
	if results.Failed() {
		return results
	}
	return append(results, result(CodeSidecarPatched, sidecar, "%s now sends %s to the sidecar of %s. It also selects pods of the previous revision, which have no sidecar: calls to them fail until they are gone",
		sidecar.Ref(), joinPorts(captured), w.id()).At("spec.ingress", "", sidecarEndpoint(w.settings.routes[0])))
}

func sidecarEndpoint(r contract.InRoute) string { return fmt.Sprintf("127.0.0.1:%d", r.In) }

// leadsTo reports whether a listener's endpoint is the given port of the pod.
func leadsTo(entry *yaml.Node, port int) bool { return port != 0 && endpointPort(entry) == port }

// endpointPort returns the pod's port in a listener's endpoint, in one of the forms that Istio
// accepts. It returns 0 for a Unix socket, or without an endpoint.
func endpointPort(entry *yaml.Node) int {
	for _, host := range []string{"127.0.0.1:", "0.0.0.0:", "[::1]:", "[::]:"} {
		if port, ok := strings.CutPrefix(nodes.StringAt(entry, "defaultEndpoint"), host); ok && checkPort(port) == nil {
			return atoi(port)
		}
	}
	return 0
}

// captured returns the routes, by the ports whose listeners are captured: the application's ports, or
// the ports that a Sidecar maps to them.
func (w *workload) captured(ingress *yaml.Node) map[int]contract.InRoute {
	captured := map[int]contract.InRoute{}
	for _, r := range w.settings.routes {
		port := r.App
		if findListener(ingress, port) == nil {
			for _, entry := range nodes.Items(ingress) {
				if leadsTo(entry, port) {
					port = nodes.Int(nodes.At(entry, "port", "number"))
					break
				}
			}
		}
		captured[port] = r
	}
	return captured
}

// capture edits a Sidecar so that the captured ports lead to the sidecar and egress to the collector's
// namespace is allowed. A Sidecar that lists no ports gets listeners for all, and one that lists some
// keeps to those. Results refer to the Sidecar of the input.
func (in *input) capture(e *editor, w *workload, from *Object) Results {
	spec := nodes.At(e.obj.Node, "spec")
	captured := w.captured(nodes.At(spec, "ingress"))
	listeners, results := in.inboundListeners(w, captured)
	had, pooled := len(nodes.Items(nodes.At(spec, "ingress"))) > 0, nodes.At(spec, "inboundConnectionPool") != nil
	ingress, path := e.collection(spec, "spec", "ingress", yaml.SequenceNode)
	for _, l := range listeners {
		entry := findListener(ingress, l.port)
		at := pathItem(path, strconv.Itoa(l.port))
		switch {
		case entry == nil && (l.endpoint != "" || !had):
			if had || pooled {
				l.pool = nil // the Sidecar's settings for its ports apply
			}
			e.appendItem(ingress, path, l.node())
		case entry == nil || l.endpoint == "":
		case nodes.StringAt(entry, "defaultEndpoint") == "":
			e.put(entry, at, "defaultEndpoint", l.endpoint)
		case nodes.StringAt(entry, "defaultEndpoint") == l.endpoint:
		case leadsTo(entry, captured[l.port].App):
			e.replace(entry, at, "defaultEndpoint", l.endpoint)
		default:
			return Results{result(CodeSidecarConflict, from, "%s sends port %d to %s, but %s, so the application listens elsewhere; allowed: an endpoint with that port",
				from.Ref(), l.port, nodes.StringAt(entry, "defaultEndpoint"), w.settings.nameOf(captured[l.port].App)).At(at+".defaultEndpoint", nodes.StringAt(entry, "defaultEndpoint"), l.endpoint)}
		}
	}
	in.openEgress(e, spec, w)
	return results
}

// reached is a namespace that a workload's pods must reach, what is there, and the effect if they
// can't.
type reached struct{ namespace, what, otherwise string }

// needs returns the namespaces that the sidecar calls into.
func (in *input) needs(w *workload) []reached {
	var out []reached
	if len(in.externals) > 0 {
		out = append(out, reached{in.cfg.Namespace, "the ServiceEntry", "its hosts can't be reached"})
	}
	if in.sink != nil && in.sink.service != "" {
		out = append(out, reached{in.sink.namespace(w), "the collector", "recordings stay in the pod"})
	}
	if w.settings.responder != "" {
		out = append(out, reached{w.namespace(), "the responder", "the calls of the replayed workload get no answers"})
	}
	return out
}

// checkEgress reports a Sidecar that blocks calls of a workload's sidecar, if the render writes no
// Sidecar for that workload.
func (in *input) checkEgress(w *workload) Results {
	var results Results
	if w.mockedBy() != nil {
		return nil // it gets a separate Sidecar: see replaySidecars
	}
	for _, o := range in.sidecarsHolding(w) {
		for _, r := range in.needs(w) {
			if egress := nodes.Items(nodes.At(o.Node, "spec", "egress")); len(egress) > 0 && !opens(egress, r.namespace, w.namespace()) {
				results = append(results, result(CodeEgressClosed, w.Object, "the egress of %s, which applies to %s, lacks %s/*, where %s is: %s", o.Ref(), w.id(), cmp.Or(r.namespace, "."), r.what, r.otherwise))
			}
		}
	}
	return results
}

// openEgress adds the namespaces that the sidecar calls into to the egress of a Sidecar. It adds
// nothing to a list that already allows them or restricts nothing.
func (in *input) openEgress(e *editor, spec *yaml.Node, w *workload) {
	namespaces := []string{in.cfg.Namespace}
	for _, r := range in.needs(w) {
		namespaces = append(namespaces, r.namespace)
	}
	for _, namespace := range namespaces {
		egress := nodes.At(spec, "egress")
		if len(nodes.Items(egress)) > 0 && !opens(nodes.Items(egress), namespace, w.namespace()) {
			e.open(egress, cmp.Or(namespace, ".")+"/*")
		}
	}
}

// open adds a namespace's hosts to an egress list.
func (e *editor) open(egress *yaml.Node, namespace string) {
	for _, entry := range egress.Content {
		if hosts := nodes.At(entry, "hosts"); nodes.At(entry, "port") == nil && hosts != nil {
			e.appendItem(hosts, pathItem("spec.egress", nodes.ID(entry))+".hosts", nodes.New(namespace))
			return
		}
	}
	e.appendItem(egress, "spec.egress", istioNode(&networking.IstioEgressListener{Hosts: []string{namespace}}))
}

func findListener(ingress *yaml.Node, port int) *yaml.Node {
	for _, entry := range nodes.Items(ingress) {
		if nodes.Int(nodes.At(entry, "port", "number")) == port {
			return entry
		}
	}
	return nil
}
