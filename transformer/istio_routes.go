package transformer

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// A Service is routed in the same way from outside the mesh and from inside only if the routes are
// bound to both:
//
// outside ──▶ gateway ──▶ routes of shop.example.com ──┐
// inside ───────────────▶ routes of the Service's host ┴──▶ Service
//
// Sources: https://istio.io/latest/docs/ops/common-problems/network-issues/ and
// https://gateway-api.sigs.k8s.io/mesh/.

// routeKind is one row of the table of kinds that route.
type routeKind struct {
	group, kind   string
	missing, done Code
	// outside reports whether the routes apply to calls through a gateway, inside whether they apply to
	// calls of a Service from inside the mesh.
	outside func(*Object) bool
	inside  func(*Object, *service) bool
	// backends returns the Services to which the routes lead.
	backends func(*input, *Object) []string
	// whyNot says why the render can't mend the routes; "" if it can.
	whyNot func(*input, *Object, *service) string
	// plain reports whether the routes change nothing, so that calls of the Service arrive there
	// without them.
	plain func(*Object, *service) bool
	// remedy describes what is missing, and mend writes it. If the object can't be mended, instead
	// describes another object to write.
	remedy  func(*Object, *service) string
	mend    func(*editor, *service)
	instead func(*Object, *service) string
}

var routeKinds = []routeKind{
	{istioGroup, "VirtualService", CodeVirtualServiceHost, CodeVirtualServiceDone, vsOutside, vsInside, vsBackends, vsWhyNot, vsPlain, vsRemedy, vsMend, vsInstead},
	{gatewayGroup, "HTTPRoute", CodeRouteParent, CodeRouteMended, routeOutside, routeInside, routeBackends, routeWhyNot, routePlain, routeRemedy, routeMend, routeInstead},
	{gatewayGroup, "GRPCRoute", CodeRouteParent, CodeRouteMended, routeOutside, routeInside, routeBackends, routeWhyNot, routePlain, routeRemedy, routeMend, routeInstead},
}

// checkRoutes looks for routes to the workload's Services that apply only outside the mesh. It mends
// them if that was requested and can break nothing.
func (in *input) checkRoutes(w *workload) Results {
	var results Results
	for _, s := range in.servicesOf(w) {
		if in.routesChecked[s.Object] || s.entry() {
			continue // already checked for another workload with the same Service, or a ServiceEntry
		}
		in.routesChecked[s.Object] = true
		for _, k := range routeKinds {
			results = append(results, in.checkRoutesOf(k, s)...)
		}
	}
	return results
}

// checkRoutesOf checks one kind of routes to one Service. It mends or recommends one object at most,
// because Istio does not merge the rules of two objects for one host inside the mesh.
func (in *input) checkRoutesOf(k routeKind, s *service) Results {
	var results Results
	var instead *Result
	for _, o := range in.byKind[k.group+"/"+k.kind] {
		if !k.outside(o) || !slices.ContainsFunc(k.backends(in, o), s.isNamed) {
			continue
		}
		if in.routedInside(k, s) {
			return results
		}
		switch r, holds := in.mendRoute(k, o, s); {
		case r.Severity == Info && !holds:
			results = append(results, r)
		case holds:
			return append(results, r)
		case instead == nil:
			instead = &r
		}
	}
	if instead != nil {
		results = append(results, *instead)
	}
	return results
}

// routedInside reports whether routes of a kind apply to calls of a Service from inside the mesh. They
// may be in the object that applies outside, or in a separate one. Istio would not merge a second
// object for the same host.
func (in *input) routedInside(k routeKind, s *service) bool {
	return slices.ContainsFunc(in.byKind[k.group+"/"+k.kind], func(o *Object) bool { return k.inside(o, s) })
}

// mendRoute mends an object if that was requested. Otherwise it recommends a change that Istio accepts
// and that breaks no call. holds reports whether the object can apply to calls from inside too.
func (in *input) mendRoute(k routeKind, o *Object, s *service) (r Result, holds bool) {
	why := k.whyNot(in, o, s)
	switch {
	case why != "" && k.plain(o, s):
		return result(CodeRouteNeedless, o, "%s routes to Service %s from outside the mesh only. Calls from inside reach the Service without it, so there is nothing to do", o.Ref(), s.name()), false
	case why == "" && in.cfg.MendVirtualServices:
		remedy := k.remedy(o, s)
		k.mend(in.editorOf(o), s)
		return result(k.done, o, "%s routes to Service %s from outside the mesh, and now also from inside: the render added %s", o.Ref(), s.name(), remedy), true
	}
	message := fmt.Sprintf("%s routes to Service %s from outside the mesh, but does not route calls from inside", o.Ref(), s.name())
	if why == "" {
		return result(k.missing, o, "%s; add %s", message, k.remedy(o, s)), true
	}
	return result(k.missing, o, "%s; to route those too, write %s: this one can't apply to both, because %s", message, k.instead(o, s), why), false
}

