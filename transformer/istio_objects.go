package transformer

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

// istioVersion returns the version of networking.istio.io to write: what the
// configuration says, or else what the input uses, or else v1, which Istio has
// had since 1.22.
func (in *input) istioVersion() string {
	if in.cfg.IstioAPIVersion != "" {
		return in.cfg.IstioAPIVersion
	}
	for _, o := range in.objects {
		if o.group() == istioGroup && o.annotation(contract.AnnotationFor) == "" {
			return strings.TrimPrefix(o.apiVersion(), istioGroup+"/")
		}
	}
	return "v1"
}

// label identifies the workload's rewritten pods. A label's value has 63
// characters at most, so a longer one ends in a hash of the whole.
func (w *workload) label() string {
	const limit = 63
	value := strings.ToLower(w.Object.kind()) + "." + w.name()
	if len(value) <= limit {
		return value
	}
	hash := fnv.New32a()
	hash.Write([]byte(value))
	suffix := "-" + strconv.FormatUint(uint64(hash.Sum32()), 36)
	return strings.TrimRight(value[:limit-len(suffix)], "-.") + suffix
}

// create builds an object that a render adds beside a workload.
func (in *input) create(w *workload, apiVersion, kind, name, namespace string, spec *yaml.Node) *Object {
	var ns any
	if namespace != "" {
		ns = namespace
	}
	for in.createdNames[kind+"/"+namespace+"/"+name] { // a Deployment and a StatefulSet of one name
		name += "-" + strings.ToLower(w.Object.kind())
	}
	in.createdNames[kind+"/"+namespace+"/"+name] = true
	return &Object{File: w.File, Node: mapping(
		"apiVersion", apiVersion,
		"kind", kind,
		"metadata", mapping(
			"name", name,
			"namespace", ns,
			"labels", mapping("app.kubernetes.io/managed-by", "tapedeck"),
			"annotations", mapping(contract.AnnotationFor, w.id()),
		),
		"spec", spec,
	)}
}

// speedscaleHosts are what Speedscale's cloud needs, by the table of
// https://docs.speedscale.com/guides/istio/.
var speedscaleHosts = []string{
	"app.speedscale.com",
	"firehose.us-east-1.amazonaws.com",
	"sqs.us-east-1.amazonaws.com",
	"sns.us-east-1.amazonaws.com",
	"s3.us-east-1.amazonaws.com",
	"*.s3.us-east-1.amazonaws.com",
	"sts.amazonaws.com",
	"sts.us-east-1.amazonaws.com",
	"monitoring.us-east-1.amazonaws.com",
	"gcr.io",
}

