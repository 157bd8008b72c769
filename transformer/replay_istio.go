package transformer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	selection "istio.io/api/type/v1beta1"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// In a mesh, a replay also has these objects:
//
// AuthorizationPolicy   copy ◀── the generator's principal; responder ◀── the copy's, and the generator's
// Sidecar               the copy reaches only its responder and the collector, even if the network plugin enforces no policy
// ServiceEntry          the hosts of the place, under REGISTRY_ONLY
//
// The render writes no ServiceEntry for hosts to which the responder passes calls on. The original
// calls these hosts, so the mesh already allows the calls. An entry in the same namespace would also
// apply to the original's calls, and replace the existing entry for them.

const securityGroup = "security.istio.io"

// replayIstio builds the Istio objects that let the parts of a replay reach each other.
func (in *input) replayIstio(r *replay) ([]*Object, Results) {
	var objects []*Object
	var results Results
	for _, build := range []func(*replay) ([]*Object, Results){in.authorizations, in.replaySidecars, in.placeEntries} {
		more, found := build(r)
		objects, results = append(objects, more...), append(results, found...)
	}
	return objects, append(results, in.checkMesh(r)...)
}

// checkMesh reports if nothing in the input says whether the pods of a replay are in a mesh. For a
// captured workload, the option inbound says so.
func (in *input) checkMesh(r *replay) Results {
	w := cmp.Or(r.copied, in.parts(r)[contract.PartGenerator])
	if w == nil || in.cfg.Inbound != inboundSidecar || in.inMesh(w) || w.proxyless() || in.namespaceOf(w.Object) != nil {
		return nil
	}
	if path, _ := in.outOfMesh(w); path != "" {
		return nil
	}
	return Results{r.result(CodeReplayMesh, "the Namespace of the replay is not in the input, so nothing says whether its pods are in a mesh, and no AuthorizationPolicy, ServiceEntry or Sidecar was written; with Istio, render the Namespace together with the workload")}
}

// parts returns the parts of a replay that have pods, each with those pods. For a generator and a
// responder it knows only the labels, which are what a mesh selects by.
func (in *input) parts(r *replay) map[string]*workload {
	pods := func(part string) *workload {
		o := r.object(part, "v1", "Pod", r.policyName(part), nil)
		metadata := nodes.Mapping("labels", r.podLabels(part))
		if r.w != nil && r.w.podAnnotation(meshLabel) != "" {
			nodes.Set(metadata, "annotations", nodes.Mapping(meshLabel, r.w.podAnnotation(meshLabel)))
		}
		return &workload{Object: o, template: nodes.Mapping("metadata", metadata)}
	}
	out := map[string]*workload{}
	if r.copied != nil {
		out[contract.PartCopy] = r.copied
	}
	if r.responds() {
		out[contract.PartResponder] = pods(contract.PartResponder)
	}
	if r.generates() {
		out[contract.PartGenerator] = pods(contract.PartGenerator)
	}
	return out
}

// inMesh reports whether, according to the input, pods are in a mesh. hasEnvoy reports whether they also
// have their own Envoy.
func (in *input) inMesh(w *workload) bool {
	if in.ambient(w) != "" {
		return true
	}
	path, _ := in.outOfMesh(w)
	return path == "" && !w.proxyless() && in.meshed(w)
}

func (in *input) hasEnvoy(w *workload) bool { return in.inMesh(w) && in.ambient(w) == "" }

