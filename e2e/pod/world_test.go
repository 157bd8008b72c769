package pod

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/e2e/istio"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
)

// Identities in the mesh.
const (
	appIdentity        = "spiffe://cluster.local/ns/shop/sa/default"
	dependencyIdentity = "spiffe://cluster.local/ns/shop/sa/dependency"
	clientIdentity     = "spiffe://cluster.local/ns/shop/sa/client"
)

// upstreamCA is where the sidecar finds the CA of the sites outside. A real site's CA is among the
// public roots that the sidecar has. A test can't have such a CA, so only this variable and this
// mount are not rendered.
const upstreamCA = "/etc/tapedeck/upstream"

// The configuration of the mesh: hosts that its registry lacks can't be reached, and pods may have
// addresses of both families.
const (
	registryOnly = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"
	dualStack    = "defaultConfig: {proxyMetadata: {ISTIO_DUAL_STACK: \"true\"}}\n"
)

// world is the mesh and its surroundings, without the pod.
type world struct {
	*network
	*rendered
	t          *testing.T
	of         family
	port       int // captured port of the application
	dir        string
	istio      *istio.Mesh
	control    string // socket at which Istio's control plane answers
	mesh, site *authority
	asked      []*process        // the sites and the dependency, which log who asks them
	secret     map[string]string // of our CA, as the Secret has it
	rules      string            // of the pod, as iptables-save shows them
}

// newWorld makes the world for a render, and applies the render to the mesh.
func newWorld(t *testing.T, r *rendered) *world {
	t.Helper()
	return newWorldOf(t, r, ipv4, ipv4)
}

// newWorldOf makes a world whose DNS answers in one family, and whose pods have
// addresses of some.
func newWorldOf(t *testing.T, r *rendered, of family, pods ...family) *world {
	t.Helper()
	w := &world{t: t, rendered: r, of: of, port: 8080, dir: openDir(t)}
	meshConfig, addresses := registryOnly, map[string][]string{}
	if len(pods) > 1 {
		meshConfig += dualStack
	}
	for _, f := range pods {
		addresses["app"] = append(addresses["app"], f(podIP))
		addresses["dependency"] = append(addresses["dependency"], f(dependencyIP))
		addresses["collector"] = append(addresses["collector"], f(collectorIP)) // if there is one
	}
	w.istio = istio.NewMesh(t, r.manifests(), meshConfig, addresses)
	w.control = w.serveControl()
	w.mesh, w.site = newAuthority(t, w.dir, "mesh"), newAuthority(t, w.dir, "site")
	w.network = newNetwork(t, of, pods)
	w.rules = w.network.pod.intercept(t, w.istio.Pod(t, "app"))
	w.network.dependency.intercept(t, w.istio.Pod(t, "dependency"))
	w.secret = newSecret(t)

	cert, key := w.site.issue(t, w.dir, "sites", "", "external.test", "direct.test", "closed.test")
	sites := w.external.start(t, "sites", w.program("LISTEN=:443", "TLS_CERT="+cert, "TLS_KEY="+key))
	w.asked = append(w.asked, sites, w.network.dependency.start(t, "dependency", w.program("LISTEN=:8081")))
	w.envoy(w.network.dependency, "dependency", dependencyIdentity)
	w.listening(w.external, "127.0.0.1:443")
	w.listening(w.network.dependency, "127.0.0.1:8081")
	return w
}

// in returns the world for a subtest of the test that made it.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.t = t
	return &sub
}

// control answers the Envoys.
type control struct{ mesh *istio.Mesh }

// Land is called by cmd/envoy.
func (c *control) Land(call istio.Call, l *istio.Landing) (err error) {
	*l, err = c.mesh.Land(call)
	return err
}

// serveControl makes the control plane answer at a Unix socket, which is reachable from every
// network namespace.
func (w *world) serveControl() (socket string) {
	w.t.Helper()
	socket = filepath.Join(w.dir, "control")
	l, err := net.Listen("unix", socket)
	if err == nil {
		err = os.Chmod(socket, 0o777)
	}
	server := rpc.NewServer()
	if err := errors.Join(err, server.RegisterName("Istio", &control{w.istio})); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(c)
		}
	}()
	return socket
}

// program returns cmd/app with its own environment, outside the pod.
func (w *world) program(env ...string) spec {
	return spec{Root: "/", User: 1001, Group: 1001, Env: env, Args: []string{filepath.Join(bin, "app")}}
}

