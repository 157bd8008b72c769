package transformer

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// destination is the target of a pod's calls: a Service of the cluster, a name outside, or an address.
type destination struct {
	host string
	port int
	// service is the name of a Service; "" outside the cluster.
	service string
	// inNamespace is the namespace of the Service; "" if the host does not name it.
	inNamespace string
}

// newDestination reads HOST or HOST:PORT in the form of a URL.
func newDestination(authority string, defaultPort int) destination {
	d := destination{host: authority, port: defaultPort}
	if host, port, err := net.SplitHostPort(authority); err == nil {
		d.host, d.port = host, atoi(port)
	}
	d.host = strings.Trim(d.host, "[]")
	switch names := strings.Split(d.host, "."); {
	case d.isAddress():
	case len(names) == 1:
		d.service = d.host
	case len(names) == 2 || names[2] == "svc":
		d.service, d.inNamespace = names[0], names[1]
	}
	return d
}

// isAddress reports whether the host is an address rather than a name.
func (d destination) isAddress() bool { return net.ParseIP(d.host) != nil }

// namespaceFor returns the namespace of the Service for callers in a namespace.
func (d destination) namespaceFor(namespace string) string {
	if d.inNamespace == "" {
		return namespace
	}
	return d.inNamespace
}

// servicePods returns the labels of the pods to which a Service of the input leads, and their ports,
// by number or name. It returns no labels if the input has no such Service. A destination without a
// port means all its ports.
func (in *input) servicePods(d destination, namespace string) (labels map[string]string, ports []string) {
	o := in.find("", "Service", d.namespaceFor(namespace), d.service)
	if d.service == "" || o == nil || asService(o) == nil {
		return nil, nil
	}
	for _, p := range nodes.Items(nodes.At(o.Node, "spec", "ports")) {
		n := nodes.Int(nodes.At(p, "port"))
		if n == 0 || d.port != 0 && n != d.port || !isTCP(p) {
			continue
		}
		target := nodes.StringAt(p, "targetPort")
		if target == "" || target == "0" {
			target = strconv.Itoa(n)
		}
		if !slices.Contains(ports, target) {
			ports = append(ports, target)
		}
	}
	return asService(o).selector, ports
}

// inCluster reports whether the host is the name of a Service. A name with two parts, such as
// example.com, is one if the input has an object in the namespace that the second part names.
func (in *input) inCluster(d destination) bool {
	if d.service == "" || strings.Count(d.host, ".") != 1 {
		return d.service != ""
	}
	return slices.ContainsFunc(in.objects, func(o *Object) bool {
		return o.namespace() == d.inNamespace || o.is("", "Namespace") && o.name() == d.inNamespace
	})
}

// egressTo returns the rule that lets pods of a namespace reach a destination. A policy sees the port
// of the pod, after the Service, and can't name hosts.
func (in *input) egressTo(d destination, namespace string) *yaml.Node {
	labels, ports := in.servicePods(d, namespace)
	switch {
	case len(ports) > 0:
		return egressRule([]*yaml.Node{podPeer(labels, d.inNamespace)}, append(ports, hbonePort)...)
	case in.inCluster(d): // its pods and their ports are not known
		return egressRule([]*yaml.Node{podPeer(nil, d.inNamespace)})
	case d.isAddress():
		bits := "/32"
		if strings.Contains(d.host, ":") {
			bits = "/128"
		}
		return egressRule([]*yaml.Node{nodes.Mapping("ipBlock", nodes.Mapping("cidr", d.host+bits))}, strconv.Itoa(d.port))
	}
	return egressRule(nil, strconv.Itoa(d.port))
}
