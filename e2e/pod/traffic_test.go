package pod

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// shop is the application whose pod runs.
const shop = "shop.yaml"

// trace returns the header that puts a request into the n-th trace.
func trace(n int) []string {
	return []string{"Traceparent", fmt.Sprintf("00-%032x-%016x-01", n, n)}
}

func fetch(target string) string { return "/fetch?url=" + url.QueryEscape(target) }

// TestTraffic sends every kind of traffic through both proxies, in and out, and finds each
// exchange recorded once: by direction and by peer, and each outbound one with the inbound one
// that caused it.
func TestTraffic(t *testing.T) {
	w := newWorld(t, render(t, shop))
	for _, rule := range []string{"-p tcp -j REDIRECT --to-ports 15001", "-p tcp -j REDIRECT --to-ports 15006", "--uid-owner 1337 -j RETURN", "--gid-owner 1337 -j RETURN"} {
		if !strings.Contains(w.rules, rule) {
			t.Fatalf("Istio's rules have no %q:\n%s", rule, w.rules)
		}
	}
	p := w.startPod()
	c := w.newClient()

	// Inbound, each protocol on the same port.
	if got := mustGet(t, c.http1, "/hello?by=http1", append(trace(1), "Authorization", "Bearer hush", contract.HeaderReplay, "run-1")...); !strings.Contains(got, "URI="+clientIdentity+" over HTTP/1.1") {
		t.Errorf("HTTP/1.1: the application saw %q", got)
	}
	if got := mustGet(t, c.http2, "/hello?by=http2", trace(2)...); !strings.Contains(got, "URI="+clientIdentity+" over HTTP/2.0") {
		t.Errorf("HTTP/2: the application saw %q", got)
	}
	if _, err := healthpb.NewHealthClient(c.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("gRPC: %v", err)
	}

	// Each outbound call is caused by a separate inbound call.
	if got := mustGet(t, c.http1, fetch("http://dependency:8081/hello?by=plain"), append(trace(3), contract.HeaderReplay, "run-1")...); !strings.Contains(got, "URI="+appIdentity) {
		t.Errorf("plain HTTP did not reach the dependency through the mesh: it saw %q", got)
	}
	if got := mustGet(t, c.http1, fetch("https://external.test/hello?by=tls"), trace(4)...); !strings.HasPrefix(got, "external.test") {
		t.Errorf("HTTPS: %q", got)
	}
	if got := mustGet(t, c.http1, "/check?target=dependency:8081", trace(5)...); got != "SERVING" {
		t.Errorf("gRPC out: %q", got)
	}
	// Istio's own configuration decides the destinations: inbound calls go to the sidecar because
	// of our Sidecar, and outbound ones into the mesh because of the registry.
	for _, d := range decisions(t, p.envoy, "inbound", "app", 1) {
		if d.Cluster != "inbound|8080||" || d.To != fmt.Sprintf("127.0.0.1:%d", contract.InPort) || d.TLS != "mtls" {
			t.Errorf("Envoy decided %+v, want the cluster inbound|8080|| to lead to the sidecar", d)
		}
	}
	for _, d := range decisions(t, p.envoy, "outbound", "dependency", 1) {
		if d.Cluster != "outbound|8081||dependency.shop.svc.cluster.local" || !d.MTLS {
			t.Errorf("Envoy decided %+v, want the dependency's cluster, by mTLS", d)
		}
	}
	for scheme, n := range map[string]int{"socks5h": 6, "socks4a": 7} {
		out, err := w.network.pod.run(t, scheme, p.appSpec().with("/usr/bin/curl", "-sS", "--fail", "--noproxy", "", "-H", strings.Join(trace(n), ": "),
			"--proxy", scheme+"://127.0.0.1:4140", "http://dependency:8081/hello?by="+scheme))
		if err != nil || !strings.Contains(out, "URI="+appIdentity) {
			t.Errorf("%s: %v %q", scheme, err, out)
		}
	}
	p.stop()

	got := p.recorded()
	inbound := map[string]recording.Exchange{}
	for _, want := range []struct{ direction, protocol, uri, trace string }{
		{recording.In, recording.HTTP1, "/hello?by=http1", "1"},
		{recording.In, recording.HTTP1, "/hello?by=http2", "2"},
		{recording.In, recording.GRPC, "/grpc.health.v1.Health/Check", ""},
		{recording.In, recording.HTTP1, fetch("http://dependency:8081/hello?by=plain"), "3"},
		{recording.In, recording.HTTP1, fetch("https://external.test/hello?by=tls"), "4"},
		{recording.In, recording.HTTP1, "/check?target=dependency:8081", "5"},
	} {
		e := once(t, got, want.direction, want.uri)
		if e.L7Protocol != want.protocol {
			t.Errorf("%s: protocol %s, want %s", want.uri, e.L7Protocol, want.protocol)
		}
		if peer := e.Tags.Get(recording.TagPeer); peer != clientIdentity {
			t.Errorf("%s: the peer is %q, want the client's identity", want.uri, peer)
		}
		inbound[want.trace] = e
	}
	for _, want := range []struct{ protocol, uri, address, cause string }{
		{recording.HTTP1, "/hello?by=plain", "dependency:8081", "3"},
		{recording.HTTPS, "/hello?by=tls", "external.test:443", "4"},
		{recording.GRPC, "/grpc.health.v1.Health/Check", "dependency:8081", "5"},
		{recording.HTTP1, "/hello?by=socks5h", "dependency:8081", ""},
		{recording.HTTP1, "/hello?by=socks4a", "dependency:8081", ""},
	} {
		e := once(t, got, recording.Out, want.uri)
		if e.L7Protocol != want.protocol || e.NetworkAddress != want.address {
			t.Errorf("%s: %s to %s, want %s to %s", want.uri, e.L7Protocol, e.NetworkAddress, want.protocol, want.address)
		}
		parent := "unknown"
		if want.cause != "" {
			cause := inbound[want.cause]
			parent = cause.UUID.String()
		}
		if e.Tags.Get(recording.TagParent) != parent {
			t.Errorf("%s: caused by %q, want %q", want.uri, e.Tags.Get(recording.TagParent), parent)
		}
	}
	for _, e := range got {
		replay := ""
		if cause, _ := url.QueryUnescape(uri(e)); strings.HasSuffix(cause, "by=http1") || strings.HasSuffix(cause, "by=plain") {
			replay = "run-1"
		}
		if e.Replay() != replay {
			t.Errorf("%s %s: tagged with replay %q, want %q", e.Direction, uri(e), e.Replay(), replay)
		}
	}
	// The token of a secret can be computed with the key.
	login := recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{Headers: recording.Headers{{Name: "Authorization", Value: "Bearer hush"}}}}}
	redact.New(recording.Discard{}, redact.Options{Key: []byte(redactKey)}).Write(&login)
	e := inbound["1"]
	if got, want := e.HTTP.Req.Headers.Get("Authorization"), login.HTTP.Req.Headers.Get("Authorization"); got != want {
		t.Errorf("the secret is recorded as %s, want %s", got, want)
	}
	if got, want := p.redactKeys(), []string{contract.RedactKeyID([]byte(redactKey))}; !slices.Equal(got, want) {
		t.Errorf("the segments name the keys %q, want %q", got, want)
	}
	if len(got) != 11 {
		for _, e := range got {
			t.Logf("%s %s %s %s %v", e.Direction, e.L7Protocol, e.NetworkAddress, uri(e), e.Tags)
		}
		t.Errorf("%d exchanges are recorded, want 11", len(got))
	}
}

