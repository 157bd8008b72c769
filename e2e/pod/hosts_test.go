package pod

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// hostsApp is the application whose programs support no proxy. Its annotation is auto; hostsList
// lists the hosts that its environment names.
const (
	hostsApp  = "hosts.yaml"
	hostsAuto = "tapedeck.dev/capture-hosts: auto"
	hostsList = `tapedeck.dev/capture-hosts: "postgres.db:5432, redis.db:6379, web.db:8081, external.test:443"`
)

// hostsServices are the Services of the namespace db, by their names there. The manifest has the
// same.
var hostsServices = map[string]string{"postgres": "10.96.0.20", "redis": "10.96.0.21", "web": "10.96.0.22"}

// hostsClient is a program that the proxy variables don't capture.
type hostsClient struct {
	name, program string
	args          []string
	want          string // part of its output
	host          string // as it is recorded, with its port
	protocol      string
	via           string // how it reaches the sidecar
	cluster       string // Envoy's
}

const (
	hostsFile   = "hosts-file" // the tag via
	webCluster  = "outbound|8081||web.db.svc.cluster.local"
	siteCluster = "outbound|443||external.test"
)

// hostsClients are the programs, with their scripts in a folder. They name the hosts in
// several of the forms that the cluster resolves.
func hostsClients(scripts string) []hostsClient {
	app := filepath.Join(bin, "app")
	return []hostsClient{
		{"psql", "psql", []string{"-h", "postgres.db.svc.cluster.local", "-U", "tester", "-d", "postgres", "-Atc", "select 'it ' || 'answers'"},
			"it answers", "postgres.db:5432", recording.TCP, hostsFile, "outbound|5432||postgres.db.svc.cluster.local"},
		{"redis-cli", "redis-cli", []string{"-h", "redis.db", "echo", "it answers"}, "it answers", "redis.db:6379", recording.TCP, hostsFile, "outbound|6379||redis.db.svc.cluster.local"},
		{"Java without flags", "java", []string{filepath.Join(scripts, "Fetch.java"), "http://web.db:8081/hello?by=java"}, "web.db:8081 from ", "web.db:8081", recording.HTTP1, hostsFile, webCluster},
		{"Node without a proxy", "node", []string{filepath.Join(scripts, "no_proxy.mjs"), "http://web.db.svc:8081/hello?by=node"}, "web.db.svc:8081 from ", "web.db:8081", recording.HTTP1, hostsFile, webCluster},
		{"Go without a proxy", app, []string{"direct", "http://web.db:8081/hello?by=go"}, "web.db:8081 from ", "web.db:8081", recording.HTTP1, hostsFile, webCluster},
		{"Go without a proxy", app, []string{"direct", "https://external.test/hello?by=go-tls"}, "external.test from ", "external.test:443", recording.HTTPS, hostsFile, siteCluster},
	}
}

// renderHosts renders the application with another annotation instead of its own, or with none if
// it is "".
func renderHosts(t *testing.T, annotation string, options ...string) *rendered {
	t.Helper()
	input := strings.Replace(readFile(t, filepath.Join("testdata", hostsApp)), hostsAuto, annotation, 1)
	var args []string
	for _, option := range append(options, "image=ghcr.io/tapedeck/tapedeck:v0.1.0", "strict=true", "redactKeySecret=redact-key", "egress=./*,istio-system/*,db/*") {
		args = append(args, "--set", option)
	}
	return renderText(t, input, args...)
}

