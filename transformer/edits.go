package transformer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

// The table of edits lists every place that a render edits in an object of the
// input, and what it writes there. An undo record is foreign input: whoever
// writes a chart may write a record, labels and containers. So a record is never
// trusted. It can only invert an edit that the table names, and only where the
// value that stands there now is one that a render writes.

// place is one row of the table.
type place struct {
	// of is the group and kind of the object, podKinds for a path below a pod
	// template, or anyKind.
	of string
	// path leads to the place; `*` stands for an item of a list.
	path string
	// filled tells that a render may have made this map or list, or filled an
	// empty one.
	filled bool
	// added tells whether the key or item that stands at the site is one that a
	// render adds here.
	added func(t *taking, s site) (bool, error)
	// was tells whether a render replaced old, or the pair old, by the value that
	// stands at the site.
	was  func(t *taking, s site, old *yaml.Node) (bool, error)
	pair func(t *taking, s site, key, old *yaml.Node) (bool, error)
}

// The functions of a place return true for an edit to invert, false for a value
// that others changed since the render, and an error for what no render does.

const (
	podKinds = "pods"
	anyKind  = "*"
)

// places is the table of edits.
var places = []place{
	{of: anyKind, path: "metadata.annotations", filled: true},

	{of: podKinds, path: "metadata", filled: true},
	{of: podKinds, path: "metadata.labels", filled: true, added: addedLabel},
	{of: podKinds, path: pathKey("metadata.labels", contract.LabelInjected), was: replacedLabel},
	{of: podKinds, path: pathKey("metadata.labels", contract.LabelWorkload), was: replacedLabel},
	{of: podKinds, path: "metadata.annotations", filled: true, added: addedPodAnnotation},
	{of: podKinds, path: pathKey("metadata.annotations", excludeInboundPorts), was: replacedPorts},
	{of: podKinds, path: pathKey("metadata.annotations", includeInboundPorts), was: replacedPorts},
	{of: podKinds, path: "spec.containers", added: addedSidecar},
	{of: podKinds, path: "spec.containers.*.env", filled: true, added: addedVariable},
	{of: podKinds, path: "spec.containers.*.env.*", added: addedValue},
	{of: podKinds, path: "spec.containers.*.env.*.value", was: replacedVariable, pair: replacedReference},
	{of: podKinds, path: "spec.containers.*.volumeMounts", filled: true, added: addedMount},
	{of: podKinds, path: "spec.initContainers", filled: true, added: addedSidecar},
	{of: podKinds, path: "spec.volumes", filled: true, added: addedVolume},

	{of: "/Service", path: "spec.ports.*", added: addedTargetPort},
	{of: "/Service", path: "spec.ports.*.targetPort", was: replacedTargetPort},
	{of: istioGroup + "/ServiceEntry", path: "spec.ports.*", added: addedTargetPort},
	{of: istioGroup + "/ServiceEntry", path: "spec.ports.*.targetPort", was: replacedTargetPort},

	{of: "networking.k8s.io/NetworkPolicy", path: "spec.ingress.*.ports", added: addedPolicyPort},
	{of: "networking.k8s.io/NetworkPolicy", path: "spec.egress.*.ports", added: addedPolicyPort},
	{of: "security.istio.io/PeerAuthentication", path: "spec.portLevelMtls", added: addedPortMode},
	{of: "security.istio.io/AuthorizationPolicy", path: "spec.rules.*.to.*.operation.ports", added: addedPortText},
	{of: "security.istio.io/AuthorizationPolicy", path: "spec.rules.*.to.*.operation.notPorts", added: addedPortText},
	{of: "security.istio.io/AuthorizationPolicy", path: "spec.rules.*.when.*.values", added: addedPortText},
	{of: "security.istio.io/AuthorizationPolicy", path: "spec.rules.*.when.*.notValues", added: addedPortText},

	{of: istioGroup + "/Sidecar", path: "spec.ingress", filled: true, added: addedListener},
	{of: istioGroup + "/Sidecar", path: "spec.ingress.*", added: addedEndpoint},
	{of: istioGroup + "/Sidecar", path: "spec.ingress.*.defaultEndpoint", was: replacedEndpoint},
	{of: istioGroup + "/Sidecar", path: "spec.egress", added: addedEgress},
	{of: istioGroup + "/Sidecar", path: "spec.egress.*.hosts", added: addedEgressHost},

	{of: istioGroup + "/VirtualService", path: "spec.hosts", filled: true, added: addedRoute},
	{of: istioGroup + "/VirtualService", path: "spec.gateways", added: addedRoute},
	{of: gatewayGroup + "/HTTPRoute", path: "spec.parentRefs", filled: true, added: addedParent},
	{of: gatewayGroup + "/GRPCRoute", path: "spec.parentRefs", filled: true, added: addedParent},
}