func uri(e recording.Exchange) string {
	if e.HTTP == nil {
		return ""
	}
	return e.HTTP.Req.URI
}

// once returns the one exchange of a direction and URI.
func once(t *testing.T, all []recording.Exchange, direction, target string) (found recording.Exchange) {
	t.Helper()
	n := 0
	for _, e := range all {
		if e.Direction == direction && uri(e) == target {
			found = e
			n++
		}
	}
	if n != 1 {
		t.Errorf("%s %s is recorded %d times, want once", direction, target, n)
	}
	return found
}

// TestTLSUntouched shows that without tls-out the application itself verifies
// the site, and the record is of a connection whose content is unknown.
func TestTLSUntouched(t *testing.T) {
	w := newWorld(t, render(t, shop, `tls-out: "true"`, `tls-out: "false"`))
	p := w.startPod()
	c := w.newClient()
	if _, body, _ := get(t.Context(), c.http1, fetch("https://external.test/hello")); !strings.Contains(body, "certificate signed by unknown authority") {
		t.Errorf("the application trusts a CA that it was not given: %q", body)
	}
	s := p.appSpec().with("/usr/bin/curl", "-sS", "--fail", "--cacert", w.site.file, "https://external.test/hello")
	if out, err := w.network.pod.run(t, "curl", s); err != nil || !strings.HasPrefix(out, "external.test") {
		t.Errorf("curl: %v %q", err, out)
	}
	p.stop()
	found := 0
	for _, e := range p.recorded() {
		if e.Direction != recording.Out {
			continue
		}
		if found++; e.L7Protocol != recording.TCP || e.NetworkAddress != "external.test:443" || e.HTTP != nil {
			t.Errorf("recorded %s to %s, want bytes to external.test:443", e.L7Protocol, e.NetworkAddress)
		}
	}
	if found != 2 {
		t.Errorf("%d outbound connections are recorded, want 2", found)
	}
}

