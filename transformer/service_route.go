package transformer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// If no Istio Sidecar can work, the Service leads to the sidecar itself, and the objects that name the
// application's port follow:
//
// before:  Service 80 ──targetPort 8080──▶ application
// after:   Service 80 ──targetPort 4143──▶ sidecar ──▶ localhost:8080 application
//
// Probes keep the application's port.

// routeByService points the targetPort of the workload's Services at the sidecar, for pods without an
// Envoy that could do it.
func (in *input) routeByService(w *workload) Results {
	var results Results
	s := &w.settings
	services := in.servicesOf(w)
	if len(services) == 0 {
		for _, r := range s.routes {
			s.leaveNumber(PortNotServed, r.App)
		}
		return Results{result(CodeNoService, w.Object, "no Service in the input selects the pods, so the render can't point one at the sidecar; render the Service together with the workload%s", in.noServiceAdvice(w)).At(w.at("metadata.labels"), "", "")}
	}
	found := map[int]bool{}        // ports of the application that a Service leads to
	var pointed []contract.InRoute // routes whose calls reach the sidecar
	for _, svc := range services {
		for _, p := range svc.ports(w) {
			r, done := s.routeIn(in.servicePointed[p.node]) // done for another workload of the same Service
			if !done {
				if r, done = s.routeTo(p.target); !done {
					continue
				}
				done = false
			}
			found[r.App] = true
			if svc.headless() {
				results = append(results, result(CodeServiceHeadless, svc.Object, "%s is headless: its callers connect to port %d of the pods directly, and bypass the sidecar; allowed: a Service with a cluster IP, or the option inbound: sidecar", svc.Ref(), r.App).At("spec.clusterIP", "None", ""))
				continue
			}
			if !slices.Contains(pointed, r) {
				pointed = append(pointed, r)
			}
			if done {
				continue
			}
			if conflict := in.sharedWith(svc, w, p, r); conflict != nil {
				if !w.serves() {
					continue // the Service belongs to the other workload
				}
				results = append(results, result(CodeServiceShared, svc.Object, "%s also selects the pods of %s, which would have no sidecar on port %d; inject that workload too, with the same ports, or use the option inbound: sidecar",
					svc.Ref(), conflict.id(), r.In).At("spec.selector", "", ""))
				continue
			}
			in.pointService(svc, p, r.In)
			results = append(results, result(CodeServicePatched, svc.Object, "port %d of %s now leads to the sidecar's port %d instead of %d", p.number, svc.Ref(), r.In, r.App))
		}
	}
	for _, r := range s.routes {
		switch {
		case !found[r.App]:
			s.leaveNumber(PortNotServed, r.App)
		case !slices.Contains(pointed, r):
			s.leaveNumber(PortHeadless, r.App)
		}
		if !found[r.App] {
			results = append(results, result(CodePortNotServed, w.Object, "%s, but no port of %s leads there, so inbound traffic will not be captured", s.nameOf(r.App), services[0].Ref()).
				At(s.wherePorts(), strconv.Itoa(r.App), ""))
		}
	}
	if w.original != nil { // policies apply to the original
		return append(results, in.followIntercepted(w, pointed)...)
	}
	return append(results, in.followPorts(w, pointed)...)
}

func (s *service) headless() bool { return nodes.StringAt(s.Node, "spec", "clusterIP") == "None" }

func (in *input) pointService(svc *service, p servicePort, to int) {
	e := in.editorOf(svc.Object)
	path := pathItem("spec.ports", nodes.ID(p.node))
	if nodes.At(p.node, "targetPort") == nil {
		e.put(p.node, path, "targetPort", to)
	} else {
		e.replace(p.node, path, "targetPort", to)
	}
	in.servicePointed[p.node] = to
}

// sharedWith returns another workload that serves the same Service and is not injected with the same
// inbound port.
func (in *input) sharedWith(svc *service, w *workload, p servicePort, r contract.InRoute) *workload {
	for _, other := range in.workloads {
		if other.Node == w.Node || other.namespace() != w.namespace() || !other.serves() || !selects(svc.selector, other.podLabels()) {
			continue
		}
		theirs, captured := other.settings.routeIn(r.In)
		leads := func(q servicePort) bool { return q.node == p.node && q.target == theirs.App } // a name may lead to another port
		if !other.injecting || !captured || !slices.ContainsFunc(svc.ports(other), leads) {
			return other
		}
	}
	return nil
}