var (
	errNotWritten  = errors.New("no render writes that")
	errNotRendered = errors.New("no workload of the input has the sidecar that this edit would be for; take both back together")
)

// --- pods

// addedLabel needs no look at the value: both keys are Tapedeck's own.
func addedLabel(t *taking, s site) (bool, error) {
	if s.id != contract.LabelInjected && s.id != contract.LabelWorkload {
		return false, fmt.Errorf("%w; allowed: %s and %s", errNotWritten, contract.LabelInjected, contract.LabelWorkload)
	}
	return s.now.Kind == yaml.ScalarNode, nil
}

var labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)

func replacedLabel(_ *taking, s site, old *yaml.Node) (bool, error) {
	if old.Kind != yaml.ScalarNode || !labelValue.MatchString(str(old)) {
		return false, errors.New("it restores what is no label's value")
	}
	return s.now.Kind == yaml.ScalarNode, nil
}

func addedPodAnnotation(t *taking, s site) (bool, error) {
	switch value := str(s.now); {
	case slices.Contains(defaultContainers, s.id):
		return slices.ContainsFunc(t.own.w.appContainers(), func(c container) bool { return c.name() == value }), nil
	case s.id == scrapePrefix+"scrape":
		return value == "true", nil
	case s.id == scrapePrefix+"path":
		return value == "/metrics", nil
	case s.id == scrapePrefix+"port":
		return value != "" && value == t.own.value(contract.EnvPrometheusPort), nil
	}
	return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(slices.Concat(defaultContainers, scrapeKeys)))
}

// replacedPorts inverts the appending of the sidecar's port to a list of ports.
func replacedPorts(t *taking, s site, old *yaml.Node) (bool, error) {
	if old.Kind != yaml.ScalarNode || !slices.Contains(splitList(str(old)), t.own.value(contract.EnvReverseProxyPort)) {
		return false, errors.New("it restores a list without the application's port")
	}
	return str(s.now) == str(old)+","+t.own.value(contract.EnvProxyInPort), nil
}

func addedSidecar(_ *taking, s site) (bool, error) {
	if s.id != contract.Container {
		return false, fmt.Errorf("%w; allowed: the sidecar's container, %s", errNotWritten, contract.Container)
	}
	return sidecarVariables(s.now) != nil, nil
}

// sidecarVolumeNames lists the volumes that a render adds, and the type of each.
var sidecarVolumeNames = map[string]string{
	contract.RecordingVolume:  "emptyDir",
	contract.TrustVolume:      "emptyDir",
	contract.CAVolume:         "secret",
	contract.UpstreamCAVolume: "secret",
	contract.TLSInVolume:      "secret",
	contract.TLSMutualVolume:  "secret",
}

func addedVolume(_ *taking, s site) (bool, error) {
	kind := sidecarVolumeNames[s.id]
	if kind == "" {
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(sortedKeys(sidecarVolumeNames)))
	}
	return strAt(s.now, "name") == s.id && onlyKeys(s.now, "name", kind), nil
}

func addedMount(_ *taking, s site) (bool, error) {
	if s.id != contract.TrustDir && !slices.Contains(systemBundles, s.id) {
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(append([]string{contract.TrustDir}, systemBundles...)))
	}
	return strAt(s.now, "name") == contract.TrustVolume && strAt(s.now, "mountPath") == s.id, nil
}

