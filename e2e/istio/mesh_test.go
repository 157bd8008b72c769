package istio

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/simulation"
)

// call is one line of a case's calls.
type call struct {
	verb, pod  string
	tls        simulation.TLSMode
	protocol   string
	host       string // "" for a call to the pod itself
	port       int
	path, name string
}

// shapes are the protocols of calls, as the simulation knows them.
var shapes = map[string]simulation.Protocol{"http": simulation.HTTP, "http2": simulation.HTTP2, "grpc": simulation.HTTP2, "tcp": simulation.TCP}

func (k call) toIstio(address string, port int, mode simulation.CallMode) simulation.Call {
	out := simulation.Call{Address: address, Port: port, Protocol: shapes[k.protocol], TLS: k.tls, Path: k.path, CallMode: mode, HostHeader: k.name}
	if k.tls == simulation.TLS {
		out.Sni = k.name
	}
	return out
}

// in returns where a call to a port of a pod lands.
func (c *control) in(t *testing.T, p *pod, k call, port int) string {
	t.Helper()
	dialed := fmt.Sprintf("%s:%d", c.names[p.ip], port)
	switch {
	case p.ambient():
		return "ztunnel -> " + dialed
	case !p.injected():
		return "no Envoy -> " + dialed
	case !p.redirects(port) && c.envoy(t, p).binds(port):
		return fmt.Sprintf("Envoy binds %s, as the application does", dialed)
	case !p.redirects(port):
		return "past Envoy -> " + dialed
	}
	e := c.envoy(t, p)
	r := e.Run(k.toIstio(p.ip, port, simulation.CallModeInbound))
	if r.Error != nil {
		return "refused: " + r.Error.Error()
	}
	return strings.Join(describe(c.land(e, r, p.ip, port), Landing.String), ", ")
}

// binds reports whether Envoy itself opens a port of the pod.
func (e *envoy) binds(port int) bool {
	for _, l := range e.Listeners {
		if int(l.GetAddress().GetSocketAddress().GetPortValue()) == port && l.TrafficDirection.String() == "INBOUND" {
			return true
		}
	}
	return false
}

// out returns where a call of a pod lands: the cluster, the endpoint and, if that
// is another pod, where the call lands there.
func (c *control) out(t *testing.T, p *pod, k call) []string {
	t.Helper()
	address := c.resolve(k.host)
	if p.ambient() {
		return describe(c.ztunnel(t).land(c, address, k.port), func(l Landing) string { return c.arrive(t, k, l) })
	}
	if !p.injected() {
		var out []string
		for _, l := range c.translate(address, k.port) {
			l.Cluster, l.name = "no Envoy", c.names[l.Address]
			out = append(out, c.arrive(t, k, l))
		}
		return out
	}
	e := c.envoy(t, p)
	mode := simulation.CallModeOutbound
	if e.proxy.Type == model.Router {
		mode = simulation.CallModeGateway
	}
	k.name = k.host
	r := e.Run(k.toIstio(address, k.port, mode))
	if r.Error != nil {
		return []string{"refused: " + r.Error.Error()}
	}
	return describe(c.land(e, r, address, k.port), func(l Landing) string { return c.arrive(t, k, l) })
}

// arrive follows a call to the pod at an address, if there is one.
func (c *control) arrive(t *testing.T, k call, l Landing) string {
	t.Helper()
	i := slices.IndexFunc(c.pods, func(p *pod) bool { return p.ip == l.Address })
	if i < 0 {
		return l.String()
	}
	l.HTTP = ""
	if l.MTLS {
		k.tls = simulation.MTLS
	}
	k.name = k.host
	return l.String() + " -> " + c.in(t, c.pods[i], k, l.Port)
}