// TestWithoutSidecarObject shows that the Istio Sidecar leads inbound traffic to Tapedeck's
// sidecar: without it the same call bypasses it.
func TestWithoutSidecarObject(t *testing.T) {
	w := newWorld(t, render(t, shop).without("Sidecar"))
	p := w.startPod()
	if got := mustGet(t, w.newClient().http1, "/hello"); !strings.Contains(got, "URI="+clientIdentity) {
		t.Errorf("the application saw %q", got)
	}
	if got := decisions(t, p.envoy, "inbound", "app", 1); len(got) != 1 || got[0].To != podIP.v4+":8080" {
		t.Errorf("Envoy decided %+v, want one call to the pod's own port", got)
	}
	p.stop()
	if got := p.recorded(); len(got) != 0 {
		t.Errorf("%d exchanges are recorded, want none: nothing came to the sidecar", len(got))
	}
}

// TestEnvoysUser shows why the sidecar never runs as 1337: its calls would leave the pod without
// Envoy, and without mTLS. As it is rendered they don't.
func TestEnvoysUser(t *testing.T) {
	w := newWorld(t, render(t, shop))
	for _, c := range []struct {
		name        string
		user, group int
		through     bool
	}{
		{"as rendered", contract.UID, contract.GID, true},
		{"with Envoy's user", contract.EnvoyUID, contract.GID, false},
		{"with Envoy's group", contract.UID, contract.EnvoyUID, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := w.in(t)
			p := w.newPod()
			s := p.sidecarSpec()
			if c.through && (s.User != c.user || s.Group != c.group) {
				t.Errorf("the sidecar is rendered to run as %d:%d", s.User, s.Group)
			}
			s.User, s.Group = c.user, c.group
			p.sidecar = w.network.pod.start(t, contract.Container, s)
			p.started(s)
			p.startApp()
			got := mustGet(t, w.newClient().http1, fetch("http://dependency:8081/hello"))
			if strings.Contains(got, "URI="+appIdentity) != c.through {
				t.Errorf("the dependency saw %q", got)
			}
			want := 0
			if c.through {
				want = 1
			}
			if n := len(decisions(t, p.envoy, "outbound", "dependency", want)); n != want {
				t.Errorf("the pod's Envoy saw %d calls, want %d", n, want)
			}
			p.stop()
			once(t, p.recorded(), recording.Out, "/hello")
		})
	}
}

// TestRegistryOnly reaches a host outside because the rendered ServiceEntry
// names it, and only because of that.
func TestRegistryOnly(t *testing.T) {
	for _, c := range []struct {
		name     string
		rendered *rendered
		open     map[string]bool
	}{
		{"as rendered", render(t, shop), map[string]bool{"external.test": true, "closed.test": false}},
		{"without the ServiceEntry", render(t, shop).without("ServiceEntry"), map[string]bool{"external.test": false, "closed.test": false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.rendered)
			p := w.startPod()
			client := w.newClient()
			for host, open := range c.open {
				status, body, err := get(t.Context(), client.http1, fetch("https://"+host+"/hello"))
				if err != nil || (status == http.StatusOK) != open {
					t.Errorf("%s: %d %q %v", host, status, body, err)
				}
				d := decisions(t, p.envoy, "outbound", host, 1)
				if (d[0].Cluster != "BlackHoleCluster") != open {
					t.Errorf("Envoy decided %+v about %s", d, host)
				}
			}
			p.stop()
		})
	}
}

