package transformer

import (
	"fmt"
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// HTTPRoutes and GRPCRoutes apply to calls of a Service from inside the mesh if the Service is one of
// their parents.

const gatewayGroup = "gateway.networking.k8s.io"

// refersTo returns the kind and the name in a parentRef or backendRef, which may omit its group and
// kind.
func refersTo(o *Object, ref *yaml.Node, kind string) (string, string) {
	if k := nodes.StringAt(ref, "kind"); k != "" {
		kind = k
	}
	ns := nodes.StringAt(ref, "namespace")
	if ns == "" {
		ns = o.namespace()
	}
	return kind, ns + "/" + nodes.StringAt(ref, "name")
}

func routeOutside(o *Object) bool {
	return slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "parentRefs")), func(ref *yaml.Node) bool {
		kind, _ := refersTo(o, ref, "Gateway")
		return kind == "Gateway"
	})
}

func routeInside(o *Object, s *service) bool {
	return slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "parentRefs")), func(ref *yaml.Node) bool {
		kind, name := refersTo(o, ref, "Gateway")
		return kind == "Service" && s.isNamed(name)
	})
}

func routeBackends(_ *input, o *Object) []string {
	var out []string
	for _, rule := range nodes.Items(nodes.At(o.Node, "spec", "rules")) {
		for _, ref := range nodes.Items(nodes.At(rule, "backendRefs")) {
			if kind, name := refersTo(o, ref, "Service"); kind == "Service" {
				out = append(out, name)
			}
		}
	}
	return out
}

func routeWhyNot(in *input, o *Object, s *service) string {
	total := slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "rules")), func(rule *yaml.Node) bool {
		matches := nodes.Items(nodes.At(rule, "matches"))
		return len(matches) == 0 || slices.ContainsFunc(matches, matchesAll)
	})
	switch {
	case o.namespace() != s.namespace():
		return "it is in another namespace, where it would apply only to callers in that namespace"
	case !total:
		return "it has no rule for all requests, and calls that match no rule would fail"
	}
	return onlyBackend(routeBackends(in, o), s)
}

// matchesAll reports whether a match of an HTTPRoute or a GRPCRoute excludes nothing.
func matchesAll(m *yaml.Node) bool {
	for i := 0; i+1 < len(m.Content); i += 2 {
		path := m.Content[i+1]
		if m.Content[i].Value != "path" || nodes.StringAt(path, "value") != "/" || nodes.StringAt(path, "type") != "" && nodes.StringAt(path, "type") != "PathPrefix" {
			return false
		}
	}
	return true
}

func routePlain(o *Object, s *service) bool {
	return !slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "rules")), func(rule *yaml.Node) bool {
		return !onlyKeys(rule, "name", "matches", "backendRefs") || slices.ContainsFunc(nodes.Items(nodes.At(rule, "backendRefs")), func(ref *yaml.Node) bool {
			kind, name := refersTo(o, ref, "Service")
			return !onlyKeys(ref, "group", "kind", "name", "namespace", "port", "weight") || kind != "Service" || !s.isNamed(name)
		})
	})
}

func routeRemedy(_ *Object, s *service) string {
	return fmt.Sprintf("the Service %s as a parent", s.name())
}

func routeInstead(o *Object, s *service) string {
	return fmt.Sprintf("a second %s%s, with the Service %s as its parent and a rule for all requests", o.kind(), s.inNamespace(), s.name())
}

func routeMend(e *editor, s *service) {
	parents, path := e.collection(nodes.At(e.obj.Node, "spec"), "spec", "parentRefs", yaml.SequenceNode)
	e.appendItem(parents, path, nodes.Mapping("group", "", "kind", "Service", "name", s.name()))
}
