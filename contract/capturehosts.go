package contract

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Names and paths for the hosts file that leads captured hosts to the sidecar.
const (
	// HostsFile is the hosts file that the sidecar writes on TrustVolume before the
	// application starts. HostsName is its name there: the subPath of a mount over
	// SystemHosts in each of the application's containers. The sidecar's own container
	// and Envoy's don't mount it, because they have to find the real hosts.
	HostsFile   = TrustDir + "/" + HostsName
	HostsName   = "hosts"
	SystemHosts = "/etc/hosts"
	// HostsContainer is an init container in pods with a classic sidecar. It writes a
	// HostsFile with the pod's lines before the containers that mount it start. Otherwise
	// the kubelet would make a directory at that path. The sidecar adds the captured hosts.
	HostsContainer = "tapedeck-hosts"
	// SysctlPortStart is the sysctl that lets an unprivileged process listen on ports below
	// UnprivilegedPorts. Its value is the lowest allowed port. Every profile of the Pod
	// Security Standards allows it, including "restricted".
	SysctlPortStart   = "net.ipv4.ip_unprivileged_port_start"
	UnprivilegedPorts = 1024
)

const (
	// MaxCaptureHosts is the maximum number of captured hosts in a pod, because each needs a
	// separate address. MaxCapturePorts is the maximum number of all their ports, because
	// each needs a listener.
	MaxCaptureHosts = 250
	MaxCapturePorts = 1000
	// maxDNSName is the maximum length of a DNS name without its final dot, and maxLabel the
	// maximum length of a label (RFC 1035 section 2.3.4).
	maxDNSName, maxLabel = 253, 63
)

// CaptureHost is a host whose connections are captured with a hosts file.
type CaptureHost struct {
	// Name is the host's name, in lower case and without a final dot.
	Name string
	// Ports are the captured ports, in the order of the list.
	Ports []int
}