// portFollower is one row of the table of kinds that name a pod's ports. Their rules for the
// application's port must apply to the sidecar's port too.
type portFollower struct {
	group, kind string
	// follow adds the port of a route, and reports it.
	follow func(in *input, w *workload, r contract.InRoute, o *Object) Results
}

var portFollowers = []portFollower{
	{"networking.k8s.io", "NetworkPolicy", followNetworkPolicy},
	{"security.istio.io", "PeerAuthentication", followPeerAuthentication},
	{"security.istio.io", "AuthorizationPolicy", followAuthorizationPolicy},
	{istioGroup, "Sidecar", followSidecar},
}

func (in *input) followPorts(w *workload, routes []contract.InRoute) Results {
	results := in.followIntercepted(w, routes)
	for _, f := range portFollowers {
		for _, o := range in.byKind[f.group+"/"+f.kind] {
			for _, r := range routes {
				results = append(results, f.follow(in, w, r, o)...)
			}
		}
	}
	return results
}

// followed is one object in which the sidecar's port must follow the application's.
type followed struct {
	in      *input
	w       *workload
	route   contract.InRoute
	o       *Object
	done    bool
	results Results
}

// add adds an item for the sidecar's port to a list that has the application's port and lacks the
// sidecar's. If the list also applies to other workloads whose sidecars use the same port, it must have
// the ports of their applications too. Otherwise the item would change its meaning for those workloads.
func (f *followed) add(list *yaml.Node, path string, item *yaml.Node, concerns func(*workload) bool, has func(w *workload, port int) bool) {
	r := f.route
	if !has(f.w, r.App) || has(f.w, r.In) {
		return
	}
	for _, other := range f.in.workloads {
		theirs, same := other.settings.routeIn(r.In)
		if other.injecting && same && concerns(other) && other.serves() && !has(other, theirs.App) {
			if !f.w.serves() {
				return // the policy is meant for the other workload
			}
			f.results = append(f.results, result(CodePolicyShared, f.o, "%s has port %d of %s, and also selects %s, whose sidecar uses the same port %d for its application's port %d. The policy would treat both alike; allowed: another proxy-in-port for one of them",
				f.o.Ref(), r.App, f.w.id(), other.id(), r.In, theirs.App).At(path, strconv.Itoa(r.App), ""))
			return
		}
	}
	f.in.editorOf(f.o).appendItem(list, path, item)
	f.done = true
}

// all returns the results, including one for the port that was added.
func (f *followed) all() Results {
	if f.done {
		return append(Results{portFollowed(f.route, f.o)}, f.results...)
	}
	return f.results
}

func portFollowed(r contract.InRoute, o *Object) Result {
	return result(CodePortFollowed, o, "%s has port %d, so the render added the sidecar's port %d", o.Ref(), r.App, r.In)
}

// These annotations list the inbound ports that Istio's injector excludes from interception, and those
// that it includes.
const (
	excludeInboundPorts = "traffic.sidecar.istio.io/excludeInboundPorts"
	includeInboundPorts = "traffic.sidecar.istio.io/includeInboundPorts"
)

// followIntercepted makes Istio treat the sidecar's port like the application's. Otherwise Envoy would
// intercept calls that should bypass it, and reject those without mutual TLS.
func (in *input) followIntercepted(w *workload, routes []contract.InRoute) Results {
	var results Results
	annotations, path := nodes.At(w.template, "metadata", "annotations"), w.at("metadata.annotations")
	for _, key := range []string{excludeInboundPorts, includeInboundPorts} {
		was := nodes.StringAt(annotations, key)
		value := interceptedToo(was, routes)
		if value == was {
			continue
		}
		in.editorOf(w.Object).replace(annotations, path, key, value)
		for _, r := range routes {
			if interceptedToo(was, []contract.InRoute{r}) != was {
				results = append(results, result(CodePortFollowed, w.Object, "annotation %s has port %d, so the render added the sidecar's port %d", key, r.App, r.In).At(pathKey(path, key), "", value))
			}
		}
	}
	return results
}

