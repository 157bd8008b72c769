package traffic

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// resolvConf is the resolv.conf of a pod in the namespace market. Its server does not answer,
// so a client that uses DNS fails.
const resolvConf = "nameserver 192.0.2.53\nsearch market.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:1 attempts:1\n"

// withEtc makes a command find other files at /etc/hosts and /etc/resolv.conf, like a
// container with these mounts.
func withEtc(t *testing.T, cmd *exec.Cmd, hosts string) {
	t.Helper()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte(resolvConf), 0o644); err != nil {
		t.Fatal(err)
	}
	const mount = `mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"`
	unshare := program(t, "unshare", "util-linux")
	cmd.Args = append([]string{unshare, "-m", "sh", "-c", mount, "sh", hosts, resolv, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = unshare
}

// javaClient is a program for Java's single-file launcher. It gets no flags for a proxy.
const javaClient = `
public class Client {
	public static void main(String[] args) throws Exception {
		try (var in = new java.net.URL(args[0]).openStream()) { System.out.print(new String(in.readAllBytes())); }
	}
}`

// A hosts file captures clients that support no proxy, or use none, under every name of the host.
// Without that file they are not captured.
func TestHostsFile(t *testing.T) {
	a := newAuthority(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "answered") })
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	defer plain.Close()
	secure.TLS = a.server("http/1.1")
	secure.StartTLS()
	defer secure.Close()
	portOf := func(addr string) string {
		_, port, _ := net.SplitHostPort(addr)
		return port
	}
	web, tls := portOf(plain.Listener.Addr().String()), portOf(secure.Listener.Addr().String())
	db := portOf(mariadb(t))
	redis := freePort(t)
	background(t, "redis", exec.Command(program(t, "redis-server", "redis-server"), "--port", redis, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()))
	listens(t, "redis", net.JoinHostPort("127.0.0.1", redis))

	java := filepath.Join(t.TempDir(), "Client.java")
	if err := os.WriteFile(java, []byte(javaClient), 0o644); err != nil {
		t.Fatal(err)
	}
	// The kubelet's hosts file of a pod whose author maps these names to loopback.
	own := filepath.Join(t.TempDir(), "hosts")
	names := "web web.market web.market.svc web.market.svc.cluster.local redis.db redis.db.svc mariadb.db mariadb.db.svc.cluster.local. " + serverName
	if err := os.WriteFile(own, []byte("127.0.0.1 localhost\n10.1.2.3 shop-0\n\n# Entries added by HostAliases.\n127.0.0.1 "+names+"\n::ffff:127.0.0.1 "+names+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const node = `require('http').get(process.argv[1], {family: +process.argv[2]}, r => r.pipe(process.stdout)).on('error', e => console.log(e.code))`
	const python = `import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode(), end="")`
	for _, c := range []struct {
		name, pkg string
		command   []string // its first word is a program
		want      string
		host      string // as it is listed, with its port
		protocol  string
	}{
		{"curl", "curl", []string{"curl", "-sS", "http://web:" + web}, "answered", "web:" + web, recording.HTTP1},
		{"curl in IPv6", "curl", []string{"curl", "-sS", "-6", "http://web.market.svc.cluster.local:" + web}, "answered", "web:" + web, recording.HTTP1},
		{"curl with TLS", "curl", []string{"curl", "-sS", "--cacert", "BUNDLE", "https://" + serverName + ":" + tls}, "answered", serverName + ":" + tls, recording.HTTPS},
		{"Node.js", "nodejs", []string{"node", "-e", node, "http://web:" + web, "0"}, "answered", "web:" + web, recording.HTTP1},
		{"Node.js in IPv6", "nodejs", []string{"node", "-e", node, "http://web.market:" + web, "6"}, "answered", "web:" + web, recording.HTTP1},
		{"Python", "python3", []string{"/usr/bin/python3", "-c", python, "http://web.market.svc:" + web}, "answered", "web:" + web, recording.HTTP1},
		{"Java", "default-jdk-headless", []string{"java", java, "http://web:" + web}, "answered", "web:" + web, recording.HTTP1},
		{"Java that prefers IPv6", "default-jdk-headless", []string{"java", "-Djava.net.preferIPv6Addresses=true", java, "http://web:" + web}, "answered", "web:" + web, recording.HTTP1},
		{"redis-cli", "redis-tools", []string{"redis-cli", "-h", "redis.db.svc", "-p", redis, "echo", "answered"}, "answered\n", "redis.db:" + redis, recording.TCP},
		{"MariaDB, which speaks first", "mariadb-client", []string{"mariadb", "--no-defaults", "--protocol=tcp", "-h", "mariadb.db.svc.cluster.local.", "-P", db, "-u", "root", "-BNe", "select 'answered'"},
			"answered\n", "mariadb.db:" + db, recording.TCP},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := program(t, c.command[0], c.pkg)
			s := startAs(t, "", func(cmd *exec.Cmd) { withEtc(t, cmd, own) }, append(a.intercepting(), contract.EnvOpaqueBytes+"=true",
				contract.EnvCaptureHosts+"=web:"+web+", redis.db:"+redis+", mariadb.db:"+db+", "+serverName+":"+tls)...)
			s.understood = true
			ask := func(hosts, bundle string) string {
				cmd := exec.CommandContext(t.Context(), path, c.command[1:]...)
				for i, arg := range cmd.Args {
					if arg == "BUNDLE" {
						cmd.Args[i] = bundle
					}
				}
				cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.Contains(strings.ToLower(v), "_proxy=") })
				withEtc(t, cmd, hosts)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("%v", err)
				}
				return string(out)
			}
			if got := ask(own, a.file); got != c.want {
				t.Errorf("without the sidecar's file: %q", got)
			}
			if n := s.metric(`tapedeck_connections_total{direction="OUT"}`); n != 0 {
				t.Errorf("without the sidecar's file %v connections are captured", n)
			}
			if got := ask(filepath.Join(s.dir, contract.HostsName), s.bundle()); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			exchanges := s.stop()
			i := slices.IndexFunc(exchanges, func(e *recording.Exchange) bool { return e.L7Protocol == c.protocol })
			if i < 0 {
				t.Fatalf("%d exchanges are recorded, none with %s\n%s", len(exchanges), c.protocol, s.log)
			}
			e := exchanges[i]
			if e.Direction != recording.Out || e.Tags.Get(recording.TagVia) != "hosts-file" || e.NetworkAddress != c.host || e.NetInfo.Upstream.IPAddress != "127.0.0.1" {
				t.Errorf("recorded as %s via %s to %s: %+v", e.Direction, e.Tags.Get(recording.TagVia), e.NetworkAddress, e.NetInfo)
			}
		})
	}
}

