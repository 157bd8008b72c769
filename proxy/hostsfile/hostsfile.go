// Package hostsfile makes the hosts file that points captured hosts to the sidecar. The file
// has the lines of the pod's file, and then the names of each captured host with a separate
// loopback address.
//
//	TAPEDECK_CAPTURE_HOSTS ──┐
//	/etc/resolv.conf ────────┼─▶ New ─▶ []Host ─┬─▶ Compose ─▶ Write ─▶ the trust volume's hosts
//	                         │   /etc/hosts ────┘                     (the application's /etc/hosts)
//
// Composing a composed file changes nothing, so the file never grows. Each line is short
// enough for every resolver. A container that mounts the file sees the new content, and
// never an empty file. The package resolves no names. It imports contract, proxy/address
// and the standard library.
package hostsfile

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/address"
)

// Host is a captured host.
type Host struct {
	// Name is the host's name in the configuration.
	Name string
	// Addr is the host's address in the hosts file.
	Addr netip.Addr
	// Ports are the captured ports. If the configuration lists a host under several names,
	// such as redis and redis.shop, each of them has the ports of all.
	Ports []int
	// Names are the names of Addr in the hosts file, Name first. A name that two hosts could
	// have belongs to the host with that Name, or else to the first.
	Names []string
}

// New returns the captured hosts with their names in a cluster. search are the pod's search
// domains, which show the namespace and the cluster's domain. If no search domain is a
// cluster's, a host has only its own name.
func New(listed []contract.CaptureHost, search []string) []Host {
	hosts := make([]Host, len(listed))
	owner := map[string]int{}
	for i, l := range listed {
		hosts[i] = Host{Name: l.Name, Addr: contract.CaptureAddr(i), Names: []string{l.Name}}
		owner[l.Name] = i
	}
	ports := map[string][]int{} // by a host's full name
	for i, l := range listed {
		full, others := spellings(l.Name, search)
		for _, port := range l.Ports {
			if !slices.Contains(ports[full], port) {
				ports[full] = append(ports[full], port)
			}
		}
		for _, name := range others {
			if _, taken := owner[name]; !taken && len(name) <= contract.MaxHostName {
				owner[name] = i
				hosts[i].Names = append(hosts[i].Names, name)
			}
		}
	}
	for i, l := range listed {
		full, _ := spellings(l.Name, search)
		hosts[i].Ports = ports[full]
	}
	return hosts
}

// spellings returns a host's full name, and the other names by which programs in the pod can
// ask for it. These are the shorter names of a Service, which the search domains complete
// (Kubernetes' page "DNS for Services and Pods"), and names with a final dot, which resolvers
// compare literally.
func spellings(name string, search []string) (full string, others []string) {
	namespace, domain := cluster(search)
	base, inCluster := name, strings.Count(name, ".") <= 1
	for _, suffix := range []string{".svc." + domain, ".svc"} {
		if rest, ok := strings.CutSuffix(name, suffix); ok && strings.Contains(rest, ".") {
			base, inCluster = rest, true
			break
		}
	}
	if strings.Contains(name, ".") {
		others = append(others, name+".")
	}
	if domain == "" || !inCluster {
		return name, others
	}
	if !strings.Contains(base, ".") {
		base += "." + namespace
	}
	full = base + ".svc." + domain
	if short, ok := strings.CutSuffix(base, "."+namespace); ok && !strings.Contains(short, ".") {
		others = append(others, short)
	}
	return full, append(others, base, base+".svc", full, full+".")
}

// cluster returns the namespace and the cluster's domain in search domains, such as shop and
// cluster.local in shop.svc.cluster.local; "" if none is a cluster's.
func cluster(search []string) (namespace, domain string) {
	for _, each := range search {
		labels := strings.SplitN(each, ".", 3)
		if len(labels) == 3 && labels[1] == "svc" && labels[0] != "" && labels[2] != "" {
			return labels[0], labels[2]
		}
	}
	return "", ""
}

// Search returns the search domains of a resolv.conf, in lower case and without final dots.
// If several lines have search domains, the last one counts (resolv.conf(5)).
func Search(resolvConf string) (search []string) {
	for line := range strings.Lines(resolvConf) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "search" && fields[0] != "domain" {
			continue
		}
		search = nil
		for _, domain := range fields[1:] {
			if domain = strings.ToLower(strings.TrimSuffix(domain, ".")); contract.CheckHostName(domain) == nil {
				search = append(search, domain)
			}
		}
	}
	return search
}

// heading is the line above the captured hosts.
const heading = "# Hosts that Tapedeck's sidecar captures (tapedeck.dev/capture-hosts)."

// maxLine is the maximum length of a line with its end. musl reads 511 bytes at a time, and
// treats the rest of a longer line as another line.
const maxLine = 500

// Compose returns a hosts file with the lines of the pod's own file and the captured hosts. It
// removes captured names from the pod's own lines, because the application would bypass the
// sidecar with them, and drops lines without any other name. leftOut lists these names.
//
// Each host has two addresses, IPv4 and IPv6. A resolver that looks only for IPv6 addresses,
// as in pods without IPv4, would otherwise ask DNS. Connections to ::ffff:127.0.1.1 arrive at
// 127.0.1.1.
func Compose(own string, hosts []Host) (file string, leftOut []string) {
	captured := map[string]bool{}
	for _, h := range hosts {
		for _, name := range h.Names {
			captured[address.Name(name)] = true
		}
	}
	var b strings.Builder
	for line := range strings.Lines(own) {
		line = strings.TrimRight(line, "\r\n")
		if line == heading {
			continue
		}
		kept, out := without(line, captured)
		leftOut = append(leftOut, out...)
		if len(out) == 0 || kept != "" {
			b.WriteString(kept + "\n")
		}
	}
	if len(hosts) > 0 {
		b.WriteString(heading + "\n")
	}
	for _, h := range hosts {
		for _, addr := range []string{h.Addr.String(), netip.AddrFrom16(h.Addr.As16()).String()} {
			writeLines(&b, addr, h.Names)
		}
	}
	return b.String(), leftOut
}

// writeLines writes the names of an address, in as many lines as they need.
func writeLines(b *strings.Builder, addr string, names []string) {
	size := 0
	for _, name := range names {
		if size > 0 && size+len(name)+len(" \n") > maxLine {
			b.WriteString("\n")
			size = 0
		}
		if size == 0 {
			b.WriteString(addr + "\t" + name)
			size = len(addr) + len("\t") + len(name)
		} else {
			b.WriteString(" " + name)
			size += len(" ") + len(name)
		}
	}
	b.WriteString("\n")
}

// without removes captured names from a line of a hosts file and returns the names as out. A
// line without captured names is returned unchanged. A line with only captured names becomes "".
func without(line string, captured map[string]bool) (kept string, out []string) {
	entry, _, _ := strings.Cut(line, "#")
	fields := strings.Fields(entry)
	var others []string
	for _, name := range fields[min(1, len(fields)):] {
		if captured[address.Name(name)] {
			out = append(out, name)
		} else {
			others = append(others, name)
		}
	}
	switch {
	case len(out) == 0:
		return line, nil
	case len(others) == 0:
		return "", out
	}
	return fields[0] + "\t" + strings.Join(others, " "), out
}

// OwnOrDefault returns the content of the pod's own hosts file, or the usual lines for
// localhost if the pod has no such file.
func OwnOrDefault(own string) string {
	return cmp.Or(own, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
}
