package istio

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pkg/workloadapi/security"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/transformer"
)

// replayed is a setting with the replay in it.
type replayed struct {
	*control
	setting
	t       *testing.T
	network *network
	results transformer.Results
	// input and output are the manifests.
	input, output string
	// base is the name of the replay, and generator that of the Job; bases has the names
	// of all.
	base, generator string
	bases           map[string]string
}

// play renders the replay of a setting, without some kinds of the rendered objects.
func (s setting) play(t *testing.T, without ...string) *replayed {
	t.Helper()
	cfg := transformer.DefaultConfig()
	if s.place == "" {
		s.place, s.placePort = "tapes.s3.eu-central-1.amazonaws.com", 443
	}
	for _, options := range []map[string]string{
		{"replayPlace": "s3://tapes?region=eu-central-1", "replayServiceAccount": "replay", "replayCopyServiceAccount": "app-copy"}, s.options,
	} {
		for name, value := range options {
			if err := cfg.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	label := map[string]string{"sidecar": "istio-injection: enabled", "ambient": "istio.io/dataplane-mode: ambient", "none": ""}[s.mesh]
	inject := s.inject
	if inject == "" {
		inject = "true"
	}
	input := strings.NewReplacer("NAMESPACE", label+s.labels, "INJECT", inject, "ANNOTATIONS", s.annotations).Replace(shop + s.more)
	out, results := render(t, input, cfg)
	if results.Failed() {
		t.Fatal(results)
	}
	p := &replayed{setting: s, t: t, results: results, input: input, output: out, bases: map[string]string{}}
	var kept []string
	for _, o := range parse(t, out) {
		if o.GetKind() == "Job" {
			p.base, p.generator = o.GetLabels()[contract.LabelReplay], o.GetName()
			p.bases[p.base] = p.generator
		}
		if o.GetAnnotations()[contract.AnnotationFor] != "" && slices.Contains(without, o.GetKind()) {
			continue
		}
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, string(text))
	}
	if p.base == "" {
		t.Fatalf("nothing is replayed: %v", results)
	}
	c := newCluster(t, newInjector(t, true), strings.Join(kept, "---\n"), "", nil)
	c.enroll(t)
	if warnings := c.warnings(t); len(warnings) > 0 {
		t.Errorf("Istio warns of what was rendered: %v", warnings)
	}
	p.control, p.network = newControl(t, c, s.meshConfig), newNetwork(c)
	return p
}

// part returns the pod of a part.
func (p *replayed) part(name string) *pod {
	return p.pod(p.t, map[string]string{contract.PartCopy: p.base, contract.PartResponder: p.base + "-mock", contract.PartGenerator: p.generator}[name])
}

// way is how far a connection gets.
type way struct {
	// lands is where the caller's mesh sends it: a pod and its port, or what happens
	// instead.
	lands string
	// connected means that NetworkPolicies allow it, and admitted that the mesh of the
	// called pod does.
	connected, admitted bool
}

// arrived reports whether the connection was accepted.
func (w way) arrived() bool { return w.connected && w.admitted }

// call follows a connection of a pod to a host, with a request for another host in it.
func (p *replayed) call(from *pod, host string, port int, requested string) way {
	p.t.Helper()
	landings := p.landings(from, host, port, requested)
	if len(landings) != 1 {
		return way{lands: strings.Join(describe(landings, Landing.String), ", ")}
	}
	l := landings[0]
	i := slices.IndexFunc(p.pods, func(to *pod) bool { return to.ip == l.Address })
	if i < 0 {
		address, err := netip.ParseAddr(l.Address)
		connected := err == nil && p.network.allows(p.t, networkingv1.PolicyTypeEgress, peer{from, netip.MustParseAddr(from.ip)}, peer{nil, address}, from, l.Port)
		return way{l.String(), connected, connected}
	}
	to := p.pods[i]
	seen := l.Port // what a NetworkPolicy sees
	if from.ambient() && to.ambient() {
		seen = 15008
	}
	return way{
		lands:     l.String(),
		connected: p.network.reaches(p.t, peer{from, netip.MustParseAddr(from.ip)}, to, seen),
		admitted:  p.admits(from, to, l),
	}
}

// landings returns where the caller's mesh ends a connection.
func (p *replayed) landings(from *pod, host string, port int, requested string) []Landing {
	p.t.Helper()
	address := p.resolve(host)
	switch {
	case from.ambient():
		return p.ztunnel(p.t).land(p.control, address, port)
	case !from.injected():
		all := p.translate(address, port)
		for i := range all {
			all[i].Cluster, all[i].name = "no Envoy", p.names[all[i].Address]
		}
		return all
	}
	e := p.envoy(p.t, from)
	call := simulation.Call{Address: address, Port: port, Protocol: simulation.HTTP, HostHeader: requested, Path: "/", TLS: simulation.Plaintext, CallMode: simulation.CallModeOutbound}
	if port == 443 {
		call.TLS, call.Protocol, call.Sni = simulation.TLS, simulation.TCP, host
	}
	r := e.Run(call)
	if r.Error != nil {
		return []Landing{{Cluster: r.Error.Error()}}
	}
	return p.land(e, r, address, port)
}

// admits reports whether the mesh of a pod accepts a connection.
func (p *replayed) admits(from, to *pod, l Landing) bool {
	p.t.Helper()
	domain := p.server.Env().Mesh().GetTrustDomain()
	principal := domain + "/ns/" + from.Namespace + "/sa/" + cmp.Or(from.Spec.ServiceAccountName, "default")
	switch {
	case to.ambient():
		if !from.ambient() && !l.MTLS {
			principal = ""
		}
		return p.ztunnel(p.t).admits(to, l.Port, principal)
	case !to.injected():
		return true
	case !l.MTLS:
		return !strings.Contains(p.in(p.t, to, call{tls: simulation.Plaintext, protocol: "http", path: "/"}, l.Port), "refused")
	}
	passed, of := p.envoy(p.t, to).admits(p.t, l.Port, "spiffe://"+principal, "POST", "/")
	return of > 0 && passed > 0
}

// admits evaluates the authorizations of ztunnel as it does:
// https://github.com/istio/ztunnel/blob/master/src/rbac.rs.
func (z *ztunnel) admits(to *pod, port int, principal string) bool {
	w := z.workload(to.ip)
	allowing, allowed := false, false
	for key, p := range z.policies {
		applies := slices.Contains(w.AuthorizationPolicies, key) || p.Scope == security.Scope_NAMESPACE && p.Namespace == w.Namespace || p.Scope == security.Scope_GLOBAL
		if !applies {
			continue
		}
		matches := slices.ContainsFunc(p.Groups, func(g *security.Group) bool {
			return !slices.ContainsFunc(g.Rules, func(r *security.Rules) bool {
				return !slices.ContainsFunc(r.Matches, func(m *security.Match) bool { return matchesCall(m, port, principal) })
			})
		})
		if p.Action == security.Action_DENY && matches {
			return false
		}
		allowing, allowed = allowing || p.Action == security.Action_ALLOW, allowed || p.Action == security.Action_ALLOW && matches
	}
	return !allowing || allowed
}

func matchesCall(m *security.Match, port int, principal string) bool {
	among := func(list []*security.StringMatch, text string) bool {
		return slices.ContainsFunc(list, func(m *security.StringMatch) bool {
			switch m := m.MatchType.(type) {
			case *security.StringMatch_Exact:
				return m.Exact == text
			case *security.StringMatch_Prefix:
				return strings.HasPrefix(text, m.Prefix)
			case *security.StringMatch_Suffix:
				return strings.HasSuffix(text, m.Suffix)
			}
			return text != "" // present
		})
	}
	namespace, _, _ := strings.Cut(strings.TrimPrefix(principal[strings.Index(principal, "/")+1:], "ns/"), "/")
	return (len(m.DestinationPorts) == 0 || slices.Contains(m.DestinationPorts, uint32(port))) && !slices.Contains(m.NotDestinationPorts, uint32(port)) &&
		(len(m.Principals) == 0 || among(m.Principals, principal)) && !among(m.NotPrincipals, principal) &&
		(len(m.Namespaces) == 0 || among(m.Namespaces, namespace)) && !among(m.NotNamespaces, namespace)
}

// TestReplay shows who reaches whom during a replay of the shop. The generator reaches the copy,
// the copy its responder, and both reach their place. Nobody else reaches any of them, and the
// copy reaches nothing that it called when it was recorded.
func TestReplay(t *testing.T) {
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			p := s.play(t)
			p.checkReached()
			p.checkKept()
			p.checkProduction()
			p.checkFindings()
		})
	}
}

