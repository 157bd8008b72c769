package transformer

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// istioVersions are the versions of networking.istio.io, oldest first.
var istioVersions = []string{"v1alpha3", "v1beta1", "v1"}

// istioOldKinds are kinds that have no v1 yet. Their version does not show which versions a cluster
// serves.
var istioOldKinds = []string{"EnvoyFilter", "ProxyConfig"}

// istioVersion returns the version of networking.istio.io to write: the configured one, or else the
// newest that the input uses, or else v1, which Istio has had since 1.22.
func (in *input) istioVersion() string {
	if in.cfg.IstioAPIVersion != "" {
		return in.cfg.IstioAPIVersion
	}
	newest := -1
	for _, o := range in.objects {
		if o.group() == istioGroup && o.annotation(contract.AnnotationFor) == "" && !slices.Contains(istioOldKinds, o.kind()) {
			newest = max(newest, slices.Index(istioVersions, strings.TrimPrefix(o.apiVersion(), istioGroup+"/")))
		}
	}
	if newest < 0 {
		return "v1"
	}
	return istioVersions[newest]
}

// label returns the label that identifies the workload's rewritten pods. A label's value has at most
// 63 characters and ends in a letter or a digit. If the value would be longer, or is made from a
// generateName, it ends in a hash of the whole value.
func (w *workload) label() string {
	const limit = 63
	value := strings.ToLower(w.Object.kind()) + "." + w.name()
	if len(value) <= limit && value == trimName(value) {
		return value
	}
	hash := fnv.New32a()
	hash.Write([]byte(value))
	suffix := "-" + strconv.FormatUint(uint64(hash.Sum32()), 36)
	return trimName(value[:min(len(value), limit-len(suffix))]) + suffix
}

// trimName removes characters from the end of a name that no name and no label may end in, usually the
// dash of a generateName.
func trimName(name string) string { return strings.TrimRight(name, "-._") }

// These are the label and the names by which a render recognizes the objects that it creates, besides
// their annotation.
const (
	managedBy   = "app.kubernetes.io/managed-by"
	managedByUs = "tapedeck"

	sidecarSuffix        = "-tapedeck"
	externalHosts        = "tapedeck-external-svc-https"
	speedscaleCloudHosts = "speedscale-external-svc-https"
	collectorHost        = "tapedeck-external-svc-collector"
)

// create builds an object that a render adds for a workload, with a unique name. Workloads come in the
// order of renderOrder, so the same one always gets the plain name, wherever it is in the input.
func (in *input) create(w *workload, apiVersion, kind, name, namespace string, spec *yaml.Node) *Object {
	group, _, _ := strings.Cut(apiVersion, "/")
	taken := func() bool { // by a StatefulSet with the Deployment's name, or by the input
		return in.createdNames[kind+"/"+namespace+"/"+name] || in.find(group, kind, namespace, name) != nil
	}
	for taken() {
		name += "-" + strings.ToLower(w.Object.kind())
	}
	in.createdNames[kind+"/"+namespace+"/"+name] = true
	var labels *yaml.Node
	if w.original != nil {
		labels = w.replay.selector(contract.PartCopy)
	}
	return &Object{File: w.File, Node: newObject(apiVersion, kind, name, namespace, labels, nodes.Mapping(contract.AnnotationFor, w.id()), "spec", spec)}
}

// newObject builds an object that only a render writes. Its label and annotation let a later render
// recognize it.
func newObject(apiVersion, kind, name, namespace string, labels, annotations *yaml.Node, key string, body *yaml.Node) *yaml.Node {
	all := nodes.Mapping(managedBy, managedByUs)
	if labels != nil {
		all.Content = append(all.Content, labels.Content...)
	}
	return nodes.Mapping(
		"apiVersion", apiVersion,
		"kind", kind,
		"metadata", nodes.Mapping("name", name, "namespace", orNil(namespace), "labels", all, "annotations", annotations),
		key, body,
	)
}