// newHostsWorld returns a world with a database, a cache and a web server in the namespace db.
// Other renders may run in its pod, too, if they differ from r only in the workload.
func newHostsWorld(t *testing.T, r *rendered) *world {
	t.Helper()
	w := newWorld(t, r)
	hosts := ""
	for name, ip := range hostsServices {
		name += ".db"
		hosts += fmt.Sprintf("%s %s %s.svc %s.svc.cluster.local\n", ip, name, name, name)
		w.serve(t, address{v4: ip}, dependencyIP)
	}
	etc := filepath.Join("/etc/netns", string(w.network.pod))
	hosts = readFile(t, filepath.Join(etc, "hosts")) + hosts
	for name, text := range map[string]string{"hosts": hosts, "resolv.conf": "nameserver 127.0.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.startPostgres()
	redis := spec{Root: "/", User: 1001, Group: 1001, Args: []string{look(t, "redis-server"), "--bind", "0.0.0.0", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", "/"}}
	w.network.dependency.start(t, "redis", redis)
	w.listening(w.network.dependency, "127.0.0.1:6379")
	return w
}

// startPostgres starts a PostgreSQL server at the dependency's address, which it trusts.
func (w *world) startPostgres() {
	w.t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		w.t.Skip("PostgreSQL's server is not here: apt-get install postgresql")
	}
	programs, dir := filepath.Dir(found[0]), openDir(w.t)
	const nobody = 65534 // it does not run as root, nor as a user without a name
	if err := os.Chown(dir, nobody, nobody); err != nil {
		w.t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	run := spec{Root: "/", User: nobody, Group: nobody, Env: []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}}
	if out, err := w.network.dependency.run(w.t, "initdb", run.with(filepath.Join(programs, "initdb"), "-D", data, "-U", "tester", "-A", "trust", "--no-sync", "--no-instructions")); err != nil {
		w.t.Fatalf("initdb: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("host all all all trust\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	server := w.network.dependency.start(w.t, "PostgreSQL", run.with(filepath.Join(programs, "postgres"), "-D", data, "-h", "*", "-k", "", "-F"))
	eventually(w.t, "PostgreSQL", func() bool { return strings.Contains(server.out.String(), "ready to accept connections") })
}

// look finds a program, and skips the test without it.
func look(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip(err)
	}
	return path
}

// portStart is the sysctl that opens ports below 1024 to users without privileges.
const portStart = "/proc/sys/net/ipv4/ip_unprivileged_port_start"

// running starts a pod of a render in the network of the world's pod. The network has the pod's
// sysctls, and the kernel's defaults for those that the pod does not set: not every container
// runtime opens ports below 1024 by itself.
func (w *world) running(r *rendered) *pod {
	w.t.Helper()
	w.rendered = r
	w.network.pod.exec(w.t, "sh", "-c", "echo 1024 > "+portStart)
	if context := r.pod.Spec.SecurityContext; context != nil {
		for _, s := range context.Sysctls {
			w.network.pod.exec(w.t, "sh", "-c", "echo "+s.Value+" > /proc/sys/"+strings.ReplaceAll(s.Name, ".", "/"))
		}
	}
	p := w.newPod()
	for _, c := range r.pod.Spec.InitContainers {
		if c.Name != contract.HostsContainer {
			continue
		}
		if out, err := w.network.pod.run(w.t, c.Name, p.volumes.spec(c, factsOf(podIP.v4), p.sidecarSpec().Root)); err != nil {
			w.t.Fatalf("%s: %v\n%s", c.Name, err, out)
		}
	}
	p.startSidecar()
	p.startApp()
	return p
}

// ask runs a program in the application's container.
func (p *pod) ask(c hostsClient) (string, error) {
	p.t.Helper()
	return p.network.pod.run(p.t, c.name, p.appSpec().with(append([]string{look(p.t, c.program)}, c.args...)...))
}

// TestHosts runs programs that support no proxy in the application's container, with the hosts
// file mounted as it is rendered. Each reaches its server through the sidecar and Envoy, in a mesh
// that lets only known traffic out, and is recorded with the host that it asked for. Without the
// annotation each reaches its server, too, unrecorded.
func TestHosts(t *testing.T) {
	list := renderHosts(t, hostsList)
	w := newHostsWorld(t, list)
	scripts := runtimeScripts(t)
	clients := hostsClients(scripts)
	for _, c := range []struct {
		name     string
		rendered *rendered
		clients  []hostsClient
		captured bool
	}{
		{"listed", list, clients, true},
		{"that the environment names", renderHosts(t, hostsAuto), clients, true},
		{"with a classic sidecar", renderHosts(t, hostsList, "sidecar=classic"), clients, true},
		{"without the annotation", renderHosts(t, ""), clients, false},
		{"Java by flags", renderHosts(t, `tapedeck.dev/java-proxy: "true"`), javaClients(scripts), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := w.in(t).running(c.rendered)
			for _, client := range c.clients {
				if out, err := p.ask(client); err != nil || !strings.Contains(out, client.want) {
					t.Errorf("%s: %v\n%s\nwant %q in it", client.name, err, out, client.want)
				}
			}
			p.stop()
			var want, got, wantClusters, clusters []string
			for _, client := range c.clients {
				wantClusters = append(wantClusters, client.cluster)
				if c.captured {
					want = append(want, fmt.Sprintf("%s to %s by %s", client.protocol, client.host, client.via))
				}
			}
			for _, e := range p.recorded() {
				if e.Direction == recording.Out {
					got = append(got, fmt.Sprintf("%s to %s by %s", e.L7Protocol, e.NetworkAddress, e.Tags.Get(recording.TagVia)))
				}
			}
			// A call that came back to the sidecar would come to Envoy more than once.
			for _, d := range decisions(t, p.envoy, "outbound", "", len(c.clients)) {
				if d.Destination == "127.0.0.1:15001" {
					continue // the test waited for Envoy to listen
				}
				clusters = append(clusters, d.Cluster)
				if strings.HasPrefix(d.Destination, "127.") || strings.HasPrefix(d.To, "127.") {
					t.Errorf("Envoy decided %+v, which does not leave the pod", d)
				}
			}
			for _, list := range [][]string{want, got, wantClusters, clusters} {
				slices.Sort(list)
			}
			if !slices.Equal(got, want) {
				t.Errorf("recorded %q, want %q", got, want)
			}
			if !slices.Equal(clusters, wantClusters) {
				t.Errorf("Envoy sent the calls to %q, want %q", clusters, wantClusters)
			}
		})
	}
	t.Run("the file is the application's alone", func(t *testing.T) { testHostsOfEnvoy(w.in(t), list, clients[len(clients)-1]) })
}

// testHostsOfEnvoy calls a host of a ServiceEntry with DNS resolution, whose address Envoy
// resolves itself. With the hosts file in Envoy's container, as hostAliases would put it there,
// Envoy resolves the sidecar's address, and the call never leaves the pod.
func testHostsOfEnvoy(w *world, r *rendered, site hostsClient) {
	t := w.t
	admitted := w.istio.Pod(t, "app").Spec
	var mounting []string
	for _, c := range append(slices.Clone(admitted.InitContainers), admitted.Containers...) {
		if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == contract.SystemHosts }) {
			mounting = append(mounting, c.Name)
		}
	}
	if !slices.Equal(mounting, []string{"app"}) || len(admitted.HostAliases) != 0 {
		t.Errorf("%q mount the hosts file, and the pod has the aliases %v, want the application alone and none", mounting, admitted.HostAliases)
	}
	p := w.running(r)
	if out, err := p.ask(site); err != nil || !strings.Contains(out, site.want) {
		t.Errorf("%v %s", err, out)
	}
	name := strings.Split(site.host, ":")[0]
	for _, d := range decisions(t, p.envoy, "outbound", name, 1) {
		if d.To != site.host {
			t.Errorf("Envoy decided %+v, want it to look up %s", d, site.host)
		}
	}
	_ = p.envoy.stop(t)
	p.envoy = w.envoy(w.network.pod, "app", appIdentity, mount{filepath.Join(p.volumes[contract.TrustVolume], contract.HostsName), contract.SystemHosts, true})
	if out, err := p.ask(site); err == nil {
		t.Errorf("with the hosts file, Envoy still reaches the site: %s", out)
	}
	decisions(t, p.envoy, "outbound", name, 1)
	p.stop()
}