// isNamed reports whether a name of the form namespace/name is the Service's. If a manifest gives no
// namespace, only the name counts.
func (s *service) isNamed(name string) bool {
	if host, foreign := strings.CutPrefix(name, "//"); foreign || s.entry() {
		return s.entry() && slices.ContainsFunc(nodes.Items(nodes.At(s.Node, "spec", "hosts")), func(h *yaml.Node) bool { return nodes.String(h) == host })
	}
	ns, name, _ := strings.Cut(name, "/")
	return name == s.name() && (ns == s.namespace() || ns == "" || s.namespace() == "")
}

// onlyBackend says why an object that routes to several Services can't be bound to one of them; "" if
// it routes to one.
func onlyBackend(backends []string, s *service) string {
	for _, b := range backends {
		if !s.isNamed(b) {
			return fmt.Sprintf("it routes to %s too, where calls to %s would end up", b[strings.LastIndex(b, "/")+1:], s.name())
		}
	}
	return ""
}

// meshGateway is the name of the gateway that represents all sidecars.
const meshGateway = "mesh"

func isMesh(n *yaml.Node) bool { return nodes.String(n) == meshGateway }

func vsOutside(o *Object) bool {
	return slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "gateways")), func(g *yaml.Node) bool { return !isMesh(g) })
}

// vsInside reports whether a VirtualService applies to a Service's hosts inside the mesh. One without
// gateways does.
func vsInside(o *Object, s *service) bool {
	gateways := nodes.Items(nodes.At(o.Node, "spec", "gateways"))
	return (len(gateways) == 0 || slices.ContainsFunc(gateways, isMesh)) && vsLists(o, s)
}

// vsLists reports whether a VirtualService lists a host of a Service, directly or by a wildcard.
func vsLists(o *Object, s *service) bool {
	return slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "hosts")), func(h *yaml.Node) bool {
		suffix, wild := strings.CutPrefix(nodes.String(h), "*")
		return wild && strings.HasSuffix(s.host(), suffix) || s.isNamed(vsService(o, nodes.String(h)))
	})
}

// vsService resolves a host as Istio does: a short name is in the namespace of the object that has it.
// It returns //host for a host that is not a Service's.
func vsService(o *Object, host string) string {
	name, rest, dotted := strings.Cut(host, ".")
	if !dotted {
		return o.namespace() + "/" + name
	}
	ns, domain, _ := strings.Cut(rest, ".")
	if domain == "" || domain == "svc" || domain == "svc.cluster.local" {
		return ns + "/" + name
	}
	return "//" + host
}

func vsBackends(in *input, o *Object) []string {
	var out []string
	for _, protocol := range []string{"http", "tls", "tcp"} {
		for _, rule := range nodes.Items(nodes.At(o.Node, "spec", protocol)) {
			for _, route := range nodes.Items(nodes.At(rule, "route")) {
				out = append(out, vsService(o, nodes.StringAt(route, "destination", "host")))
			}
			if d := in.delegate(o, rule); d != nil {
				out = append(out, vsBackends(in, d)...)
			}
		}
	}
	return out
}

// delegate returns the VirtualService to which a route delegates, or nil. A delegate has no hosts, and
// no delegates itself.
func (in *input) delegate(o *Object, rule *yaml.Node) *Object {
	if nodes.At(rule, "delegate") == nil {
		return nil
	}
	namespace := nodes.StringAt(rule, "delegate", "namespace")
	if namespace == "" {
		namespace = o.namespace()
	}
	d := in.find(istioGroup, "VirtualService", namespace, nodes.StringAt(rule, "delegate", "name"))
	if d == nil || len(nodes.Items(nodes.At(d.Node, "spec", "hosts"))) > 0 || len(nodes.Items(nodes.At(o.Node, "spec", "hosts"))) == 0 {
		return nil
	}
	return d
}

// vsTotal reports whether a VirtualService has a route for all requests.
func vsTotal(in *input, o *Object) bool {
	return slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "http")), func(rule *yaml.Node) bool {
		switch d := in.delegate(o, rule); {
		case len(nodes.Items(nodes.At(rule, "match"))) > 0:
			return false
		case nodes.At(rule, "delegate") != nil:
			return d != nil && vsTotal(in, d)
		}
		return true
	})
}