// checkReached checks that the parts of a replay reach each other and their place.
func (p *replayed) checkReached() {
	p.t.Helper()
	copied, responder, generator := p.part(contract.PartCopy), p.part(contract.PartResponder), p.part(contract.PartGenerator)
	for _, c := range []struct {
		from      *pod
		host      string
		port      int
		requested string
		to        string
	}{
		{generator, p.base + ".shop", 8080, p.base + ".shop", p.base},
		{generator, p.base + ".shop", 8080, "shop.example.com", p.base},
		{copied, p.base + "-mock.shop", contract.ResponderPort, "api.example.com", p.base + "-mock"}, // the mesh knows no such host
		{copied, p.base + "-mock.shop", contract.ResponderPort, "pay.till", p.base + "-mock"},        // and would route this host elsewhere
		{copied, p.base + "-mock.shop", contract.ResponderAdminPort, p.base + "-mock.shop", p.base + "-mock"},
		{generator, p.base + "-mock.shop", contract.ResponderAdminPort, p.base + "-mock.shop", p.base + "-mock"},
	} {
		got := p.call(c.from, c.host, c.port, c.requested)
		if !strings.Contains(got.lands, " -> "+c.to+":") || !got.arrived() {
			p.t.Errorf("%s does not reach %s:%d for %s: %+v", c.from.Name, c.host, c.port, c.requested, got)
		}
		if p.mesh == "sidecar" && !strings.HasSuffix(got.lands, "by mTLS") {
			p.t.Errorf("%s calls %s in plain text: %s", c.from.Name, c.host, got.lands)
		}
	}
	for _, from := range []*pod{generator, responder} {
		got := p.call(from, p.place, p.placePort, p.place)
		if !got.arrived() || p.meshConfig == registryOnly && !strings.HasPrefix(got.lands, fmt.Sprintf("outbound|%d||%s", p.placePort, p.place)) {
			p.t.Errorf("%s does not reach the place: %+v", from.Name, got)
		}
	}
	if captured := container(copied.Pod, contract.Container); p.mesh == "sidecar" && captured != nil && env(captured, contract.EnvProxyInAddress) == "loopback" {
		landed := p.in(p.t, copied, call{tls: simulation.MTLS, protocol: "http", path: "/"}, 8080)
		if !strings.HasSuffix(landed, " -> 127.0.0.1:4143") {
			p.t.Errorf("a request to the copy lands at %s, not at the sidecar", landed)
		}
	}
}

