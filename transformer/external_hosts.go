package transformer

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// External has hosts outside the mesh that one ServiceEntry opens. Under REGISTRY_ONLY, workloads can
// reach only such hosts.
type External struct {
	// Name is the name of the ServiceEntry.
	Name  string
	Hosts []string
	// Addresses are the addresses by which Envoy recognizes TCP hosts.
	Addresses []string
	// Scheme is http, tcp, or https. With https, TLS passes through by the name that clients ask for (SNI).
	Scheme string
	Port   int
	// Private hides the hosts from other namespaces.
	Private bool
}

// ServiceEntry returns the object that opens the hosts.
func (x External) ServiceEntry(namespace string) *yaml.Node {
	return nodes.Mapping("apiVersion", istioGroup+"/v1", "kind", "ServiceEntry", "metadata", nodes.Mapping("name", x.Name, "namespace", namespace), "spec", istioNode(x.spec()))
}

// spec returns the spec of the ServiceEntry. With resolution NONE, TLS passes by SNI, which wildcard
// hosts need: https://istio.io/latest/docs/reference/config/networking/service-entry/.
func (x External) spec() *networking.ServiceEntry {
	protocols := map[string]string{"http": "HTTP", "https": "TLS", "tcp": "TCP"}
	spec := &networking.ServiceEntry{
		Hosts:      x.Hosts,
		Addresses:  x.Addresses,
		Location:   networking.ServiceEntry_MESH_EXTERNAL,
		Ports:      []*networking.ServicePort{{Name: x.Scheme, Number: uint32(x.Port), Protocol: protocols[x.Scheme]}},
		Resolution: networking.ServiceEntry_NONE,
	}
	if x.Private {
		spec.ExportTo = []string{"."}
	}
	return spec
}

// speedscaleHosts are the hosts that Speedscale's cloud needs, from the table of
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

// openedHosts returns the hosts that ServiceEntries open: the configured hosts, and the collector if
// its name is outside the cluster and a workload is in the mesh.
func (in *input) openedHosts() []External {
	https := External{Name: externalHosts, Scheme: "https", Port: 443}
	if in.cfg.ServiceEntry == PresetSpeedscaleCloud {
		https.Name, https.Hosts = speedscaleCloudHosts, slices.Clone(speedscaleHosts)
	}
	add := func(host string) {
		if !slices.Contains(https.Hosts, host) {
			https.Hosts = append(https.Hosts, host)
		}
	}
	for _, h := range in.cfg.ServiceEntryHosts {
		add(h)
	}
	var out []External
	if c := in.sink; c != nil && c.service == "" && !c.isAddress() && slices.ContainsFunc(in.renderOrder(), func(w *workload) bool { return in.meshed(w) && in.pastMesh(w) == "" }) {
		if c.Scheme == https.Scheme && c.port == https.Port {
			add(c.host)
		} else {
			out = append(out, External{Name: collectorHost, Hosts: []string{c.host}, Scheme: c.Scheme, Port: c.port})
		}
	}
	if len(https.Hosts) > 0 {
		out = slices.Insert(out, 0, https)
	}
	return out
}

// serviceEntries builds the ServiceEntries that open hosts under REGISTRY_ONLY, except for those that
// the input has. They are in the collector's namespace, because every rendered egress list allows
// it.
func (in *input) serviceEntries(w *workload) ([]*Object, Results) {
	var created []*Object
	var results Results
	for _, x := range in.externals {
		own := in.find(istioGroup, "ServiceEntry", in.cfg.Namespace, x.Name)
		if own == nil {
			created = append(created, in.create(w, istioGroup+"/"+in.version, "ServiceEntry", x.Name, in.cfg.Namespace, istioNode(x.spec())))
			continue
		}
		var missing []string
		for _, h := range x.Hosts {
			if !slices.ContainsFunc(nodes.Items(nodes.At(own.Node, "spec", "hosts")), func(n *yaml.Node) bool { return nodes.String(n) == h }) {
				missing = append(missing, h)
			}
		}
		if missing != nil {
			results = append(results, result(CodeServiceEntryKept, own, "the render did not change %s, which lacks %s", own.Ref(), strings.Join(missing, ", ")).At("spec.hosts", "", strings.Join(missing, ", ")))
		}
	}
	return created, results
}
