package transformer

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// reservedPorts are the ports on which the proxies of meshes listen, with their owners:
// https://istio.io/latest/docs/ops/deployment/application-requirements/ and
// https://linkerd.io/2/reference/proxy-configuration/.
var reservedPorts = map[int]string{
	15000: "Istio (Envoy's admin)", 15001: "Istio (outbound)", 15002: "Istio (port check)", 15004: "Istio (debug)",
	15006: "Istio (inbound)", 15008: "Istio (HBONE)", 15020: "Istio (merged metrics)", 15021: "Istio (health)",
	15053: "Istio (DNS)", 15090: "Istio (Envoy's metrics)",
	4190: "Linkerd (admin)", 4191: "Linkerd (proxy admin)",
}

// skipReason says why the render leaves a workload that asks for the sidecar alone. It skips the whole
// workload even if the reason concerns one direction, because users might not notice that half of a
// capture is missing.
func skipReason(w *workload, in *input) (Result, bool) {
	spec := w.podSpec()
	skip := func(code Code, path, found string) (Result, bool) {
		reason := reasons[code]
		return result(code, w.Object, "skipped: %s %s", reason.Sentence, reason.Help).At(path, found, ""), true
	}
	switch {
	case w.template == nil && w.kind.kind == "Rollout": // it may have a workloadRef instead
		return skip(CodeNoTemplate, w.path, "")
	case w.settings.ProxyType == typeTransparent:
		return skip(CodeTransparent, w.settings.where("proxy-type"), typeTransparent)
	case nodes.IsTrue(nodes.At(spec, "hostNetwork")):
		return skip(CodeHostNetwork, w.at("spec.hostNetwork"), "true")
	case nodes.Named(nodes.At(spec, "containers"), "speedscale-goproxy") != nil || nodes.Named(nodes.At(spec, "initContainers"), "speedscale-goproxy") != nil:
		return skip(CodeOtherSidecar, w.at("spec.containers[speedscale-goproxy]"), "")
	}
	if path, found := w.owner(); path != "" {
		r, _ := skip(CodeOwned, path, found)
		if slices.ContainsFunc(in.workloads, func(o *workload) bool { return o.namespace() == w.namespace() && o.id() == found }) {
			r.Severity = Info
		}
		return r, true
	}
	if path, found := in.windows(w); path != "" {
		return skip(CodeWindows, path, found)
	}
	if path, found := in.linkerd(w); path != "" {
		return skip(CodeLinkerd, path, found)
	}
	if path, found := w.meshItself(); path != "" {
		return skip(CodeMeshItself, path, found)
	}
	if path, found := w.gateway(); path != "" {
		return skip(CodeGateway, path, found)
	}
	if w.settings.noPort {
		return skip(CodeNoInboundPort, w.settings.where("proxy-port"), "")
	}
	if !w.settings.inbound() || in.cfg.Inbound != inboundSidecar {
		return Result{}, false
	}
	annotations := w.at("metadata.annotations")
	if path, found := in.outOfMesh(w); path != "" {
		return skip(CodeNotInMesh, path, found)
	}
	if path := in.ambient(w); path != "" {
		return skip(CodeAmbient, path, "ambient")
	}
	if w.proxyless() {
		return skip(CodeProxyless, pathKey(annotations, injectTemplates), w.podAnnotation(injectTemplates))
	}
	for _, app := range w.settings.apps() {
		if path, found := w.notIntercepted(app); path != "" {
			return skip(CodePortExcluded, path, found)
		}
	}
	if w.podAnnotation(interceptionMode) == "NONE" {
		return skip(CodeInterceptionNone, pathKey(annotations, interceptionMode), "NONE")
	}
	return Result{}, false
}

// notIntercepted returns the place in the pod template that keeps Istio from intercepting a port.
func (w *workload) notIntercepted(port int) (path, found string) {
	annotations, number := w.at("metadata.annotations"), fmt.Sprint(port)
	excluded := splitList(w.podAnnotation(excludeInboundPorts))
	included, limited := nodes.Strings(nodes.At(w.template, "metadata", "annotations"))[includeInboundPorts]
	has := func(list []string) bool { return slices.Contains(list, number) || slices.Contains(list, "*") }
	switch {
	case has(excluded):
		return pathKey(annotations, excludeInboundPorts), strings.Join(excluded, ",")
	case limited && !has(splitList(included)):
		return pathKey(annotations, includeInboundPorts), included
	}
	return "", ""
}