// javaClients are programs of Java that read flags.
func javaClients(scripts string) []hostsClient {
	fetch := filepath.Join(scripts, "Fetch.java")
	const name = "Java with java-proxy"
	return []hostsClient{
		{name, "java", []string{fetch, "http://web.db:8081/hello?by=java"}, "web.db:8081 from ", "web.db:8081", recording.HTTP1, "http", webCluster},
		{name, "java", []string{fetch, "https://external.test/hello?by=java-tls"}, "external.test from ", "external.test:443", recording.HTTPS, "connect", siteCluster},
	}
}

// TestRuntimesOfTheDocs compares the runtimes that the documentation says are tested with
// the programs that the tests run in a pod.
func TestRuntimesOfTheDocs(t *testing.T) {
	var ran, documented []string
	for _, c := range proxyClients("") {
		ran = append(ran, c.name)
	}
	for _, c := range append(hostsClients(""), javaClients("")...) {
		ran = append(ran, c.name)
	}
	_, table, _ := strings.Cut(readFile(t, filepath.Join(repo, "docs/outbound.md")), "<!-- runtimes -->")
	table, _, _ = strings.Cut(table, "<!-- /runtimes -->")
	for _, row := range lines(table, "|")[2:] {
		cells := strings.Split(strings.Trim(row, "| \n"), " | ")
		if tested := cells[len(cells)-1]; tested != "–" {
			documented = append(documented, strings.Split(tested, ", ")...)
		}
	}
	for _, list := range [][]string{ran, documented} {
		slices.Sort(list)
	}
	if ran = slices.Compact(ran); !slices.Equal(documented, ran) {
		t.Errorf("docs/outbound.md says that the tests run %q, and they run %q", documented, ran)
	}
}