// checkKept checks that the copy reaches nothing that is mocked, and that nobody reaches the copy
// or the recording.
func (p *replayed) checkKept() {
	p.t.Helper()
	copied, responder, generator := p.part(contract.PartCopy), p.part(contract.PartResponder), p.part(contract.PartGenerator)
	for _, from := range []*pod{copied, responder, generator} {
		for _, to := range []struct {
			pod, host string
			port      int
		}{{"db", "db.shop", 5432}, {"pay", "pay.till", 80}, {"client", "client", 9090}, {p.generator, p.generator, 80}} {
			target := p.pod(p.t, to.pod)
			ports := []int{int(p.target(to.host, to.port)), 15008}
			for _, port := range ports {
				if from != target && p.network.reaches(p.t, peer{from, netip.MustParseAddr(from.ip)}, target, port) {
					p.t.Errorf("NetworkPolicies let %s reach port %d of %s", from.Name, port, to.pod)
				}
			}
			if got := p.call(from, to.host, to.port, to.host); got.arrived() && from != target {
				p.t.Errorf("%s reaches %s: %+v", from.Name, to.host, got)
			} else if from == copied && !p.open && !blocked(got.lands) {
				p.t.Errorf("the mesh lets %s reach %s: %+v", from.Name, to.host, got)
			}
		}
	}
	for _, host := range []string{"api.example.com", p.place, "169.254.169.254"} {
		for _, port := range []int{80, 443, 9000, 5432} {
			if got := p.call(copied, host, port, host); got.arrived() || !p.open && !blocked(got.lands) {
				p.t.Errorf("the copy reaches %s:%d: %+v", host, port, got)
			}
		}
	}
	for _, name := range []string{"app", "client", "db", "pay", p.generator, p.base, p.base + "-mock"} {
		from := p.pod(p.t, name)
		for _, to := range []struct {
			host string
			port int
			by   []string
		}{
			{p.base + ".shop", 8080, []string{p.generator}},
			{p.base + "-mock.shop", contract.ResponderPort, []string{p.base}},
			{p.base + "-mock.shop", contract.ResponderAdminPort, []string{p.base, p.generator}},
		} {
			target := p.part(map[bool]string{true: contract.PartCopy, false: contract.PartResponder}[to.port == 8080])
			if slices.Contains(to.by, name) || from == target {
				continue
			}
			got := p.call(from, to.host, to.port, to.host)
			sameAccount := name == p.base+"-mock" // as the generator, which the mesh can't tell apart
			if got.arrived() || got.admitted && p.mesh != "none" && !sameAccount {
				p.t.Errorf("%s reaches %s:%d: %+v", name, to.host, to.port, got)
			}
			if p.network.reaches(p.t, peer{from, netip.MustParseAddr(from.ip)}, target, int(p.target(to.host, to.port))) {
				p.t.Errorf("NetworkPolicies let %s reach %s:%d", name, to.host, to.port)
			}
		}
	}
}

