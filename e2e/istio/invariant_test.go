package istio

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/google/go-cmp/cmp"

	"istio.io/istio/pilot/pkg/model"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/transformer"
)

// The ports in the cases: the sidecar's, and the captured port of the application.
const (
	sidecar     = 4143
	application = 8080
)

// TestPoliciesHold compares, for every pod of every case, the filter chains and
// clusters that Istio generates with and without Tapedeck: mutual TLS,
// authorization, tokens, telemetry, limits and all other filters are the same.
// Only the destination of a chain may differ, which the cases show, and what an
// EnvoyFilter changes that the report names.
func TestPoliciesHold(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	compared := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			c := readCase(t, file)
			without, with := c.judge(t)
			if with == nil {
				return
			}
			sidecars := map[int]int{sidecar: application}
			for _, p := range with.pods {
				for _, r := range routes(t, p) {
					sidecars[r.In] = r.App
				}
			}
			var differences []string
			for _, p := range with.pods {
				if strings.Contains(p.Name, "-at-") || !p.injected() || len(p.Spec.Containers) == 0 {
					continue
				}
				was := without.pod(t, p.Name)
				if !was.injected() {
					continue
				}
				before, after := without.envoy(t, was), with.envoy(t, p)
				differences = append(differences, captured(t, c, before, after)...)
				for port := range before.listedPorts() {
					compared++
					at := port
					if in := sidecarPort(t, p, port); c.cfg.Inbound == "service" && after.listedPorts()[in] {
						at = in
					}
					if diff := cmp.Diff(before.enforced(t, port, sidecars), after.enforced(t, at, sidecars)); diff != "" {
						differences = append(differences, fmt.Sprintf("%s port %d (-without +with):\n%s", p.Name, port, diff))
					}
					if diff := cmp.Diff(before.upstream(t, port), after.upstream(t, at)); diff != "" {
						differences = append(differences, fmt.Sprintf("%s, the cluster for port %d (-without +with):\n%s", p.Name, port, diff))
					}
				}
			}
			named := strings.Contains(c.report, string(transformer.CodeEnvoyFilter))
			switch {
			case named && len(differences) == 0:
				t.Error("the report names an EnvoyFilter that holds as before")
			case !named && len(differences) > 0:
				t.Error(strings.Join(differences, "\n"))
			}
		})
	}
	if compared == 0 {
		t.Error("no filter chain was compared")
	}
}

// older are the cases in which a Sidecar outside the input takes precedence over ours.
var older = []string{"sidecar-unseen"}

// captured asserts, for every pod with our container and not only in goldens,
// that Envoy sends the captured ports to it, and does not without Tapedeck.
func captured(t *testing.T, c *testCase, before, after *envoy) (differences []string) {
	t.Helper()
	ours := container(after.pod.Pod, contract.Container)
	if ours == nil || c.cfg.Inbound != "sidecar" || slices.ContainsFunc(older, func(name string) bool { return strings.HasSuffix(t.Name(), "/"+name) }) {
		return nil
	}
	for _, r := range routes(t, after.pod) {
		name, sidecar := fmt.Sprintf("inbound|%d||", r.App), fmt.Sprintf("127.0.0.1:%d", r.In)
		if got := endpoints(after, name); !slices.Equal(got, []string{sidecar}) {
			differences = append(differences, fmt.Sprintf("%s: %s leads to %v, want %s", after.pod.Name, name, got, sidecar))
		}
		if got := endpoints(before, name); slices.Contains(got, sidecar) {
			differences = append(differences, fmt.Sprintf("%s: %s leads to %v without us", before.pod.Name, name, got))
		}
	}
	return differences
}

// routes returns the captured ports of a pod, each with the sidecar's for it.
func routes(t *testing.T, p *pod) []contract.InRoute {
	t.Helper()
	ours := container(p.Pod, contract.Container)
	if ours == nil || env(ours, contract.EnvReverseProxyPort) == "" {
		return nil
	}
	first := contract.InRoute{In: number(t, env(ours, contract.EnvProxyInPort)), App: number(t, env(ours, contract.EnvReverseProxyPort))}
	if env(ours, contract.EnvInPorts) == "" {
		return []contract.InRoute{first}
	}
	all, err := contract.ParseInRoutes(env(ours, contract.EnvInPorts))
	if err != nil || all[0] != first {
		t.Fatalf("%s: %v %v, want %v first", p.Name, all, err, first)
	}
	return all
}

// sidecarPort returns the port of a pod's sidecar for a port of its
// application, or that port itself if it is not captured.
func sidecarPort(t *testing.T, p *pod, port int) int {
	t.Helper()
	for _, r := range routes(t, p) {
		if r.App == port {
			return r.In
		}
	}
	return port
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func endpoints(e *envoy, cluster string) []string {
	var out []string
	for _, locality := range e.clusters[cluster].GetLoadAssignment().GetEndpoints() {
		for _, ep := range locality.GetLbEndpoints() {
			at := ep.GetEndpoint().GetAddress().GetSocketAddress()
			out = append(out, net.JoinHostPort(at.GetAddress(), fmt.Sprint(at.GetPortValue())))
		}
	}
	return out
}

// TestIPv6 checks how Istio changes 127.0.0.1 if pods have only IPv6: the sidecar has to listen on
// both loopbacks.
func TestIPv6(t *testing.T) {
	_, with := readCase(t, "testdata/ports-one.txtar").judge(t)
	app := with.pod(t, "app")
	proxy := with.server.SetupProxy(&model.Proxy{
		ID: "app.default", ConfigNamespace: "default", IPAddresses: []string{"2001:db8::1"}, Labels: app.Labels,
		Metadata: &model.NodeMetadata{Namespace: "default", Labels: app.Labels, IstioVersion: istioVersion, ClusterID: "Kubernetes"},
	})
	e := &envoy{clusters: map[string]*clusterv3.Cluster{}}
	for _, cl := range with.server.Clusters(proxy) {
		e.clusters[cl.Name] = cl
	}
	if diff := cmp.Diff([]string{"[::1]:4143"}, endpoints(e, "inbound|8080||")); diff != "" {
		t.Errorf("endpoint (-want +got):\n%s", diff)
	}
}

// listedPorts returns the ports that a pod's inbound listener has chains for.
func (e *envoy) listedPorts() map[int]bool {
	ports := map[int]bool{}
	for _, l := range e.Listeners {
		if l.Name != "virtualInbound" {
			continue
		}
		for _, fc := range l.FilterChains {
			if port := int(fc.GetFilterChainMatch().GetDestinationPort().GetValue()); port != 0 {
				ports[port] = true
			}
		}
	}
	return ports
}
