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

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config/mesh"
)

// control is Istio's control plane over a cluster.
type control struct {
	*cluster
	server *xds.FakeDiscoveryServer
	envoys map[*pod]*envoy
}

// envoy is what the control plane tells one proxy.
type envoy struct {
	*simulation.Simulation
	pod       *pod
	proxy     *model.Proxy
	clusters  map[string]*clusterv3.Cluster
	endpoints map[string]*endpointv3.ClusterLoadAssignment
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
		ID: p.Name + "." + p.Namespace, Type: kind, IPAddresses: []string{p.ip}, ConfigNamespace: p.Namespace, Labels: p.Labels,
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

// istioVersion is what the proxies say of themselves: the module's.
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

// call is what one line of a case's calls says.
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

// in says where a call to a port of a pod lands.
func (c *control) in(t *testing.T, p *pod, k call, port int) string {
	t.Helper()
	dialed := fmt.Sprintf("%s:%d", c.names[p.ip], port)
	switch {
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
	return strings.Join(c.land(e, r, p.ip, port, func(l landing) string { return l.String() }), ", ")
}

// binds tells whether Envoy itself opens a port of the pod.
func (e *envoy) binds(port int) bool {
	for _, l := range e.Listeners {
		if int(l.GetAddress().GetSocketAddress().GetPortValue()) == port && l.TrafficDirection.String() == "INBOUND" {
			return true
		}
	}
	return false
}

// out says where a call that a pod makes lands: at the cluster, at the
// endpoint, and where the endpoint is another pod, there.
func (c *control) out(t *testing.T, p *pod, k call) []string {
	t.Helper()
	address := c.resolve(k.host)
	if !p.injected() {
		var out []string
		for _, l := range c.translate(address, k.port) {
			l.cluster, l.name = "no Envoy", c.names[l.address]
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
	return c.land(e, r, address, k.port, func(l landing) string { return c.arrive(t, k, l) })
}

// arrive follows a call to the pod at an address, if there is one.
func (c *control) arrive(t *testing.T, k call, l landing) string {
	t.Helper()
	i := slices.IndexFunc(c.pods, func(p *pod) bool { return p.ip == l.address })
	if i < 0 {
		return l.String()
	}
	l.http = ""
	if l.mtls {
		k.tls = simulation.MTLS
	}
	k.name = k.host
	return l.String() + " -> " + c.in(t, c.pods[i], k, l.port)
}

// landing is one endpoint of a cluster that a call matched.
type landing struct {
	cluster, http, name string
	address             string
	port                int
	mtls                bool
}

func (l landing) String() string {
	text := l.cluster
	if l.http != "" {
		text += " as " + l.http
	}
	name := l.name
	if name == "" {
		name = l.address
	}
	if name != "" {
		text += fmt.Sprintf(" -> %s:%d", name, l.port)
	}
	if l.mtls {
		text += " by mTLS"
	}
	return text
}

// land says to which endpoints the matched clusters lead.
func (c *control) land(e *envoy, r simulation.Result, address string, port int, show func(landing) string) []string {
	var out []string
	for _, name := range matched(e, r) {
		l := landing{cluster: name, address: address, port: port}
		if l.name = c.names[address]; l.name == "" {
			l.name = "where it was dialed"
		}
		if r.VirtualHostMatched != "" {
			l.http = spoken(e.clusters[name])
		}
		cl := e.clusters[name]
		if name == "BlackHoleCluster" || name == "block_all" || cl == nil {
			out = append(out, name)
			continue
		}
		assignment := cl.LoadAssignment
		if cl.GetType() == clusterv3.Cluster_EDS {
			assignment = e.endpoints[name]
		}
		if cl.GetType() == clusterv3.Cluster_ORIGINAL_DST {
			out = append(out, show(l))
			continue
		}
		found := len(out)
		for _, locality := range assignment.GetEndpoints() {
			for _, ep := range locality.GetLbEndpoints() {
				at := ep.GetEndpoint().GetAddress().GetSocketAddress()
				l.address, l.port, l.name = at.GetAddress(), int(at.GetPortValue()), c.names[at.GetAddress()]
				mode := ep.GetMetadata().GetFilterMetadata()["envoy.transport_socket_match"].GetFields()["tlsMode"].GetStringValue()
				l.mtls = len(cl.TransportSocketMatches) > 0 && mode == "istio"
				out = append(out, show(l))
			}
		}
		if len(out) == found {
			out = append(out, name+" -> no endpoint")
		}
	}
	slices.Sort(out)
	return out
}

// matched returns the clusters of a result: one, those of a weighted route, or
// in their place what Envoy answers itself.
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

// spoken says which HTTP a cluster's endpoints are spoken to in.
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
