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

// istioVersions are the versions of networking.istio.io, the oldest first.
var istioVersions = []string{"v1alpha3", "v1beta1", "v1"}

// istioOldKinds have no v1 yet, so they say nothing about what a cluster serves.
var istioOldKinds = []string{"EnvoyFilter", "ProxyConfig"}

// istioVersion returns the version of networking.istio.io to write: what the
// configuration says, or else the newest that the input uses, or else v1, which
// Istio has had since 1.22.
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

// label identifies the workload's rewritten pods. A label's value has 63
// characters at most and ends in a letter or a digit, so one that is longer, or
// is made of a generateName, ends in a hash of the whole.
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

// trimName takes off a name's end what no name and no label may end in: a
// generateName's dash, as a rule.
func trimName(name string) string { return strings.TrimRight(name, "-._") }

// The label and the names of created objects, by which they are known besides their
// annotation.
const (
	managedBy   = "app.kubernetes.io/managed-by"
	managedByUs = "tapedeck"

	sidecarSuffix        = "-tapedeck"
	externalHosts        = "tapedeck-external-svc-https"
	speedscaleCloudHosts = "speedscale-external-svc-https"
	collectorHost        = "tapedeck-external-svc-collector"
)

// create builds an object that a render adds beside a workload, under a name that
// nothing else has. Workloads come in the order of renderOrder, so the same one gets the
// plain name wherever it stands in the input.
func (in *input) create(w *workload, apiVersion, kind, name, namespace string, spec *yaml.Node) *Object {
	group, _, _ := strings.Cut(apiVersion, "/")
	taken := func() bool { // by a StatefulSet of the Deployment's name, or in the input
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

// newObject builds an object that only a render writes: it has the label and an annotation
// by which a later one knows it.
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