// linkerd returns the place in the input that says that a pod is in a Linkerd mesh.
func (in *input) linkerd(w *workload) (path, found string) {
	const key = "linkerd.io/inject"
	meshed := func(v string) bool { return v == "enabled" || v == "ingress" }
	own := w.podAnnotation(key)
	switch {
	case nodes.Named(nodes.At(w.podSpec(), "containers"), "linkerd-proxy") != nil || nodes.Named(nodes.At(w.podSpec(), "initContainers"), "linkerd-proxy") != nil:
		return w.at("spec.containers[linkerd-proxy]"), "linkerd-proxy"
	case meshed(own):
		return pathKey(w.at("metadata.annotations"), key), own
	case own != "":
		return "", ""
	}
	if ns := in.namespaceOf(w.Object); ns != nil && meshed(ns.annotation(key)) {
		return "Namespace " + ns.name() + " metadata.annotations[" + key + "]", ns.annotation(key)
	}
	return "", ""
}

// injectTemplates names the templates that Istio's injector uses for a pod. interceptionMode says how
// calls of the pod reach Envoy.
const (
	injectTemplates  = "inject.istio.io/templates"
	interceptionMode = "sidecar.istio.io/interceptionMode"
)

// proxyless reports whether a pod gets Istio's agent for gRPC instead of an Envoy.
func (w *workload) proxyless() bool {
	return slices.ContainsFunc(splitList(w.podAnnotation(injectTemplates)), func(t string) bool { return strings.HasPrefix(t, "grpc-") })
}

// meshParts identify the pods of Istio itself by a container and by its argument or the pod's labels.
// The container's name is not enough: ztunnel's has the same name as Envoy's. The names come from
// Istio's charts.
var meshParts = []struct {
	container, argument string
	label               [2]string
}{
	{envoyContainer, "ztunnel", [2]string{}},
	{envoyContainer, "", [2]string{"app", "ztunnel"}},
	{envoyContainer, "", [2]string{"app.kubernetes.io/name", "ztunnel"}},
	{"install-cni", "", [2]string{"k8s-app", "istio-cni-node"}},
	{"install-cni", "", [2]string{"app.kubernetes.io/name", "istio-cni"}},
	{"discovery", "", [2]string{"app", "istiod"}},
}

// meshItself returns the place where a pod says that it is a part of Istio.
func (w *workload) meshItself() (path, found string) {
	labels := w.podLabels()
	for _, part := range meshParts {
		c := nodes.Named(nodes.At(w.podSpec(), "containers"), part.container)
		runs := part.argument != "" && slices.ContainsFunc(nodes.Items(nodes.At(c, "args")), func(arg *yaml.Node) bool { return nodes.String(arg) == part.argument })
		if c != nil && (runs || part.label[0] != "" && labels[part.label[0]] == part.label[1]) {
			return pathItem(w.at("spec.containers"), part.container), part.container
		}
	}
	return "", ""
}

// gateway returns the place where a pod says that it is an Istio gateway: its template, or a container
// list that has only Envoy.
func (w *workload) gateway() (path, found string) {
	if v := w.podAnnotation(injectTemplates); slices.Contains(splitList(v), "gateway") {
		return pathKey(w.at("metadata.annotations"), injectTemplates), v
	}
	if list := nodes.At(w.podSpec(), "containers"); len(nodes.Items(list)) > 0 && len(w.appContainers()) == 0 && nodes.Named(list, envoyContainer) != nil {
		return pathItem(w.at("spec.containers"), envoyContainer), envoyContainer
	}
	return "", ""
}

// meshLabel is the label, formerly an annotation, with which a pod requests or rejects Istio's
// injector.
const meshLabel = "sidecar.istio.io/inject"

// asksForEnvoy returns the pod's setting for Istio's injector, and its place. The label wins over the
// annotation with the same name.
func (w *workload) asksForEnvoy() (path, found string) {
	if v, ok := w.podLabels()[meshLabel]; ok {
		return pathKey(w.at("metadata.labels"), meshLabel), v
	}
	return pathKey(w.at("metadata.annotations"), meshLabel), w.podAnnotation(meshLabel)
}

// outOfMesh returns the place in the input that keeps Istio's injector away from a pod: in the pod
// template, or in the namespace, which the pod can't override.
func (in *input) outOfMesh(w *workload) (path, found string) {
	if path, v := w.asksForEnvoy(); v == "false" {
		return path, v
	}
	const key = "istio-injection"
	if ns := in.namespaceOf(w.Object); ns != nil && nodes.StringAt(ns.Node, "metadata", "labels", key) == "disabled" {
		return "Namespace " + ns.name() + " metadata.labels[" + key + "]", "disabled"
	}
	return "", ""
}