// In a pod with only IPv6, resolvers skip IPv4 addresses. The IPv6 address in the hosts file still
// leads to the sidecar, and the sidecar reaches the host over IPv6.
func TestHostsFileInAPodWithIPv6Alone(t *testing.T) {
	for _, name := range []string{"unshare", "ip", "node", "curl"} {
		program(t, name, "util-linux, iproute2, nodejs and curl")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"etc/hosts": "127.0.0.1 localhost\n::1 localhost\nfd00::9 shop-0\nfd00::9 web\n", "etc/resolv.conf": resolvConf, "web/index.html": "answered",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "recordings"), 0o755); err != nil {
		t.Fatal(err)
	}
	// Node.js asks for addresses of the families that the pod has (AI_ADDRCONFIG).
	const script = `set -e
ip link set lo up
ip link add eth0 type veth peer name peer || exit 77
ip link set eth0 up; ip link set peer up
ip address add fd00::9/64 dev eth0 nodad
mount --bind etc/hosts /etc/hosts; mount --bind etc/resolv.conf /etc/resolv.conf
/usr/bin/python3 -m http.server --bind fd00::9 -d web 8088 >/dev/null 2>&1 & web=$!
"$PROXY" 2>sidecar.log & sidecar=$!
trap 'kill $web $sidecar 2>/dev/null || true' EXIT
until curl -sf http://127.0.0.1:4100/healthz; do kill -0 $sidecar; sleep 0.05; done >/dev/null
until curl -sf http://[fd00::9]:8088/; do kill -0 $web; sleep 0.05; done >/dev/null
unshare -m sh -ec 'mount --bind hosts /etc/hosts
	curl -sS -6 http://web:8088/; echo
	node -e "require(\"http\").get(\"http://web:8088/\", r => r.pipe(process.stdout)).on(\"error\", e => console.log(e.code))"; echo'
kill $sidecar; wait $sidecar
`
	cmd := exec.CommandContext(t.Context(), "unshare", "-mn", "sh", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(environment(dir, &net.TCPAddr{IP: net.IPv6loopback, Port: 1}), "PATH="+os.Getenv("PATH"), contract.EnvCaptureHosts+"=web:8088",
		"PROXY="+filepath.Join(os.Getenv(envPrograms), "tapedeck-proxy"))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 77 {
		t.Skipf("this kernel has no veth: %s", out)
	}
	log, _ := os.ReadFile(filepath.Join(dir, "sidecar.log"))
	if want := "answered\nanswered\n"; err != nil || string(out) != want {
		t.Fatalf("%v, %q, want %q\n%s", err, out, want, log)
	}
	exchanges := recordedIn(t, dir)
	if len(exchanges) != 2 {
		t.Fatalf("%d exchanges are recorded\n%s", len(exchanges), log)
	}
	for _, e := range exchanges {
		if e.Tags.Get(recording.TagVia) != "hosts-file" || e.NetworkAddress != "web:8088" || e.NetInfo.Upstream.IPAddress != "fd00::9" {
			t.Errorf("recorded via %s to %s: %+v", e.Tags.Get(recording.TagVia), e.NetworkAddress, e.NetInfo)
		}
	}
}

