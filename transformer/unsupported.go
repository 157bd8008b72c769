package transformer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// Objects of kinds that a render does not know may have Tapedeck's annotations. The render ignores
// them, so it reports each such object.

// request is a Tapedeck annotation on such an object.
type request struct{ path, key, value string }

// asks reports whether an annotation requests something, unlike the marks that a render leaves.
func asks(key string) bool {
	for _, prefix := range []string{contract.SidecarPrefix, contract.ReplayPrefix, FormerReplayPrefix, contract.OwnPrefix} {
		if strings.HasPrefix(key, prefix) {
			return key != contract.AnnotationUndo && key != contract.AnnotationFor
		}
	}
	return key == contract.AnnotationIgnore
}

// requests returns the Tapedeck annotations anywhere in an object: on itself, and on its pods, which a
// custom resource may define in any place.
func requests(n *yaml.Node, path string) (out []request) {
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			out = append(out, requests(item, pathIndex(path, i))...)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			if value.Kind == yaml.ScalarNode {
				continue
			}
			at := strings.TrimPrefix(pathKey(path, key), ".")
			if isAnnotations(key, value) {
				for j := 0; j+1 < len(value.Content); j += 2 {
					if k := value.Content[j].Value; asks(k) {
						out = append(out, request{pathKey(at, k), k, nodes.String(value.Content[j+1])})
					}
				}
			}
			out = append(out, requests(value, at)...)
		}
	}
	return out
}

// isAnnotations reports whether a map contains annotations, by its key: annotations, podAnnotations and
// similar.
func isAnnotations(key string, value *yaml.Node) bool {
	const suffix = "annotations"
	return value.Kind == yaml.MappingNode && len(key) >= len(suffix) && strings.EqualFold(key[len(key)-len(suffix):], suffix)
}

// mayAsk reports whether an object has Tapedeck annotations anywhere. Most objects have none, and this
// check is fast because it builds no paths.
func mayAsk(n *yaml.Node) bool {
	for i, child := range n.Content {
		if key := n.Kind == yaml.MappingNode && i%2 == 0; key || child.Kind == yaml.ScalarNode {
			continue
		}
		if n.Kind == yaml.MappingNode && isAnnotations(n.Content[i-1].Value, child) {
			for j := 0; j+1 < len(child.Content); j += 2 {
				if asks(child.Content[j].Value) {
					return true
				}
			}
		}
		if mayAsk(child) {
			return true
		}
	}
	return false
}

// unsupported reports objects with annotations that a render can't follow.
func (in *input) unsupported(objects []*Object) Results {
	var results Results
	var onWorkloads map[request]bool // by key and value
	for _, o := range objects {
		if !mayAsk(o.Node) || asWorkload(o) != nil || o.is(replayGroup, trafficReplayKind) || o.is(testConfigGroup, testConfigKind) {
			continue
		}
		found := requests(o.Node, "")
		first := found[0]
		is := func(key, value string) bool {
			return slices.ContainsFunc(found, func(r request) bool { return r.key == key && strings.EqualFold(r.value, value) })
		}
		const inject = contract.SidecarPrefix + "inject"
		switch {
		case o.annotation(LocalConfig) == "true":
			continue
		case is(contract.AnnotationIgnore, "true"):
			results = append(results, result(CodeIgnored, o, "not captured: %s is \"true\"", contract.AnnotationIgnore).At(first.path, first.value, ""))
			continue
		case is(inject, "false") && !is(inject, "true"):
			results = append(results, result(CodeNotRequested, o, "not captured: %s is \"false\"", inject).At(first.path, first.value, ""))
			continue
		}
		if onWorkloads == nil {
			onWorkloads = in.requestsOfWorkloads()
		}
		common := !slices.ContainsFunc(found, func(r request) bool {
			return !strings.HasPrefix(r.path, "metadata.annotations") || !onWorkloads[request{"", r.key, r.value}]
		})
		groups := groupsOf(o.kind())
		if common && len(groups) == 0 && !hasPods(o.Node) {
			results = append(results, result(CodeNoPods, o, "annotation %s has no effect on a %s, which has no pods", first.key, o.kind()).At(first.path, first.value, ""))
			continue
		}
		reason := "a render does not know where its pods are"
		if len(groups) > 0 {
			reason = fmt.Sprintf("the kind is rendered only in the group %s", strings.Join(groups, " or "))
		}
		for _, k := range unsupportedKinds {
			if k.group == o.group() && (k.kind == "" || k.kind == o.kind()) {
				reason = k.reason
			}
		}
		r := result(CodeUnsupported, o, "skipped: annotation %s on kind %s of apiVersion %s: %s; allowed: %s", first.key, o.kind(), o.apiVersion(), reason, supportedKinds()).At(first.path, first.value, "")
		results = append(results, r.ifStrict(in.cfg))
	}
	return results
}

// requestsOfWorkloads returns the annotations of workloads. A kustomization with commonAnnotations
// puts the same ones on all other objects.
func (in *input) requestsOfWorkloads() map[request]bool {
	out := map[request]bool{}
	for _, w := range in.workloads {
		for key, value := range nodes.Strings(nodes.At(w.Node, "metadata", "annotations")) {
			out[request{"", key, value}] = true
		}
	}
	return out
}

// hasPods reports whether an object seems to have pods.
func hasPods(n *yaml.Node) bool {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && child.Kind != yaml.ScalarNode {
			if key := n.Content[i-1].Value; key == "containers" || key == "template" || key == "podTemplate" {
				return true
			}
		}
		if hasPods(child) {
			return true
		}
	}
	return false
}

// unsupportedKinds says why some kinds are not rendered.
var unsupportedKinds = []struct{ group, kind, reason string }{
	{"serving.knative.dev", "", "by default, Knative rejects what a sidecar needs: init containers that keep running, variables from fieldRef, and probes of a second container"},
	{"", "Namespace", "each workload requests the sidecar itself; the option defaults.inject requests it for all"},
	{"", "Service", "a Service has no pods; annotate the workload that it leads to"},
	{"", "PodTemplate", "no Kubernetes controller creates pods from it"},
	{"argoproj.io", "", "its steps are separate pods; of Argo's kinds, only the Rollout is rendered"},
}

// groupsOf returns the API groups in which a kind is rendered. In another group, the apiVersion may be
// a mistake.
func groupsOf(kind string) []string {
	var groups []string
	for _, k := range workloadKinds {
		if k.kind == kind {
			groups = append(groups, cmp.Or(k.group, "core (v1)"))
		}
	}
	return groups
}

// supportedKinds lists the kinds that are rendered.
func supportedKinds() string {
	var kinds []string
	for _, k := range workloadKinds {
		if !slices.Contains(kinds, k.kind) {
			kinds = append(kinds, k.kind)
		}
	}
	return oneOf(kinds)
}