// serviceEntry builds the ServiceEntry that opens the configured hosts under
// REGISTRY_ONLY; nil where none are configured. It lives in the collector's
// namespace, which every egress list that is written allows.
// TLS with resolution NONE passes by SNI, which wildcard hosts need:
// https://istio.io/latest/docs/reference/config/networking/service-entry/.
func (in *input) serviceEntry(w *workload) *Object {
	name := "tapedeck-external-svc-https"
	var hosts []string
	if in.cfg.ServiceEntry == PresetSpeedscaleCloud {
		name = "speedscale-external-svc-https"
		hosts = append(hosts, speedscaleHosts...)
	}
	for _, h := range in.cfg.ServiceEntryHosts {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 || in.find(istioGroup, "ServiceEntry", in.cfg.Namespace, name) != nil {
		return nil
	}
	return in.create(w, istioGroup+"/"+in.version, "ServiceEntry", name, in.cfg.Namespace, mapping(
		"hosts", hosts,
		"location", "MESH_EXTERNAL",
		"ports", sequence(mapping("name", "https", "number", 443, "protocol", "TLS")),
		"resolution", "NONE",
	))
}

// checkVirtualServices looks for Services that are exposed through a gateway by
// a VirtualService which does not list the Service's own host: then its routes
// hold outside the mesh, and not inside.
func (in *input) checkVirtualServices(w *workload) Results {
	var results Results
	for _, s := range in.servicesOf(w) {
		for _, vs := range in.byKind[istioGroup+"/VirtualService"] {
			if !in.exposes(vs, s) {
				continue
			}
			host := s.hosts()[len(s.hosts())-1]
			if !in.cfg.MendVirtualServices {
				results = append(results, result(CodeVirtualServiceHost, vs, "%s routes to Service %s from outside the mesh but does not list its host: calls from inside are not routed by it; add %s to hosts, and mesh to gateways",
					vs.Ref(), s.name(), host).at("spec.hosts", "", host))
				continue
			}
			in.mendVirtualService(vs, host)
			results = append(results, result(CodeVirtualServiceDone, vs, "host %s and gateway mesh were added to %s", host, vs.Ref()).at("spec.hosts", "", host))
		}
	}
	return results
}

// meshGateway is the gateway that stands for all sidecars.
const meshGateway = "mesh"

// exposes tells whether a VirtualService routes from a gateway to a Service
// without listing a host of it.
func (in *input) exposes(vs *Object, s *service) bool {
	outside := slices.ContainsFunc(items(field(vs.Node, "spec", "gateways")), func(g *yaml.Node) bool { return str(g) != meshGateway })
	if !outside || !routesTo(vs, s) {
		return false
	}
	hosts := s.hosts()
	return !slices.ContainsFunc(items(field(vs.Node, "spec", "hosts")), func(h *yaml.Node) bool {
		return str(h) == "*" || slices.Contains(hosts, qualify(str(h), vs.namespace(), s.namespace()))
	})
}

// qualify reads a short host as Istio does: in the namespace of the object
// that holds it.
func qualify(host, namespace, of string) string {
	if !strings.Contains(host, ".") && namespace != of {
		return host + "." + namespace
	}
	return host
}

// routesTo tells whether any route of a VirtualService leads to a Service.
func routesTo(vs *Object, s *service) bool {
	hosts := s.hosts()
	for _, protocol := range []string{"http", "tls", "tcp"} {
		for _, rule := range items(field(vs.Node, "spec", protocol)) {
			for _, route := range items(field(rule, "route")) {
				host := qualify(strAt(route, "destination", "host"), vs.namespace(), s.namespace())
				if slices.Contains(hosts, host) {
					return true
				}
			}
		}
	}
	return false
}

func (in *input) mendVirtualService(vs *Object, host string) {
	e := in.editorOf(vs)
	spec := field(vs.Node, "spec")
	hosts, path := e.collection(spec, "spec", "hosts", yaml.SequenceNode)
	e.appendItem(hosts, path, node(host))
	gateways := field(spec, "gateways")
	if !slices.ContainsFunc(items(gateways), func(g *yaml.Node) bool { return str(g) == meshGateway }) {
		e.appendItem(gateways, "spec.gateways", node(meshGateway))
	}
}

// routeByService points the targetPort of the workload's Services at the
// sidecar: the way for pods that no Envoy stands in front of.
func (in *input) routeByService(w *workload) Results {
	var results Results
	s := &w.settings
	services := in.servicesOf(w)
	if len(services) == 0 {
		return Results{result(CodeNoService, w.Object, "no Service in the input selects the pods of %s, so there is none to point at the sidecar: render the Service together with the workload", w.id()).at(w.at("metadata.labels"), "", "")}
	}
	found := false
	for _, svc := range services {
		for _, p := range svc.ports(w) {
			pointed := in.servicePointed[p.node] == s.ProxyInPort
			if p.target != s.ProxyPort && !pointed {
				continue
			}
			found = true
			if pointed {
				continue // another workload behind the same Service did it
			}
			if conflict := in.sharedWith(svc, w); conflict != nil {
				results = append(results, result(CodeServiceShared, svc.Object, "%s also selects the pods of %s, which would have no proxy on port %d; inject that workload too, with the same ports, or use the option inbound: sidecar",
					svc.Ref(), conflict.id(), s.ProxyInPort).at("spec.selector", "", ""))
				continue
			}
			in.pointService(svc, p, s.ProxyInPort)
			results = append(results, result(CodeServicePatched, svc.Object, "port %s of %s leads to the sidecar's port %d instead of %d", strAt(p.node, "port"), svc.Ref(), s.ProxyInPort, s.ProxyPort))
		}
	}
	if !found {
		results = append(results, result(CodePortNotServed, w.Object, "proxy-port is %d, but no port of Service %s leads there: inbound traffic will not be captured", s.ProxyPort, services[0].name()).
			at(s.where("proxy-port"), strconv.Itoa(s.ProxyPort), ""))
	}
	return results
}

func (in *input) pointService(svc *service, p servicePort, to int) {
	e := in.editorOf(svc.Object)
	path := pathItem("spec.ports", itemID(p.node))
	if field(p.node, "targetPort") == nil {
		e.put(p.node, path, "targetPort", to)
	} else {
		e.replace(p.node, path, "targetPort", to)
	}
	in.servicePointed[p.node] = to
}

// sharedWith returns a workload behind the same Service that is not injected
// with the same inbound port.
func (in *input) sharedWith(svc *service, w *workload) *workload {
	for _, other := range in.workloads {
		if other.Node == w.Node || other.namespace() != w.namespace() || !selects(svc.selector, other.podLabels()) {
			continue
		}
		if !other.injecting || !other.settings.inbound() || other.settings.ProxyInPort != w.settings.ProxyInPort || other.settings.ProxyPort != w.settings.ProxyPort {
			return other
		}
	}
	return nil
}
