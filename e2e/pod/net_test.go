package pod

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// address is one address of each family. The network exists only within namespaces, so none of
// them conflicts with other networks.
type address struct{ v4, v6 string }

var (
	podIP        = address{"10.244.1.2", "fd00:244:1::2"}
	dependencyIP = address{"10.244.2.2", "fd00:244:2::2"}
	clientIP     = address{"10.244.3.2", "fd00:244:3::2"}
	collectorIP  = address{"10.244.4.2", "fd00:244:4::2"}
	externalIP   = address{"198.51.100.2", "2001:db8:100::2"}
	bucketIP     = address{"203.0.113.2", "2001:db8:113::2"}
	// Services, which the node turns into pods; the manifests say the same.
	appService        = address{"10.96.0.10", "fd00:96::10"}
	dependencyService = address{"10.96.0.11", "fd00:96::11"}
	collectorService  = address{"10.96.0.12", "fd00:96::12"}
)

const apiService = "10.96.0.1"

// family is the address family in which DNS answers.
type family func(address) string

func ipv4(a address) string { return a.v4 }
func ipv6(a address) string { return a.v6 }

// names returns the names that DNS answers, inside and outside the cluster.
func (of family) names() map[string]string {
	return map[string]string{
		"app": of(appService), "app.shop.svc.cluster.local": of(appService),
		"dependency": of(dependencyService), "dependency.shop.svc.cluster.local": of(dependencyService),
		"collector.speedscale": of(collectorService),
		"external.test":        of(externalIP), "direct.test": of(externalIP), "closed.test": of(externalIP),
		bucketHost: of(bucketIP),
	}
}

// noIPv6 returns the reason why there is no IPv6 here, or "" if there is.
func noIPv6() string {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return "the kernel has no IPv6"
	}
	return ""
}

// namespace is a network namespace, by its name, or by the path of a file that
// leads to it.
type namespace string

// network is a node with everything that is connected to it.
type network struct {
	node, pod, client, dependency, external namespace

	hosts    map[string]string
	families []family
	links    int
}

// newNetwork makes the namespaces, with addresses of some families and names of
// one. They are removed when the test ends.
func newNetwork(t *testing.T, of family, families []family) *network {
	t.Helper()
	n := &network{node: namespaceOf("node"), hosts: of.names(), families: families}
	n.node.add(t, n.hosts)
	for _, f := range families {
		forwarding := "ipv4/ip_forward"
		if f.isIPv6() {
			forwarding = "ipv6/conf/all/forwarding"
		}
		n.node.exec(t, "sh", "-c", "echo 1 > /proc/sys/net/"+forwarding)
	}
	n.pod, n.dependency = n.join(t, "pod", podIP), n.join(t, "dependency", dependencyIP)
	n.client, n.external = n.join(t, "client", clientIP), n.join(t, "external", externalIP)
	n.serve(t, appService, podIP)
	n.serve(t, dependencyService, dependencyIP)
	return n
}

func namespaceOf(name string) namespace { return namespace(fmt.Sprintf("td%d-%s", os.Getpid(), name)) }

func (of family) isIPv6() bool { return isIPv6(of(podIP)) }

// isIPv6 reports whether an address or a block is IPv6.
func isIPv6(address string) bool { return strings.Contains(address, ":") }

// join makes a namespace that the node routes to.
func (n *network) join(t *testing.T, name string, at address) namespace {
	t.Helper()
	end, node, link := namespaceOf(name), string(n.node), fmt.Sprintf("to%d", n.links)
	n.links++
	end.add(t, n.hosts)
	run(t, "ip", "-n", node, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", string(end))
	run(t, "ip", "-n", node, "link", "set", link, "up")
	run(t, "ip", "-n", string(end), "link", "set", "eth0", "up")
	end.exec(t, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start") // like container runtimes
	for _, f := range n.families {
		bits, flags := "/24", []string(nil)
		if f.isIPv6() {
			bits, flags = "/64", []string{"nodad"}
		}
		ip := f(at)
		gateway := strings.TrimSuffix(ip, "2") + "1"
		run(t, "ip", append([]string{"-n", node, "address", "add", gateway + bits, "dev", link}, flags...)...)
		run(t, "ip", append([]string{"-n", string(end), "address", "add", ip + bits, "dev", "eth0"}, flags...)...)
		run(t, "ip", "-n", string(end), "route", "add", "default", "via", gateway)
	}
	return end
}

// serve routes a Service to its only pod, like kube-proxy.
func (n *network) serve(t *testing.T, service, pod address) {
	t.Helper()
	for _, f := range n.families {
		iptables := "iptables"
		if f.isIPv6() {
			iptables = "ip6tables"
		}
		n.node.exec(t, iptables, "-w", "-t", "nat", "-A", "PREROUTING", "-d", f(service), "-j", "DNAT", "--to-destination", f(pod))
	}
}

func (n namespace) add(t *testing.T, names map[string]string) {
	t.Helper()
	run(t, "ip", "netns", "add", string(n))
	etc := filepath.Join("/etc/netns", string(n))
	t.Cleanup(func() {
		run(t, "ip", "netns", "delete", string(n))
		if err := os.RemoveAll(etc); err != nil {
			t.Error(err)
		}
		_ = os.Remove(filepath.Dir(etc)) // if nobody else has files there
	})
	run(t, "ip", "-n", string(n), "link", "set", "lo", "up")
	// `ip netns exec` mounts these as /etc/hosts and /etc/resolv.conf.
	hosts := "127.0.0.1 localhost\n"
	for name, ip := range names {
		hosts += ip + " " + name + "\n"
	}
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"hosts": hosts, "resolv.conf": "nameserver 127.0.0.1\n"} {
		if err := os.WriteFile(filepath.Join(etc, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// exec runs a program in the namespace, as root, to its end.
func (n namespace) exec(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "ip", append([]string{"netns", "exec", string(n)}, args...)...)
}

// intercept writes Istio's rules: it runs the container istio-init, which Istio's injector gave
// the pod, and returns the resulting rules.
func (n namespace) intercept(t *testing.T, p *corev1.Pod) (rules string) {
	t.Helper()
	i := slices.IndexFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "istio-init" })
	if i < 0 {
		t.Fatalf("Istio's injector gave %s no istio-init", p.Name)
	}
	setup := p.Spec.InitContainers[i]
	if len(setup.Args) == 0 || setup.Args[0] != "istio-iptables" {
		t.Fatalf("istio-init runs %q, want istio-iptables", setup.Args)
	}
	args := []string{"env"}
	for _, e := range setup.Env {
		args = append(args, e.Name+"="+e.Value)
	}
	n.exec(t, append(append(args, filepath.Join(bin, setup.Args[0])), setup.Args[1:]...)...)
	return n.exec(t, "iptables-save", "-t", "nat") + n.exec(t, "ip6tables-save", "-t", "nat")
}

// dial connects from within the namespace.
func (n namespace) dial(ctx context.Context, address string) (c net.Conn, err error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	d.SetMultipathTCP(false)
	err = n.enter(func() error {
		c, err = d.DialContext(ctx, "tcp", address)
		return err
	})
	return c, err
}

// listen listens within the namespace.
func (n namespace) listen(ctx context.Context, address string) (l net.Listener, err error) {
	err = n.enter(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
		return err
	})
	return l, err
}

// enter calls do within the namespace: a socket belongs to the namespace in which it was made.
func (n namespace) enter(do func() error) error {
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(home)
	path := string(n)
	if !filepath.IsAbs(path) {
		path = filepath.Join("/run/netns", path)
	}
	there, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(there)
	runtime.LockOSThread()
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = do()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return back // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}
