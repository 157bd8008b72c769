package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/hostsfile"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// hostsRecheck is how often the sidecar tries again to listen for captured hosts and to write
// the hosts file.
const hostsRecheck = 10 * time.Second

// hosts holds the hosts that are captured through the hosts file.
//
//	app ─(its /etc/hosts is ours)─▶ 127.0.1.1:5432 ─▶ postgres.db:5432
//
// The file has a host only while the sidecar listens on all of the host's ports. Otherwise
// the application could not connect. Without the entry it reaches the host directly, and
// the traffic is not recorded. If proxies are the only way out, the application must not
// reach the host directly, so the entry remains.
type hosts struct {
	p    *Proxy
	file string // path of the application's hosts file
	own  string // content of the pod's own hosts file
	all  []hostsfile.Host

	mu      sync.Mutex
	ports   []*hostsPort
	closed  bool
	written string // content of the file, "" before it was written
	failed  string // why the last write failed, "" if it did not
}

// hostsPort is a port of a captured host.
type hostsPort struct {
	host     int // index of the host
	port     int
	listener net.Listener // nil: the sidecar can't listen on the port
	err      error        // why the sidecar can't listen
}

// newHosts listens for the captured hosts and writes the hosts file. It logs failures, and
// retry tries again.
func newHosts(ctx context.Context, p *Proxy) *hosts {
	h := &hosts{p: p, file: filepath.Join(p.cfg.TrustDir, contract.HostsName)}
	if len(p.cfg.Hosts) == 0 {
		return h
	}
	etc := cmp.Or(p.cfg.etc, "/etc")
	read := func(name string) string {
		content, err := hostsfile.Read(filepath.Join(etc, name))
		if err != nil {
			p.log.Warn("can't read a file that is needed to capture hosts", LogError, err)
		}
		return content
	}
	// Neither file changes while this process runs: the kubelet writes the same content for
	// all containers of a pod's sandbox, and with a new sandbox all containers start again.
	h.own = hostsfile.OwnOrDefault(read("hosts"))
	h.all = hostsfile.New(p.cfg.Hosts, hostsfile.Search(read("resolv.conf")))
	for i, host := range h.all {
		for _, port := range host.Ports {
			h.ports = append(h.ports, &hostsPort{host: i, port: port})
		}
	}
	if _, leftOut := hostsfile.Compose(h.own, h.all); len(leftOut) > 0 {
		p.log.Info("the pod's own hosts file names captured hosts: the application's file replaces these lines, and the sidecar still uses them", "names", leftOut)
	}
	h.open(ctx)
	h.write()
	return h
}

// open listens on the ports that have no listener yet, and returns those that have one now.
func (h *hosts) open(ctx context.Context) (opened []*hostsPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	listening := 0
	for _, port := range h.ports {
		if port.listener != nil {
			listening++
		}
	}
	for _, port := range h.ports {
		if port.listener != nil || h.closed {
			continue
		}
		host := h.all[port.host]
		before := port.err
		if port.listener, port.err = h.listen(ctx, host.Addr, port.port, listening); port.err != nil {
			if before == nil || before.Error() != port.err.Error() {
				instead := "it directly"
				if h.p.cfg.Proxies.Only {
					instead = "no server"
				}
				h.p.log.Warn("a host is not captured: the sidecar can't listen for it, so the application reaches "+instead,
					"host", hostPort(host.Name, port.port), LogError, port.err, "remedy", hostsRemedy(port.err, port.port))
			}
			continue
		}
		listening++
		opened = append(opened, port)
		if before != nil {
			h.p.log.Info("the sidecar listens for a captured host now", "host", hostPort(host.Name, port.port))
		}
	}
	return opened
}

// listen listens on a port of an address, unless the other listeners already have a quarter
// of the file descriptors.
func (h *hosts) listen(ctx context.Context, addr netip.Addr, port, others int) (net.Listener, error) {
	if limit := h.p.files.limit; limit > 0 && others >= limit/4 {
		return nil, fmt.Errorf("a quarter of the %d files that the process may open are listeners for captured hosts: %w", limit, syscall.EMFILE)
	}
	lc := net.ListenConfig{KeepAliveConfig: upstream.KeepAlive()}
	return lc.Listen(ctx, "tcp4", net.JoinHostPort(addr.String(), strconv.Itoa(port)))
}

