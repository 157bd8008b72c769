package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/tapedeck/tapedeck/proxy/address"
)

// ErrLoopback is wrapped by the error of a dial whose name led to loopback.
// Clients check what a name leads to before they connect; through a proxy, they
// cannot.
var ErrLoopback = errors.New("a name that leads to this pod's loopback: allowed are localhost, the pod's own names, and the address itself")

// names are those that may lead to loopback, in lower case.
type names map[string]bool

const hostsFile = "/etc/hosts"

// ownNames returns the names that the pod has for itself.
func ownNames() names {
	own := names{"ip6-localhost": true, "ip6-loopback": true, "localhost.localdomain": true}
	hostname, err := os.Hostname()
	if err == nil {
		own[address.Name(hostname)] = true
	}
	f, err := os.Open(hostsFile)
	if err != nil {
		return own // an image without one
	}
	defer f.Close()
	own.read(f, hostname)
	return own
}

// hostAliases is the line above the names that a pod's spec gives to addresses, in
// the file that the kubelet writes.
const hostAliases = "# Entries added by HostAliases."

// maxHosts bounds what is read of a hosts file.
const maxHosts = 1 << 20

// read adds what a hosts file says of the pod itself: further names of the host,
// and the aliases in its spec, which were reviewed with it. Other names that the
// file gives to loopback are no names of the pod.
func (n names) read(hosts io.Reader, hostname string) {
	aliases := false
	for lines := bufio.NewScanner(io.LimitReader(hosts, maxHosts)); lines.Scan(); {
		line := lines.Text()
		aliases = line == hostAliases || aliases && strings.TrimSpace(line) != ""
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		own := aliases
		for _, name := range fields[1:] {
			own = own || hostname != "" && !address.IsLocalhost(hostname) && address.Name(name) == address.Name(hostname)
		}
		for _, name := range fields[1:] {
			if own {
				n[address.Name(name)] = true
			}
		}
	}
}

// mayBeLoopback reports whether a host may lead to loopback: addresses, and the
// names that everybody takes for that or the pod's author chose. So may the names of
// metadata servers, which nodes may serve themselves.
func (d *Dialer) mayBeLoopback(host string) bool {
	if _, ok := address.Parse(host); ok {
		return true
	}
	return address.IsLocalhost(host) || d.names[address.Name(host)] || address.IsMetadata(host)
}

// AddName adds a name of this pod, which may lead to loopback.
func (d *Dialer) AddName(name string) { d.names[address.Name(name)] = true }

// guardName is guard for hosts that may not be loopback's. It sees the address that
// is connected to, so no name can lead to one address when it is checked and to
// another one when it is used.
func (d *Dialer) guardName(ctx context.Context, network, addr string, raw syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	if err := d.guard(ctx, network, addr, raw); err != nil {
		return err
	}
	if address.IsLoopback(ap.Addr()) {
		return ErrLoopback
	}
	return nil
}

// spelled returns a host as it is connected to: an address in its usual form, and
// localhost for the names below it, which need not be looked up.
func spelled(host string) string {
	if a, ok := address.Parse(host); ok {
		return a.String()
	}
	if address.IsLocalhost(host) {
		return "localhost"
	}
	return host
}
