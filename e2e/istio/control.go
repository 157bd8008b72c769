package istio

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	corev1 "k8s.io/api/core/v1"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/gatewayapi"
)

// control is Istio's control plane over a cluster.
type control struct {
	*cluster
	server *xds.FakeDiscoveryServer
	envoys map[*pod]*envoy
}

// envoy is the configuration that the control plane sends to one proxy.
type envoy struct {
	*simulation.Simulation
	pod       *pod
	proxy     *model.Proxy
	clusters  map[string]*clusterv3.Cluster
	endpoints map[string]*endpointv3.ClusterLoadAssignment
}

func init() {
	// Istio takes GRPCRoutes where the version of their CRD is known, and the
	// CRDs of the fake server have none.
	clear(gatewayapi.MinimumCRDVersions)
}

// newControl starts a control plane; the configuration is MeshConfig's.
func newControl(t *testing.T, c *cluster, meshConfig string) *control {
	t.Helper()
	m, err := mesh.ApplyMeshConfig(meshConfig, mesh.DefaultMeshConfig())
	if err != nil {
		t.Fatal(err)
	}
	server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{KubernetesObjects: c.objects, Configs: c.istioConfig(t), MeshConfig: m})
	return &control{cluster: c, server: server, envoys: map[*pod]*envoy{}}
}

// istioConfig reads the cluster's configuration of Istio.
func (c *cluster) istioConfig(t *testing.T) []config.Config {
	t.Helper()
	configs, unknown, err := crd.ParseInputs(c.istio)
	if err != nil || len(unknown) > 0 {
		t.Fatalf("Istio does not accept the configuration: %v %v\n%s", err, unknown, c.istio)
	}
	for i := range configs {
		configs[i].Domain = "cluster.local" // so that Istio understands short hosts
	}
	return configs
}

// envoy connects a pod's proxy.
func (c *control) envoy(t *testing.T, p *pod) *envoy {
	t.Helper()
	if e := c.envoys[p]; e != nil {
		return e
	}
	kind := model.SidecarProxy
	if strings.HasPrefix(p.Annotations["inject.istio.io/templates"], "gateway") {
		kind = model.Router
	}
	mode := "REDIRECT"
	if env := envoyEnv(p, "ISTIO_META_INTERCEPTION_MODE"); env != "" {
		mode = env
	}
	proxy := c.server.SetupProxy(&model.Proxy{
		ID: p.Name + "." + p.Namespace, Type: kind, IPAddresses: p.addresses(), ConfigNamespace: p.Namespace, Labels: p.Labels,
		Metadata: &model.NodeMetadata{Namespace: p.Namespace, Labels: p.Labels, IstioVersion: istioVersion, InterceptionMode: model.TrafficInterceptionMode(mode), ClusterID: "Kubernetes"},
	})
	e := &envoy{simulation.NewSimulation(t, c.server, proxy), p, proxy, map[string]*clusterv3.Cluster{}, map[string]*endpointv3.ClusterLoadAssignment{}}
	for _, cl := range e.Clusters {
		e.clusters[cl.Name] = cl
	}
	for _, cla := range c.server.Endpoints(proxy) {
		e.endpoints[cla.ClusterName] = cla
	}
	c.envoys[p] = e
	return e
}

// istioVersion is the version that the proxies report: the module's.
const istioVersion = "1.31.0"

func envoyEnv(p *pod, name string) string {
	proxy := container(p.Pod, "istio-proxy")
	if proxy == nil {
		return ""
	}
	return env(proxy, name)
}

