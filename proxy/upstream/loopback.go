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

// ErrLoopback is wrapped by the error of a dial whose name resolved to loopback. A client
// can check the address of a name before it connects, but not if it uses a proxy.
var ErrLoopback = errors.New("the name resolves to this pod's loopback: allowed are localhost, the pod's own names, and the address itself")

// names is a set of names that may resolve to loopback, in lower case.
type names map[string]bool

const hostsFile = "/etc/hosts"

// ownNames returns the pod's own names.
func ownNames() names {
	own := names{"ip6-localhost": true, "ip6-loopback": true, "localhost.localdomain": true}
	hostname, err := os.Hostname()
	if err == nil {
		own[address.Name(hostname)] = true
	}
	f, err := os.Open(hostsFile)
	if err != nil {
		return own // an image without a hosts file
	}
	defer f.Close()
	own.read(f, hostname)
	return own
}

// hostAliases is the line above the hostAliases of the pod's spec, in the hosts file that
// the kubelet writes.
const hostAliases = "# Entries added by HostAliases."

// maxHosts is the maximum number of bytes that are read of a hosts file.
const maxHosts = 1 << 20

// read adds the pod's own names in a hosts file: those in a line with the hostname, and the
// hostAliases of the pod's spec, which the spec's reviewers have seen. It adds no other
// names, even if the file gives them a loopback address.
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

// mayBeLoopback reports whether a host may resolve to loopback. These hosts may: addresses,
// the names of localhost, the pod's own names, and the names of metadata servers, which a
// node may serve itself.
func (d *Dialer) mayBeLoopback(host string) bool {
	if _, ok := address.Parse(host); ok {
		return true
	}
	return address.IsLocalhost(host) || d.names[address.Name(host)] || address.IsMetadata(host)
}

// AddName adds a name of this pod, which may resolve to loopback.
func (d *Dialer) AddName(name string) { d.names[address.Name(name)] = true }

// guardName is guard for hosts that must not be loopback. It checks the address of the
// connection itself, so a name can't resolve to one address when it is checked and to another
// when it is used.
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

// spelled returns the form of a host that is dialed: an address in its usual form, and
// localhost for names below it, which need no lookup.
func spelled(host string) string {
	if a, ok := address.Parse(host); ok {
		return a.String()
	}
	if address.IsLocalhost(host) {
		return "localhost"
	}
	return host
}