// --- Services

// addedTargetPort inverts the addition of a targetPort: without one, a port leads
// to the pod's port of the same number.
func addedTargetPort(t *taking, s site) (bool, error) {
	if s.id != "targetPort" {
		return false, fmt.Errorf("%w; allowed: targetPort", errNotWritten)
	}
	return t.leadsBack(s.now, s.holder, func(i *injected) bool { return t.portOf(s.holder) == i.port(contract.EnvReverseProxyPort) })
}

func replacedTargetPort(t *taking, s site, old *yaml.Node) (bool, error) {
	if old.Kind != yaml.ScalarNode {
		return false, errors.New("it restores what is no port")
	}
	return t.leadsBack(s.now, s.holder, func(i *injected) bool {
		port := number(old)
		switch {
		case isNull(old) || str(old) == "0":
			port = t.portOf(s.holder)
		case port == 0:
			port = i.w.portNumber(str(old))
		}
		return port == i.port(contract.EnvReverseProxyPort)
	})
}

func (t *taking) portOf(port *yaml.Node) int {
	if t.o.kind() == "ServiceEntry" {
		return number(field(port, "number"))
	}
	return number(field(port, "port"))
}

// leadsBack tells whether a Service's port leads to the sidecar of a workload that
// the Service selects, and would lead to its application again.
func (t *taking) leadsBack(now, port *yaml.Node, application func(*injected) bool) (bool, error) {
	s := asService(t.o)
	if s == nil {
		return false, errNotRendered
	}
	known, changed := false, true
	for _, i := range t.all {
		if i.w.namespace() != s.namespace() || !selects(s.selector, i.w.podLabels()) || !i.inbound() {
			continue
		}
		known = true
		if number(now) != i.port(contract.EnvProxyInPort) {
			continue
		}
		if changed = false; application(i) {
			return true, nil
		}
	}
	switch {
	case !known:
		return false, errNotRendered
	case changed:
		return false, nil
	}
	return false, errors.New("it restores a port that is not the application's")
}

// --- policies

// follows tells whether a port is that of a sidecar whose application satisfies
// a condition, as it does where the sidecar's port followed the application's.
func (t *taking) follows(port int, condition func(*injected) bool) error {
	for _, i := range t.all {
		if i.inbound() && port == i.port(contract.EnvProxyInPort) && condition(i) {
			return nil
		}
	}
	return errNotRendered
}

func addedPolicyPort(t *taking, s site) (bool, error) {
	if !same(s.now, mapping("protocol", "TCP", "port", number(field(s.now, "port")))) {
		return false, nil
	}
	err := t.follows(number(field(s.now, "port")), func(i *injected) bool { return i.w.portAmong(s.others(), i.port(contract.EnvReverseProxyPort)) })
	return err == nil, err
}

func addedPortMode(t *taking, s site) (bool, error) {
	changed := false
	err := t.follows(atoi(s.id), func(i *injected) bool {
		mode := field(s.holder, i.value(contract.EnvReverseProxyPort))
		changed = mode != nil && !same(mode, s.now)
		return mode != nil
	})
	return err == nil && !changed, err
}

func addedPortText(t *taking, s site) (bool, error) {
	if key, ok := s.sibling("key"); ok && key != "destination.port" {
		return false, fmt.Errorf("%w for %s; allowed: destination.port", errNotWritten, key)
	}
	err := t.follows(number(s.now), func(i *injected) bool {
		return slices.ContainsFunc(items(s.others()), func(n *yaml.Node) bool { return str(n) == i.value(contract.EnvReverseProxyPort) })
	})
	return err == nil, err
}

// --- Istio Sidecars

// listens returns the injected workloads whose pods an Istio Sidecar selects.
func (t *taking) listens() []*injected {
	return slices.DeleteFunc(slices.Clone(t.all), func(i *injected) bool {
		labels := strMap(field(t.o.Node, "spec", "workloadSelector", "labels"))
		return !i.inbound() || !hasSelector(t.o) || i.w.namespace() != t.o.namespace() || !selects(labels, i.w.podLabels())
	})
}