// authorizations builds the AuthorizationPolicies of a replay.
func (in *input) authorizations(r *replay) ([]*Object, Results) {
	parts, results := in.parts(r), Results(nil)
	if r.copied == nil || !in.inMesh(r.copied) {
		return nil, nil
	}
	say := func(code Code, message string, args ...any) {
		results = append(results, r.result(code, message, args...))
	}
	var objects []*Object
	var shared []string // service accounts
	admit := func(part string, callers ...*security.Rule) {
		if off := in.plaintext(r, parts[part]); off != nil {
			say(CodeReplayIdentity, "because of %s, callers reach pods of the replay without mutual TLS. An AuthorizationPolicy can't identify the callers of the %s, so the render wrote none", off.Ref(), part)
			return
		}
		spec := istioNode(&security.AuthorizationPolicy{Selector: &selection.WorkloadSelector{MatchLabels: r.labels(part)}, Rules: callers})
		objects = append(objects, r.object(part, securityGroup+"/"+in.securityVersion(), "AuthorizationPolicy", r.policyName(part), spec))
	}
	ours, theirs := cmp.Or(in.cfg.ReplayServiceAccount, defaultAccount), account(r.copied)
	if r.generates() && !r.InPlace {
		admit(contract.PartCopy, in.caller(r, ours, r.copied))
	}
	if r.responds() {
		rules := []*security.Rule{in.caller(r, theirs, parts[contract.PartResponder], contract.ResponderPort, contract.ResponderAdminPort)}
		if r.generates() {
			rules = append(rules, in.caller(r, ours, parts[contract.PartResponder], contract.ResponderAdminPort))
		}
		admit(contract.PartResponder, rules...)
		if !r.InPlace && r.w != nil && account(r.w) == theirs {
			shared = append(shared, fmt.Sprintf("%s keeps the service account %s of the original, unless the option replayCopyServiceAccount is set", r.copied.id(), theirs))
		}
	}
	if r.generates() && ours == defaultAccount {
		shared = append(shared, "the generator has the default one of the namespace, unless the option replayServiceAccount is set")
	}
	if len(shared) > 0 {
		say(CodeReplayAccount, "AuthorizationPolicies admit every pod of a service account; NetworkPolicies don't: %s", strings.Join(shared, "; "))
	}
	if r.namespace() == "" {
		say(CodeReplayNamespace, "the namespace is unknown. So the policies admit the service account %s of any namespace, and the Sidecar of the copy opens all Services in its namespace, which only the NetworkPolicy blocks; set metadata.namespace before Tapedeck renders", strings.Join(unique([]string{ours, theirs}), " or "))
	}
	return objects, append(results, in.checkAuthorizations(r, parts)...)
}

// defaultAccount is the service account of pods that name none.
const defaultAccount = "default"

// account returns the service account of a workload's pods.
func account(w *workload) string {
	return cmp.Or(nodes.StringAt(w.podSpec(), "serviceAccountName"), nodes.StringAt(w.podSpec(), "serviceAccount"), defaultAccount)
}

// caller builds a rule that admits the pods of a service account, to some ports or to all. In a
// policy, cluster.local stands for the mesh's trust domain, whatever its name is
// (https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/). ztunnel does not
// follow that rule (istio/ztunnel#1260).
func (in *input) caller(r *replay, account string, server *workload, ports ...int) *security.Rule {
	principal := "/ns/" + r.namespace() + "/sa/" + account
	switch {
	case r.namespace() == "":
		principal = "*/sa/" + account
	case in.ambient(server) != "":
		principal = "*" + principal
	default:
		principal = "cluster.local" + principal
	}
	return admission(principal, ports)
}

// admission builds a rule that admits a principal, to some ports or to all.
func admission(principal string, ports []int) *security.Rule {
	rule := &security.Rule{From: []*security.Rule_From{{Source: &security.Source{Principals: []string{principal}}}}}
	if len(ports) > 0 {
		operation := &security.Operation{}
		for _, port := range ports {
			operation.Ports = append(operation.Ports, strconv.Itoa(port))
		}
		rule.To = []*security.Rule_To{{Operation: operation}}
	}
	return rule
}

// securityVersion returns the version of security.istio.io to write. Its v1 is as old as the v1 of
// networking.istio.io.
func (in *input) securityVersion() string {
	if in.version == "v1" {
		return "v1"
	}
	return "v1beta1"
}

