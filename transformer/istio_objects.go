package transformer

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
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
)

// create builds an Istio object that a render adds beside a workload, under a
// name that nothing else has. Workloads come in the order of renderOrder, so the
// same one gets the plain name wherever it stands in the input.
func (in *input) create(w *workload, kind, name, namespace string, spec *yaml.Node) *Object {
	var ns any
	if namespace != "" {
		ns = namespace
	}
	taken := func() bool { // by a StatefulSet of the Deployment's name, or in the input
		return in.createdNames[kind+"/"+namespace+"/"+name] || in.find(istioGroup, kind, namespace, name) != nil
	}
	for taken() {
		name += "-" + strings.ToLower(w.Object.kind())
	}
	in.createdNames[kind+"/"+namespace+"/"+name] = true
	return &Object{File: w.File, Node: mapping(
		"apiVersion", istioGroup+"/"+in.version,
		"kind", kind,
		"metadata", mapping(
			"name", name,
			"namespace", ns,
			"labels", mapping(managedBy, managedByUs),
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
// REGISTRY_ONLY; nil where none are configured, or where the input has it. It lives in the collector's
// namespace, which every egress list that is written allows.
// TLS with resolution NONE passes by SNI, which wildcard hosts need:
// https://istio.io/latest/docs/reference/config/networking/service-entry/.
func (in *input) serviceEntry(w *workload) (*Object, Results) {
	name := externalHosts
	var hosts []string
	if in.cfg.ServiceEntry == PresetSpeedscaleCloud {
		name = speedscaleCloudHosts
		hosts = append(hosts, speedscaleHosts...)
	}
	for _, h := range in.cfg.ServiceEntryHosts {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		return nil, nil
	}
	if own := in.find(istioGroup, "ServiceEntry", in.cfg.Namespace, name); own != nil {
		var missing []string
		for _, h := range hosts {
			if !slices.ContainsFunc(items(field(own.Node, "spec", "hosts")), func(n *yaml.Node) bool { return str(n) == h }) {
				missing = append(missing, h)
			}
		}
		if missing == nil {
			return nil, nil
		}
		return nil, Results{result(CodeServiceEntryKept, own, "%s is left as it is, and lacks %s", own.Ref(), strings.Join(missing, ", ")).At("spec.hosts", "", strings.Join(missing, ", "))}
	}
	return in.create(w, "ServiceEntry", name, in.cfg.Namespace, externalService(hosts)), nil
}

// externalService builds the spec of a ServiceEntry that opens hosts.
func externalService(hosts []string) *yaml.Node {
	return istioNode(&networking.ServiceEntry{
		Hosts:      hosts,
		Location:   networking.ServiceEntry_MESH_EXTERNAL,
		Ports:      []*networking.ServicePort{{Name: "https", Number: 443, Protocol: "TLS"}},
		Resolution: networking.ServiceEntry_NONE,
	})
}