// envoy runs a pod's stand-in in its namespace.
func (w *world) envoy(n namespace, pod, identity string, mounts ...mount) *process {
	w.t.Helper()
	cert, key := w.mesh.issue(w.t, w.dir, pod, identity, "mesh")
	config := toJSON(w.t, map[string]any{"Pod": pod, "Certificate": cert, "Key": key, "Roots": w.mesh.file, "Control": w.control})
	p := n.start(w.t, "envoy of "+pod, spec{
		Root: "/", User: contract.EnvoyUID, Group: contract.EnvoyUID, Mounts: mounts, Args: []string{filepath.Join(bin, "envoy"), config},
	})
	w.listening(n, "127.0.0.1:15006")
	w.listening(n, "127.0.0.1:15001")
	return p
}

// redactKey is the content of the Secret of the option redactKeySecret.
const redactKey = "c2l4dGVlbiBieXRlcyBhdCBsZWFzdA=="

// newSecret makes the Secret of the CA, as the documentation says, with the key for redaction.
func newSecret(t *testing.T) map[string]string {
	t.Helper()
	var secret struct {
		Data       map[string][]byte `json:"data"`
		StringData map[string]string `json:"stringData"`
	}
	decode(t, run(t, filepath.Join(bin, "image", "tapedeck"), "ca", "--output", "-"), &secret)
	out := map[string]string{contract.RedactKeyName: redactKey + "\n"}
	for name, value := range secret.StringData {
		out[name] = value
	}
	for name, value := range secret.Data {
		out[name] = string(value)
	}
	return out
}

