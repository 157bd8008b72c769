package pod

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Addresses of the network. It exists in namespaces alone, so none of them can
// be in anybody's way.
const (
	podIP        = "10.244.1.2"
	dependencyIP = "10.244.2.2"
	clientIP     = "10.244.3.2"
	externalIP   = "198.51.100.2"
	// Services, which the node turns into pods.
	appService        = "10.96.0.10"
	dependencyService = "10.96.0.11"
	apiService        = "10.96.0.1"
)

// names are what the cluster's DNS, and the world's, would answer.
var names = map[string]string{
	"app": appService, "app.shop.svc.cluster.local": appService,
	"dependency": dependencyService, "dependency.shop.svc.cluster.local": dependencyService,
	"external.test": externalIP, "direct.test": externalIP, "closed.test": externalIP,
}

// namespace is a network namespace, by its name, or by the path of a file that
// leads to it.
type namespace string

// network is a node with everything that is connected to it.
type network struct{ node, pod, client, dependency, external namespace }

// newNetwork makes the namespaces; they go when the test ends.
func newNetwork(t *testing.T) *network {
	t.Helper()
	name := func(s string) namespace { return namespace(fmt.Sprintf("td%d-%s", os.Getpid(), s)) }
	n := &network{name("node"), name("pod"), name("client"), name("dependency"), name("external")}
	n.node.add(t)
	for i, end := range []struct {
		ns namespace
		ip string
	}{{n.pod, podIP}, {n.dependency, dependencyIP}, {n.client, clientIP}, {n.external, externalIP}} {
		end.ns.add(t)
		link := fmt.Sprintf("to%d", i)
		gateway := end.ip[:strings.LastIndex(end.ip, ".")] + ".1"
		run(t, "ip", "-n", string(n.node), "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", string(end.ns))
		run(t, "ip", "-n", string(n.node), "address", "add", gateway+"/24", "dev", link)
		run(t, "ip", "-n", string(n.node), "link", "set", link, "up")
		run(t, "ip", "-n", string(end.ns), "address", "add", end.ip+"/24", "dev", "eth0")
		run(t, "ip", "-n", string(end.ns), "link", "set", "eth0", "up")
		run(t, "ip", "-n", string(end.ns), "route", "add", "default", "via", gateway)
		end.ns.exec(t, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start") // as container runtimes do
	}
	n.node.exec(t, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	// What kube-proxy does.
	for service, pod := range map[string]string{appService: podIP, dependencyService: dependencyIP} {
		n.node.exec(t, "iptables", "-w", "-t", "nat", "-A", "PREROUTING", "-d", service, "-j", "DNAT", "--to-destination", pod)
	}
	return n
}

func (n namespace) add(t *testing.T) {
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
	// `ip netns exec` shows these as /etc/hosts and /etc/resolv.conf.
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

// intercept writes Istio's rules, with the arguments that Istio's injector
// gives the container istio-init, and returns them.
// https://github.com/istio/istio/blob/master/manifests/charts/istio-control/istio-discovery/files/injection-template.yaml
func (n namespace) intercept(t *testing.T) string {
	t.Helper()
	n.exec(t, filepath.Join(bin, "istio-iptables"), "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT",
		"-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020")
	return n.exec(t, "iptables-save", "-t", "nat")
}

// dial connects from within the namespace: a socket belongs to the one in
// which it was made.
func (n namespace) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip, ok := names[host]; ok {
		host = ip
	}
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(home)
	path := string(n)
	if !filepath.IsAbs(path) {
		path = filepath.Join("/run/netns", path)
	}
	there, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(there)
	runtime.LockOSThread()
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	d.SetMultipathTCP(false)
	c, err = d.DialContext(ctx, network, net.JoinHostPort(host, port))
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return nil, back // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return c, err
}
