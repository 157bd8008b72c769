// Package hostsfile makes the hosts file that leads captured hosts to the sidecar. The
// file has the lines of the pod's file, and then the names of each captured host with a
// separate loopback address.
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
	// Name is what the host is called in the configuration.
	Name string
	// Addr is the address that stands for it.
	Addr netip.Addr
	// Ports are those at which it is captured. A host that is listed under several
	// names, such as redis and redis.shop, has the ports of all of them under each.
	Ports []int
	// Names are those that the hosts file gives to Addr, Name first. A name that two
	// hosts could have belongs to the one that is listed by it, or else to the first.
	Names []string
}

// New returns the captured hosts with the names that they have in a cluster. search are
// the pod's search domains: by those a cluster tells which names mean the same. Without a
// cluster's, a host has its own name alone.
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

// spellings returns a host's full name and every other form in which programs in the pod
// can ask for it: those that the search domains of a Service's name make the same (Kubernetes' page
// "DNS for Services and Pods"), and names with a final dot, which resolvers
// compare as they are.
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

// cluster returns the namespace and the cluster's domain that search domains name, as
// shop and cluster.local in shop.svc.cluster.local; "" if they are no cluster's.
func cluster(search []string) (namespace, domain string) {
	for _, each := range search {
		labels := strings.SplitN(each, ".", 3)
		if len(labels) == 3 && labels[1] == "svc" && labels[0] != "" && labels[2] != "" {
			return labels[0], labels[2]
		}
	}
	return "", ""
}

// Search returns the search domains that a resolv.conf has, in lower case and without
// final dots. Of several lines with such domains the last one counts (resolv.conf(5)).
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

// maxLine bounds a line, with its end: musl reads 511 bytes at a time, and takes what
// follows for another line.
const maxLine = 500

// Compose returns a hosts file with the lines of the pod's own file and the captured
// hosts. A captured name in a line of the pod's own is left out, or the application would
// go past the sidecar, and with its last name the line. leftOut lists these names.
//
// Each host has two addresses: resolvers that look for IPv6 addresses alone, as those of
// pods without IPv4 do, would go on to DNS for what stands there with an IPv4 address
// alone. Connections to ::ffff:127.0.1.1 arrive at 127.0.1.1.
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

// writeLines gives names to an address, in as many lines as they need.
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

// without takes captured names out of a line of a hosts file. A line that has none stays
// as it is, and one that has no others becomes "".
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

// OwnOrDefault returns the content of the pod's own hosts file, or, of a pod that has
// none, what every one has.
func OwnOrDefault(own string) string {
	return cmp.Or(own, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
}