// CaptureAddr returns the loopback address of host number i in the result of
// ParseCaptureHosts: 127.0.1.1 for the first one, 127.0.1.250 for the last.
func CaptureAddr(i int) netip.Addr {
	if i < 0 || i >= MaxCaptureHosts {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
}

// CaptureHostsAllowed completes the sentence "allowed: …" for the text that
// ParseCaptureHosts reads.
const CaptureHostsAllowed = "hosts with a port, separated by commas, as in postgres.db:5432, redis:6379, api.stripe.com:443"

// ParseCaptureHosts reads a list of hosts with ports, such as "postgres.db:5432,
// redis:6379". Commas and blanks separate the entries. A host may have several entries with
// different ports; the first one decides its place. The error says what is wrong with the
// first invalid entry, without possible passwords; the caller adds CaptureHostsAllowed. Empty
// text is valid and has no hosts.
func ParseCaptureHosts(text string) ([]CaptureHost, error) {
	var hosts []CaptureHost
	index := map[string]int{}
	total := 0
	for _, entry := range SplitHosts(text) {
		name, port, err := parseCaptureHost(entry)
		if err != nil {
			return nil, err
		}
		i, known := index[name]
		if !known {
			i = len(hosts)
			index[name] = i
			hosts = append(hosts, CaptureHost{Name: name})
		}
		if slices.Contains(hosts[i].Ports, port) {
			return nil, fmt.Errorf("%s:%d is listed twice", name, port)
		}
		hosts[i].Ports = append(hosts[i].Ports, port)
		total++
		switch {
		case len(hosts) > MaxCaptureHosts:
			return nil, fmt.Errorf("more than %d hosts: each needs a separate loopback address, and there are no more", MaxCaptureHosts)
		case total > MaxCapturePorts:
			return nil, fmt.Errorf("more than %d ports of hosts: each needs a listener", MaxCapturePorts)
		}
	}
	return hosts, nil
}

// FormatCaptureHosts writes hosts as ParseCaptureHosts reads them.
func FormatCaptureHosts(hosts []CaptureHost) string {
	var entries []string
	for _, h := range hosts {
		for _, port := range h.Ports {
			entries = append(entries, h.Name+":"+strconv.Itoa(port))
		}
	}
	return strings.Join(entries, ", ")
}

// LowestCapturePort returns the lowest captured port; 0 if there are no hosts. If it is below
// UnprivilegedPorts, the pod needs SysctlPortStart.
func LowestCapturePort(hosts []CaptureHost) int {
	lowest := 0
	for _, h := range hosts {
		for _, port := range h.Ports {
			if lowest == 0 || port < lowest {
				lowest = port
			}
		}
	}
	return lowest
}

func parseCaptureHost(entry string) (name string, port int, err error) {
	if _, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil || strings.HasPrefix(entry, "[") {
		return "", 0, fmt.Errorf("%s: %w", quoted(entry), errCaptureAddress)
	}
	name, digits, found := strings.Cut(entry, ":")
	if strings.Contains(entry, "/") {
		return "", 0, fmt.Errorf("%s is a URL or a path", quoted(entry))
	}
	if err := CheckCaptureHost(name); err != nil {
		return "", 0, fmt.Errorf("%s: %w", quoted(entry), err)
	}
	if !found || digits == "" {
		return "", 0, fmt.Errorf("%s has no port", quoted(entry))
	}
	if port = parsePort(digits); port == 0 {
		return "", 0, fmt.Errorf("%s: the port is not a number from 1 to 65535", quoted(entry))
	}
	return strings.ToLower(name), port, nil
}

// quoted quotes an entry of a list without a possible password in a URL or a DSN: it drops
// the text after "://", the text before an @, and the text after a colon unless it is a number.
// It shortens the rest, which may be a whole file.
func quoted(entry string) string {
	if scheme, _, ok := strings.Cut(entry, "://"); ok {
		entry = scheme + "://…"
	} else {
		if at := strings.LastIndex(entry, "@"); at >= 0 {
			entry = "…" + entry[at:]
		}
		if name, rest, ok := strings.Cut(entry, ":"); ok && strings.Trim(rest, "-:0123456789") != "" && !strings.HasPrefix(entry, "[") {
			entry = name + ":…"
		}
	}
	if len(entry) > MaxHostName {
		return strconv.Quote(entry[:MaxHostName]) + "…"
	}
	return strconv.Quote(entry)
}

var errCaptureAddress = errors.New("it is an IP address, and programs don't look up addresses in a hosts file")

// CheckCaptureHost rejects names that a hosts file can't, or must not, lead to the sidecar:
// invalid DNS names, wildcards, IP addresses in any notation, and the pod's loopback. Letters
// may be upper case. The error does not quote the name.
func CheckCaptureHost(name string) error {
	labels := strings.Split(name, ".")
	last := strings.ToLower(labels[len(labels)-1])
	switch {
	case name == "":
		return errors.New("it has no host")
	case strings.Contains(name, "*"):
		return errors.New("it has a wildcard, and hosts files have no wildcards")
	case strings.HasSuffix(name, "."):
		return errors.New("it ends in a dot")
	case len(name) > maxDNSName:
		return fmt.Errorf("its name has %d bytes: a DNS name has at most %d", len(name), maxDNSName)
	case last == "localhost" || slices.Contains([]string{"localhost.localdomain", "ip6-localhost", "ip6-loopback"}, strings.ToLower(name)):
		return errors.New("it is the pod's own loopback, which is never captured")
	case isNumber(last): // no top-level domain is a number; resolvers read such names as addresses (WHATWG URL, ends in a number)
		return errCaptureAddress
	}
	for _, label := range labels {
		if !isLabel(label) {
			return fmt.Errorf("it is not a DNS name: each label has 1 to %d letters, digits, '-' and '_', and does not begin or end with '-'", maxLabel)
		}
	}
	return nil
}

func isLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// isNumber reports whether resolvers read a label as a number: decimal or octal digits,
// or 0x and hexadecimal ones.
func isNumber(label string) bool {
	digits := "0123456789"
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		label, digits = rest, digits+"abcdef"
	} else if label == "" {
		return false
	}
	return strings.Trim(label, digits) == ""
}
