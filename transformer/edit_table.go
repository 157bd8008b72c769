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
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// The table of edits lists every place in an object of the input that a render edits, and what it
// writes there. An undo record is foreign input: the author of a chart may also write a record, labels
// and containers. So an undo never trusts a record. It only inverts an edit that the table lists, and
// only if the present value is one that a render writes.

// place is one row of the table.
type place struct {
	// of is the group and kind of the object. podKinds means a path below a pod template,
	// workloadItself a path in an object with pods, and anyKind any object.
	of string
	// path leads to the place. `*` matches any item of a list.
	path string
	// filled reports whether a render may have created this map or list, or filled an empty one.
	filled bool
	// added reports whether the key or item at the site is one that a render adds here.
	added func(t *taking, s site) (bool, error)
	// was and pair report whether a render replaced old, or the pair of key and old, with the value at
	// the site.
	was  func(t *taking, s site, old *yaml.Node) (bool, error)
	pair func(t *taking, s site, key, old *yaml.Node) (bool, error)
}

// The functions of a place return true for an edit to invert, false for a value that others changed
// after the render, and an error for something no render does.

const (
	podKinds       = "pods"
	workloadItself = "workload"
	anyKind        = "*"
)

// places is the table of edits.
var places = []place{
	{of: anyKind, path: "metadata.annotations", filled: true},

	{of: podKinds, path: "metadata", filled: true},
	{of: podKinds, path: "metadata.labels", filled: true, added: addedLabel},
	{of: podKinds, path: pathKey("metadata.labels", contract.LabelInjected), was: replacedLabel},
	{of: podKinds, path: pathKey("metadata.labels", contract.LabelWorkload), was: replacedLabel},
	{of: podKinds, path: pathKey("metadata.labels", contract.LabelReplay), was: replacedLabel},
	{of: podKinds, path: pathKey("metadata.labels", contract.LabelReplayPart), was: replacedLabel},
	{of: podKinds, path: "metadata.annotations", filled: true, added: addedPodAnnotation},
	{of: podKinds, path: pathKey("metadata.annotations", excludeInboundPorts), was: replacedPorts},
	{of: podKinds, path: pathKey("metadata.annotations", includeInboundPorts), was: replacedPorts},
	{of: podKinds, path: "spec.containers", added: addedSidecar},
	{of: podKinds, path: "spec.containers.*.env", filled: true, added: addedVariable},
	{of: podKinds, path: "spec.containers.*.env.*", added: addedValue},
	{of: podKinds, path: "spec.containers.*.env.*.value", was: replacedVariable, pair: replacedReference},
	{of: podKinds, path: "spec.containers.*.volumeMounts", filled: true, added: addedMount},
	{of: podKinds, path: "spec.initContainers", filled: true, added: addedSidecar},
	{of: podKinds, path: "spec.initContainers.*.env", filled: true, added: addedVariable},
	{of: podKinds, path: "spec.initContainers.*.volumeMounts", filled: true, added: addedMount},
	{of: podKinds, path: "spec.volumes", filled: true, added: addedVolume},
	{of: podKinds, path: "spec.securityContext", filled: true},
	{of: podKinds, path: "spec.securityContext.sysctls", filled: true, added: addedSysctl},
	{of: podKinds, path: "spec.securityContext.sysctls.*.value", was: replacedSysctl},

	{of: workloadItself, path: "metadata.annotations", added: addedIgnore},
	{of: "batch/CronJob", path: "spec.jobTemplate.metadata.annotations", added: addedIgnore},

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
	errNotWritten  = errors.New("no render writes this")
	errNotAsked    = errors.New("the render that wrote this sidecar did not add it")
	errOwn         = errors.New("the application had it before the render")
	errNotRendered = errors.New("no workload in the input has the sidecar that this edit belongs to; undo both together")
)

// podMarks are the labels that a render adds to pods.
var podMarks = []string{contract.LabelInjected, contract.LabelWorkload, contract.LabelReplay, contract.LabelReplayPart}

// addedLabel accepts most values without a check, because all these keys belong to Tapedeck.
func addedLabel(_ *taking, s site) (bool, error) {
	if !slices.Contains(podMarks, s.id) {
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(podMarks))
	}
	return isMark(s), nil
}