// target returns the port of the pods behind a Service, or the port itself.
func (c *control) target(host string, port int) int32 {
	for _, l := range c.translate(c.resolve(host), port) {
		return int32(l.Port)
	}
	return int32(port)
}

// blocked reports whether Envoy forwards a connection to nobody.
func blocked(landing string) bool {
	return strings.HasPrefix(landing, "BlackHoleCluster") || strings.HasPrefix(landing, "block_all") || strings.HasPrefix(landing, "Envoy answers 502")
}

// checkProduction checks that calls outside the replay go where they went before.
func (p *replayed) checkProduction() {
	p.t.Helper()
	plain := p.setting.play(p.t, "Deployment", "Service", "Job", "NetworkPolicy", "AuthorizationPolicy", "ServiceEntry")
	for _, c := range []struct {
		from, host string
		port       int
	}{{"client", "app.shop", 80}, {"pay", "app.shop", 80}, {"app", "db.shop", 5432}, {"app", "pay.till", 80}, {"client", "api.example.com", 443}} {
		was, is := plain.call(plain.pod(p.t, c.from), c.host, c.port, c.host), p.call(p.pod(p.t, c.from), c.host, c.port, c.host)
		if was != is {
			p.t.Errorf("%s to %s: %+v, and without the replay %+v", c.from, c.host, is, was)
		}
	}
}

// checkFindings checks that istioctl finds nothing in a replay.
func (p *replayed) checkFindings() {
	p.t.Helper()
	before := newCluster(p.t, newInjector(p.t, true), p.input, "", nil)
	for who, asked := range map[string][2]map[string]bool{
		"analyze":                 {analysis(p.t, p.input, ""), analysis(p.t, p.output, "")},
		"analyze, in the cluster": {live(p.t, before, p.input), live(p.t, p.cluster, p.output)},
		"validate":                {validation(p.t, p.input), validation(p.t, p.output)},
	} {
		for finding := range asked[1] {
			if !asked[0][finding] && !unnamed(finding) {
				p.t.Errorf("istioctl %s has a new finding: %s", who, finding)
			}
		}
	}
}

// TestReplayAccounts shows why a replay has service accounts. With the original's account, the
// mesh can't distinguish the original from the copy. With the namespace's account, it can't
// distinguish anybody from the generator. NetworkPolicies distinguish them in both cases.
func TestReplayAccounts(t *testing.T) {
	for _, c := range []struct {
		option, caller, host string
		port                 int
	}{
		{"replayCopyServiceAccount", "app", "-mock.shop", contract.ResponderPort},
		{"replayServiceAccount", "db", ".shop", 8080},
	} {
		for _, of := range []string{"default", "own"} {
			s := settingNamed(t, "sidecars with all closed but egress")
			s.options[c.option] = of
			p := s.play(t)
			got := p.call(p.pod(t, c.caller), p.base+c.host, c.port, "x")
			if got.arrived() || got.admitted != (of == "default") {
				t.Errorf("%s %q: %s to %s: %+v", c.option, of, c.caller, c.host, got)
			}
			said := slices.ContainsFunc(p.results, func(r transformer.Result) bool {
				return r.Code() == transformer.CodeReplayAccount && strings.Contains(r.Message, c.option)
			})
			if said != (of == "default") {
				t.Errorf("%s %q: a result says that others are admitted: %t", c.option, of, said)
			}
		}
	}
}

