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

// Mesh is a cluster with Istio in it, for tests that send packets. It returns
// pods as Istio's injector changes them, and tells where Envoy sends a call
// according to the control plane.
type Mesh struct{ control *control }

// NewMesh applies manifests to a cluster. Its pods have the given addresses, by
// the names of their workloads. Its Services have the addresses in the manifests.
func NewMesh(t *testing.T, manifests, meshConfig string, addresses map[string][]string) *Mesh {
	t.Helper()
	in := newInjector(t, true)
	var err error
	if in.mesh, err = mesh.ApplyMeshConfig(meshConfig, in.mesh); err != nil {
		t.Fatal(err)
	}
	for _, of := range addresses {
		if len(of) > 1 {
			test.SetForTest(t, &features.EnableDualStack, true) // like ISTIO_DUAL_STACK
		}
	}
	c := newControl(t, newCluster(t, in, manifests, "", addresses), meshConfig)
	for _, p := range c.pods {
		if p.injected() {
			c.envoy(t, p) // connects; from now on c is only read
		}
	}
	return &Mesh{c}
}

// Pod returns a workload's pod as Istio's injector admitted it.
func (m *Mesh) Pod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	return m.control.pod(t, name).Pod
}

// Call is a connection, or a request on one, that iptables sent to an Envoy.
type Call struct {
	// Pod is the pod of the Envoy. Inbound means that it listens on 15006, not 15001.
	Pod     string
	Inbound bool
	// Address and Port are what was dialed.
	Address string
	Port    int
	// TLS is plaintext, tls or mtls. Protocol is what the connection speaks, inside TLS if there is any:
	// http, http2 or tcp.
	TLS, Protocol string
	// ALPN and SNI are those of the ClientHello, Host and Path those of the request.
	ALPN, SNI, Host, Path string
}

// Land returns where a call lands according to the listeners, routes, clusters
// and endpoints that Istio generates for the pod.
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