// plaintext returns the object of the input that lets callers reach pods without mutual TLS, or nil.
// For such calls, Istio does not know a principal.
func (in *input) plaintext(r *replay, w *workload) *Object {
	best, rank := (*Object)(nil), 0
	for _, o := range in.byKind[securityGroup+"/PeerAuthentication"] {
		at := 3
		switch selector := nodes.At(o.Node, "spec", "selector", "matchLabels"); {
		case selector == nil && o.namespace() != w.namespace():
			at = 1
		case selector == nil:
			at = 2
		}
		mode := nodes.StringAt(o.Node, "spec", "mtls", "mode")
		if at > rank && mode != "" && mode != "UNSET" && istioPolicySelects(w, o) {
			best, rank = o, at
		}
	}
	if best != nil && nodes.StringAt(best.Node, "spec", "mtls", "mode") == "DISABLE" {
		return best
	}
	host := w.name() + "." + r.namespace() + ".svc.cluster.local"
	for _, o := range in.byKind[istioGroup+"/DestinationRule"] {
		pattern, wildcard := strings.CutPrefix(nodes.StringAt(o.Node, "spec", "host"), "*")
		mode := nodes.StringAt(o.Node, "spec", "trafficPolicy", "tls", "mode")
		if wildcard && strings.HasSuffix(host, pattern) && mode != "" && mode != "ISTIO_MUTUAL" && (o.namespace() == w.namespace() || o.namespace() == rootNamespace) {
			return o
		}
	}
	return nil
}

// checkAuthorizations names the other policies of the input that decide who may call the parts of a
// replay. It skips a workload that is replayed to in place, because its policies are intended.
func (in *input) checkAuthorizations(r *replay, parts map[string]*workload) Results {
	var refusing, tokens, admitting []string
	for _, part := range []string{contract.PartCopy, contract.PartResponder} {
		w := parts[part]
		if w == nil || part == contract.PartCopy && r.InPlace {
			continue
		}
		for _, o := range in.byKind[securityGroup+"/AuthorizationPolicy"] {
			switch action := nodes.StringAt(o.Node, "spec", "action"); {
			case !istioPolicySelects(w, o):
			case action == "DENY" || action == "CUSTOM":
				refusing = append(refusing, o.Ref().String())
			case (action == "" || action == "ALLOW") && len(nodes.Items(nodes.At(o.Node, "spec", "rules"))) > 0 && part == contract.PartResponder:
				admitting = append(admitting, o.Ref().String())
			}
		}
		for _, o := range in.byKind[securityGroup+"/RequestAuthentication"] {
			if istioPolicySelects(w, o) && part == contract.PartCopy {
				tokens = append(tokens, o.Ref().String())
			}
		}
	}
	var results Results
	if names := in.tcpRoutes(r); len(names) > 0 {
		results = append(results, r.result(CodeReplayDenied, "%s %s the host of the replay's Service through a wildcard. That Service accepts requests as bytes, so the tcp or tls routes lead them elsewhere, possibly to production; list hosts without a wildcard", strings.Join(names, " and "), verb(names, "matches", "match")))
	}
	say := func(code Code, names []string, message string) {
		if names = unique(names); len(names) > 0 {
			results = append(results, r.result(code, "%s also %s the replay's pods: %s", strings.Join(names, " and "), verb(names, "selects", "select"), message))
		}
	}
	say(CodeReplayDenied, refusing, "such a policy overrides policies that allow, and may reject the recorded requests")
	say(CodeReplayDenied, tokens, "recorded tokens have expired or are redacted, and Envoy rejects requests with such a token; exclude the pods with the label "+contract.LabelReplay+", or have the generator send no Authorization header")
	say(CodeReplayIngressOpen, admitting, "policies that allow add up, so others may call the responder, which serves recorded data")
	return results
}

// tcpRoutes names the VirtualServices of the input whose TCP or TLS routes apply to the Services of a
// replay.
func (in *input) tcpRoutes(r *replay) []string {
	var names []string
	for _, name := range []string{r.name, r.responderName()} {
		s := &service{Object: r.object(contract.PartCopy, "v1", "Service", name, nil)}
		for _, o := range in.byKind[istioGroup+"/VirtualService"] {
			if spec := nodes.At(o.Node, "spec"); vsInside(o, s) && len(nodes.Items(nodes.At(spec, "tcp")))+len(nodes.Items(nodes.At(spec, "tls"))) > 0 {
				names = append(names, o.Ref().String())
			}
		}
	}
	return unique(names)
}