// interceptedToo adds the sidecar's ports to a list of ports that has the application's.
func interceptedToo(list string, routes []contract.InRoute) string {
	ports := splitList(list)
	for _, r := range routes {
		if from, to := strconv.Itoa(r.App), strconv.Itoa(r.In); slices.Contains(ports, from) && !slices.Contains(ports, to) {
			list += "," + to
		}
	}
	return list
}

// istioPolicySelects reports whether a policy of security.istio.io applies to a workload's pods. A
// policy that is attached to a gateway or to a Service applies at a waypoint, which sees the Service's
// port and not the pod's.
func istioPolicySelects(w *workload, o *Object) bool {
	spec := nodes.At(o.Node, "spec")
	if nodes.At(spec, "targetRef") != nil || nodes.At(spec, "targetRefs") != nil {
		return false
	}
	return (o.namespace() == w.namespace() || o.namespace() == rootNamespace) &&
		selectsPods(nodes.At(spec, "selector", "matchLabels"), w)
}

func followPeerAuthentication(in *input, w *workload, r contract.InRoute, o *Object) Results {
	modes := nodes.At(o.Node, "spec", "portLevelMtls")
	mode, to := nodes.At(modes, strconv.Itoa(r.App)), strconv.Itoa(r.In)
	if !istioPolicySelects(w, o) || mode == nil || nodes.At(modes, to) != nil {
		return nil
	}
	in.editorOf(o).put(modes, "spec.portLevelMtls", to, yaml.CopyYNode(mode))
	key := modes.Content[len(modes.Content)-2]
	key.Tag, key.Style = yaml.NodeTagInt, 0 // the key is a number, like the application's
	return Results{portFollowed(r, o)}
}

// followAuthorizationPolicy adds the port to every list that has the application's port, whether the
// list includes or excludes ports.
func followAuthorizationPolicy(in *input, w *workload, r contract.InRoute, o *Object) Results {
	if !istioPolicySelects(w, o) {
		return nil
	}
	policy := followed{in: in, w: w, route: r, o: o}
	follow := func(holder *yaml.Node, path string, keys ...string) {
		for _, key := range keys {
			item, list := nodes.New(strconv.Itoa(r.In)), nodes.At(holder, key)
			item.Style = yaml.DoubleQuotedStyle
			policy.add(list, pathKey(path, key), item, func(w *workload) bool { return istioPolicySelects(w, o) }, func(_ *workload, port int) bool {
				return slices.ContainsFunc(nodes.Items(list), func(n *yaml.Node) bool { return nodes.String(n) == strconv.Itoa(port) })
			})
		}
	}
	for i, rule := range nodes.Items(nodes.At(o.Node, "spec", "rules")) {
		path := pathIndex("spec.rules", i)
		for j, to := range nodes.Items(nodes.At(rule, "to")) {
			follow(nodes.At(to, "operation"), pathIndex(path+".to", j)+".operation", "ports", "notPorts")
		}
		for j, when := range nodes.Items(nodes.At(rule, "when")) {
			if nodes.StringAt(when, "key") == "destination.port" {
				follow(when, pathIndex(path+".when", j), "values", "notValues")
			}
		}
	}
	return policy.all()
}

// followSidecar makes a Sidecar of the user listen on the port too. Ports that a Sidecar with ingress
// does not list pass as plain TCP.
func followSidecar(in *input, w *workload, r contract.InRoute, o *Object) Results {
	if o.namespace() != w.namespace() || !selectsPods(nodes.At(o.Node, "spec", "workloadSelector", "labels"), w) {
		return nil
	}
	ingress := nodes.At(o.Node, "spec", "ingress")
	listener, to := findListener(ingress, r.App), r.In
	if listener == nil || findListener(ingress, to) != nil {
		return nil
	}
	in.editorOf(o).appendItem(ingress, "spec.ingress", istioNode(&networking.IstioIngressListener{
		Port: &networking.SidecarPort{
			Number: uint32(to), Protocol: nodes.StringAt(listener, "port", "protocol"), Name: fmt.Sprintf("%s-%d", strings.ToLower(nodes.StringAt(listener, "port", "name")), to),
		},
		DefaultEndpoint: fmt.Sprintf("127.0.0.1:%d", to),
	}))
	return Results{portFollowed(r, o)}
}
