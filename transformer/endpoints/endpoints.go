package endpoints

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
)

// Endpoint is a host that a value names.
type Endpoint struct {
	// Host is the host's name, in lower case and without a final dot.
	Host string
	// Port is the port at which the host is called; 0 if the value does not have it.
	Port int
}

// Reading is what Read finds in a value.
type Reading struct {
	Endpoints []Endpoint
	// Left has the reasons why other hosts in the value are left out, each reason once and
	// without any part of the value.
	Left []string
}

// MaxValue is the maximum length of a value, in bytes. Longer ones are files rather than addresses.
const MaxValue = 16 << 10

// Reasons for leaving out a host, besides those of contract.CheckCaptureHost.
const (
	// LeftUnclear: an @ follows what looks like the host, so that may be part of a password
	// that is not escaped.
	LeftUnclear = "it is not clear where its host begins, because an @ follows: write %40 for each @ in the password"
	// LeftReference: the host contains a reference to a variable without a known value.
	LeftReference = "its host refers to a variable whose value is not known"
	// LeftAlias: an Oracle driver looks the name up in a file.
	LeftAlias = "it is an alias of tnsnames.ora"
	// LeftInstance: clients ask SQL Server over UDP for the port of a named instance.
	LeftInstance = "clients ask for the port of its instance over UDP: name the port"
)

// Read returns the hosts that a value names, each once and in their order. If the form of
// the value is unknown, it returns none.
func Read(value string) Reading {
	var r Reading
	value = strings.TrimSpace(value)
	if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[0] == value[len(value)-1] {
		value = value[1 : len(value)-1]
	}
	if value == "" || len(value) > MaxValue || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' && c != '\n' && c != '\r' }) {
		return r
	}
	for _, form := range []func(*Reading, string) bool{readJDBC, readTargets, readURLs, readMySQL, readADO, readLibpq, readList} {
		if form(&r, value) {
			break
		}
	}
	return r
}

// IsHost reports whether a value is a host name that could be captured, without a port.
func IsHost(value string) bool {
	value = strings.TrimSuffix(value, ".")
	return contract.CheckCaptureHost(value) == nil && strings.ContainsFunc(value, isLetter)
}

func isLetter(c rune) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func (r *Reading) add(e Endpoint) {
	if !slices.Contains(r.Endpoints, e) {
		r.Endpoints = append(r.Endpoints, e)
	}
}

func (r *Reading) leave(why string) {
	if !slices.Contains(r.Left, why) {
		r.Left = append(r.Left, why)
	}
}

// hostPort reads HOST[:PORT]. Without a port, it uses the default port of the scheme.
func (r *Reading) hostPort(text string, s Scheme) {
	text = strings.TrimSpace(text)
	name, digits, found := text, "", false
	if address, port, ok := strings.Cut(text, "]"); ok && text[0] == '[' {
		name, digits, found = address[1:], strings.TrimPrefix(port, ":"), true
	} else if _, err := netip.ParseAddr(text); err != nil {
		name, digits, found = strings.Cut(text, ":")
	}
	name = strings.TrimSuffix(name, ".")
	port := s.Port
	if found && digits != "" {
		if port = portOf(digits); port == 0 {
			if strings.Contains(digits, "$(") {
				r.leave(LeftReference)
			}
			return // it is something else, such as a user and a password
		}
	}
	switch err := checkName(name); {
	case name == "":
	case s.Left != "":
		r.leave(s.Left)
	case strings.Contains(name, "$"):
		r.leave(LeftReference)
	case strings.ContainsAny(name, "/\\@="): // a socket's path, or something else that is not a host
	case err != nil:
		r.leave(err.Error())
	default:
		r.add(Endpoint{strings.ToLower(name), port})
	}
}

// checkName is contract.CheckCaptureHost, except that it treats IPv6 addresses like IPv4 addresses.
func checkName(name string) error {
	if addr, err := netip.ParseAddr(name); err == nil {
		if addr.Is6() {
			name = "0.0.0.0" // all addresses give the same error
		}
	}
	return contract.CheckCaptureHost(name)
}

// portOf reads a port. It returns 0 if the text is not one.
func portOf(digits string) int {
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) > 5 {
		return 0
	}
	return int(n)
}

// maxScheme limits how far after a comma a scheme is searched for.
const maxScheme = 64

