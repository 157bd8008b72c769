package istio

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/test"
)

// Mesh is a cluster with Istio in it, for tests that send packets: it tells
// them what Istio's injector makes of a pod, and what its control plane has
// the pod's Envoy do.
type Mesh struct{ control *control }

// NewMesh applies manifests to a cluster. Its pods have the addresses that are
// given by the names of their workloads, and its Services those that they say.
func NewMesh(t *testing.T, manifests, meshConfig string, addresses map[string][]string) *Mesh {
	t.Helper()
	in := newInjector(t, true)
	var err error
	if in.mesh, err = mesh.ApplyMeshConfig(meshConfig, in.mesh); err != nil {
		t.Fatal(err)
	}
	for _, of := range addresses {
		if len(of) > 1 {
			test.SetForTest(t, &features.EnableDualStack, true) // as ISTIO_DUAL_STACK does
		}
	}
	c := newControl(t, newCluster(t, in, manifests, "", addresses), meshConfig)
	for _, p := range c.pods {
		if p.injected() {
			c.envoy(t, p) // connects: from now on it is only read
		}
	}
	return &Mesh{c}
}

// Pod returns a workload's pod as Istio's injector let it in.
func (m *Mesh) Pod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	return m.control.pod(t, name).Pod
}

// Call is a connection, or a request on one, that iptables sent to an Envoy.
type Call struct {
	// Pod is whose Envoy it is; Inbound that it listens on 15006, not 15001.
	Pod     string
	Inbound bool
	// Address and Port were dialed.
	Address string
	Port    int
	// TLS is plaintext, tls or mtls, Protocol what is in it or in its place:
	// http, http2 or tcp.
	TLS, Protocol string
	// ALPN and SNI are of the ClientHello, Host and Path of the request.
	ALPN, SNI, Host, Path string
}

// Land says where a call lands, by the listeners, routes, clusters and
// endpoints that Istio generates for the pod.
func (m *Mesh) Land(c Call) (Landing, error) {
	i := slices.IndexFunc(m.control.pods, func(p *pod) bool { return p.Name == c.Pod })
	if i < 0 {
		return Landing{}, fmt.Errorf("no pod is named %s", c.Pod)
	}
	e := m.control.envoys[m.control.pods[i]]
	if e == nil {
		return Landing{}, fmt.Errorf("%s has no Envoy", c.Pod)
	}
	mode := simulation.CallModeOutbound
	if c.Inbound {
		mode = simulation.CallModeInbound
	}
	r := e.Run(simulation.Call{
		Address: e.listening(c.Address, c.Port), Port: c.Port, Path: c.Path, Protocol: simulation.Protocol(c.Protocol),
		TLS: simulation.TLSMode(c.TLS), Alpn: c.ALPN, HostHeader: c.Host, Sni: c.SNI, CallMode: mode,
	})
	if r.Error != nil {
		return Landing{}, fmt.Errorf("%+v: %w", c, r.Error)
	}
	all := m.control.land(e, r, c.Address, c.Port)
	if len(all) != 1 {
		return Landing{}, errors.New(strings.Join(describe(all, Landing.String), ", ") + ": more than one place")
	}
	return all[0], nil
}

// listening returns the first address of the listener for a destination in
// IPv6: the simulation knows neither of others nor of IPv6's wildcard.
func (e *envoy) listening(address string, port int) string {
	if family(address) != discoveryv1.AddressTypeIPv6 {
		return address
	}
	for _, bound := range []string{address, "::"} {
		for _, l := range e.Listeners {
			first := l.GetAddress().GetSocketAddress()
			all := []*corev3.SocketAddress{first}
			for _, a := range l.AdditionalAddresses {
				all = append(all, a.GetAddress().GetSocketAddress())
			}
			if slices.ContainsFunc(all, func(a *corev3.SocketAddress) bool { return a.GetAddress() == bound && int(a.GetPortValue()) == port }) {
				return first.GetAddress()
			}
		}
	}
	return address
}
