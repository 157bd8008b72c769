package istio

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"

	"istio.io/istio/pilot/pkg/simulation"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn/kustomization"
	"github.com/tapedeck/tapedeck/transformer"
)

// around has what surrounds the collector: a captured workload with an egress list and
// NetworkPolicies that keep it to its namespace, another namespace of the mesh, and one outside.
// Mutual TLS is STRICT for all.
const around = `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: till, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  namespace: shop
  annotations: {sidecar.speedscale.com/inject: "true", sidecar.speedscale.com/proxy-port: "8080"}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: shop}
spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress, Egress], egress: [{ports: [{protocol: UDP, port: 53}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: till}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec: {containers: [{name: client, image: client}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: stranger, namespace: outside}
spec:
  selector: {matchLabels: {app: stranger}}
  template:
    metadata: {labels: {app: stranger}}
    spec: {containers: [{name: stranger, image: stranger}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
`

// deployed builds a kustomization of deploy/collector for the captured namespaces, as
// docs/collector.md says how.
func deployed(t *testing.T, overlay, namespaces string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../deploy/collector")); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "mine")
	if err := os.Mkdir(mine, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`resources: [../%s]
patches:
- target: {kind: AuthorizationPolicy, name: collector}
  patch: |
    - op: replace
      path: /spec/rules/0/from/0/source/namespaces
      value: [%s]
`, overlay, namespaces)
	if err := os.WriteFile(filepath.Join(mine, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _, err := kustomization.Build(mine, kustomization.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// renderedAround renders what surrounds the collector, with the collector as the sink, and with
// another host that others may reach.
func renderedAround(t *testing.T, sidecar string) string {
	t.Helper()
	cfg := transformer.DefaultConfig()
	for name, value := range map[string]string{"sink": "http://collector.speedscale:4310", "sidecar": sidecar, "serviceEntryHosts": "storage.example.com"} {
		if err := cfg.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	out, results := render(t, around, cfg)
	if results.Failed() {
		t.Fatal(results)
	}
	return out
}

// TestCollector shows who reaches the collector and what it reaches, in front of a
// volume and of each store, with native and classic sidecars and Envoys.
func TestCollector(t *testing.T) {
	stores := map[string]struct{ hosts, addresses []string }{
		"base":           {},
		"overlays/s3":    {[]string{"tapedeck-recordings.s3.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com"}, []string{"169.254.170.23"}},
		"overlays/gcs":   {[]string{"storage.googleapis.com", "oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"}, []string{"169.254.169.254"}},
		"overlays/azure": {[]string{"tapedeckrecordings.blob.core.windows.net", "login.microsoftonline.com"}, nil},
	}
	var hosts, addresses []string
	for _, s := range stores {
		hosts, addresses = append(hosts, s.hosts...), append(addresses, s.addresses...)
	}
	hosts = append(hosts, "storage.example.com", "other-bucket.s3.eu-central-1.amazonaws.com", "s3.us-east-1.amazonaws.com", "example.com")
	for overlay, store := range stores {
		for _, kind := range []string{"native", "classic"} {
			t.Run(filepath.Base(overlay)+" "+kind, func(t *testing.T) {
				in := newInjector(t, kind == "native")
				out := renderedAround(t, kind)
				cluster := newCluster(t, in, out+"---\n"+deployed(t, overlay, "shop"), "", nil)
				if warnings := cluster.warnings(t); len(warnings) > 0 {
					t.Errorf("Istio warns of what is deployed: %v", warnings)
				}
				c := newControl(t, cluster, "")
				c.checkWriters(t)
				pods := []string{"collector"}
				if overlay != "base" {
					pods = append(pods, "compact")
				}
				for _, name := range pods {
					c.checkStore(t, name, store.hosts, hosts, store.addresses, addresses)
				}
			})
		}
	}
}

// checkWriters checks that captured pods reach the port for segments, with their own identity, and
// that nobody reaches anything else.
func (c *control) checkWriters(t *testing.T) {
	t.Helper()
	collector, network := c.pod(t, "collector"), newNetwork(c.cluster)
	segments := parseCall(t, "from app http collector.speedscale:4310")
	const arrives = "outbound|4310||collector.speedscale.svc.cluster.local -> collector:4310 by mTLS -> inbound|4310|| as HTTP/1.1 -> collector:4310"
	if got := strings.Join(c.make(t, segments), ", "); got != arrives {
		t.Errorf("a captured pod's segments land at %s, want %s", got, arrives)
	}
	for _, port := range []int{contract.CollectorPort, contract.CollectorReadPort, contract.CollectorAdminPort, 9999} {
		plain := c.in(t, collector, call{tls: simulation.Plaintext, protocol: "http", path: "/"}, port)
		if !strings.Contains(plain, "refused") {
			t.Errorf("plain HTTP to port %d lands at %s", port, plain)
		}
		for _, name := range []string{"app", "client", "stranger"} {
			from := c.pod(t, name)
			want := name == "app" && port == contract.CollectorPort
			if got := network.reaches(t, peer{from, netip.MustParseAddr(from.ip)}, collector, port); got != want {
				t.Errorf("NetworkPolicies let %s reach port %d: %t, want %t", name, port, got, want)
			}
		}
		for _, r := range []struct {
			who, principal, method, path string
			admitted                     bool
		}{
			{"the captured namespace's segments", "spiffe://cluster.local/ns/shop/sa/default", "PUT", contract.SegmentsPath + "a/b", port == contract.CollectorPort},
			{"another account of it", "spiffe://cluster.local/ns/shop/sa/other", "PUT", contract.SegmentsPath + "a/b", port == contract.CollectorPort},
			{"the captured namespace's reading", "spiffe://cluster.local/ns/shop/sa/default", "GET", contract.ObjectsPath, false},
			{"the captured namespace's deleting", "spiffe://cluster.local/ns/shop/sa/default", "DELETE", contract.SegmentsPath + "a/b", false},
			{"another namespace", "spiffe://cluster.local/ns/till/sa/default", "PUT", contract.SegmentsPath + "a/b", false},
			{"a namespace whose name begins so", "spiffe://cluster.local/ns/shop-2/sa/default", "PUT", contract.SegmentsPath + "a/b", false},
			{"a scraper", "spiffe://cluster.local/ns/monitoring/sa/prometheus", "GET", "/metrics", false},
			{"nobody", "", "PUT", contract.SegmentsPath + "a/b", false},
		} {
			passed, of := c.envoy(t, collector).admits(t, port, r.principal, r.method, r.path)
			if r.admitted && passed != of || !r.admitted && passed > 0 || of == 0 {
				t.Errorf("%d of %d filter chains of port %d admit %s, want all: %t, else none", passed, of, port, r.who, r.admitted)
			}
		}
	}
	for _, port := range []int{15020, 15021} { // Istio's agent answers kubelets and scrapers
		if !network.reaches(t, peer{c.pod(t, "stranger"), netip.MustParseAddr(c.pod(t, "stranger").ip)}, collector, port) || collector.redirects(port) {
			t.Errorf("kubelets and scrapers do not reach port %d", port)
		}
	}
	c.checkIdentity(t, collector)
}

// checkIdentity checks that Envoy tells the collector who the client is: it appends the identity
// to x-forwarded-client-cert.
func (c *control) checkIdentity(t *testing.T, collector *pod) {
	t.Helper()
	for _, fc := range c.envoy(t, collector).inboundChains(contract.CollectorPort) {
		found := false
		for _, f := range fc.Filters {
			var h hcmv3.HttpConnectionManager
			if f.GetTypedConfig().MessageIs(&h) {
				unpack(t, f.GetTypedConfig(), &h)
				found = h.ForwardClientCertDetails == hcmv3.HttpConnectionManager_APPEND_FORWARD && h.SetCurrentClientCertDetails.GetUri()
			}
		}
		if !found {
			t.Errorf("the filter chain %s does not tell the collector who the client is", fc.Name)
		}
	}
}

// checkStore checks that a pod reaches the hosts and addresses of its store, none of other stores,
// and no workload of the mesh. A captured pod reaches none of the store's.
func (c *control) checkStore(t *testing.T, name string, open, all, openAddresses, allAddresses []string) {
	t.Helper()
	p, app := c.pod(t, name), c.pod(t, "app")
	for _, host := range all {
		landed := strings.Join(c.make(t, parseCall(t, "from "+name+" tls tcp "+host+":443")), ", ")
		if want := slices.Contains(open, host); strings.HasPrefix(landed, "outbound|443||"+host) != want || !want && landed != "BlackHoleCluster" {
			t.Errorf("%s to %s lands at %s, open: %t", name, host, landed, want)
		}
		if landed := strings.Join(c.make(t, parseCall(t, "from app tls tcp "+host+":443")), ", "); host != "storage.example.com" && landed != "BlackHoleCluster" {
			t.Errorf("the application reaches the store: %s lands at %s", host, landed)
		}
	}
	for _, address := range allAddresses {
		for _, from := range []*pod{p, app} {
			r := c.envoy(t, from).Run(simulation.Call{Address: address, Port: 80, Protocol: simulation.HTTP, HostHeader: address, Path: "/", CallMode: simulation.CallModeOutbound})
			want := from == p && slices.Contains(openAddresses, address)
			if got := strings.HasPrefix(r.ClusterMatched, "outbound|80||"); got != want {
				t.Errorf("%s to %s lands at %s (%v), open: %t", from.Name, address, r.ClusterMatched, r.Error, want)
			}
		}
	}
	for _, to := range []string{"app.shop:80", "collector.speedscale:4310"} {
		if landed := strings.Join(c.make(t, parseCall(t, "from "+name+" http "+to)), ", "); strings.Contains(landed, "mTLS") {
			t.Errorf("%s reaches %s: %s", name, to, landed)
		}
	}
}

// TestCollectorPodSecurity asserts that Pod Security's `restricted` admits the collector's
// pods as Istio's injector makes them with the CNI agent. Without the agent it does not, so
// there is the component istio-init.
func TestCollectorPodSecurity(t *testing.T) {
	evaluator, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, overlay := range []string{"base", "overlays/s3", "overlays/gcs", "overlays/azure"} {
		for _, native := range []bool{true, false} {
			for _, cni := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s native %t CNI %t", filepath.Base(overlay), native, cni), func(t *testing.T) {
					in := newInjector(t, native, fmt.Sprintf("components.cni.enabled=%t", cni))
					c := newCluster(t, in, deployed(t, overlay, `"*"`), "", nil)
					for _, name := range []string{"collector", "compact"} {
						p := c.pod(t, name)
						for i := range p.Spec.Volumes { // fill them in like the API server
							if v := &p.Spec.Volumes[i]; v.VolumeSource == (corev1.VolumeSource{}) {
								v.EmptyDir = &corev1.EmptyDirVolumeSource{}
							}
						}
						var refused []string
						for _, r := range evaluator.EvaluatePod(restricted, &p.ObjectMeta, &p.Spec) {
							if !r.Allowed {
								refused = append(refused, r.ForbiddenReason+" ("+r.ForbiddenDetail+")")
							}
						}
						if want := !p.injected() || cni; (len(refused) == 0) != want {
							t.Errorf("%s, with Envoy %t: refused for %v", name, p.injected(), refused)
						}
						if p.injected() != (name == "collector" || overlay != "base") {
							t.Errorf("%s has Envoy: %t", name, p.injected())
						}
						if proxy := container(p.Pod, "istio-proxy"); name == "compact" && p.injected() && (proxy.RestartPolicy == nil || !slices.ContainsFunc(p.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == "istio-proxy" })) {
							t.Error("Envoy keeps the Job from ending")
						}
					}
				})
			}
		}
	}
}

// admits counts the filter chains of a port, and those whose RBAC filters let a request
// pass.
func (e *envoy) admits(t *testing.T, port int, principal, method, path string) (passed, of int) {
	t.Helper()
	r := request{t, port, principal, method, path}
	chains := e.inboundChains(port)
	for _, fc := range chains {
		if r.passes(fc) {
			passed++
		}
	}
	return passed, len(chains)
}

// request has the properties that RBAC evaluates:
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/rbac/v3/rbac.proto.
type request struct {
	t                       *testing.T
	port                    int
	principal, method, path string
}

// passes evaluates the RBAC filters of a filter chain.
func (r request) passes(fc *listenerv3.FilterChain) bool {
	var rules []*rbacv3.RBAC
	for _, f := range fc.Filters {
		var network networkrbacv3.RBAC
		var h hcmv3.HttpConnectionManager
		switch any := f.GetTypedConfig(); {
		case any.MessageIs(&network):
			unpack(r.t, any, &network)
			rules = append(rules, network.Rules)
		case any.MessageIs(&h):
			unpack(r.t, any, &h)
			for _, f := range h.HttpFilters {
				var http httprbacv3.RBAC
				if any := f.GetTypedConfig(); any.MessageIs(&http) {
					unpack(r.t, any, &http)
					rules = append(rules, http.Rules)
				}
			}
		}
	}
	return !slices.ContainsFunc(rules, func(rules *rbacv3.RBAC) bool {
		matched := false
		for _, p := range rules.GetPolicies() {
			matched = matched || slices.ContainsFunc(p.Permissions, r.permitted) && slices.ContainsFunc(p.Principals, r.is)
		}
		return matched != (rules.GetAction() == rbacv3.RBAC_ALLOW)
	})
}

func (r request) permitted(p *rbacv3.Permission) bool {
	switch p := p.Rule.(type) {
	case *rbacv3.Permission_Any:
		return p.Any
	case *rbacv3.Permission_AndRules:
		return !slices.ContainsFunc(p.AndRules.Rules, func(p *rbacv3.Permission) bool { return !r.permitted(p) })
	case *rbacv3.Permission_OrRules:
		return slices.ContainsFunc(p.OrRules.Rules, r.permitted)
	case *rbacv3.Permission_NotRule:
		return !r.permitted(p.NotRule)
	case *rbacv3.Permission_DestinationPort:
		return int(p.DestinationPort) == r.port
	case *rbacv3.Permission_Header:
		return p.Header.Name == ":method" && textMatches(r.t, p.Header.GetStringMatch(), r.method)
	case *rbacv3.Permission_UrlPath:
		return textMatches(r.t, p.UrlPath.GetPath(), r.path)
	}
	r.t.Fatalf("a permission of an unknown kind: %v", p)
	return false
}

func (r request) is(p *rbacv3.Principal) bool {
	switch p := p.Identifier.(type) {
	case *rbacv3.Principal_Any:
		return p.Any
	case *rbacv3.Principal_AndIds:
		return !slices.ContainsFunc(p.AndIds.Ids, func(p *rbacv3.Principal) bool { return !r.is(p) })
	case *rbacv3.Principal_OrIds:
		return slices.ContainsFunc(p.OrIds.Ids, r.is)
	case *rbacv3.Principal_NotId:
		return !r.is(p.NotId)
	case *rbacv3.Principal_Authenticated_:
		return r.principal != "" && (p.Authenticated.PrincipalName == nil || textMatches(r.t, p.Authenticated.PrincipalName, r.principal))
	case *rbacv3.Principal_FilterState:
		return r.principal != "" && textMatches(r.t, p.FilterState.GetStringMatch(), r.principal)
	}
	r.t.Fatalf("a principal of an unknown kind: %v", p)
	return false
}

func textMatches(t *testing.T, m *matcherv3.StringMatcher, text string) bool {
	switch m := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return m.Exact == text
	case *matcherv3.StringMatcher_Prefix:
		return strings.HasPrefix(text, m.Prefix)
	case *matcherv3.StringMatcher_Suffix:
		return strings.HasSuffix(text, m.Suffix)
	case *matcherv3.StringMatcher_SafeRegex:
		return regexp.MustCompile("^(?:" + m.SafeRegex.Regex + ")$").MatchString(text)
	}
	t.Fatalf("a matcher of an unknown kind: %v", m)
	return false
}

func unpack(t *testing.T, any *anypb.Any, into proto.Message) {
	t.Helper()
	if err := any.UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
}