// TestReplayInPlace shows that a workload that is replayed in place reaches only its responder,
// and that its callers still reach it.
func TestReplayInPlace(t *testing.T) {
	s := settingNamed(t, "sidecars")
	s.annotations = "tapedeck.dev/replay: in-place"
	p := s.play(t)
	app, client, generator := p.pod(t, "app"), p.pod(t, "client"), p.pod(t, p.generator)
	for _, c := range []struct {
		from    *pod
		host    string
		port    int
		arrives bool
	}{
		{generator, p.base + ".shop", 8080, true},
		{client, "app.shop", 80, true},
		{app, p.base + "-mock.shop", contract.ResponderPort, true},
		{app, "db.shop", 5432, false},
		{app, "api.example.com", 443, false},
		{client, p.base + "-mock.shop", contract.ResponderPort, false},
	} {
		if got := p.call(c.from, c.host, c.port, "x"); c.host == "app.shop" && strings.Contains(got.lands, "no cluster") {
			t.Errorf("%s to %s: %+v", c.from.Name, c.host, got)
		} else if c.host != "app.shop" && got.arrived() != c.arrives {
			t.Errorf("%s to %s:%d: %+v, want it to arrive: %t", c.from.Name, c.host, c.port, got, c.arrives)
		}
	}
	if !p.network.reaches(t, peer{client, netip.MustParseAddr(client.ip)}, app, 8080) {
		t.Error("NetworkPolicies keep the client from the workload")
	}
	if passed, of := p.envoy(t, app).admits(t, 8080, "spiffe://cluster.local/ns/shop/sa/client", "GET", "/"); passed != of || of == 0 {
		t.Errorf("the mesh keeps the client from the workload: %d of %d filter chains admit it", passed, of)
	}
}

