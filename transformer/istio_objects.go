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
	collectorHost        = "tapedeck-external-svc-collector"
)

// create builds an object that a render adds beside a workload, under a name that
// nothing else has. Workloads come in the order of renderOrder, so the same one gets the
// plain name wherever it stands in the input.
func (in *input) create(w *workload, apiVersion, kind, name, namespace string, spec *yaml.Node) *Object {
	group, _, _ := strings.Cut(apiVersion, "/")
	var ns any
	if namespace != "" {
		ns = namespace
	}
	taken := func() bool { // by a StatefulSet of the Deployment's name, or in the input
		return in.createdNames[kind+"/"+namespace+"/"+name] || in.find(group, kind, namespace, name) != nil
	}
	for taken() {
		name += "-" + strings.ToLower(w.Object.kind())
	}
	in.createdNames[kind+"/"+namespace+"/"+name] = true
	return &Object{File: w.File, Node: mapping(
		"apiVersion", apiVersion,
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

// external are hosts outside the mesh that one ServiceEntry opens.
type external struct {
	name   string
	hosts  []string
	scheme string
	port   int
}

// openedHosts returns the hosts that ServiceEntries open: the configured ones, and the
// collector's, if that is a name outside the cluster and a workload is in the mesh.
func (in *input) openedHosts() []external {
	https := external{name: externalHosts, scheme: "https", port: 443}
	if in.cfg.ServiceEntry == PresetSpeedscaleCloud {
		https.name, https.hosts = speedscaleCloudHosts, slices.Clone(speedscaleHosts)
	}
	add := func(host string) {
		if !slices.Contains(https.hosts, host) {
			https.hosts = append(https.hosts, host)
		}
	}
	for _, h := range in.cfg.ServiceEntryHosts {
		add(h)
	}
	var out []external
	if c := in.sink; c != nil && c.service == "" && !c.address() && slices.ContainsFunc(in.renderOrder(), func(w *workload) bool { return in.pastMesh(w) == "" }) {
		if c.Scheme == https.scheme && c.port == https.port {
			add(c.host)
		} else {
			out = append(out, external{collectorHost, []string{c.host}, c.Scheme, c.port})
		}
	}
	if len(https.hosts) > 0 {
		out = slices.Insert(out, 0, https)
	}
	return out
}

// serviceEntries builds the ServiceEntries that open hosts under REGISTRY_ONLY, but for
// those that the input has. They live in the collector's namespace, which every egress
// list that is written allows.
func (in *input) serviceEntries(w *workload) ([]*Object, Results) {
	var created []*Object
	var results Results
	for _, x := range in.externals {
		own := in.find(istioGroup, "ServiceEntry", in.cfg.Namespace, x.name)
		if own == nil {
			created = append(created, in.create(w, istioGroup+"/"+in.version, "ServiceEntry", x.name, in.cfg.Namespace, istioNode(x.spec())))
			continue
		}
		var missing []string
		for _, h := range x.hosts {
			if !slices.ContainsFunc(items(field(own.Node, "spec", "hosts")), func(n *yaml.Node) bool { return str(n) == h }) {
				missing = append(missing, h)
			}
		}
		if missing != nil {
			results = append(results, result(CodeServiceEntryKept, own, "%s is left as it is, and lacks %s", own.Ref(), strings.Join(missing, ", ")).At("spec.hosts", "", strings.Join(missing, ", ")))
		}
	}
	return created, results
}

// spec is that of the ServiceEntry. TLS with resolution NONE passes by SNI, which
// wildcard hosts need:
// https://istio.io/latest/docs/reference/config/networking/service-entry/.
func (x external) spec() *networking.ServiceEntry {
	return &networking.ServiceEntry{
		Hosts:      x.hosts,
		Location:   networking.ServiceEntry_MESH_EXTERNAL,
		Ports:      []*networking.ServicePort{{Name: x.scheme, Number: uint32(x.port), Protocol: map[string]string{"http": "HTTP", "https": "TLS"}[x.scheme]}},
		Resolution: networking.ServiceEntry_NONE,
	}
}
