package transformer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// A copy is built from a workload's pod template as it is in the input, before any edit:
//
// original                         copy
// labels                    ─▶     the replay's labels, and those by which a mesh or a cloud identifies pods
// volumes                   ─▶     the same, except those through which the copy could write shared data
// host ports, priority, …   ─▶     left out: see notCopied
// settings                  ─▶     the same, with a sidecar that sends calls to the responder
//
// After that, the copy is a workload of the input, and the render injects it like any other. No
// Service, policy or autoscaler of production applies to it, because it lacks the labels that they
// select.

// addCopy adds to the input the copy of a replay's workload and the Service for it, or the changes
// that a replay in place needs.
func (in *input) addCopy(r *replay) Results {
	switch {
	case r.InPlace:
		return in.replayInPlace(r)
	case !r.w.is("apps", "Deployment") && !r.w.is("extensions", "Deployment"):
		return Results{result(CodeReplayKind, r.from, "%s can't be copied: found kind %s of apiVersion %s, allowed: a Deployment. For other kinds, %sreplay: in-place edits the workload, which then answers every caller with mocked dependencies", r.w.Ref(), r.w.Object.kind(), r.w.apiVersion(), contract.OwnPrefix).At(r.at, r.w.Object.kind(), "Deployment")}
	}
	if malformed := in.checkShape(r.w); malformed.Failed() {
		return malformed
	}
	results := in.makeCopy(r)
	if results.Failed() {
		return results
	}
	w := r.copied
	if results = append(results, in.addService(r)...); results.Failed() {
		return results
	}
	in.add(w.Object)
	in.workloads = append(in.workloads, w)
	if w.original.injecting {
		found := in.check(w)
		w.injecting = !found.Failed()
		results = append(results, w.news(found)...)
	}
	return append(results, in.namedHosts(r)...)
}

// makeCopy builds the copy.
func (in *input) makeCopy(r *replay) Results {
	template, results := in.copyTemplate(r)
	if results.Failed() {
		return results
	}
	o := r.object(contract.PartCopy, "apps/v1", "Deployment", r.name, nodes.Mapping(
		"replicas", max(r.Replicas, 1),
		"selector", nodes.Mapping("matchLabels", r.selector(contract.PartCopy)),
		"template", template,
	))
	o.image, o.written = r.w.Object.image, r.w.Object.written // others may have changed these since an earlier render
	w := asWorkload(o)
	w.original, w.replay = r.w, r
	w.settings = r.w.settings
	w.settings.explicit = maps.Clone(w.settings.explicit)
	r.copied = w
	in.goThroughResponder(w)
	return append(results, in.checkSelected(r)...)
}

// checkSelected reports objects of the input that would mistake the replay's pods for those of
// production, or production's pods for those of the copy. It runs before the copy is injected, so it
// includes the labels that injection adds.
func (in *input) checkSelected(r *replay) Results {
	var results Results
	for _, part := range []string{contract.PartCopy, contract.PartResponder, contract.PartGenerator} {
		labels := nodes.Strings(r.podLabels(part))
		if part == contract.PartCopy && r.w.injecting {
			for _, mark := range r.copied.marks() {
				labels[mark[0]] = mark[1]
			}
		}
		found := in.servicesOfPods(r.namespace(), labels)
		slices.SortFunc(found, func(a, b *service) int { return strings.Compare(a.id(), b.id()) })
		for _, s := range found {
			at := "spec.selector"
			if s.entry() {
				at = "spec.workloadSelector.labels"
			}
			results = append(results, result(CodeReplaySelected, s.Object, "%s also selects the pods of a replay's %s, %s in namespace %q, so its callers would get mocked answers; allowed: a selector with a label of the application", s.Ref(), part, r.name, r.namespace()).
				At(at, labelText(s.selector), ""))
		}
	}
	for _, w := range in.workloads {
		if w.namespace() == r.namespace() && w.podLabels()[contract.LabelReplay] == r.name {
			results = append(results, result(CodeReplaySelected, w.Object, "the pods of %s have the label %s: %s, by which the Service and the policies of a replay select their pods; remove the label", w.id(), contract.LabelReplay, r.name).
				At(pathKey(w.at("metadata.labels"), contract.LabelReplay), r.name, ""))
		}
	}
	return results
}