// listening waits until a port of a namespace accepts connections.
func (w *world) listening(n namespace, address string) {
	w.t.Helper()
	eventually(w.t, address+" in "+string(n), func() bool {
		c, err := n.dial(w.t.Context(), address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// pod is the rendered pod; its containers start one by one.
type pod struct {
	*world
	volumes
	application         string // the program in its image
	envoy, sidecar, app *process
}

// newPod makes the pod's volumes and starts its Envoy.
func (w *world) newPod() *pod {
	w.t.Helper()
	return &pod{
		world: w, volumes: newVolumes(w.t, w.rendered.pod.Spec, w.secret), application: filepath.Join(bin, "app"),
		envoy: w.envoy(w.network.pod, "app", appIdentity),
	}
}

// startPod starts all containers of a pod, in the kubelet's order.
func (w *world) startPod() *pod {
	w.t.Helper()
	p := w.newPod()
	p.startSidecar()
	p.startApp()
	return p
}

// sidecarSpec returns the sidecar's container, on a separate root.
func (p *pod) sidecarSpec() spec {
	p.t.Helper()
	c := p.container(p.t, contract.Container)
	s := p.volumes.spec(c, factsOf(p.of(podIP)), imageRoot(p.t), contract.Binary)
	s.Env = append(s.Env, contract.EnvUpstreamCA+"="+upstreamCA+"/site.crt")
	s.Mounts = append(s.Mounts, mount{p.site.file, upstreamCA + "/site.crt", true})
	return s
}

// appSpec returns the application's container. Its image is this machine.
func (p *pod) appSpec() spec {
	return p.volumes.spec(p.container(p.t, "app"), factsOf(p.of(podIP)), "/", p.application)
}

// startSidecar starts the sidecar and waits for its startup probe.
func (p *pod) startSidecar() {
	p.t.Helper()
	s := p.sidecarSpec()
	p.sidecar = p.network.pod.start(p.t, contract.Container, s)
	p.started(s)
}

// started waits for the rendered startup probe. The kubelet doesn't wait next to a classic
// sidecar, and starts the application after the sidecar's postStart hook.
func (p *pod) started(s spec) {
	p.t.Helper()
	c := p.container(p.t, contract.Container)
	if c.Lifecycle != nil {
		if out, err := p.network.pod.run(p.t, "postStart", s.with(c.Lifecycle.PostStart.Exec.Command...)); err != nil {
			p.t.Fatalf("postStart: %v\n%s", err, out)
		}
		return
	}
	probe := c.StartupProbe
	eventually(p.t, "the startup probe", func() bool { return p.probe(s, probe) == nil })
}

// probe runs an exec probe once in the container, like the kubelet.
func (p *pod) probe(s spec, probe *corev1.Probe) error {
	p.t.Helper()
	_, err := p.network.pod.run(p.t, "probe", s.with(probe.Exec.Command...))
	return err
}

// startApp starts the application and waits until it listens.
func (p *pod) startApp() {
	p.t.Helper()
	p.app = p.network.pod.start(p.t, "app", p.appSpec())
	p.listening(p.network.pod, fmt.Sprintf("127.0.0.1:%d", p.port))
}

// stop ends the pod in the kubelet's order: native sidecars last. Each must
// end in order.
func (p *pod) stop() {
	p.t.Helper()
	p.stopContainers()
	_ = p.envoy.stop(p.t)
}

// stopContainers does the same as stop, and keeps Envoy for the containers that start next.
func (p *pod) stopContainers() {
	p.t.Helper()
	for _, c := range []*process{p.app, p.sidecar} {
		if err := c.stop(p.t); err != nil {
			p.t.Errorf("%s: %v", c.name, err)
		}
	}
}

// recorded returns what the sidecar recorded.
func (p *pod) recorded() []recording.Exchange { return slices.Collect(p.exchanges()) }

// exchanges reads what the sidecar recorded, one by one, parts of conversations too.
func (p *pod) exchanges() iter.Seq[recording.Exchange] {
	return func(yield func(recording.Exchange) bool) {
		for e, err := range read.All(context.Background(), read.Options{Parts: true}, store.Dir(p.volumes[contract.RecordingVolume])) {
			if err != nil {
				p.t.Error(err)
				continue
			}
			if !yield(*e) {
				return
			}
		}
	}
}

// redactKeys returns the IDs of the keys for redaction that the segments name.
func (p *pod) redactKeys() (ids []string) {
	r, err := read.Open(context.Background(), read.Query{}, read.Options{Light: true, Recycle: true}, store.Dir(p.volumes[contract.RecordingVolume]))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, err := range r.Records() {
		if err != nil {
			p.t.Fatal(err)
		}
	}
	for _, c := range r.Report().Tally.Last() {
		ids = append(ids, c.RedactKey)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// client is a caller in the mesh. Its Envoy wraps its requests in mTLS.
type client struct {
	http1, http2 *http.Client
	grpc         *grpc.ClientConn
}

func (w *world) newClient() *client {
	w.t.Helper()
	return w.clientOf(w.port)
}

// clientOf returns a caller of one port of the application.
func (w *world) clientOf(port int) *client {
	w.t.Helper()
	dial := w.dialerOf(clientIdentity, net.JoinHostPort(w.of(appService), strconv.Itoa(port)))
	web := func(h2 bool, protocol string) *http.Client {
		t := &http.Transport{Protocols: new(http.Protocols), MaxIdleConnsPerHost: 64}
		t.Protocols.SetHTTP1(!h2)
		t.Protocols.SetUnencryptedHTTP2(h2)
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, protocol) }
		w.t.Cleanup(t.CloseIdleConnections)
		return &http.Client{Transport: t, Timeout: 20 * time.Second}
	}
	conn, err := grpc.NewClient("passthrough:///app:8080", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, "istio-h2") }))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return &client{web(false, "istio-http/1.1"), web(true, "istio-h2"), conn}
}

// dialerOf returns a dialer for an address in the mesh, with an identity: its connections use
// mTLS, as if through an Envoy.
func (w *world) dialerOf(identity, address string) func(ctx context.Context, protocol string) (net.Conn, error) {
	w.t.Helper()
	cert, key := w.mesh.issue(w.t, openDir(w.t), "client", identity, "mesh")
	pair := loadPair(w.t, cert, key)
	// Istio defines the server name of an mTLS connection, by which the other Envoy recognises it.
	return func(ctx context.Context, protocol string) (net.Conn, error) {
		c, err := w.network.client.dial(ctx, address)
		if err != nil {
			return nil, err
		}
		t := tls.Client(c, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: w.mesh.pool(), ServerName: "mesh", NextProtos: []string{protocol}})
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, err
		}
		return struct{ net.Conn }{t}, nil // the caller sees plaintext
	}
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

// mustGet is like get, and fails the test on any error.
func mustGet(t *testing.T, c *http.Client, path string, headers ...string) string {
	t.Helper()
	status, body, err := get(t.Context(), c, path, headers...)
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d %q %v", path, status, body, err)
	}
	return body
}

// decision is one line of the stand-in's log.
type decision struct {
	Direction, Destination, Name, TLS, Peer, Cluster, To, Error string
	MTLS                                                        bool
}

// decisions returns an Envoy's decisions about a name. It waits until there are at least n in the
// log.
func decisions(t *testing.T, p *process, direction, name string, n int) (out []decision) {
	t.Helper()
	eventually(t, fmt.Sprintf("Envoy to decide %d times on %s calls of %s", n, direction, name), func() bool {
		out = nil
		for _, line := range lines(p.out.String(), `"direction":"`+direction+`"`) {
			var d decision
			if json.Unmarshal([]byte(line), &d) == nil && strings.HasPrefix(d.Name, name) {
				out = append(out, d)
			}
		}
		return len(out) >= n
	})
	return out
}