// TestSOCKS renders the pod with a SOCKS proxy, and sends requests with the resulting variables:
// all of the traffic, whatever its scheme, comes by SOCKS.
func TestSOCKS(t *testing.T) {
	w := newWorld(t, render(t, shop, "tcp:http", "tcp:socks"))
	p := w.startPod()
	for _, target := range []string{"http://dependency:8081/hello?by=plain", "https://external.test/hello?by=tls"} {
		if out, err := w.network.pod.run(t, "curl", p.appSpec().with("/usr/bin/curl", "-sS", "--fail", target)); err != nil {
			t.Errorf("%s: %v %s", target, err, out)
		}
	}
	p.stop()
	got := p.recorded()
	for _, target := range []string{"/hello?by=plain", "/hello?by=tls"} {
		e := once(t, got, recording.Out, target)
		if via := e.Tags.Get(recording.TagVia); via != "socks5" {
			t.Errorf("%s went by %q, want socks5", target, via)
		}
	}
}

// TestIPv6 calls a pod over IPv6, whose own calls use IPv6, too: in a cluster with only IPv6, and
// in one with both.
func TestIPv6(t *testing.T) {
	if why := noIPv6(); why != "" {
		t.Skip(why)
	}
	for _, c := range []struct {
		name     string
		pods     []family
		services []string // replace the Services of the manifests
		sidecar  string   // the address in Istio's cluster for the Sidecar's 127.0.0.1
	}{
		{"alone", []family{ipv6}, []string{
			"clusterIP: 10.96.0.10", "clusterIP: fd00:96::10\n  ipFamilies: [IPv6]",
			"clusterIP: 10.96.0.11", "clusterIP: fd00:96::11\n  ipFamilies: [IPv6]",
		}, "[::1]:4143"},
		{"with IPv4", []family{ipv4, ipv6}, []string{
			"clusterIP: 10.96.0.10", "clusterIP: 10.96.0.10\n  clusterIPs: [10.96.0.10, fd00:96::10]\n  ipFamilies: [IPv4, IPv6]",
			"clusterIP: 10.96.0.11", "clusterIP: 10.96.0.11\n  clusterIPs: [10.96.0.11, fd00:96::11]\n  ipFamilies: [IPv4, IPv6]",
		}, "127.0.0.1:4143"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorldOf(t, render(t, shop, c.services...), ipv6, c.pods...)
			p := w.startPod()
			client := w.newClient()
			if got := mustGet(t, client.http1, fetch("http://dependency:8081/hello?by=plain"), trace(1)...); !strings.Contains(got, "URI="+appIdentity) {
				t.Errorf("plain HTTP did not reach the dependency through the mesh: it saw %q", got)
			}
			mustGet(t, client.http2, fetch("https://external.test/hello?by=tls"), trace(2)...)
			if _, err := healthpb.NewHealthClient(client.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
				t.Errorf("gRPC: %v", err)
			}
			inbound := decisions(t, p.envoy, "inbound", "app", 3)
			if len(inbound) != 3 {
				t.Errorf("Envoy decided %+v, want three inbound calls", inbound)
			}
			for _, d := range inbound {
				if d.Destination != net.JoinHostPort(podIP.v6, "8080") || d.To != c.sidecar || d.TLS != "mtls" {
					t.Errorf("Envoy decided %+v, want a call of the pod's IPv6 address to lead to %s", d, c.sidecar)
				}
			}
			for name, to := range map[string]string{"dependency": net.JoinHostPort(dependencyService.v6, "8081"), "external.test": net.JoinHostPort(externalIP.v6, "443")} {
				if out := decisions(t, p.envoy, "outbound", name, 1); len(out) != 1 || out[0].Destination != to {
					t.Errorf("Envoy decided %+v, want one call to %s", out, to)
				}
			}
			p.stop()
			got := p.recorded()
			for target, cause := range map[string]string{
				"/hello?by=plain": fetch("http://dependency:8081/hello?by=plain"), "/hello?by=tls": fetch("https://external.test/hello?by=tls"),
			} {
				in, out := once(t, got, recording.In, cause), once(t, got, recording.Out, target)
				if in.Tags.Get(recording.TagPeer) != clientIdentity || out.Tags.Get(recording.TagParent) != in.UUID.String() {
					t.Errorf("%s is caused by %q, want %s from the client", target, out.Tags.Get(recording.TagParent), in.UUID)
				}
			}
			once(t, got, recording.In, "/grpc.health.v1.Health/Check")
		})
	}
}