// copyTemplate builds the pod template of a copy.
func (in *input) copyTemplate(r *replay) (*yaml.Node, Results) {
	spec := uncommented(r.w.podSpec())
	results := in.checkNetwork(r, spec)
	results = append(results, in.copyVolumes(r, spec)...)
	if results.Failed() {
		return nil, results
	}
	results = append(results, leaveOutFields(r, spec)...)
	results = append(results, nameNodeAccess(r, spec)...)
	results = append(results, in.nameRunning(r, spec)...)
	keepLabelValues(r, spec)
	if account := in.cfg.ReplayCopyAccount; account != "" {
		removeChild(spec, "serviceAccount")
		nodes.Set(spec, "serviceAccountName", nodes.New(account))
	}
	var annotations *yaml.Node
	if own := copyAnnotations(r.w); len(own.Content) > 0 {
		annotations = own
	}
	return nodes.Mapping("metadata", nodes.Mapping("labels", r.podLabels(contract.PartCopy), "annotations", annotations), "spec", spec), results
}

// copyAnnotations returns the annotations of a workload's pods, without those in notAnnotated and
// without those that request a capture or a replay: the render has already processed them.
func copyAnnotations(w *workload) *yaml.Node {
	out := nodes.Mapping()
	annotations := nodes.At(w.template, "metadata", "annotations")
	for i := 0; annotations != nil && i+1 < len(annotations.Content); i += 2 {
		if key := annotations.Content[i].Value; !asks(key) && !strings.HasPrefix(key, contract.OwnPrefix) && notAnnotated(key) == "" {
			out.Content = append(out.Content, uncommented(annotations.Content[i]), uncommented(annotations.Content[i+1]))
		}
	}
	return out
}

// notAnnotated says why a copy does not get an annotation; "" if it keeps it. Connections of a copy
// must go through Envoy: inbound, the mesh identifies the generator by its principal, and outbound,
// the Sidecar allows only the responder. They must also use the pod's network, where NetworkPolicies
// apply: https://github.com/k8snetworkplumbingwg/multus-cni/blob/master/docs/how-to-use.md. Those
// policies also reject Prometheus, so an annotated target would appear to be down. Finally, two pods
// can't have the same address: https://docs.tigera.io/calico/latest/networking/ipam/use-specific-ip and
// https://kubeovn.github.io/docs/stable/en/guide/static-ip-mac/.
func notAnnotated(key string) string {
	switch prefix, _, _ := strings.Cut(key, "/"); prefix + "/" {
	case scrapePrefix:
		return "because Prometheus would scrape the copy as it does production"
	case "traffic.sidecar.istio.io/":
		return "because connections would bypass Envoy"
	case "k8s.v1.cni.cncf.io/", "v1.multus-cni.io/":
		return "because the copy would be in a network where NetworkPolicies don't apply"
	case "cni.projectcalico.org/", "ovn.kubernetes.io/":
		return "because the copy would have an address of the original"
	}
	return ""
}

// checkNetwork reports pods to which no NetworkPolicy applies.
func (in *input) checkNetwork(r *replay, spec *yaml.Node) Results {
	if !nodes.IsTrue(nodes.At(spec, "hostNetwork")) {
		return nil
	}
	return Results{r.result(CodeReplayHost, "%s can't be copied: its pods use the network of their nodes, where NetworkPolicies don't apply, so the copy could write to production; allowed: pods without hostNetwork, or mode generator-only with the URL of a test environment", r.w.Ref())}
}

// notCopied lists the pod fields that a copy does not get, each with the reason. Anti-affinity works in
// both directions: it would also keep the pods that it names off the copy's node.
var notCopied = []struct{ field, why string }{
	{"priorityClassName", "because the copy might displace pods of production"},
	{"priority", "because the copy might displace pods of production"},
	{"preemptionPolicy", "because it belongs to the priority"},
	{"affinity.podAntiAffinity", "because the copy might keep pods of production off its node"},
	{"readinessGates", "because nothing sets its conditions for the copy"},
	{"dnsPolicy", "so that the copy finds the responder through the cluster's DNS"},
}

