package pod

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// Identities in the mesh.
const (
	appIdentity        = "spiffe://cluster.local/ns/shop/sa/default"
	dependencyIdentity = "spiffe://cluster.local/ns/shop/sa/dependency"
	clientIdentity     = "spiffe://cluster.local/ns/shop/sa/client"
)

// upstreamCA is where the sidecar finds the CA of the sites outside. A real
// site's is among the public roots that the sidecar has; one that the test can
// have is not, so this variable and mount are the only ones not rendered.
const upstreamCA = "/etc/tapedeck/upstream"

// world is the mesh and what is around it, all but the pod itself.
type world struct {
	*network
	t          *testing.T
	dir        string
	mesh, site *authority
	secret     map[string]string // of our CA, as the Secret has it
	rules      string            // of the pod, as iptables-save shows them
	dependency *process          // its Envoy
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if why := missing(); why != "" {
		t.Skip(why)
	}
	w := &world{t: t, dir: openDir(t)}
	w.mesh, w.site = newAuthority(t, w.dir, "mesh"), newAuthority(t, w.dir, "site")
	w.network = newNetwork(t)
	w.rules = w.pod.intercept(t)
	w.network.dependency.intercept(t)
	w.secret = newSecret(t)

	cert, key := w.site.issue(t, w.dir, "sites", "", "external.test", "direct.test", "closed.test")
	w.external.start(t, "sites", w.program("LISTEN=:443", "TLS_CERT="+cert, "TLS_KEY="+key))
	w.network.dependency.start(t, "dependency", w.program("LISTEN=:8081"))
	w.dependency = w.envoy(w.network.dependency, dependencyIdentity, nil, nil)
	w.listening(w.external, "127.0.0.1:443")
	w.listening(w.network.dependency, "127.0.0.1:8081")
	return w
}

// program is cmd/app with an environment of its own, outside the pod.
func (w *world) program(env ...string) spec {
	return spec{Root: "/", User: 1001, Group: 1001, Env: env, Args: []string{filepath.Join(bin, "app")}}
}

// envoy runs the stand-in in a namespace.
func (w *world) envoy(n namespace, identity string, inbound map[int]string, routes []route) *process {
	w.t.Helper()
	name := strings.ReplaceAll(strings.TrimPrefix(identity, "spiffe://"), "/", "-")
	cert, key := w.mesh.issue(w.t, w.dir, name, identity, "mesh")
	config := toJSON(w.t, map[string]any{
		"Certificate": cert, "Key": key, "Roots": w.mesh.file, "Inbound": inbound, "Routes": routes,
	})
	p := n.start(w.t, "envoy of "+name, spec{
		Root: "/", User: contract.EnvoyUID, Group: contract.EnvoyUID, Args: []string{filepath.Join(bin, "envoy"), config},
	})
	w.listening(n, "127.0.0.1:15006")
	w.listening(n, "127.0.0.1:15001")
	return p
}

// newSecret makes the Secret of the CA, as docs say to.
func newSecret(t *testing.T) map[string]string {
	t.Helper()
	var secret struct {
		Data       map[string][]byte `json:"data"`
		StringData map[string]string `json:"stringData"`
	}
	decode(t, run(t, filepath.Join(bin, "image", "tapedeck"), "ca", "--output", "-"), &secret)
	out := map[string]string{}
	for name, value := range secret.StringData {
		out[name] = value
	}
	for name, value := range secret.Data {
		out[name] = string(value)
	}
	return out
}