// isMark reports whether a label has a value that a render writes, as far as that is known: a
// kustomization may have changed the workload's name since.
func isMark(s site) bool {
	switch s.id {
	case contract.LabelReplay:
		return replayBase.MatchString(nodes.String(s.now))
	case contract.LabelReplayPart:
		return nodes.String(s.now) == contract.PartCopy
	}
	return s.now.Kind == yaml.ScalarNode
}

var labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)

func replacedLabel(_ *taking, s site, old *yaml.Node) (bool, error) {
	if old.Kind != yaml.ScalarNode || !labelValue.MatchString(nodes.String(old)) {
		return false, errors.New("it restores a value that is not a label value")
	}
	return isMark(s), nil
}

func addedPodAnnotation(t *taking, s site) (bool, error) {
	switch value := nodes.String(s.now); {
	case s.id == contract.AnnotationIgnore:
		return addedIgnore(t, s)
	case !slices.Contains(slices.Concat(defaultContainers, scrapeKeys), s.id):
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(slices.Concat(defaultContainers, scrapeKeys)))
	case t.own.had("", s.id):
		return false, errOwn
	case slices.Contains(defaultContainers, s.id) && isClassic(t.own.sidecar.Node):
		return slices.ContainsFunc(t.own.w.appContainers(), func(c container) bool { return c.name() == value }), nil
	case !t.own.scraped():
		return false, errNotAsked
	case s.id == scrapePrefix+"scrape":
		return value == "true", nil
	case s.id == scrapePrefix+"path":
		return value == "/metrics", nil
	default: // the port
		return value == t.own.value(contract.EnvPrometheusPort), nil
	}
}

// addedIgnore inverts what the option operator makes a render write. The sidecar records that the
// render did so, so an undo never removes such an annotation of somebody else.
func addedIgnore(t *taking, s site) (bool, error) {
	if s.id != contract.AnnotationIgnore || t.own == nil || !t.own.hidden() {
		return false, errNotWritten
	}
	return nodes.String(s.now) == "true", nil
}

// replacedPorts inverts the addition of the sidecar's ports to a list of ports.
func replacedPorts(t *taking, s site, old *yaml.Node) (bool, error) {
	listed := splitList(nodes.String(old))
	routes := among(t.own.routes, func(app int) bool { return slices.Contains(listed, strconv.Itoa(app)) })
	if old.Kind != yaml.ScalarNode || len(routes) == 0 {
		return false, errors.New("it restores a list without the application's port")
	}
	added, ok := strings.CutPrefix(nodes.String(s.now), nodes.String(old)+",")
	for port := range strings.SplitSeq(added, ",") {
		ok = ok && slices.ContainsFunc(routes, func(r contract.InRoute) bool { return strconv.Itoa(r.In) == port })
	}
	return ok, nil
}

func addedSidecar(_ *taking, s site) (bool, error) {
	switch s.id {
	case contract.Container:
		return sidecarVariables(s.now) != nil, nil
	case contract.HostsContainer:
		return addedHosts(s.now), nil
	}
	return false, fmt.Errorf("%w; allowed: the sidecar's containers, %s and %s", errNotWritten, contract.Container, contract.HostsContainer)
}

// sidecarVolumeNames maps the volumes that a render adds to their types.
var sidecarVolumeNames = map[string]string{
	contract.RecordingVolume:  "emptyDir",
	contract.TrustVolume:      "emptyDir",
	contract.CAVolume:         "secret",
	contract.UpstreamCAVolume: "secret",
	contract.TLSInVolume:      "secret",
	contract.TLSMutualVolume:  "secret",
	contract.CaptureVolume:    "configMap",
	contract.RedactKeyVolume:  "secret",
	contract.SinkTokenVolume:  "secret",
}

func addedVolume(_ *taking, s site) (bool, error) {
	kind := sidecarVolumeNames[s.id]
	if kind == "" {
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(sortedKeys(sidecarVolumeNames)))
	}
	return nodes.StringAt(s.now, "name") == s.id && onlyKeys(s.now, "name", kind), nil
}

func addedMount(_ *taking, s site) (bool, error) {
	if places := append([]string{contract.TrustDir, contract.SystemHosts}, systemBundles...); !slices.Contains(places, s.id) {
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, oneOf(places))
	}
	return nodes.StringAt(s.now, "name") == contract.TrustVolume && nodes.StringAt(s.now, "mountPath") == s.id, nil
}

// onlyKeys reports whether a mapping has no keys other than those given.
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