func vsWhyNot(in *input, o *Object, s *service) string {
	spec := nodes.At(o.Node, "spec")
	switch {
	case slices.ContainsFunc(nodes.Items(nodes.At(spec, "hosts")), func(h *yaml.Node) bool { return nodes.String(h) == "*" }):
		return "Istio does not accept the host * together with the gateway mesh"
	case vsClaims(in, o):
		return "it matches claims of tokens, which Istio supports only at gateways"
	case len(nodes.Items(nodes.At(spec, "tls")))+len(nodes.Items(nodes.At(spec, "tcp"))) > 0:
		return "it has routes that are not HTTP's"
	case slices.ContainsFunc(nodes.Items(nodes.At(spec, "http")), func(r *yaml.Node) bool {
		return nodes.At(r, "redirect") != nil || nodes.At(r, "directResponse") != nil
	}):
		return "it has routes that answer themselves, and calls from inside would get those answers"
	case len(nodes.Items(nodes.At(s.Node, "spec", "ports"))) > 1 && vsNamesPort(o):
		return fmt.Sprintf("it names a port, and calls of the other ports of %s would go there", s.name())
	case !vsTotal(in, o):
		return "it has no route for all requests, and calls that match no route would fail"
	}
	return onlyBackend(vsBackends(in, o), s)
}

// vsNamesPort reports whether a VirtualService sends calls to a specific port.
func vsNamesPort(o *Object) bool {
	return slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "http")), func(rule *yaml.Node) bool {
		return slices.ContainsFunc(nodes.Items(nodes.At(rule, "route")), func(r *yaml.Node) bool { return nodes.At(r, "destination", "port") != nil })
	})
}

// vsClaims reports whether a VirtualService matches headers that represent claims of a token:
// https://istio.io/latest/docs/tasks/security/authentication/jwt-route/.
func vsClaims(in *input, o *Object) bool {
	return slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "http")), func(rule *yaml.Node) bool {
		for _, match := range nodes.Items(nodes.At(rule, "match")) {
			for _, key := range []string{"headers", "withoutHeaders"} {
				for header := range nodes.Strings(nodes.At(match, key)) {
					if strings.HasPrefix(strings.ToLower(header), "@request.auth.claims") {
						return true
					}
				}
			}
		}
		d := in.delegate(o, rule)
		return d != nil && vsClaims(in, d)
	})
}

func vsPlain(o *Object, s *service) bool {
	spec := nodes.At(o.Node, "spec")
	return len(nodes.Items(nodes.At(spec, "tls")))+len(nodes.Items(nodes.At(spec, "tcp"))) == 0 &&
		!slices.ContainsFunc(nodes.Items(nodes.At(spec, "http")), func(rule *yaml.Node) bool {
			return !onlyKeys(rule, "name", "match", "route") || slices.ContainsFunc(nodes.Items(nodes.At(rule, "route")), func(r *yaml.Node) bool {
				destination := nodes.At(r, "destination")
				return !onlyKeys(r, "destination", "weight") || !onlyKeys(destination, "host", "port") || !s.isNamed(vsService(o, nodes.StringAt(destination, "host")))
			})
		})
}

func vsRemedy(o *Object, s *service) string {
	host, gateway := "the host "+s.host(), "the gateway "+meshGateway
	switch {
	case vsLists(o, s):
		return gateway
	case slices.ContainsFunc(nodes.Items(nodes.At(o.Node, "spec", "gateways")), isMesh):
		return host
	}
	return host + " and " + gateway
}

func vsInstead(_ *Object, s *service) string {
	return fmt.Sprintf("a second VirtualService%s, with the host %s, without gateways and with a route for all requests", s.inNamespace(), s.host())
}

// inNamespace names the Service's namespace, for messages, if it has one.
func (s *service) inNamespace() string {
	if s.namespace() == "" {
		return ""
	}
	return " in namespace " + s.namespace()
}

// host returns the most complete host name of a Service.
func (s *service) host() string {
	hosts := s.hosts()
	return hosts[len(hosts)-1]
}

func vsMend(e *editor, s *service) {
	spec := nodes.At(e.obj.Node, "spec")
	if !vsLists(e.obj, s) {
		hosts, path := e.collection(spec, "spec", "hosts", yaml.SequenceNode)
		e.appendItem(hosts, path, nodes.New(s.host()))
	}
	if gateways := nodes.At(spec, "gateways"); !slices.ContainsFunc(nodes.Items(gateways), isMesh) {
		e.appendItem(gateways, "spec.gateways", nodes.New(meshGateway))
	}
}