var schemeName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+._-]*$`)

// readURLs reads a URL, with one host or several, or a list of URLs. A host in the list may
// lack a scheme. It then has the scheme of the URL before it.
func readURLs(r *Reading, value string) bool {
	if !strings.Contains(value, "://") {
		return false
	}
	// A comma separates two URLs if a scheme follows. Otherwise it is part of the URL before it.
	parts := splitAt(value, func(rest string) bool {
		name, _, ok := strings.Cut(strings.TrimLeft(rest[:min(len(rest), maxScheme)], " "), "://")
		return ok && schemeName.MatchString(name)
	})
	for _, part := range parts {
		name, rest, _ := strings.Cut(strings.TrimSpace(part), "://")
		if !schemeName.MatchString(name) {
			return false
		}
		s, known := scheme(name)
		r.authority(rest, s, known)
	}
	return true
}

// splitAt splits at those commas, semicolons and blanks after which the rest satisfies next.
func splitAt(value string, next func(rest string) bool) []string {
	var parts []string
	begin := 0
	for i, c := range value {
		if strings.ContainsRune(",; \t\r\n", c) && i >= begin && next(value[i+1:]) {
			parts = append(parts, value[begin:i])
			begin = i + 1
		}
	}
	return append(parts, value[begin:])
}

// authority reads what follows "://".
func (r *Reading) authority(rest string, s Scheme, known bool) {
	end := strings.IndexAny(rest, "/?#;")
	if end < 0 {
		end = len(rest)
	}
	hosts, tail := rest[:end], rest[end:]
	if strings.Contains(tail, "@") && !(strings.HasPrefix(s.Name, "http") && !strings.ContainsAny(hosts, ":@")) {
		r.leave(LeftUnclear)
		return
	}
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		hosts = hosts[at+1:]
	}
	if r.addresses(hosts, s) {
		return
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if known || strings.Contains(host, ":") { // with an unknown scheme, the host may be a bucket
			r.hostPort(host, s)
		}
	}
}

// addressPair matches a host or a port in the notation of Oracle, which MySQL drivers
// accept too: (HOST=db)(PORT=1521), in any order and with other pairs between them.
var addressPair = regexp.MustCompile(`(?i)[(,]\s*(host|port)\s*=\s*([^(),]*)`)

// addresses reads hosts in the notation of addressPair. It returns false if there are none.
func (r *Reading) addresses(text string, s Scheme) bool {
	pairs := addressPair.FindAllStringSubmatch(text, -1)
	if len(pairs) == 0 {
		return false
	}
	host, port := "", ""
	flush := func() {
		if host != "" {
			r.hostPort(strings.TrimSuffix(host+":"+port, ":"), s)
		}
		host, port = "", ""
	}
	for _, pair := range pairs {
		at := &host
		if strings.EqualFold(pair[1], "port") {
			at = &port
		}
		if *at != "" {
			flush()
		}
		*at = strings.TrimSpace(pair[2])
	}
	flush()
	return true
}

// readTargets reads gRPC targets: dns:///orders:50051, with or without the slashes. The
// name between the second and the third slash is a DNS server.
func readTargets(r *Reading, value string) bool {
	name, rest, found := strings.Cut(value, ":")
	if !found || !slices.Contains([]string{"dns", "dns4", "dns6", "passthrough"}, name) || portOf(rest) != 0 {
		return false
	}
	if server, ok := strings.CutPrefix(rest, "//"); ok {
		if _, rest, found = strings.Cut(server, "/"); !found {
			return true
		}
	}
	r.hostPort(rest, Scheme{Name: name, Port: 443})
	return true
}

// readList reads hosts with ports: postgres:5432, or kafka-0.kafka:9092,kafka-1.kafka:9092.
// A path may follow a port, as in redis:6379/0, and settings may follow the hosts, as in
// redis:6379,ssl=false,password=….
func readList(r *Reading, value string) bool {
	var hosts []string
	for _, entry := range strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(",; \t\r\n", c) }) {
		if len(hosts) > 0 && strings.Contains(entry, "=") {
			break
		}
		entry, _, _ = strings.Cut(entry, "/")
		name, digits, _ := strings.Cut(entry, ":")
		if portOf(digits) == 0 || !IsHost(name) && !strings.Contains(name, "$(") && contract.CheckCaptureHost(name) == nil || strings.ContainsAny(name, "@=%") {
			return false
		}
		hosts = append(hosts, entry)
	}
	for _, host := range hosts {
		name, _, _ := strings.Cut(host, ":")
		if err := contract.CheckCaptureHost(strings.TrimSuffix(name, ".")); err != nil && !strings.Contains(name, ".") && name != "localhost" && !strings.Contains(name, "$(") {
			return false // a time of day, a ratio, and the like
		}
		r.hostPort(host, Scheme{})
	}
	return true
}