// ambient returns the place in the input that says that a pod is in an ambient mesh. Ambient leaves a
// pod alone if it is injected with an Envoy.
func (in *input) ambient(w *workload) string {
	const key = "istio.io/dataplane-mode"
	ns := in.namespaceOf(w.Object)
	var labels map[string]string
	if ns != nil {
		labels = nodes.Strings(nodes.At(ns.Node, "metadata", "labels"))
	}
	if v := w.podLabels()[meshLabel]; v == "true" || labels["istio-injection"] == "enabled" {
		return ""
	}
	if v, ok := w.podLabels()[key]; ok {
		if v == "ambient" {
			return pathKey(w.at("metadata.labels"), key)
		}
		return ""
	}
	if labels[key] == "ambient" {
		return "Namespace " + ns.name() + " metadata.labels[" + key + "]"
	}
	return ""
}

// listener is a port that the sidecar opens, with the annotation that sets it.
type listener struct {
	port       int
	annotation string
}

// listeners returns the ports that the sidecar of a workload opens.
func listeners(s *Settings) []listener {
	ports := []listener{{contract.AdminPort, ""}}
	if s.inbound() {
		for i, r := range s.routes {
			annotation := "proxy-in-port"
			if i > 0 {
				annotation = ""
			}
			ports = append(ports, listener{r.In, annotation})
		}
	}
	if s.outbound() {
		ports = append(ports, listener{s.ProxyOutPort, "proxy-out-port"})
	}
	if s.PrometheusPort != 0 {
		ports = append(ports, listener{s.PrometheusPort, "prometheus-port"})
	}
	return ports
}

func (l listener) String() string {
	if l.annotation == "" {
		return fmt.Sprintf("the sidecar's admin port %d", l.port)
	}
	return fmt.Sprintf("%s %d", l.annotation, l.port)
}

// checkPorts reports ports that the sidecar can't open.
func checkPorts(w *workload) Results {
	var results Results
	s := &w.settings
	report := func(code Code, l listener, message string, args ...any) {
		r := result(code, w.Object, message, args...)
		if l.annotation != "" {
			r = r.At(s.where(l.annotation), fmt.Sprint(l.port), "")
		}
		results = append(results, r)
	}
	taken := w.takenPorts()
	for _, app := range s.apps() {
		if taken[app] == "" {
			taken[app] = "proxy-port, the application"
		}
	}
	for _, l := range listeners(s) {
		if owner := reservedPorts[l.port]; owner != "" {
			report(CodePortReserved, l, "%s is reserved by %s; allowed: a port that neither a mesh nor the pod uses", l, owner)
		}
		if other := taken[l.port]; other != "" {
			report(CodePortClash, l, "%s is already the port of %s; allowed: a port that nothing else in the pod uses", l, other)
		}
		taken[l.port] = l.String()
	}
	for _, app := range s.apps() {
		if owner := reservedPorts[app]; owner != "" {
			results = append(results, result(CodePortReserved, w.Object, "%s, which is reserved by %s; allowed: the port where the application listens", s.nameOf(app), owner).At(s.wherePorts(), fmt.Sprint(app), ""))
		}
	}
	return results
}

// checkPod reports containers and volumes that have names the sidecar needs, and identities that
// belong to Envoy.
func checkPod(w *workload, cfg *Config) Results {
	var results Results
	for _, c := range w.allContainers() {
		if name := c.name(); name == contract.Container || name == contract.HostsContainer {
			results = append(results, result(CodeNameClash, w.Object, "the pod has a container %s, and no render of this manifest wrote it; remove it, or render from the original manifest", name).At(c.path, name, ""))
		}
	}
	for _, v := range sortedKeys(sidecarVolumeNames) {
		if nodes.Named(nodes.At(w.podSpec(), "volumes"), v) != nil {
			results = append(results, result(CodeNameClash, w.Object, "the pod has a volume %s, a name that the sidecar needs; rename it", v).At(pathItem(w.at("spec.volumes"), v), v, ""))
		}
	}
	identity := func(path string, n map[string]string) {
		for _, key := range []string{"runAsUser", "runAsGroup"} {
			if n[key] == fmt.Sprint(contract.EnvoyUID) {
				results = append(results, result(CodeEnvoyUID, w.Object, "%s is %d, which belongs to Envoy: Istio lets its traffic bypass the mesh; allowed: any other number", key, contract.EnvoyUID).At(pathKey(path, key), n[key], ""))
			}
		}
	}
	identity(w.at("spec.securityContext"), nodes.Strings(nodes.At(w.podSpec(), "securityContext")))
	for _, c := range w.appContainers() {
		identity(c.path+".securityContext", nodes.Strings(nodes.At(c.Node, "securityContext")))
	}
	if cfg.Sidecar == sidecarClassic && w.ends() {
		results = append(results, result(CodeClassicJob, w.Object, "%s: %s %s", w.Object.kind(), reasons[CodeClassicJob].Sentence, reasons[CodeClassicJob].Help))
	}
	return results
}