// listening waits until a port of a namespace takes connections.
func (w *world) listening(n namespace, address string) {
	w.t.Helper()
	eventually(w.t, address+" in "+string(n), func() bool {
		c, err := n.dial(w.t.Context(), "tcp4", address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// pod is the rendered pod; its containers start one by one.
type pod struct {
	*world
	*rendered
	volumes
	envoy, sidecar, app *process
}

// newPod makes the pod's volumes and starts its Envoy.
func (w *world) newPod(r *rendered) *pod {
	w.t.Helper()
	p := &pod{world: w, rendered: r, volumes: newVolumes(w.t, r, w.secret)}
	p.envoy = w.envoy(w.network.pod, appIdentity, r.inbound(), r.routes())
	return p
}

// startPod starts all of a pod, in the kubelet's order.
func (w *world) startPod(r *rendered) *pod {
	w.t.Helper()
	p := w.newPod(r)
	p.startSidecar()
	p.startApp()
	return p
}

// sidecarSpec is the sidecar's container, on a root of its own.
func (p *pod) sidecarSpec() spec {
	p.t.Helper()
	root := openDir(p.t)
	if err := os.CopyFS(root, os.DirFS(filepath.Join(bin, "image"))); err != nil {
		p.t.Fatal(err)
	}
	c := p.container(p.t, contract.Container)
	s := p.volumes.spec(c, root, contract.Binary)
	s.Env = append(s.Env, contract.EnvUpstreamCA+"="+upstreamCA+"/site.crt")
	s.Mounts = append(s.Mounts, mount{p.site.file, upstreamCA + "/site.crt", true})
	return s
}

// appSpec is the application's container, whose image is this machine.
func (p *pod) appSpec() spec {
	return p.volumes.spec(p.container(p.t, "app"), "/", filepath.Join(bin, "app"))
}

// startSidecar starts the sidecar and waits for its startup probe.
func (p *pod) startSidecar() {
	p.t.Helper()
	s := p.sidecarSpec()
	p.sidecar = p.network.pod.start(p.t, contract.Container, s)
	p.started(s)
}

// started runs the rendered startup probe until it says yes.
func (p *pod) started(s spec) {
	p.t.Helper()
	probe := p.container(p.t, contract.Container).StartupProbe
	eventually(p.t, "the startup probe", func() bool { return p.probe(s, probe) == nil })
}

// probe runs an exec probe once, as the kubelet does: in the container.
func (p *pod) probe(s spec, probe *corev1.Probe) error {
	p.t.Helper()
	_, err := p.network.pod.run(p.t, "probe", s.with(probe.Exec.Command...))
	return err
}

// startApp starts the application and waits until it listens.
func (p *pod) startApp() {
	p.t.Helper()
	p.app = p.network.pod.start(p.t, "app", p.appSpec())
	p.listening(p.network.pod, "127.0.0.1:8080")
}

// stop ends the pod in the kubelet's order: native sidecars last. Each must
// end in order.
func (p *pod) stop() {
	p.t.Helper()
	for _, c := range []*process{p.app, p.sidecar} {
		if err := c.stop(p.t); err != nil {
			p.t.Errorf("%s: %v", c.name, err)
		}
	}
	_ = p.envoy.stop(p.t)
}

// recorded returns what the sidecar recorded. A sidecar that was killed may
// leave a torn tail.
func (p *pod) recorded() (out []recording.Exchange) {
	p.t.Helper()
	for e, err := range recording.All(os.DirFS(p.volumes[contract.RecordingVolume]), ".") {
		switch {
		case err == nil:
			out = append(out, *e)
		case !strings.Contains(err.Error(), recording.ErrTorn.Error()):
			p.t.Error(err)
		}
	}
	return out
}

// client is a caller in the mesh: what it sends, its Envoy puts into mTLS.
type client struct {
	http1, http2 *http.Client
	grpc         *grpc.ClientConn
}

func (w *world) newClient() *client {
	w.t.Helper()
	cert, key := w.mesh.issue(w.t, w.dir, "client", clientIdentity, "mesh")
	pair := loadPair(w.t, cert, key)
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		c, err := w.network.client.dial(ctx, "tcp4", address)
		if err != nil {
			return nil, err
		}
		t := tls.Client(c, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: w.mesh.pool(), ServerName: "mesh", NextProtos: []string{"istio"}})
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, err
		}
		return struct{ net.Conn }{t}, nil // plaintext, for all that the caller knows
	}
	web := func(h2 bool) *http.Client {
		t := &http.Transport{Protocols: new(http.Protocols), MaxIdleConnsPerHost: 64}
		t.Protocols.SetHTTP1(!h2)
		t.Protocols.SetUnencryptedHTTP2(h2)
		t.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address) }
		w.t.Cleanup(t.CloseIdleConnections)
		return &http.Client{Transport: t, Timeout: 20 * time.Second}
	}
	conn, err := grpc.NewClient("passthrough:///app:8080", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial), grpc.WithNoProxy())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return &client{web(false), web(true), conn}
}

// get asks the application, and returns status and body.
func get(ctx context.Context, c *http.Client, path string, headers ...string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://app:8080"+path, nil)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// mustGet is get where all must be well.
func mustGet(t *testing.T, c *http.Client, path string, headers ...string) string {
	t.Helper()
	status, body, err := get(t.Context(), c, path, headers...)
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d %q %v", path, status, body, err)
	}
	return body
}

// decision is one line of the stand-in's log.
type decision struct{ Direction, Destination, Name, To, TLS, Peer string }

// decisions are what an Envoy decided about a name or destination.
func decisions(p *process, direction, of string) (out []decision) {
	for _, line := range lines(p.out.String(), `"direction":"`+direction+`"`) {
		var d decision
		if json.Unmarshal([]byte(line), &d) == nil && (strings.HasPrefix(d.Name, of) || d.Destination == of) {
			out = append(out, d)
		}
	}
	return out
}