// useWaypoint is the label that sends the calls of a Service through a waypoint of an ambient mesh:
// https://istio.io/latest/docs/ambient/usage/waypoint/.
const useWaypoint = "istio.io/use-waypoint"

// pastWaypoint makes a Service of a replay bypass a waypoint that its namespace may have. After a
// waypoint, every call has the waypoint's address and principal, so no policy could distinguish a copy's
// calls to its responder from its other calls.
func (in *input) pastWaypoint(r *replay, service *Object) *Object {
	if r.w != nil && in.ambient(r.w) != "" {
		nodes.Set(nodes.At(service.Node, "metadata", "labels"), useWaypoint, nodes.New("none"))
	}
	return service
}

// replaySidecars builds the Sidecars of the parts that have an Envoy. If the copy has a Sidecar that
// routes inbound calls to Tapedeck's sidecar, that one already has these settings. The other parts get a
// Sidecar only if the namespace's Sidecar would block calls that they need.
func (in *input) replaySidecars(r *replay) ([]*Object, Results) {
	var objects []*Object
	var results Results
	parts := in.parts(r)
	for _, part := range []string{contract.PartCopy, contract.PartResponder, contract.PartGenerator} {
		w := parts[part]
		if w == nil || !in.hasEnvoy(w) {
			continue
		}
		namespaces := in.namespacesFor(r, part)
		if part == contract.PartCopy && (!r.responds() || r.copied.injecting && r.copied.settings.inbound() && in.cfg.Inbound == inboundSidecar) {
			continue
		}
		if selecting := in.sidecarsSelecting(w); len(selecting) > 0 { // a second one would be ignored
			results = append(results, in.checkSelecting(r, part, selecting[0])...)
			continue
		}
		selector := istioNode(&networking.Sidecar{WorkloadSelector: &networking.WorkloadSelector{Labels: r.labels(part)}})
		if part == contract.PartCopy {
			in.confine(selector, r)
		} else if !in.openSidecar(selector, w, namespaces) {
			continue
		}
		objects = append(objects, r.object(part, istioGroup+"/"+in.version, "Sidecar", r.policyName(part), selector))
	}
	return objects, results
}

// checkSelecting reports a Sidecar of the input that selects the pods of a part and blocks calls that
// they need.
func (in *input) checkSelecting(r *replay, part string, sidecar *Object) Results {
	lacking := missingFrom(nodes.At(sidecar.Node, "spec", "egress"), in.namespacesFor(r, part), r.namespace())
	if len(lacking) == 0 {
		return nil
	}
	return Results{r.result(CodeReplayEgressClosed, "%s selects the pods of the replay's %s, and its egress lacks %s, which they need; add that", sidecar.Ref(), part, strings.Join(lacking, " and "))}
}

// namespacesFor returns the namespaces that a part calls into.
func (in *input) namespacesFor(r *replay, part string) []string {
	out := []string{r.namespace()}
	add := func(d destination) {
		if d.service != "" { // it may be a name outside the cluster, but then no namespace is named after its second part
			out = append(out, d.namespaceFor(r.namespace()))
		}
	}
	if place := in.replayBucket(); place != nil && part != contract.PartCopy {
		add(placeDestination(*place))
	}
	switch part {
	case contract.PartCopy:
		if in.sinkOf(r.copied) != nil {
			add(in.sink.destination)
		}
	case contract.PartGenerator:
		for _, d := range r.urlDestinations() {
			add(d)
		}
	case contract.PartResponder:
		for _, d := range in.passthrough(r) {
			add(d)
		}
	}
	return unique(out)
}

// missingFrom returns the entries that an egress list lacks to open the namespaces. It returns none
// for a list that restricts nothing.
func missingFrom(egress *yaml.Node, namespaces []string, own string) []string {
	var lacking []string
	for _, ns := range namespaces {
		if len(nodes.Items(egress)) > 0 && !opens(nodes.Items(egress), ns, own) {
			lacking = append(lacking, egressNamespace(ns, own))
		}
	}
	return lacking
}

// egressNamespace and egressService write a namespace, and a Service in it, as entries of an egress
// list. Entries use full names, so the namespace must be known.
func egressNamespace(namespace, own string) string {
	if namespace == own {
		return "./*"
	}
	return namespace + "/*"
}