// A port below 1024 needs a sysctl. Without it the sidecar says so, does everything else, and
// leaves the host out of the file, so that the application reaches it.
func TestHostsFileWithAPortBelow1024(t *testing.T) {
	const sysctl = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
	before, err := os.ReadFile(sysctl)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.WriteFile(sysctl, before, 0) })
	if err := os.WriteFile(sysctl, []byte("1024"), 0); err != nil {
		t.Skipf("the namespace's sysctl can't be set: %v", err)
	}
	setpriv := program(t, "setpriv", "util-linux")
	s := startAs(t, "", func(cmd *exec.Cmd) {
		cmd.Args = []string{setpriv, "--bounding-set", "-net_bind_service", cmd.Path}
		cmd.Path = setpriv
	}, contract.EnvCaptureHosts+"=web:80, redis:6379")
	file := func() string {
		content, _ := os.ReadFile(filepath.Join(s.dir, contract.HostsName))
		return string(content)
	}
	const up = `tapedeck_captured_host_up{host="web",port="80"}`
	if log := s.log.String(); s.metric(up) != 0 || strings.Contains(file(), "web") || !strings.Contains(file(), "127.0.1.2\tredis") ||
		!strings.Contains(log, "set the sysctl "+contract.SysctlPortStart+" to 80 or lower in the pod's securityContext") {
		t.Errorf("%s is %v, and the hosts file:\n%s\n%s", up, s.metric(up), file(), log)
	}
	if err := os.WriteFile(sysctl, []byte("80"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sidecar listens on port 80", func() bool { return s.metric(up) == 1 })
	eventually(t, "the hosts file leads there", func() bool { return strings.Contains(file(), "127.0.1.1\tweb") })
	s.stop()
}