func env(c *corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// Landing is where a call lands: at one endpoint of a cluster that it matched.
type Landing struct {
	// Cluster is the name of Envoy's cluster, or describes what Envoy does instead.
	Cluster string
	// HTTP is the version of HTTP that Envoy speaks to the endpoint, "" for bytes.
	HTTP string
	// Address is the endpoint's IP address or name, "" if there is none.
	Address string
	Port    int
	// MTLS means that the endpoint is in the mesh.
	MTLS bool
	// Source is the address that Envoy calls from, "" for any.
	Source string

	name string // of the pod at Address
}

// land returns the endpoints to which the matched clusters lead.
func (c *control) land(e *envoy, r simulation.Result, address string, port int) []Landing {
	var out []Landing
	for _, name := range matched(e, r) {
		cl := e.clusters[name]
		if name == "BlackHoleCluster" || name == "block_all" || cl == nil {
			out = append(out, Landing{Cluster: name})
			continue
		}
		l := Landing{Cluster: name, Address: address, Port: port, Source: cl.GetUpstreamBindConfig().GetSourceAddress().GetAddress()}
		if l.name = c.names[address]; l.name == "" {
			l.name = "where it was dialed"
		}
		if r.VirtualHostMatched != "" {
			l.HTTP = spoken(cl)
		}
		assignment := cl.LoadAssignment
		if cl.GetType() == clusterv3.Cluster_EDS {
			assignment = e.endpoints[name]
		}
		if cl.GetType() == clusterv3.Cluster_ORIGINAL_DST {
			out = append(out, l)
			continue
		}
		found := len(out)
		for _, locality := range assignment.GetEndpoints() {
			for _, ep := range locality.GetLbEndpoints() {
				at := ep.GetEndpoint().GetAddress().GetSocketAddress()
				l.Address, l.Port, l.name = at.GetAddress(), int(at.GetPortValue()), c.names[at.GetAddress()]
				mode := ep.GetMetadata().GetFilterMetadata()["envoy.transport_socket_match"].GetFields()["tlsMode"].GetStringValue()
				l.MTLS = len(cl.TransportSocketMatches) > 0 && mode == "istio"
				out = append(out, l)
			}
		}
		if len(out) == found {
			out = append(out, Landing{Cluster: name + " -> no endpoint"})
		}
	}
	return out
}

// describe writes landings in a fixed order.
func describe(landings []Landing, one func(Landing) string) []string {
	var out []string
	for _, l := range landings {
		out = append(out, one(l))
	}
	slices.Sort(out)
	return out
}

func (l Landing) String() string {
	text := l.Cluster
	if l.HTTP != "" {
		text += " as " + l.HTTP
	}
	name := l.name
	if name == "" {
		name = l.Address
	}
	if name != "" {
		text += fmt.Sprintf(" -> %s:%d", name, l.Port)
	}
	if l.MTLS {
		text += " by mTLS"
	}
	return text
}

// matched returns the clusters of a result: one, or those of a weighted route. If
// Envoy answers itself, it returns a description of the answer instead.
func matched(e *envoy, r simulation.Result) []string {
	if r.ClusterMatched != "" {
		return []string{r.ClusterMatched}
	}
	for _, rc := range e.Routes {
		for _, vh := range rc.VirtualHosts {
			for _, route := range vh.Routes {
				if rc.Name != r.RouteConfigMatched || vh.Name != r.VirtualHostMatched || route.Name != r.RouteMatched {
					continue
				}
				switch action := route.Action.(type) {
				case *routev3.Route_DirectResponse:
					return []string{fmt.Sprintf("Envoy answers %d", action.DirectResponse.Status)}
				case *routev3.Route_Redirect:
					return []string{"Envoy redirects"}
				case *routev3.Route_Route:
					var out []string
					for _, w := range action.Route.GetWeightedClusters().GetClusters() {
						out = append(out, w.Name)
					}
					return out
				}
			}
		}
	}
	return []string{"no cluster"}
}

// spoken returns the version of HTTP that Envoy speaks to a cluster's endpoints.
func spoken(c *clusterv3.Cluster) string {
	any := c.GetTypedExtensionProtocolOptions()["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
	var options httpv3.HttpProtocolOptions
	if any != nil {
		if err := any.UnmarshalTo(&options); err != nil {
			return err.Error()
		}
	}
	switch o := options.UpstreamProtocolOptions.(type) {
	case *httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig:
		return "the caller's HTTP"
	case *httpv3.HttpProtocolOptions_ExplicitHttpConfig_:
		if o.ExplicitHttpConfig.GetHttp2ProtocolOptions() != nil {
			return "HTTP/2"
		}
	}
	return "HTTP/1.1"
}