func egressService(name, namespace, own string) string {
	if namespace == "" {
		return "./*"
	}
	return strings.TrimSuffix(egressNamespace(namespace, own), "*") + name + "." + namespace + ".svc.cluster.local"
}

// openSidecar completes the spec of a Sidecar for pods that can't reach some namespaces because of the
// namespace's Sidecar. The spec gets the inherited settings and opens those namespaces. It returns false
// if the namespace's Sidecar blocks none of them.
func (in *input) openSidecar(spec *yaml.Node, w *workload, namespaces []string) bool {
	base, _ := in.namespaceSidecar(w)
	inherited := istioNode(&networking.Sidecar{})
	if base != nil {
		inherited = yaml.CopyYNode(nodes.At(base.Node, "spec"))
	} else if len(in.cfg.Egress) > 0 {
		inherited = istioNode(&networking.Sidecar{Egress: []*networking.IstioEgressListener{{Hosts: in.cfg.Egress}}})
	}
	egress := nodes.At(inherited, "egress")
	lacking := missingFrom(egress, namespaces, w.namespace())
	if len(lacking) == 0 {
		return false
	}
	e := newEditor(&Object{Node: spec}) // the object is new, so the editor's record is not used
	for _, namespace := range lacking {
		e.open(egress, namespace)
	}
	for i := 0; i+1 < len(inherited.Content); i += 2 {
		if key := inherited.Content[i].Value; key != "ingress" && key != "workloadSelector" {
			spec.Content = append(spec.Content, inherited.Content[i], inherited.Content[i+1])
		}
	}
	return true
}

// confine limits the egress of the copy's Sidecar to its responder and the collector. Istio's
// namespace is not listed: Envoy reaches istiod without an entry, and a gateway in that namespace
// would lead to production.
func (in *input) confine(spec *yaml.Node, r *replay) {
	hosts := []string{egressService(r.responderName(), r.namespace(), r.namespace())}
	if c := in.sinkOf(r.copied); c != nil && c.service != "" {
		hosts = append(hosts, egressService(c.service, c.namespaceFor(r.namespace()), r.namespace()))
	}
	own := istioNode(&networking.Sidecar{
		OutboundTrafficPolicy: &networking.OutboundTrafficPolicy{Mode: networking.OutboundTrafficPolicy_REGISTRY_ONLY},
		Egress:                []*networking.IstioEgressListener{{Hosts: unique(hosts)}},
	})
	for i := 0; i+1 < len(own.Content); i += 2 {
		nodes.Set(spec, own.Content[i].Value, own.Content[i+1])
	}
}

// placeEntries builds the ServiceEntries for those hosts of the place that the input does not open.
func (in *input) placeEntries(r *replay) ([]*Object, Results) {
	place, parts := in.replayBucket(), in.parts(r)
	for _, part := range []string{contract.PartGenerator, contract.PartResponder} {
		w := parts[part]
		if w == nil || place == nil || !in.hasEnvoy(w) {
			continue
		}
		var objects []*Object
		var results Results
		var hosts []string
		for _, x := range PlaceHosts(*place) {
			if in.opened(x, r.namespace()) || place.Scheme == "s3" && x.Name == identityEntry && in.hasRole(r) {
				continue
			}
			objects = append(objects, r.object(part, istioGroup+"/"+in.version, "ServiceEntry", r.policyName(part)+"-"+x.Name, istioNode(x.spec())))
			if host := x.Hosts[0]; strings.HasPrefix(host, "*.") {
				wide := r.result(CodeReplayPlaceOpen, "the option replayPlace is %s, which does not name its location. So under REGISTRY_ONLY %s is open to every pod in the namespace, including production. To open only the hosts of the place, write %s", place, host, narrower(*place))
				wide.Severity = Warning
				results = append(results, wide)
				continue
			}
			hosts = append(hosts, cmp.Or(strings.Join(x.Addresses, ", "), strings.Join(x.Hosts, ", ")))
		}
		if len(hosts) > 0 {
			results = append(results, r.result(CodeReplayPlaceOpen, "under REGISTRY_ONLY, every pod in the namespace, including production, may call the hosts of the option replayPlace, because a ServiceEntry applies to whole namespaces: %s", strings.Join(hosts, ", ")))
		}
		return objects, results // the entries apply to the whole namespace
	}
	return nil, nil
}

