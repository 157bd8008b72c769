package transformer

import (
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// The NetworkPolicies of a replay say which pods may reach which:
//
// generator ──▶ copy ──▶ responder ──▶ passthrough hosts
//     │           └────▶ collector         │
//     └────────▶ place ◀───────────────────┘
//
// All parts may use DNS and reach istiod. So a copy that ignores its proxy variables can't reach
// anything that it could write to.

// istiodPort serves Envoy's configuration. It is open to every address, because the control plane may
// be in another cluster.
const istiodPort = "15012"

// metadataPorts are the ports on which clouds issue credentials at link-local addresses:
// https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html and
// https://cloud.google.com/kubernetes-engine/docs/how-to/network-policy#network-policy-and-workload-identity-federation-for-gke.
var metadataPorts = []string{"80", "988"}

var metadataAddresses = []string{"169.254.0.0/16", "fd00:ec2::/32"}

// ambientProbes are the source addresses of kubelet probes in an ambient mesh:
// https://istio.io/latest/docs/ambient/usage/networkpolicy/.
var ambientProbes = []string{"169.254.7.127/32", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128"}

// partPolicy is the NetworkPolicy of one part of a replay.
type partPolicy struct {
	part string
	// ingress and egress are the rules. A nil direction is not restricted.
	ingress, egress []*yaml.Node
}

// spec returns the spec of the NetworkPolicy.
func (p partPolicy) spec(r *replay) *yaml.Node {
	spec := nodes.Mapping("podSelector", having(r.labels(p.part)))
	var types []string
	var rules []*yaml.Node
	for _, d := range []struct {
		policyType, key string
		rules           []*yaml.Node
	}{{"Ingress", "ingress", p.ingress}, {"Egress", "egress", p.egress}} {
		if d.rules != nil {
			types = append(types, d.policyType)
			rules = append(rules, nodes.New(d.key), nodes.Sequence(d.rules...))
		}
	}
	spec.Content = append(spec.Content, nodes.New("policyTypes"), nodes.Sequence(types...))
	spec.Content = append(spec.Content, rules...)
	return spec
}

// policyName returns the name of the policies of a part.
func (r *replay) policyName(part string) string {
	return r.name + map[string]string{contract.PartResponder: responderSuffix, contract.PartGenerator: "-generator"}[part]
}

// replayPolicies builds the NetworkPolicies that let the copy reach its responder, and none of the
// dependencies that are mocked.
func (in *input) replayPolicies(r *replay) ([]*Object, Results) {
	var objects []*Object
	for _, p := range in.partPolicies(r) {
		objects = append(objects, r.object(p.part, networkingGroup+"/v1", "NetworkPolicy", r.policyName(p.part), p.spec(r)))
	}
	return objects, in.checkReplayPolicies(r)
}

// partPolicies returns the policies of a replay's parts.
func (in *input) partPolicies(r *replay) []partPolicy {
	var out []partPolicy
	of := func(part string) []*yaml.Node { return []*yaml.Node{podPeer(r.labels(part), "")} }
	mock, admin := strconv.Itoa(contract.ResponderPort), strconv.Itoa(contract.ResponderAdminPort)
	copyPorts := append(in.copyPorts(r), hbonePort)

	if p := (partPolicy{part: contract.PartCopy}); r.copied != nil {
		if r.generates() && !r.InPlace { // in place, the workload's callers may still call it
			p.ingress = append([]*yaml.Node{ingressRule(of(contract.PartGenerator), copyPorts...)}, in.probes(r.copied)...)
		}
		if r.responds() {
			p.egress = append(common(), egressRule(of(contract.PartResponder), mock, admin, hbonePort))
			if in.sinkOf(r.copied) != nil {
				p.egress = append(p.egress, in.egressToCollector(r.copied))
			}
		}
		if p.ingress != nil || p.egress != nil {
			out = append(out, p)
		}
	}
	if r.responds() {
		p := partPolicy{part: contract.PartResponder, ingress: []*yaml.Node{ingressRule(of(contract.PartCopy), mock, admin, hbonePort)}}
		if r.generates() {
			p.ingress = append(p.ingress, ingressRule(of(contract.PartGenerator), admin, hbonePort))
		}
		p.egress = append(common(), in.egressToPlace(r)...)
		for _, d := range in.passthrough(r) {
			p.egress = append(p.egress, in.egressTo(d, r.namespace()))
		}
		out = append(out, p)
	}
	if r.generates() {
		p := partPolicy{part: contract.PartGenerator, ingress: []*yaml.Node{}, egress: common()}
		if r.copied != nil {
			p.egress = append(p.egress, egressRule(of(contract.PartCopy), copyPorts...))
		}
		if r.responds() {
			p.egress = append(p.egress, egressRule(of(contract.PartResponder), admin, hbonePort))
		}
		for _, d := range r.urlDestinations() {
			p.egress = append(p.egress, in.egressTo(d, r.namespace()))
		}
		p.egress = append(p.egress, in.egressToPlace(r)...)
		out = append(out, p)
	}
	for i := range out {
		out[i].egress = distinct(out[i].egress)
	}
	return out
}

// common returns the rules that every pod needs. The pods of OpenShift's DNS listen on 5353.
func common() []*yaml.Node {
	var dns []*yaml.Node
	for _, port := range []int{53, 5353} {
		dns = append(dns, nodes.Mapping("protocol", "UDP", "port", port), nodes.Mapping("protocol", "TCP", "port", port))
	}
	return []*yaml.Node{nodes.Mapping("ports", nodes.Sequence(dns...)), egressRule(nil, istiodPort)}
}

// mockedBy returns the replay whose responder replaces the workload's dependencies, or nil.
func (w *workload) mockedBy() *replay {
	if w.replay == nil || w.replay.copied != w || !w.replay.responds() {
		return nil
	}
	return w.replay
}

// distinct returns each rule once.
func distinct(rules []*yaml.Node) []*yaml.Node {
	var out []*yaml.Node
	for _, rule := range rules {
		if !slices.ContainsFunc(out, func(other *yaml.Node) bool { return same(other, rule) }) {
			out = append(out, rule)
		}
	}
	return out
}

// copyPorts returns the ports of the copy's pods to which its Services lead: the application's ports,
// or the sidecar's if the Services lead there.
func (in *input) copyPorts(r *replay) []string {
	var ports []string
	if r.copied == nil {
		return nil
	}
	for _, s := range in.servicesOf(r.copied) {
		for _, p := range s.ports(r.copied) {
			if port := strconv.Itoa(p.target); p.target != 0 && !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// probes returns the rule that admits kubelet probes to the pods of an ambient mesh. Elsewhere probes
// come from the node, which NetworkPolicies always allow.
func (in *input) probes(w *workload) []*yaml.Node {
	if in.ambient(w) == "" {
		return nil
	}
	return []*yaml.Node{ingressRule(blocks(ambientProbes))}
}

func blocks(cidrs []string) []*yaml.Node {
	var out []*yaml.Node
	for _, cidr := range cidrs {
		out = append(out, nodes.Mapping("ipBlock", nodes.Mapping("cidr", cidr)))
	}
	return out
}

// sinkOf returns the collector to which a workload's sidecar sends, or nil. If the workload's calls go to
// a responder, it is nil for a collector that a policy can't name: the policy would have to open the
// collector's port at every address, including those of the real dependencies.
func (in *input) sinkOf(w *workload) *collector {
	if !w.injecting || in.sink == nil || w.mockedBy() != nil && in.sink.service == "" && !in.sink.isAddress() {
		return nil
	}
	return in.sink
}

// recordingLocally makes the render assume a sink in the pod, until the caller calls restore.
func (in *input) recordingLocally() (restore func()) {
	cfg, sink := in.cfg, in.sink
	local := *cfg
	local.Sink = contract.DefaultSink
	in.cfg, in.sink = &local, nil
	return func() { in.cfg, in.sink = cfg, sink }
}

// egressToCollector returns the rule that lets a workload's pods reach the collector.
func (in *input) egressToCollector(w *workload) *yaml.Node {
	if in.sink.service == "" {
		return in.egressTo(in.sink.destination, w.namespace())
	}
	pods, ports := in.collectorPods(w)
	if !slices.Contains(ports, hbonePort) {
		ports = append(ports, hbonePort)
	}
	return egressRule([]*yaml.Node{podPeer(pods, in.sink.inNamespace)}, ports...)
}

// egressToPlace returns the rules that let the generator and the responder reach the replay's place,
// and the endpoints that issue their credentials.
func (in *input) egressToPlace(r *replay) []*yaml.Node {
	place := in.replayBucket()
	if place == nil {
		return nil
	}
	return []*yaml.Node{in.egressTo(placeDestination(*place), r.namespace()), egressRule(blocks(metadataAddresses), metadataPorts...)}
}

// placeDestination returns the destination of requests to a bucket.
func placeDestination(p contract.Place) destination {
	scheme, authority, found := strings.Cut(p.Setting("endpoint"), "://")
	if !found {
		return destination{port: schemePorts["https"]}
	}
	authority, _, _ = strings.Cut(authority, "/")
	return newDestination(authority, schemePorts[strings.ToLower(scheme)])
}

// passthrough returns the destinations to which the responder passes on requests that it can't answer.
// A host without a port means HTTP and HTTPS. A Service without a port means all its ports.
func (in *input) passthrough(r *replay) []destination {
	var out []destination
	for _, host := range r.Passthrough {
		d := newDestination(strings.TrimPrefix(host, "*."), 0)
		if strings.HasPrefix(host, "*.") || !in.inCluster(d) {
			d.service = ""
		}
		if d.port != 0 || d.service != "" {
			out = append(out, d)
			continue
		}
		for _, scheme := range []string{"https", "http"} {
			d.port = schemePorts[scheme]
			out = append(out, d)
		}
	}
	return out
}

// urlDestinations returns the destinations of the requests if the URL names a host other than the
// copy.
func (r *replay) urlDestinations() []destination {
	t := r.url()
	if t.host == "" {
		return nil
	}
	d := newDestination(t.host, schemePorts["http"])
	switch {
	case t.port != "":
		d.port = atoi(t.port)
	case t.secure():
		d.port = schemePorts["https"]
	}
	return []destination{d}
}

// checkReplayPolicies reports the requirements of a replay's policies, and other policies that allow
// more.
func (in *input) checkReplayPolicies(r *replay) Results {
	var results Results
	say := func(code Code, message string, args ...any) {
		results = append(results, r.result(code, message, args...))
	}
	switch {
	case r.copied != nil && r.Mode == fullReplay && !r.responds(): // CodeReplayNotMocked reports this
	case r.copied != nil && !r.responds():
		say(CodeReplayEgressOpen, "nothing is mocked, so %s calls its real dependencies, and what it writes there is permanent", r.copied.id())
	case r.copied != nil && nodes.IsTrue(nodes.At(r.copied.podSpec(), "hostNetwork")):
		say(CodeReplayEgressOpen, "%s uses the network of its nodes, where NetworkPolicies don't apply: if it ignores its proxy variables, it reaches the real dependencies", r.copied.id())
	case r.copied != nil:
		reaches := "DNS, istiod and its responder"
		if in.sinkOf(r.copied) != nil {
			reaches = "DNS, istiod, its responder and the collector"
		}
		say(CodeReplayPolicy, "a NetworkPolicy lets %s reach only %s. It holds only if the cluster's network plugin enforces NetworkPolicies", r.copied.id(), reaches)
		if names := in.opening(r.copied.podLabels(), r.namespace(), "egress"); len(names) > 0 {
			say(CodeReplayEgressOpen, "%s also %s the pods of %s and %s them egress. Policies add up, so a copy that ignores its proxy variables may reach the real dependencies; exclude the pods with the label %s", strings.Join(names, " and "), verb(names, "selects", "select"), r.copied.id(), verb(names, "allows", "allow"), contract.LabelReplay)
		}
	}
	if r.responds() && r.copied.injecting && in.sinkOf(r.copied) != in.sink {
		say(CodeReplayLocal, "recordings of %s stay in its pod. A NetworkPolicy can't name %s, the host of the option sink, and would also open port %d to the real dependencies. To keep the recordings, run a collector in the cluster", r.copied.id(), in.sink.host, in.sink.port)
	}
	if names := in.otherPolicies(r.namespace()); len(names) > 0 {
		say(CodeReplayOtherPolicy, "%s may allow the replay's pods more or less than its NetworkPolicies. A render does not evaluate policies of that kind; make sure that they exclude the pods with the label %s", strings.Join(names, " and "), contract.LabelReplay)
	}
	if r.responds() {
		labels := nodes.Strings(r.podLabels(contract.PartResponder))
		if names := in.opening(labels, r.namespace(), "ingress"); len(names) > 0 {
			say(CodeReplayIngressOpen, "%s also %s the responder's pods and %s other pods call them. Policies add up, so those pods may read recorded data; exclude the pods with the label %s", strings.Join(names, " and "), verb(names, "selects", "select"), verb(names, "lets", "let"), contract.LabelReplay)
		}
		if unnamed := in.unnamed(r, in.passthrough(r)); len(unnamed) > 0 {
			say(CodeReplayPassthrough, "a NetworkPolicy can't name %s, so that of the responder opens the port at every address. For a Service outside the input it opens every port in its namespace. The responder passes on calls only to the listed hosts", strings.Join(unnamed, " and "))
		}
	}
	if unnamed := in.unnamed(r, r.urlDestinations()); r.generates() && len(unnamed) > 0 {
		say(CodeReplayPassthrough, "a NetworkPolicy can't name %s, so that of the generator opens the port at every address. For a Service outside the input it opens every port in its namespace. The generator sends only to the URL", strings.Join(unnamed, " and "))
	}
	return results
}

// unnamed returns the hosts among the destinations that a policy of the replay can't name.
func (in *input) unnamed(r *replay, destinations []destination) []string {
	var out []string
	for _, d := range destinations {
		if _, ports := in.servicePods(d, r.namespace()); len(ports) == 0 && !d.isAddress() {
			out = append(out, d.host)
		}
	}
	return unique(out)
}

// otherPolicyGroups are the API groups of the policies that network plugins define in addition to
// those of Kubernetes.
var otherPolicyGroups = []string{"cilium.io", "projectcalico.org", "crd.projectcalico.org", "crd.antrea.io", "policy.networking.k8s.io"}

// otherPolicies names the policies of those groups in the input that may apply to pods of a namespace.
func (in *input) otherPolicies(namespace string) []string {
	var names []string
	for _, o := range in.objects {
		if slices.Contains(otherPolicyGroups, o.group()) && strings.HasSuffix(o.kind(), "NetworkPolicy") && (o.namespace() == "" || o.namespace() == namespace) {
			names = append(names, o.Ref().String())
		}
	}
	slices.Sort(names)
	return names
}

// opening names the NetworkPolicies of the input that select pods and allow them traffic in a
// direction. Policies that open only DNS, istiod and a collector's pods do not count.
func (in *input) opening(labels map[string]string, namespace, direction string) []string {
	needed := func(port *yaml.Node) bool {
		name := nodes.StringAt(port, "port")
		return nodes.At(port, "endPort") == nil && (slices.Contains([]string{"53", "5353", istiodPort}, name) || strings.HasPrefix(name, "dns"))
	}
	var names []string
	for _, o := range in.byKind[networkingGroup+"/NetworkPolicy"] {
		spec := nodes.At(o.Node, "spec")
		if o.namespace() != namespace || !labelSelects(nodes.At(spec, "podSelector"), labels) {
			continue
		}
		if slices.ContainsFunc(nodes.Items(nodes.At(spec, direction)), func(rule *yaml.Node) bool {
			ports, peers := nodes.Items(nodes.At(rule, "ports")), nodes.Items(nodes.At(rule, "to"))
			minor := direction == "egress" && len(ports) > 0 && !slices.ContainsFunc(ports, func(p *yaml.Node) bool { return !needed(p) })
			collectors := len(peers) > 0 && !slices.ContainsFunc(peers, func(p *yaml.Node) bool {
				pods := nodes.At(p, "podSelector")
				return labelSelects(pods, nil) || !labelSelects(pods, map[string]string{contract.LabelCollector: contract.CollectorName})
			})
			return !minor && !collectors
		}) {
			names = append(names, o.Ref().String())
		}
	}
	return names
}

// ownReplayPolicy reports whether a NetworkPolicy belongs to a replay. It must select one part by
// exactly the two labels, and have only rules in a form that a render writes. Its peers and ports depend
// on settings that are no longer known, so any are accepted.
func ownReplayPolicy(o *Object) bool {
	base, part, own := ownOfReplay(o, contract.PartCopy, contract.PartResponder, contract.PartGenerator)
	r := &replay{name: base}
	spec := nodes.At(o.Node, "spec")
	written := partPolicy{part: part}
	if n := nodes.At(spec, "ingress"); n != nil {
		written.ingress = append([]*yaml.Node{}, n.Content...)
	}
	if n := nodes.At(spec, "egress"); n != nil {
		written.egress = append([]*yaml.Node{}, n.Content...)
	}
	for _, rule := range written.ingress {
		own = own && (same(nodes.At(rule, "from"), nodes.Sequence(blocks(ambientProbes)...)) || len(nodes.Items(nodes.At(rule, "ports"))) > 0 &&
			slices.ContainsFunc([]string{contract.PartCopy, contract.PartGenerator}, func(caller string) bool {
				return same(nodes.At(rule, "from"), nodes.Sequence(podPeer(r.labels(caller), "")))
			}))
	}
	for i, rule := range written.egress {
		own = own && len(nodes.Items(nodes.At(rule, "ports"))) > 0 && (i >= len(common()) || same(rule, common()[i]))
	}
	return own && same(spec, written.spec(r))
}