// leaveOutFields removes the fields of a copy's spec that would take resources from production or keep
// the copy from becoming ready.
func leaveOutFields(r *replay, spec *yaml.Node) Results {
	var left []string
	for _, row := range notCopied {
		path := splitPath(row.field)
		parent, key := nodes.At(spec, path[:len(path)-1]...), path[len(path)-1]
		found := nodes.At(parent, key)
		if found == nil || key == "dnsPolicy" && nodes.String(found) != "Default" && nodes.String(found) != "None" {
			continue
		}
		removeChild(parent, key)
		left = append(left, row.field+", "+row.why)
	}
	for _, key := range sortedKeys(nodes.Strings(nodes.At(r.w.template, "metadata", "annotations"))) {
		if why := notAnnotated(key); why != "" {
			left = append(left, "annotation "+key+", "+why)
		}
	}
	for _, c := range containersOf(spec) {
		for _, p := range nodes.Items(nodes.At(c, "ports")) {
			if port := nodes.At(p, "hostPort"); port != nil {
				removeChild(p, "hostPort")
				removeChild(p, "hostIP")
				left = append(left, fmt.Sprintf("hostPort %s of container %s, because the original uses it on its node", nodes.String(port), nodes.StringAt(c, "name")))
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	return Results{r.result(CodeReplayLeftOut, "the copy of %s does not have %s", r.w.Ref(), strings.Join(unique(left), "; without "))}
}

// nodeCapabilities are the capabilities with which a container can change its node, or the pod's
// network on which NetworkPolicies act.
var nodeCapabilities = []string{"ALL", "SYS_ADMIN", "NET_ADMIN", "SYS_MODULE", "SYS_RAWIO", "BPF"}

// nameNodeAccess names the parts of a copy that give it access to its node, where no NetworkPolicy
// applies.
func nameNodeAccess(r *replay, spec *yaml.Node) Results {
	var found []string
	for _, v := range nodes.Items(nodes.At(spec, "volumes")) {
		if nodes.At(v, "hostPath") != nil {
			found = append(found, "volume "+nodes.StringAt(v, "name")+" is a directory of the node")
		}
	}
	for _, key := range []string{"hostPID", "hostIPC"} {
		if nodes.IsTrue(nodes.At(spec, key)) {
			found = append(found, key)
		}
	}
	for _, c := range containersOf(spec) {
		if nodes.IsTrue(nodes.At(c, "securityContext", "privileged")) {
			found = append(found, "container "+nodes.StringAt(c, "name")+" is privileged")
		}
		for _, n := range nodes.Items(nodes.At(c, "securityContext", "capabilities", "add")) {
			if capability := strings.TrimPrefix(strings.ToUpper(nodes.String(n)), "CAP_"); slices.Contains(nodeCapabilities, capability) {
				found = append(found, "container "+nodes.StringAt(c, "name")+" has the capability "+capability)
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return Results{r.result(CodeReplayNode, "the copy of %s can reach its node as the original can: %s. No NetworkPolicy stops what it does there, for example through a socket", r.w.Ref(), strings.Join(found, "; "))}
}

// nameRunning names the containers of a copy that start before anything answers their calls. It also
// reports if containers may need the Kubernetes API.
func (in *input) nameRunning(r *replay, spec *yaml.Node) Results {
	if r.Mode == generatorOnly || r.Mocks.None {
		return nil // it calls the same dependencies as the original
	}
	var results Results
	late, early := in.lateContainers(r.w) // calls of the late ones go through the sidecar
	advice := in.insertFirst()
	if !r.w.injecting {
		early, advice = append(early, late...), ""
	}
	early = slices.DeleteFunc(early, func(c container) bool { return nodes.StringAt(c.Node, "restartPolicy") == "Always" })
	if len(early) > 0 {
		var names []string
		for _, c := range early {
			names = append(names, c.name())
		}
		results = append(results, r.result(CodeReplayInit, "the copy of %s also runs the original's init containers: %s. The NetworkPolicy lets them reach the responder only. If one migrates or waits for a database, it fails, and the copy does not start%s", r.w.Ref(), strings.Join(names, ", "), advice))
	}
	token := nodes.IsTrue(nodes.At(spec, "automountServiceAccountToken"))
	for _, v := range nodes.Items(nodes.At(spec, "volumes")) {
		for _, source := range nodes.Items(nodes.At(v, "projected", "sources")) {
			token = token || nodes.At(source, "serviceAccountToken") != nil
		}
	}
	if token {
		results = append(results, r.result(CodeReplayAPI, "the pods of %s mount a service account token, so the copy has one too. The NetworkPolicy does not let it reach the Kubernetes API", r.w.Ref()))
	}
	return results
}

// labelField matches a reference to a label of the pod itself.
const labelField = "metadata.labels['"

// keepLabelValues replaces references to labels that the copy lacks with their values.
func keepLabelValues(r *replay, spec *yaml.Node) {
	labels, kept := r.w.podLabels(), nodes.Strings(r.podLabels(contract.PartCopy))
	for _, c := range containersOf(spec) {
		for _, v := range nodes.Items(nodes.At(c, "env")) {
			quoted, ok := strings.CutPrefix(nodes.StringAt(v, "valueFrom", "fieldRef", "fieldPath"), labelField)
			key, closed := strings.CutSuffix(quoted, "']")
			if !ok || !closed {
				continue
			}
			if value, has := labels[key]; has && kept[key] != value {
				removeChild(v, "valueFrom")
				nodes.Set(v, "value", nodes.New(literal(value)))
			}
		}
	}
}

// addService adds the Service for the copy, or for the pods of a replay in place. It has, under the
// same number, every port of the pod that a Service leads to or that is captured. If there is none, it
// has the ports that the containers declare. The Service declares plain TCP, so that a mesh does not
// route requests by their recorded host.
func (in *input) addService(r *replay) Results {
	r.ports = in.replayPorts(r.w)
	if len(r.ports) == 0 {
		if r.url().host != "" || !r.generates() {
			return nil
		}
		return Results{r.result(CodeReplayPorts, "the port at which %s accepts requests is unknown: no Service in the input leads to its pods, no port is captured, and its containers declare none%s; allowed: a Service, a containerPort, or %sproxy-port", r.w.Ref(), in.serviceElsewhere(r.w), contract.SidecarPrefix)}
	}
	if url := r.url(); url.host == "" && url.port != "" && !slices.Contains(r.ports, atoi(url.port)) {
		return Results{r.aboutURL(CodeReplayPorts, "the URL leads to port %s, where %s accepts no requests; allowed: %s, which the replay's Service %s has", url.port, r.w.Ref(), joinPorts(r.ports), r.name)}
	}
	r.service = in.pastWaypoint(r, r.object(contract.PartCopy, "v1", "Service", r.name, nodes.Mapping("selector", r.selector(contract.PartCopy), "ports", copyServicePorts(r.ports))))
	in.add(r.service)
	return nil
}

// copyServicePorts builds the ports of the Service for a copy.
func copyServicePorts(numbers []int) *yaml.Node {
	var ports []*yaml.Node
	for _, n := range numbers {
		ports = append(ports, nodes.Mapping("name", fmt.Sprintf("tcp-%d", n), "protocol", "TCP", "appProtocol", "tcp", "port", n, "targetPort", n))
	}
	return nodes.Sequence(ports...)
}

// replayPorts returns the ports on which a workload's pods accept requests, in ascending order.
func (in *input) replayPorts(w *workload) []int {
	var ports []int
	for _, s := range in.servicesOf(w) {
		for _, p := range s.ports(w) {
			ports = append(ports, p.target)
		}
	}
	ports = append(ports, w.settings.apps()...)
	known := func() []int {
		slices.Sort(ports)
		return slices.DeleteFunc(slices.Compact(ports), func(n int) bool { return n < 1 || n > 65535 })
	}
	if ports = known(); len(ports) == 0 {
		for _, p := range w.containerPorts() {
			ports = append(ports, p.number)
		}
	}
	return known()
}

// copyObjects returns the copy and its Service, after injection.
func (in *input) copyObjects(r *replay) ([]*Object, Results) {
	var objects []*Object
	var results Results
	if w := r.copied; w != nil && w.original != nil {
		if !w.injecting {
			results = w.news(in.pointAtResponder(r))
		}
		objects = append(objects, w.Object)
	}
	if r.service != nil {
		objects = append(objects, r.service)
	}
	return objects, results
}

// asked returns the workload whose annotations apply: for a copy, the original.
func (w *workload) asked() *workload {
	if w.original != nil {
		return w.original
	}
	return w
}

// copies returns 1 for a copy, and 0 otherwise.
func (w *workload) copies() int {
	if w.original != nil {
		return 1
	}
	return 0
}

// beside returns the object of the input next to which the objects for this workload are written.
func (w *workload) beside() *Object {
	if w.original != nil {
		return w.replay.from
	}
	return w.Object
}

// news filters the results about the workload of a replay. It drops those that were already reported
// for it, or for the original of a copy. A copy is not in the input, so its results refer to the
// object that requests the replay.
func (w *workload) news(all Results) (news Results) {
	r := w.replay
	if r == nil {
		return all
	}
	original := w.asked()
	for _, found := range all {
		known := func(said Result) bool {
			return said.Code() == found.Code() && said.Message == strings.ReplaceAll(found.Message, r.name, original.name())
		}
		ours := found.ResourceRef != nil && found.ResourceRef.Name == r.name
		switch {
		case found.Code() == CodeInjected && w.original != nil: // the result about the original already says it
		case slices.ContainsFunc(original.said, known):
		case !ours:
			news = append(news, found)
		case found.Severity != Info || found.ResourceRef.Kind == "Deployment":
			about := r.result(found.Code(), "the copy %s: %s", w.Ref(), found.Message)
			about.Severity = found.Severity
			news = append(news, about)
		}
	}
	return news
}