// narrower returns a place with the added setting that names its location.
func narrower(place contract.Place) string {
	setting := "region=REGION"
	if place.Scheme == "azblob" {
		setting = "storage_account=ACCOUNT"
	}
	separator := "?"
	if strings.Contains(place.String(), "?") {
		separator = "&"
	}
	return place.String() + separator + setting
}

// amazonRole is the annotation with which the pods of a service account get their credentials from STS
// instead of from the node:
// https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html.
const amazonRole = "eks.amazonaws.com/role-arn"

// hasRole reports whether the service account of a replay's pods has a role in the input.
func (in *input) hasRole(r *replay) bool {
	o := in.find("", "ServiceAccount", r.namespace(), cmp.Or(in.cfg.ReplayServiceAccount, defaultAccount))
	return o != nil && o.annotation(amazonRole) != ""
}

// opened reports whether ServiceEntries of the input open all hosts of an External to a namespace.
func (in *input) opened(x External, namespace string) bool {
	return !slices.ContainsFunc(x.Hosts, func(host string) bool {
		return !slices.ContainsFunc(in.byKind[istioGroup+"/ServiceEntry"], func(o *Object) bool {
			exported := nodes.Items(nodes.At(o.Node, "spec", "exportTo"))
			visible := len(exported) == 0 || slices.ContainsFunc(exported, func(n *yaml.Node) bool {
				return nodes.String(n) == "*" || nodes.String(n) == namespace || nodes.String(n) == "." && o.namespace() == namespace
			})
			return visible &&
				slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "ports")), func(p *yaml.Node) bool { return nodes.Int(nodes.At(p, "number")) == x.Port }) &&
				slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "hosts")), func(h *yaml.Node) bool {
					suffix, wildcard := strings.CutPrefix(nodes.String(h), "*")
					return nodes.String(h) == host || wildcard && strings.HasSuffix(host, suffix)
				})
		})
	})
}

// ownReplayAuthorization, ownReplaySidecar and ownReplayEntry report whether an Istio object belongs to
// a replay. The first two require a selector that matches one part of a replay and no other pods. The
// first also requires rules in the form that a render writes. The last requires an entry that opens
// hosts to its namespace alone.
func ownReplayAuthorization(o *Object) bool {
	base, part, own := ownOfReplay(o, contract.PartCopy, contract.PartResponder)
	written := &security.AuthorizationPolicy{Selector: &selection.WorkloadSelector{MatchLabels: (&replay{name: base}).labels(part)}}
	for _, rule := range nodes.Items(nodes.At(o.Node, "spec", "rules")) {
		var ports []int
		for _, to := range nodes.Items(nodes.At(rule, "to")) {
			for _, p := range nodes.Items(nodes.At(to, "operation", "ports")) {
				ports = append(ports, nodes.Int(p))
			}
		}
		for _, from := range nodes.Items(nodes.At(rule, "from")) {
			for _, principal := range nodes.Items(nodes.At(from, "source", "principals")) {
				written.Rules = append(written.Rules, admission(nodes.String(principal), ports))
			}
		}
	}
	return own && len(written.Rules) > 0 && same(nodes.At(o.Node, "spec"), istioNode(written))
}

func ownReplaySidecar(o *Object) bool {
	base, part, own := ownOfReplay(o, contract.PartCopy, contract.PartResponder, contract.PartGenerator)
	selector := nodes.At(o.Node, "spec", "workloadSelector")
	return own && onlyKeys(selector, "labels") && isSelector(nodes.At(selector, "labels"), base, part)
}

func ownReplayEntry(o *Object) bool {
	_, _, own := ownOfReplay(o, contract.PartResponder, contract.PartGenerator)
	x := externalOf(nodes.At(o.Node, "spec"))
	x.Private = true
	return own && len(x.Hosts) > 0 && same(nodes.At(o.Node, "spec"), istioNode(x.spec()))
}
