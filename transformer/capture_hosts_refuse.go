package transformer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// These functions find out what a host is according to the input, and why it can't be captured.

// meant is a Service of the input to which a name resolves in the cluster's DNS.
type meant struct {
	*Object
	// pod is the name of one of its pods if the name resolves only to that pod; "" otherwise.
	pod string
}

// serviceOf returns the Service to which a host resolves for a workload; nil if the input has none. A
// Service without a namespace may be in any namespace.
func (in *input) serviceOf(w *workload, host string) *meant {
	labels := strings.Split(host, ".")
	if i := slices.Index(labels, "svc"); i >= 2 {
		labels = labels[:i]
	}
	find := func(name, namespace string) *Object {
		if o := in.find("", "Service", namespace, name); o != nil {
			return o
		}
		return in.find("", "Service", "", name)
	}
	pod := func(o *Object) *meant {
		if o == nil || !(&service{Object: o}).headless() {
			return nil
		}
		return &meant{o, labels[0]}
	}
	switch len(labels) {
	case 1:
		if o := find(labels[0], w.namespace()); o != nil {
			return &meant{o, ""}
		}
	case 2:
		if o := find(labels[0], labels[1]); o != nil {
			return &meant{o, ""}
		}
		return pod(find(labels[1], w.namespace()))
	case 3:
		return pod(find(labels[1], labels[2]))
	}
	return nil
}

// hostID returns an ID that all names of a host share: the Service to which they resolve, or else the
// name.
func (in *input) hostID(w *workload, host string) string {
	if m := in.serviceOf(w, host); m != nil && m.pod == "" {
		return m.Ref().String()
	}
	return host
}

// selectsOwn reports whether a Service leads to the pods of a workload.
func (m *meant) selectsOwn(w *workload) bool {
	s := asService(m.Object)
	return s != nil && (s.namespace() == w.namespace() || s.namespace() == "") && selects(s.selector, w.podLabels())
}

// tcpPorts returns the TCP ports of a Service.
func (m *meant) tcpPorts() []int {
	var ports []int
	for _, p := range nodes.Items(nodes.At(m.Node, "spec", "ports")) {
		if isTCP(p) {
			ports = append(ports, nodes.Int(nodes.At(p, "port")))
		}
	}
	return ports
}

// called reports whether a Service can be called at a port. An ExternalName and a headless Service are
// only names, and the hosts that they stand for may listen on any port.
func (m *meant) called(port int) bool {
	return (&service{Object: m.Object}).headless() || nodes.StringAt(m.Node, "spec", "type") == "ExternalName" || slices.Contains(m.tcpPorts(), port)
}

// portsOfPod returns the ports on which something in the pod listens, or may listen, with their
// owners. A listener on 127.0.1.1:8080 prevents others from listening on 0.0.0.0:8080.
func (in *input) portsOfPod(w *workload) map[int]string {
	taken := w.takenPorts()
	for _, svc := range in.servicesOf(w) {
		for _, p := range svc.ports(w) {
			if p.target != 0 && taken[p.target] == "" {
				taken[p.target] = "the application, to which " + svc.Ref().String() + " leads"
			}
		}
	}
	for _, app := range w.settings.apps() {
		taken[app] = cmp.Or(taken[app], "the application")
	}
	for _, l := range listeners(&w.settings) {
		taken[l.port] = "the sidecar itself"
	}
	for port, owner := range reservedPorts {
		taken[port] = owner
	}
	return taken
}

// refusesHost says why a host can't be captured at a port; "" if it can.
func (in *input) refusesHost(w *workload, taken map[int]string, host string, port int) (Code, string) {
	if owner := taken[port]; owner != "" {
		return CodeHostPort, fmt.Sprintf("port %d belongs to %s, which could not listen beside the sidecar's listener for the host", port, owner)
	}
	if in.isSink(w, host) {
		return CodeHostSink, "the sidecar sends its recordings there"
	}
	svc := in.serviceOf(w, host)
	if svc != nil && svc.pod != "" && (svc.selectsOwn(w) || strings.HasPrefix(svc.pod, w.name()+"-") && nodes.StringAt(w.Node, "spec", "serviceName") == svc.name()) {
		return CodeHostOwnPod, "it is the name of one of the workload's own pods, which that pod needs for its own address"
	}
	return "", ""
}

// isSink reports whether a host is the collector to which the sidecar sends recordings.
func (in *input) isSink(w *workload, host string) bool {
	if in.sink == nil {
		return false
	}
	other := newCollector("http://" + host)
	return other != nil && (other.host == in.sink.host || other.service != "" && other.service == in.sink.service && other.namespace(w) == in.sink.namespace(w))
}
