package transformer

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// addSidecar adds the container and its volumes. A native sidecar comes after
// the pod's init containers, or before them on request; a classic one comes
// first, since containers start in order, and then kubectl is told which
// container is meant where none is named.
func (in *input) addSidecar(e *editor, w *workload, upstream map[string]*yaml.Node) Results {
	sidecar, results := sidecarContainer(w, in.cfg, in.sink, upstream)
	env := nodes.At(sidecar, "env")
	for _, row := range proxyVariables {
		if former := upstream[contract.EnvFormerPrefix+row.upper]; former != nil {
			env.Content = append(env.Content, former)
		}
	}
	if edits := e.editsOf(w, sidecar); edits != "" && w.original == nil { // a copy is not taken back, but made anew
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

// defaultContainers tell kubectl which container is meant, and which one's log.
// Istio's injector names the first one where they are missing.
var defaultContainers = []string{"kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"}

// Containers that Istio's injector adds. The webhook adds them after a render;
// istioctl kube-inject may have added them before one, and then the sidecar
// stands where the webhook would have it.
const (
	envoyContainer = "istio-proxy"
	// istio-init redirects traffic to Envoy, so where Envoy is no init
	// container itself nothing that needs the network may come after it.
	redirectContainer = "istio-init"
	coreDumpContainer = "enable-core-dump"
	// istio-validation takes the place of istio-init where Istio's CNI agent redirects.
	validationContainer = "istio-validation"
)

// nativeIndex returns where among the init containers a native sidecar goes:
// after the pod's own, or before them; never before Envoy, and never between
// the redirection and an Envoy that is not there yet.
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

// classicIndex returns where among the containers a classic sidecar goes: at
// the front, or behind an Envoy that holds the others back.
func classicIndex(list *yaml.Node) int {
	if containerIndex(list, envoyContainer) == 0 {
		return 1
	}
	return 0
}

func containerIndex(list *yaml.Node, name string) int {
	return slices.IndexFunc(nodes.Items(list), func(c *yaml.Node) bool { return nodes.StringAt(c, "name") == name })
}
