package transformer

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// addSidecar adds the container and its volumes. A native sidecar comes after the pod's init
// containers, or before them on request. A classic sidecar comes first, because containers start in
// order. An annotation then tells kubectl which container is the default.
func (in *input) addSidecar(e *editor, w *workload, upstream map[string]*yaml.Node) Results {
	sidecar, results := sidecarContainer(w, in.cfg, in.sink, upstream)
	env := nodes.At(sidecar, "env")
	for _, row := range proxyVariables {
		if former := upstream[contract.EnvFormerPrefix+row.upper]; former != nil {
			env.Content = append(env.Content, former)
		}
	}
	if edits := e.editsOf(w, sidecar); edits != "" && w.original == nil { // a copy is not undone, but built again
		env.Content = append(env.Content, nodes.Mapping("name", contract.EnvEdits, "value", edits))
	}
	e.log.Image = in.cfg.Image
	first := hostsContainer(w, in.cfg)
	if w.Object.image != "" {
		e.log.Image = w.Object.written
		nodes.At(sidecar, "image").Value = w.Object.image
		nodes.At(first, "image").Value = w.Object.image
	}
	spec, path := w.podSpec(), w.at("spec")
	if in.cfg.Sidecar == sidecarNative {
		list, at := e.collection(spec, path, "initContainers", yaml.SequenceNode)
		e.insertItem(list, at, nativeIndex(list, w.settings.InsertInitFirst), sidecar)
		e.wrote(at, sidecar)
	} else {
		app := w.appContainers()[0].name()
		metadata := nodes.At(w.template, "metadata")
		annotations, at := e.collection(metadata, w.at("metadata"), "annotations", yaml.MappingNode)
		for _, key := range defaultContainers {
			if nodes.KeyIndex(annotations, key) < 0 {
				e.put(annotations, at, key, app)
			}
		}
		if len(w.settings.hosts) > 0 {
			list, at := e.collection(spec, path, "initContainers", yaml.SequenceNode)
			e.insertItem(list, at, nativeIndex(list, false), first)
			e.wrote(at, first)
		}
		list, at := e.collection(spec, path, "containers", yaml.SequenceNode)
		e.insertItem(list, at, classicIndex(list), sidecar)
		e.wrote(at, sidecar)
	}
	volumes := sidecarVolumes(w, in.cfg, in.sink)
	if len(volumes) > 0 {
		list, at := e.collection(spec, path, "volumes", yaml.SequenceNode)
		for _, v := range volumes {
			e.appendItem(list, at, v)
			e.wrote(at, v)
		}
	}
	return results
}

// defaultContainers tell kubectl the default container, and the default for logs. If they are missing,
// Istio's injector sets them to the first container.
var defaultContainers = []string{"kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"}

// These are the containers that Istio's injector adds. The webhook adds them after a render. If istioctl
// kube-inject has added them before it, the sidecar gets the same position as with the webhook.
const (
	envoyContainer = "istio-proxy"
	// redirectContainer redirects traffic to Envoy. Unless Envoy is an init container, an init
	// container that needs the network must not come after it.
	redirectContainer = "istio-init"
	coreDumpContainer = "enable-core-dump"
	// validationContainer replaces istio-init if Istio's CNI agent redirects.
	validationContainer = "istio-validation"
)

// nativeIndex returns the position of a native sidecar among the init containers: after the pod's own,
// or before them; never before Envoy, and never between the redirection and an Envoy that starts
// later.
func nativeIndex(list *yaml.Node, first bool) int {
	own := len(list.Content)
	for own > 0 && slices.Contains([]string{redirectContainer, coreDumpContainer}, nodes.StringAt(list.Content[own-1], "name")) {
		own--
	}
	envoy := containerIndex(list, envoyContainer)
	switch {
	case !first:
		return own
	case envoy >= 0:
		return envoy + 1
	case containerIndex(list, validationContainer) == 0:
		return 1
	default:
		return 0
	}
}

// classicIndex returns the position of a classic sidecar among the containers: first, or after an
// Envoy that delays the others.
func classicIndex(list *yaml.Node) int {
	if containerIndex(list, envoyContainer) == 0 {
		return 1
	}
	return 0
}

func containerIndex(list *yaml.Node, name string) int {
	return slices.IndexFunc(nodes.Items(list), func(c *yaml.Node) bool { return nodes.StringAt(c, "name") == name })
}