// TestTwoReplaysInOneNamespace shows that two replays with the same place, each of which opens its
// hosts, don't disturb each other.
func TestTwoReplaysInOneNamespace(t *testing.T) {
	s := settingNamed(t, "sidecars with all closed")
	second := shop[strings.Index(shop, "apiVersion: apps/v1"):strings.Index(shop, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: db")]
	s.more += "---\n" + strings.NewReplacer("name: app", "name: web", "app: app", "app: web", "0198a3f2", "0198a3f3").Replace(second)
	p := s.play(t)
	if len(p.bases) != 2 {
		t.Fatalf("replays: %v", p.bases)
	}
	for base, generator := range p.bases {
		other := slices.DeleteFunc(slices.Collect(maps.Keys(p.bases)), func(b string) bool { return b == base })[0]
		p.base, p.generator = base, generator
		p.checkReached()
		p.checkFindings()
		for _, to := range []string{other + ".shop", other + "-mock.shop"} {
			for _, part := range []string{contract.PartCopy, contract.PartResponder, contract.PartGenerator} {
				for _, port := range []int{8080, contract.ResponderPort, contract.ResponderAdminPort} {
					if got := p.call(p.part(part), to, port, "x"); got.arrived() {
						t.Errorf("the %s reaches %s:%d of another replay: %+v", part, to, port, got)
					}
				}
			}
		}
	}
}

// TestReplayPassesHostsOn shows that the responder reaches the hosts that it passes calls on to,
// by what the mesh opens for the original. The copy does not reach them.
func TestReplayPassesHostsOn(t *testing.T) {
	s := settingNamed(t, "sidecars with all closed")
	s.options["replayPassthrough"] = "pay.till,api.example.com"
	s.more += `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec: {hosts: [api.example.com], location: MESH_EXTERNAL, resolution: NONE, ports: [{name: tls, number: 443, protocol: TLS}]}
`
	p := s.play(t)
	for _, c := range []struct {
		host string
		port int
	}{{"pay.till", 80}, {"api.example.com", 443}} {
		if got := p.call(p.part(contract.PartResponder), c.host, c.port, c.host); !got.arrived() {
			t.Errorf("the responder does not reach %s: %+v", c.host, got)
		}
		if got := p.call(p.part(contract.PartCopy), c.host, c.port, c.host); got.arrived() || !blocked(got.lands) {
			t.Errorf("the copy reaches %s: %+v", c.host, got)
		}
	}
	if got := p.call(p.part(contract.PartResponder), "db.shop", 5432, "db.shop"); got.arrived() {
		t.Errorf("the responder reaches what does not pass: %+v", got)
	}
}

// TestReplayIsRecorded shows that a copy's sidecar reaches the collector, as the original's
// does.
func TestReplayIsRecorded(t *testing.T) {
	s := settingNamed(t, "sidecars with all closed")
	s.options["sink"] = "http://collector.speedscale:4310"
	s.more += "---\n" + deployed(t, "base", "shop")
	p := s.play(t)
	if got := p.call(p.part(contract.PartCopy), "collector.speedscale", contract.CollectorPort, "collector.speedscale:4310"); !got.connected || !strings.HasSuffix(got.lands, " -> collector:4310 by mTLS") {
		t.Errorf("the copy does not reach the collector: %+v", got)
	}
	p.checkReached()
}

// TestReplayPastAWaypoint shows that the calls of a replay do not go through a waypoint,
// behind which all callers are the same.
func TestReplayPastAWaypoint(t *testing.T) {
	s := settingNamed(t, "ambient with all closed")
	waypoint := readCase(t, "testdata/service-route-ambient-waypoint.txtar").section("cluster.yaml")
	s.more += "---\n" + waypoint
	s.labels = ", istio.io/use-waypoint: waypoint"
	p := s.play(t)
	if got := p.call(p.pod(t, "client"), "app.shop", 80, "x"); !strings.Contains(got.lands, "through its waypoint") {
		t.Fatalf("a call of the application does not go through the waypoint, so nothing is proven: %+v", got)
	}
	p.checkReached()
	for _, from := range []*pod{p.part(contract.PartCopy), p.part(contract.PartGenerator)} {
		for _, port := range []int{8080, contract.ResponderPort, contract.ResponderAdminPort} {
			for _, host := range []string{p.base + ".shop", p.base + "-mock.shop"} {
				if got := p.call(from, host, port, "x"); strings.Contains(got.lands, "waypoint") {
					t.Errorf("%s to %s:%d: %+v", from.Name, host, port, got)
				}
			}
		}
		to := p.pod(t, "waypoint")
		if p.network.reaches(t, peer{from, netip.MustParseAddr(from.ip)}, to, 15008) {
			t.Errorf("%s reaches the waypoint, and through it the namespace", from.Name)
		}
	}
}

// TestEachObjectOfAReplayIsNeeded removes one kind of the objects at a time. In a closed mesh, the
// replay does not work without it. In an open one, somebody then reaches something that must stay
// closed.
func TestEachObjectOfAReplayIsNeeded(t *testing.T) {
	for _, c := range []struct {
		kind string
		// closed is a call that does not arrive where everything is closed. open is a call that
		// arrives where everything is open, or in the mesh.
		closed, open func(*replayed) way
	}{
		{"NetworkPolicy",
			func(p *replayed) way { return p.call(p.part(contract.PartGenerator), p.base+".shop", 8080, "x") },
			func(p *replayed) way {
				from := p.pod(p.t, "client")
				return way{"", p.network.reaches(p.t, peer{from, netip.MustParseAddr(from.ip)}, p.part(contract.PartResponder), contract.ResponderPort), true}
			}},
		{"AuthorizationPolicy",
			func(p *replayed) way { return p.call(p.part(contract.PartGenerator), p.base+".shop", 8080, "x") },
			func(p *replayed) way {
				w := p.call(p.pod(p.t, "client"), p.base+"-mock.shop", contract.ResponderPort, "x")
				return way{w.lands, true, w.admitted}
			}},
		{"Sidecar",
			func(p *replayed) way {
				return p.call(p.part(contract.PartCopy), p.base+"-mock.shop", contract.ResponderPort, "x")
			},
			func(p *replayed) way {
				w := p.call(p.part(contract.PartCopy), "db.shop", 5432, "x")
				return way{w.lands, true, !blocked(w.lands)}
			}},
		{"ServiceEntry",
			func(p *replayed) way { return p.call(p.part(contract.PartGenerator), p.place, p.placePort, p.place) },
			nil},
	} {
		t.Run(c.kind, func(t *testing.T) {
			if with := c.closed(settingNamed(t, "sidecars with all closed").play(t)); !with.arrived() {
				t.Fatalf("with it, the call does not arrive: %+v", with)
			}
			if without := c.closed(settingNamed(t, "sidecars with all closed").play(t, c.kind)); without.arrived() {
				t.Errorf("without it, the call arrives all the same: %+v", without)
			}
			if c.open == nil {
				return
			}
			if with := c.open(settingNamed(t, "sidecars").play(t)); with.arrived() {
				t.Fatalf("with it, the call arrives: %+v", with)
			}
			if without := c.open(settingNamed(t, "sidecars").play(t, c.kind)); !without.arrived() {
				t.Errorf("without it, the call does not arrive either: %+v", without)
			}
		})
	}
}
