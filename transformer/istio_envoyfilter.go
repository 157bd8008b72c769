package transformer

import (
	"fmt"
	"slices"
	"strconv"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// An EnvoyFilter matches what Istio generates, and a sidecar changes some of that. The render can't
// know which patches to adapt, so it changes none. It reports patches that would no longer match, or
// would break the capture:
//
//	inbound: sidecar   the virtual host inbound|http|80 is inbound|http|8080 under a Sidecar
//	                   a patch of the cluster inbound|8080|| may send its calls elsewhere
//	inbound: service   calls arrive at port 4143, and a patch for 8080 does not match them
//
// Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/.

// checkEnvoyFilters reports patches for a workload's inbound traffic that no longer match, or that
// break the capture.
func (in *input) checkEnvoyFilters(w *workload) Results {
	var results Results
	for _, o := range in.byKind[istioGroup+"/EnvoyFilter"] {
		spec := nodes.At(o.Node, "spec")
		if o.namespace() != w.namespace() && o.namespace() != rootNamespace || nodes.At(spec, "targetRefs") != nil ||
			!selectsPods(nodes.At(spec, "workloadSelector", "labels"), w) {
			continue
		}
		patches := nodes.Items(nodes.At(spec, "configPatches"))
		for i, p := range patches {
			if context := nodes.StringAt(p, "match", "context"); context != "" && context != "ANY" && context != "SIDECAR_INBOUND" {
				continue
			}
			why, found := in.envoyRenames(w, p, patches), ""
			if in.cfg.Inbound == inboundService {
				why = ""
			}
			for _, r := range w.settings.routes {
				switch {
				case why != "": // one reason is enough
				case in.cfg.Inbound == inboundService:
					why, found = envoyMoves(r, p, patches)
				case envoyRedirects(r, p):
					why = fmt.Sprintf("changes the endpoints of Envoy's cluster %s, which lead to the sidecar; don't change them", inboundCluster(r.App))
				}
			}
			if why != "" {
				results = append(results, result(CodeEnvoyFilter, o, "%s %s", o.Ref(), why).At(pathIndex("spec.configPatches", i), found, ""))
			}
		}
	}
	return results
}

// inboundCluster returns the name of Envoy's cluster for a port of the pod.
func inboundCluster(port int) string { return fmt.Sprintf("inbound|%d||", port) }

// envoyRenames reports a patch that matches a virtual host whose name changes under a Sidecar: it then
// contains the pod's port instead of the Service's. It reports nothing if another patch already matches
// the new name.
func (in *input) envoyRenames(w *workload, patch *yaml.Node, all []*yaml.Node) string {
	if in.hasIngress(w) {
		return "" // the Sidecar has already changed the name
	}
	path := []string{"match", "routeConfiguration", "vhost", "name"}
	name := nodes.StringAt(patch, path...)
	for _, s := range in.servicesOf(w) {
		for _, p := range s.ports(w) {
			was, is := fmt.Sprintf("inbound|http|%d", p.number), fmt.Sprintf("inbound|http|%d", p.target)
			if name == was && was != is && !also(all, patch, is, path) {
				return fmt.Sprintf("matches the virtual host %s, whose name is %s under a Sidecar, so it no longer matches; match that one too", was, is)
			}
		}
	}
	return ""
}

// hasIngress reports whether a Sidecar lists the ports of a workload's pods.
func (in *input) hasIngress(w *workload) bool {
	return slices.ContainsFunc(in.sidecarsHolding(w), func(o *Object) bool { return len(nodes.Items(nodes.At(o.Node, "spec", "ingress"))) > 0 })
}

// also reports whether another patch of the same type matches a value at a path.
func also(all []*yaml.Node, patch *yaml.Node, value string, path []string) bool {
	return slices.ContainsFunc(all, func(other *yaml.Node) bool {
		return nodes.StringAt(other, "applyTo") == nodes.StringAt(patch, "applyTo") && nodes.StringAt(other, path...) == value
	})
}

// envoyRedirects reports whether a patch changes the endpoints of the captured port's cluster, or
// removes the cluster.
func envoyRedirects(r contract.InRoute, patch *yaml.Node) bool {
	if nodes.StringAt(patch, "applyTo") != "CLUSTER" {
		return false
	}
	match := nodes.At(patch, "match", "cluster")
	name, port := nodes.StringAt(match, "name"), nodes.Int(nodes.At(match, "portNumber"))
	if name != "" && name != inboundCluster(r.App) || port != 0 && port != r.App {
		return false
	}
	switch nodes.StringAt(patch, "patch", "operation") {
	case "REMOVE":
		return true
	case "MERGE":
		value := nodes.At(patch, "patch", "value")
		return slices.ContainsFunc([]string{"load_assignment", "loadAssignment", "type", "cluster_type", "clusterType"}, func(key string) bool { return nodes.At(value, key) != nil })
	}
	return false
}

// envoyMoves returns how a patch matches the application's port, unless another patch of the same
// EnvoyFilter matches the sidecar's port in the same way.
func envoyMoves(r contract.InRoute, patch *yaml.Node, all []*yaml.Node) (why, found string) {
	from, to := r.App, r.In
	for _, m := range []struct {
		path []string
		of   func(port int) string
	}{
		{[]string{"listener", "portNumber"}, strconv.Itoa},
		{[]string{"listener", "filterChain", "destinationPort"}, strconv.Itoa},
		{[]string{"listener", "filterChain", "name"}, func(port int) string { return fmt.Sprintf("0.0.0.0_%d", port) }},
		{[]string{"routeConfiguration", "portNumber"}, strconv.Itoa},
		{[]string{"routeConfiguration", "name"}, inboundCluster},
		{[]string{"cluster", "portNumber"}, strconv.Itoa},
		{[]string{"cluster", "name"}, inboundCluster},
	} {
		path := append([]string{"match"}, m.path...)
		if found := nodes.StringAt(patch, path...); found == m.of(from) && !also(all, patch, m.of(to), path) {
			return fmt.Sprintf("matches %s %s, but calls now arrive at the sidecar's port %d; match %s too", m.path[len(m.path)-1], found, to, m.of(to)), found
		}
	}
	return "", ""
}
