package transformer

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// injected is a workload of the input that has the sidecar, with the sidecar's variables. An undo
// relies on these variables: they say what the render did, and they have values that its record must
// not contain, such as the password of a proxy.
type injected struct {
	w       *workload
	sidecar container
	image   string
	env     map[string]*yaml.Node
	// annotated has the settings from its annotations once they have been read; nil before.
	annotated *Settings
	// routes are the captured ports.
	routes []contract.InRoute
}

// injectedWorkloads returns the workloads that have the sidecar.
func (in *input) injectedWorkloads() []*injected {
	var out []*injected
	for _, w := range in.workloads {
		for _, c := range w.allContainers() {
			if env := sidecarVariables(c.Node); c.name() == contract.Container && env != nil {
				out = append(out, &injected{w: w, sidecar: c, image: nodes.StringAt(c.Node, "image"), env: env, routes: sidecarRoutes(env)})
				break
			}
		}
	}
	return out
}

// sidecarVariables returns the variables of a sidecar's container by name; nil for a container that no
// render wrote.
func sidecarVariables(c *yaml.Node) map[string]*yaml.Node {
	env := map[string]*yaml.Node{}
	for _, item := range nodes.Items(nodes.At(c, "env")) {
		env[nodes.StringAt(item, "name")] = item
	}
	if nodes.StringAt(env[contract.EnvProxyType], "value") == "" {
		return nil
	}
	return env
}

// sidecarRoutes returns the captured ports from a sidecar's variables. It returns several only if all
// variables agree, as a render writes them.
func sidecarRoutes(env map[string]*yaml.Node) []contract.InRoute {
	port := func(name string) int { return atoi(nodes.StringAt(env[name], "value")) }
	first := contract.InRoute{In: port(contract.EnvProxyInPort), App: port(contract.EnvReverseProxyPort)}
	if first.In == 0 {
		return nil
	}
	if routes, err := contract.ParseInRoutes(nodes.StringAt(env[contract.EnvInPorts], "value")); err == nil && routes[0] == first {
		return routes
	}
	return []contract.InRoute{first}
}

func (i *injected) value(name string) string { return nodes.StringAt(i.env[name], "value") }
func (i *injected) port(name string) int     { return atoi(i.value(name)) }
func (i *injected) inbound() bool            { return i.port(contract.EnvProxyInPort) != 0 }

// among returns the routes whose application port satisfies a condition.
func among(routes []contract.InRoute, condition func(app int) bool) (out []contract.InRoute) {
	for _, r := range routes {
		if condition(r.App) {
			out = append(out, r)
		}
	}
	return out
}

// createdKind is one row of the table of objects that a render creates.
type createdKind struct {
	group, kind string
	// named reports whether a render may have given an object its name. A kustomization may have added a
	// prefix and a suffix since.
	named func(name, workload string) bool
	// own reports whether the object has content that a render writes.
	own func(o *Object) bool
}

var createdKinds = []createdKind{
	{istioGroup, "Sidecar", namedForWorkload, ownSidecar},
	{istioGroup, "ServiceEntry", func(name, _ string) bool {
		return slices.ContainsFunc([]string{externalHosts, speedscaleCloudHosts, collectorHost}, func(n string) bool { return strings.Contains(name, n) })
	}, ownServiceEntry},
	{networkingGroup, "NetworkPolicy", namedForWorkload, ownNetworkPolicy},
	{"apps", "Deployment", namedForReplay, ownReplayDeployment},
	{"", "Service", namedForReplay, ownReplayService},
	{"batch", "Job", namedForReplay, ownReplayJob},
	{networkingGroup, "NetworkPolicy", namedForReplay, ownReplayPolicy},
	{securityGroup, "AuthorizationPolicy", namedForReplay, ownReplayAuthorization},
	{istioGroup, "Sidecar", namedForReplay, ownReplaySidecar},
	{istioGroup, "ServiceEntry", namedForReplay, ownReplayEntry},
}

func namedForWorkload(name, workload string) bool {
	return strings.Contains(name, trimName(workload)+sidecarSuffix)
}

// checkCreated says why an object with the annotation of a created object was not created by a render;
// nil if it was.
func checkCreated(o *Object) error {
	kind, workload, _ := strings.Cut(o.annotation(contract.AnnotationFor), "/")
	rows := slices.DeleteFunc(slices.Clone(createdKinds), func(k createdKind) bool { return !o.is(k.group, k.kind) })
	forWorkload := slices.ContainsFunc(workloadKinds, func(k workloadKind) bool { return k.kind == kind }) || kind == trafficReplayKind
	switch {
	case nodes.At(o.Node, "metadata", "annotations", contract.AnnotationUndo) != nil:
		return fmt.Errorf("found %s next to it, which no created object has", contract.AnnotationUndo)
	case len(rows) == 0:
		return fmt.Errorf("found it on a %s of %s, allowed: on a %s that a render created", o.kind(), o.apiVersion(), createdKindNames())
	case !forWorkload || workload == "":
		return fmt.Errorf("found %q, allowed: the kind and name of a workload, or of a TrafficReplay", o.annotation(contract.AnnotationFor))
	}
	if rows = slices.DeleteFunc(rows, func(k createdKind) bool { return !k.named(o.name(), workload) }); len(rows) == 0 {
		return fmt.Errorf("found it on a %s with the name %s, which no render gives to one for that workload", o.kind(), o.name())
	}
	if nodes.StringAt(o.Node, "metadata", "labels", managedBy) != managedByUs || !slices.ContainsFunc(rows, func(k createdKind) bool { return k.own(o) }) {
		return fmt.Errorf("found it on a %s with content that no render writes", o.kind())
	}
	return nil
}

// createdKindNames lists the kinds that a render creates.
func createdKindNames() string {
	var names []string
	for _, k := range createdKinds {
		names = append(names, k.kind)
	}
	return oneOf(unique(names))
}

// ownSidecar reports whether a Sidecar selects by the label that only rewritten pods have, and sends a
// port to the sidecar. Its other fields may come from the namespace's Sidecar.
func ownSidecar(o *Object) bool {
	selector := nodes.At(o.Node, "spec", "workloadSelector")
	labels := nodes.Strings(nodes.At(selector, "labels"))
	return onlyKeys(selector, "labels") && len(labels) == 1 && labels[contract.LabelWorkload] != "" &&
		slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "ingress")), func(entry *yaml.Node) bool {
			port, ok := strings.CutPrefix(nodes.StringAt(entry, "defaultEndpoint"), "127.0.0.1:")
			return ok && checkPort(port) == nil
		})
}

func ownServiceEntry(o *Object) bool {
	x := externalOf(nodes.At(o.Node, "spec"))
	return len(x.Hosts) > 0 && x.Addresses == nil && same(nodes.At(o.Node, "spec"), istioNode(x.spec()))
}

// externalOf reads the spec of a ServiceEntry for hosts with one port.
func externalOf(spec *yaml.Node) (x External) {
	for _, h := range nodes.Items(nodes.At(spec, "hosts")) {
		x.Hosts = append(x.Hosts, nodes.String(h))
	}
	for _, a := range nodes.Items(nodes.At(spec, "addresses")) {
		x.Addresses = append(x.Addresses, nodes.String(a))
	}
	for _, p := range nodes.Items(nodes.At(spec, "ports")) {
		x.Scheme, x.Port = nodes.StringAt(p, "name"), nodes.Int(nodes.At(p, "number"))
	}
	return x
}
