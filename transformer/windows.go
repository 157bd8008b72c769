package transformer

import (
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// A pod can say in many ways that it runs on Windows, where no sidecar can run. Source:
// https://kubernetes.io/docs/concepts/windows/user-guide/.

const (
	windowsOS = "windows"
	linuxOS   = "linux"
)

// osLabels are the node labels that identify the operating system: a value that begins with windows
// means Windows. The first two also identify Linux.
var osLabels = []string{
	"kubernetes.io/os", "beta.kubernetes.io/os",
	"kubernetes.azure.com/os-sku", "cloud.google.com/gke-os-distribution", "node.openshift.io/os_id",
}

// windowsBuild is a label that only nodes with Windows have.
const windowsBuild = "node.kubernetes.io/windows-build"

// osOf returns the operating system of nodes with a label; "" if the label does not name one.
func osOf(key, value string) string {
	value = strings.ToLower(value)
	switch at := slices.Index(osLabels, key); {
	case key == windowsBuild, at >= 0 && strings.HasPrefix(value, windowsOS):
		return windowsOS
	case at == 0 || at == 1:
		return value
	}
	return ""
}

// windows returns the place in the input that says that a pod runs on Windows.
func (in *input) windows(w *workload) (path, found string) {
	spec := w.podSpec()
	if os := nodes.StringAt(spec, "os", "name"); os == windowsOS {
		return w.at("spec.os.name"), os
	}
	chosen := ""
	selector := nodes.Strings(nodes.At(spec, "nodeSelector"))
	for _, key := range sortedKeys(selector) {
		if chosen = osOf(key, selector[key]); chosen == windowsOS {
			return pathKey(w.at("spec.nodeSelector"), key), selector[key]
		}
	}
	if path, found := w.windowsAffinity(); path != "" {
		return path, found
	}
	if path, found := w.windowsOptions(); path != "" {
		return path, found
	}
	if class := nodes.StringAt(spec, "runtimeClassName"); in.windowsRuntime(class) {
		return w.at("spec.runtimeClassName"), class
	}
	for _, c := range w.allContainers() {
		if image := nodes.StringAt(c.Node, "image"); windowsImage(image) {
			return c.path + ".image", image
		}
	}
	if chosen == linuxOS || nodes.StringAt(spec, "os", "name") == linuxOS {
		return "", ""
	}
	for i, t := range nodes.Items(nodes.At(spec, "tolerations")) {
		key, value := nodes.StringAt(t, "key"), nodes.StringAt(t, "value")
		if (key == "os" || osOf(key, value) != "") && strings.EqualFold(value, windowsOS) {
			return pathIndex(w.at("spec.tolerations"), i), key + "=" + value
		}
	}
	return in.windowsNamespace(w)
}

// windowsAffinity returns the place of a required affinity if all its terms require Windows. One is not
// enough, because a node need satisfy only one term.
func (w *workload) windowsAffinity() (path, found string) {
	const at = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
	terms := nodes.Items(nodes.At(w.podSpec(), strings.Split(at, ".")[1:]...))
	for _, term := range terms {
		i := slices.IndexFunc(nodes.Items(nodes.At(term, "matchExpressions")), wantsWindows)
		if i < 0 {
			return "", ""
		}
		e := nodes.Items(nodes.At(term, "matchExpressions"))[i]
		path, found = w.at(at), nodes.StringAt(e, "key")+" "+nodes.StringAt(e, "operator")
		for _, v := range nodes.Items(nodes.At(e, "values")) {
			found += " " + nodes.String(v)
		}
	}
	return path, found
}

// wantsWindows reports whether an expression matches only nodes with Windows.
func wantsWindows(e *yaml.Node) bool {
	key, values := nodes.StringAt(e, "key"), nodes.Items(nodes.At(e, "values"))
	is := func(os string) func(*yaml.Node) bool {
		return func(v *yaml.Node) bool { return osOf(key, nodes.String(v)) == os }
	}
	switch nodes.StringAt(e, "operator") {
	case "In":
		return len(values) > 0 && !slices.ContainsFunc(values, func(v *yaml.Node) bool { return !is(windowsOS)(v) })
	case "NotIn":
		return key != windowsBuild && slices.ContainsFunc(values, is(linuxOS))
	case "Exists", "Gt", "Lt":
		return key == windowsBuild
	}
	return false
}

// windowsOptions returns the place of a security context that has options for Windows.
func (w *workload) windowsOptions() (path, found string) {
	options := func(of *yaml.Node, path string) (string, string) {
		if n := nodes.At(of, "securityContext", "windowsOptions"); n != nil && len(n.Content) > 0 {
			return path + ".securityContext.windowsOptions", strings.Join(sortedKeys(nodes.Strings(n)), ",")
		}
		return "", ""
	}
	if path, found := options(w.podSpec(), w.at("spec")); path != "" {
		return path, found
	}
	for _, c := range w.allContainers() {
		if path, found := options(c.Node, c.path); path != "" {
			return path, found
		}
	}
	return "", ""
}

// windowsRuntime reports whether a RuntimeClass is for Windows: by its node selector or handler, or by
// its name if the input lacks it.
func (in *input) windowsRuntime(class string) bool {
	if class == "" {
		return false
	}
	handler := class
	for _, o := range in.byKind["node.k8s.io/RuntimeClass"] {
		if o.name() != class {
			continue
		}
		selector := nodes.Strings(nodes.At(o.Node, "scheduling", "nodeSelector"))
		for _, key := range sortedKeys(selector) {
			if os := osOf(key, selector[key]); os != "" {
				return os == windowsOS
			}
		}
		handler = nodes.StringAt(o.Node, "handler")
	}
	handler = strings.ToLower(handler)
	return strings.Contains(handler, windowsOS) || strings.Contains(handler, "wcow")
}

// windowsImage reports whether Microsoft publishes an image for Windows, or its tag says that it is
// based on Windows.
func windowsImage(image string) bool {
	image = strings.ToLower(image)
	return strings.HasPrefix(image, "mcr.microsoft.com/windows/") || strings.HasPrefix(image, "mcr.microsoft.com/dotnet/framework/") ||
		strings.Contains(image, "windowsservercore") || strings.Contains(image, "nanoserver")
}

// windowsNamespace returns the annotation with which a namespace puts its pods on nodes with Windows:
// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#podnodeselector.
func (in *input) windowsNamespace(w *workload) (path, found string) {
	ns := in.namespaceOf(w.Object)
	if ns == nil {
		return "", ""
	}
	for _, key := range []string{"scheduler.alpha.kubernetes.io/node-selector", "openshift.io/node-selector"} {
		for _, label := range splitList(ns.annotation(key)) {
			if k, v, _ := strings.Cut(label, "="); osOf(strings.TrimSpace(k), strings.TrimSpace(v)) == windowsOS {
				return "Namespace " + ns.name() + " metadata.annotations[" + key + "]", label
			}
		}
	}
	return "", ""
}