// hostsRemedy returns how to let the sidecar listen on a port, given why it failed.
func hostsRemedy(err error, port int) string {
	switch {
	case errors.Is(err, syscall.EACCES) && port < contract.UnprivilegedPorts:
		return fmt.Sprintf("set the sysctl %s to %d or lower in the pod's securityContext", contract.SysctlPortStart, port)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("if the application itself listens on port %d of every address, leave the host out of %scapture-hosts, or have it listen on another port", port, contract.OwnPrefix)
	}
	return "none"
}

// write writes the hosts file, if its content has changed.
func (h *hosts) write() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ready []hostsfile.Host
	for i, host := range h.all {
		if h.p.cfg.Proxies.Only || !slices.ContainsFunc(h.ports, func(port *hostsPort) bool { return port.host == i && port.listener == nil }) {
			ready = append(ready, host)
		}
	}
	content, _ := hostsfile.Compose(h.own, ready)
	if content == h.written {
		return
	}
	if err := hostsfile.Write(h.file, content); err != nil {
		if h.failed != err.Error() {
			h.p.log.Warn("can't write the application's hosts file: hosts are not captured through it", LogError, err, "variable", contract.EnvTLSCertDir)
		}
		h.failed = err.Error()
		return
	}
	h.written, h.failed = content, ""
}

// pending reports whether a port has no listener or the file could not be written.
func (h *hosts) pending() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed != "" || slices.ContainsFunc(h.ports, func(port *hostsPort) bool { return port.listener == nil })
}

// retry opens the missing listeners and writes the file, until nothing is pending or ctx
// ends. It calls serve for each port that gets a listener.
func (h *hosts) retry(ctx context.Context, serve func(*hostsPort)) {
	ticker := time.NewTicker(cmp.Or(h.p.cfg.hostsRecheck, hostsRecheck))
	defer ticker.Stop()
	for h.pending() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, port := range h.open(ctx) {
			serve(port)
		}
		h.write()
	}
}

// each calls f for every port. listening says whether the port has a listener.
func (h *hosts) each(f func(port *hostsPort, host string, listening bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, port := range h.ports {
		f(port, h.all[port.host].Name, port.listener != nil)
	}
}

// close closes the listeners. No new ones are opened afterwards.
func (h *hosts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, port := range h.ports {
		if port.listener != nil {
			_ = port.listener.Close()
		}
	}
}

// has reports whether a captured host has the address in the hosts file.
func (h *hosts) has(a netip.Addr) bool { return h.at(a) != nil }

func (h *hosts) at(a netip.Addr) *hostsfile.Host {
	a = address.Plain(a)
	if !a.Is4() {
		return nil
	}
	i := int(a.As4()[3]) - 1
	if i < 0 || i >= len(h.all) || h.all[i].Addr != a {
		return nil
	}
	return &h.all[i]
}

// meant returns the host that a client means. A client may look up a name in our hosts file,
// and then ask for a tunnel to the address.
func (h *hosts) meant(host string) string {
	if a, ok := address.Parse(host); ok {
		if captured := h.at(a); captured != nil {
			return captured.Name
		}
	}
	return host
}

// serve serves a connection of a client that is not aware of a proxy. It connects to the
// captured host, and uses no proxy unless that is the only way out. If the host can't be
// reached, the client's connection is reset immediately.
func (h *hosts) serve(port *hostsPort) serveFunc {
	p, host := h.p, h.all[port.host].Name
	return func(ctx context.Context, k *conn) (move bool, err error) {
		if err := ownPodAlone(k); err != nil {
			return false, err
		}
		k.target(tap.ViaHostsFile, host, port.port)
		return p.tunnel(ctx, k, upstream.Straight, host, port.port, func(_ *pump.Conn, err error) error {
			if err != nil {
				k.client.Abort()
			}
			return err
		})
	}
}