// endpointOf returns the injected workload whose sidecar an endpoint is.
func (t *taking) endpointOf(endpoint string) (*injected, error) {
	listening := t.listens()
	if len(listening) == 0 {
		return nil, errNotRendered
	}
	for _, i := range listening {
		if endpoint == "127.0.0.1:"+i.value(contract.EnvProxyInPort) {
			return i, nil
		}
	}
	return nil, nil
}

func addedListener(t *taking, s site) (bool, error) {
	endpoint := strAt(s.now, "defaultEndpoint")
	to, err := t.endpointOf(endpoint)
	_, made := t.log.Was["spec.ingress"] // then all listeners are the render's
	if err != nil {
		return false, err
	}
	generated := onlyKeys(s.now, "port", "defaultEndpoint", "connectionPool") && onlyKeys(field(s.now, "port"), "number", "protocol", "name") &&
		strings.HasSuffix(strAt(s.now, "port", "name"), "-"+s.id)
	return generated && (to != nil || endpoint == "" && made), nil
}

func addedEndpoint(t *taking, s site) (bool, error) {
	if s.id != "defaultEndpoint" {
		return false, fmt.Errorf("%w; allowed: defaultEndpoint", errNotWritten)
	}
	to, err := t.endpointOf(str(s.now))
	return to != nil, err
}

func replacedEndpoint(t *taking, s site, old *yaml.Node) (bool, error) {
	to, err := t.endpointOf(str(s.now))
	if to == nil {
		return false, err
	}
	if old.Kind != yaml.ScalarNode || !leadsTo(mapping("defaultEndpoint", old), to.port(contract.EnvReverseProxyPort)) {
		return false, errors.New("it restores an endpoint that is not the application's")
	}
	return true, nil
}

var wholeNamespace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?/\*$`)

func addedEgressHost(t *taking, s site) (bool, error) {
	switch {
	case !wholeNamespace.MatchString(s.id):
		return false, fmt.Errorf("%w; allowed: a namespace's hosts, NAMESPACE/*", errNotWritten)
	case len(t.listens()) == 0:
		return false, errNotRendered
	}
	return str(s.now) == s.id, nil
}

func addedEgress(t *taking, s site) (bool, error) {
	ok, err := addedEgressHost(t, site{id: s.id, now: node(s.id)})
	return ok && same(s.now, mapping("hosts", []string{s.id})), err
}

// --- routes

// routed returns the Services of injected workloads to which an object routes.
func (t *taking) routed() []*service {
	var out []*service
	for _, k := range routeKinds {
		if !t.o.is(k.group, k.kind) {
			continue
		}
		backends := k.backends(t.in, t.o)
		for _, i := range t.all {
			for _, s := range t.in.servicesOf(i.w) {
				if i.inbound() && slices.ContainsFunc(backends, s.isNamed) {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

func addedRoute(t *taking, s site) (bool, error) {
	services := t.routed()
	if len(services) == 0 {
		return false, errNotRendered
	}
	var hosts []string
	for _, svc := range services {
		hosts = append(hosts, svc.host())
	}
	if s.last() == "gateways" {
		hosts = []string{meshGateway}
	}
	if !slices.Contains(hosts, s.id) {
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(hosts))
	}
	return str(s.now) == s.id, nil
}

func addedParent(t *taking, s site) (bool, error) {
	services := t.routed()
	if !slices.ContainsFunc(services, func(svc *service) bool { return svc.name() == s.id }) {
		return false, errNotRendered
	}
	return same(s.now, mapping("group", "", "kind", "Service", "name", s.id)), nil
}

// --- helpers

// onlyKeys tells whether a mapping has no keys but those given.
func onlyKeys(n *yaml.Node, keys ...string) bool {
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		if !slices.Contains(keys, n.Content[i].Value) {
			return false
		}
	}
	return n != nil && n.Kind == yaml.MappingNode
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
