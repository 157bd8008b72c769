package transformer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// An Istio Sidecar replaces all inbound listeners that Istio would generate for a pod, so it lists
// every port that a Service leads to:
//
//	Service port ──▶ Envoy 8080 ──defaultEndpoint──▶ 127.0.0.1:4143 sidecar ──▶ localhost:8080 application
//	Service port ──▶ Envoy 9999 ──defaultEndpoint──▶ 127.0.0.1:4144 sidecar ──▶ localhost:9999 application
//	Service port ──▶ Envoy 9090 ───────────────────────────────────────────────────▶ :9090 application
//
// Source: https://istio.io/latest/docs/reference/config/networking/sidecar/

// inboundListener is one entry of a Sidecar's ingress.
type inboundListener struct {
	port     int
	protocol string     // "" makes Istio detect the protocol
	endpoint string     // the sidecar's; "" for a port that is not captured
	pool     *yaml.Node // connection limits, if the port has separate ones
}

func (l inboundListener) node() *yaml.Node {
	name := strings.ToLower(l.protocol)
	if name == "" {
		name = "port"
	}
	n := istioNode(&networking.IstioIngressListener{
		Port:            &networking.SidecarPort{Number: uint32(l.port), Protocol: l.protocol, Name: fmt.Sprintf("%s-%d", name, l.port)},
		DefaultEndpoint: l.endpoint,
	})
	if l.pool != nil { // as the user wrote it
		n.Content = append(n.Content, nodes.New("connectionPool"), l.pool)
	}
	return n
}

// inboundListeners returns a listener for every port that a Service leads to, and for each captured
// port that none leads to. captured maps the ports of listeners to routes.
func (in *input) inboundListeners(w *workload, captured map[int]contract.InRoute) ([]inboundListener, Results) {
	var results Results
	listeners := map[int]inboundListener{}
	services := in.servicesOf(w)
	for _, s := range services {
		for _, p := range s.ports(w) {
			if p.target == 0 {
				continue // no container has a port with that name, so no traffic arrives
			}
			l, seen := listeners[p.target]
			if seen && w.replay != nil && s.Object == w.replay.service {
				continue // the workload's own Services declare the protocol
			}
			if seen && l.protocol != p.protocol {
				p.protocol = "" // two Services disagree, so Istio detects it
			}
			if !seen {
				l.pool = in.poolOf(p)
			}
			listeners[p.target] = inboundListener{p.target, p.protocol, "", l.pool}
		}
	}
	ports := slices.Sorted(maps.Keys(listeners))
	var others, served []int
	for _, port := range ports {
		if r, ok := captured[port]; ok {
			l := listeners[port]
			l.endpoint = sidecarEndpoint(r)
			listeners[port] = l
			served = append(served, port)
		} else {
			others = append(others, port)
		}
	}
	where := w.settings.wherePorts()
	var missing []int
	for _, port := range slices.Sorted(maps.Keys(captured)) {
		if _, ok := listeners[port]; !ok {
			missing = append(missing, port)
			listeners[port] = inboundListener{port, "", sidecarEndpoint(captured[port]), nil}
			if len(services) > 0 {
				w.settings.leaveNumber(PortNotServed, captured[port].App)
				results = append(results, result(CodePortNotServed, w.Object, "%s, but %s leads to %s, so inbound traffic will not be captured", w.settings.nameOf(port), services[0].Ref(), joinPorts(ports)).
					At(where, strconv.Itoa(port), firstPort(ports)))
			}
		}
	}
	switch {
	case len(services) == 0:
		results = append(results, result(CodeNoService, w.Object, "no Service in the input selects the pods, so Istio sends inbound traffic to the captured ports only, and detects their protocols. Render the Service together with the workload%s", in.noServiceAdvice(w)).At(w.at("metadata.labels"), "", ""))
	case len(served) > 0 && len(others) > 0:
		results = append(results, result(CodePortsNotCaptured, w.Object, "inbound %s; %s to the application directly", arePorts(served, "is captured", "are captured"), arePorts(others, "goes", "go")).At(where, strconv.Itoa(served[0]), ""))
	}
	// Ports that a Service leads to come first.
	out := make([]inboundListener, 0, len(listeners))
	for _, port := range append(ports, missing...) {
		out = append(out, listeners[port])
	}
	return out, results
}

// poolOf returns the connection limits that a DestinationRule sets for one port of a Service. They
// apply to the server's Envoy too. It returns nil if the limits for all ports apply. Istio looks them
// up by the Service's port number, but with a Sidecar by the pod's, so the Sidecar must state them.
func (in *input) poolOf(p servicePort) *yaml.Node {
	for _, o := range in.byKind[istioGroup+"/DestinationRule"] {
		policy := nodes.At(o.Node, "spec", "trafficPolicy")
		if o.namespace() != p.service.namespace() || policy == nil || !p.service.isNamed(vsService(o, nodes.StringAt(o.Node, "spec", "host"))) {
			continue
		}
		limits := func(port int) *yaml.Node {
			for _, level := range nodes.Items(nodes.At(policy, "portLevelSettings")) {
				if nodes.Int(nodes.At(level, "port", "number")) == port {
					return nodes.At(level, "connectionPool")
				}
			}
			return nodes.At(policy, "connectionPool")
		}
		if pool := limits(p.number); pool != nil && pool != limits(p.target) {
			return yaml.CopyYNode(pool)
		}
	}
	return nil
}

func joinPorts(ports []int) string {
	switch last := len(ports) - 1; last {
	case -1:
		return "no TCP port of the pod"
	case 0:
		return "port " + strconv.Itoa(ports[0])
	default:
		return "ports " + strings.Trim(strings.ReplaceAll(fmt.Sprint(ports[:last]), " ", ", "), "[]") + " and " + strconv.Itoa(ports[last])
	}
}

// arePorts writes a list of ports with a verb in the singular or plural.
func arePorts(ports []int, is, are string) string {
	if len(ports) == 1 {
		are = is
	}
	return joinPorts(ports) + " " + are
}

func firstPort(ports []int) string {
	if len(ports) == 0 {
		return ""
	}
	return strconv.Itoa(ports[0])
}
