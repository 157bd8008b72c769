package transformer

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// These checks report what a user must know about hosts that are captured through the hosts file.

// reconnect is a row of the table of protocols whose clients reconnect to other hosts, which a server
// names. The hosts file leads only the listed ones to the sidecar.
type reconnect struct {
	protocol string
	ports    []int
	name     string // a part of the host's name, if the port is not specific enough
	advice   string
}

var reconnects = []reconnect{
	{"Kafka", []int{9092, 9093, 9094}, "", "list every broker, by the name and the port of its advertised.listeners"},
	{"MongoDB", []int{27017}, "", "list every member of a replica set, by the name and the port that rs.conf() has"},
	{"Redis Sentinel", []int{26379}, "", "list every Redis server, by the name that Sentinel announces (sentinel announce-hostnames)"},
	{"Redis Cluster", []int{6379}, "cluster", "list every node, by the name that it announces (cluster-announce-hostname, with cluster-preferred-endpoint-type hostname)"},
}

// among returns the hosts that a row applies to, each with a port.
func (r reconnect) among(hosts []contract.CaptureHost) (found []string) {
	for _, h := range hosts {
		if i := slices.IndexFunc(h.Ports, func(p int) bool { return slices.Contains(r.ports, p) }); i >= 0 && strings.Contains(h.Name, r.name) {
			found = append(found, fmt.Sprintf("%s:%d", h.Name, h.Ports[i]))
		}
	}
	return found
}

// unlisted says which ports of a captured Service are not captured, and what happens to calls there;
// "" if there are none.
func (in *input) unlisted(w *workload, host string, listed []int, taken map[int]string) string {
	svc := in.serviceOf(w, host)
	if svc == nil || listed == nil { // listed is nil for another name of a Service that was already checked
		return ""
	}
	var out []string
	for _, port := range without(svc.tcpPorts(), listed) {
		fate := "are refused"
		if owner := taken[port]; owner != "" {
			fate = "reach " + owner
		}
		out = append(out, fmt.Sprintf("port %d %s", port, fate))
	}
	return strings.Join(out, ", those of ")
}

// checkHosts reports consequences of capturing the chosen hosts.
func (in *input) checkHosts(w *workload, taken map[int]string) Results {
	var results Results
	at := w.settings.where("capture-hosts")
	say := func(code Code, message string, args ...any) {
		results = append(results, result(code, w.Object, message, args...).At(at, w.settings.CaptureHosts, ""))
	}
	if _, early := in.lateContainers(w); len(early) > 0 {
		var names []string
		for _, c := range early {
			names = append(names, c.name())
		}
		say(CodeHostsInit, "init containers that start before the sidecar don't get the hosts file, and their calls are not captured: %s%s", strings.Join(names, ", "), in.insertFirst())
	}
	listed := map[string][]int{}
	for _, h := range w.settings.hosts {
		id := in.hostID(w, h.Name)
		listed[id] = append(listed[id], h.Ports...)
	}
	var pods, names []string
	for _, h := range w.settings.hosts {
		if svc := in.serviceOf(w, h.Name); svc != nil && svc.pod != "" {
			pods = append(pods, h.Name)
		}
		names = append(names, in.namesOf(w, h.Name)...)
		id := in.hostID(w, h.Name)
		if missing := in.unlisted(w, h.Name, listed[id], taken); missing != "" {
			say(CodeHostPorts, "the hosts file leads calls to all ports of %s into the pod, also to %s. If the application calls these ports, list them too, or remove the host", h.Name, missing)
		}
		delete(listed, id)
	}
	for _, row := range reconnects {
		if hosts := row.among(w.settings.hosts); len(hosts) > 0 {
			say(CodeHostReconnect, "the port is that of %s: %s. Its clients reconnect to hosts that the server names. The sidecar captures that traffic only if those hosts are listed: %s", row.protocol, strings.Join(hosts, ", "), row.advice)
		}
	}
	if len(pods) > 0 {
		say(CodeHostPods, "these are names of single pods of a headless Service: %s. The sidecar captures only listed pods, so list the pods that may exist after scaling up", strings.Join(pods, ", "))
	}
	for i, alias := range nodes.Items(nodes.At(w.podSpec(), "hostAliases")) {
		for _, n := range nodes.Items(nodes.At(alias, "hostnames")) {
			if slices.Contains(names, strings.ToLower(nodes.String(n))) {
				results = append(results, result(CodeHostAlias, w.Object, "hostAliases maps the captured host %s to %s. The application connects to the sidecar instead, and the sidecar connects to %s", nodes.String(n), nodes.StringAt(alias, "ip"), nodes.StringAt(alias, "ip")).
					At(pathIndex(w.at("spec.hostAliases"), i), nodes.String(n), ""))
			}
		}
	}
	return append(results, in.checkHostProbes(w)...)
}

// insertFirst says, for a result, how to capture init containers.
func (in *input) insertFirst() string {
	if in.cfg.Sidecar == sidecarClassic {
		return ""
	}
	return "; with sidecar.speedscale.com/insert-init-first: \"true\" they start after it"
}

// namesOf returns the names with which a cluster's DNS resolves a captured host.
func (in *input) namesOf(w *workload, host string) []string {
	names := []string{host}
	if m := in.serviceOf(w, host); m != nil && m.pod == "" {
		for _, name := range (&service{Object: m.Object}).hosts() {
			if m.namespace() == w.namespace() || strings.Contains(name, ".") {
				names = append(names, name)
			}
		}
	}
	return names
}

// shellReference matches a reference to a variable in a command, in the syntax of the shell or of
// Kubernetes.
var shellReference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)|\$\(([-._A-Za-z][-._A-Za-z0-9]*)\)`)

// checkHostProbes reports exec probes that connect to a captured host. They reach the sidecar, which
// accepts the connection even if the host is down. The kubelet itself makes the probes with httpGet,
// tcpSocket and grpc, and does not read a pod's hosts file.
func (in *input) checkHostProbes(w *workload) Results {
	var results Results
	late, _ := in.lateContainers(w)
	for _, c := range append(w.appContainers(), late...) {
		values := map[string]string{}
		for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
			command := nodes.At(c.Node, probe, "exec", "command")
			if command == nil {
				continue
			}
			if len(values) == 0 {
				for _, v := range in.variablesOf(w, c) {
					values[v.name] = v.value
				}
			}
			var words []string
			for _, word := range nodes.Items(command) {
				words = append(words, nodes.String(word))
			}
			text := shellReference.ReplaceAllStringFunc(strings.Join(words, " "), func(ref string) string {
				return values[strings.Trim(ref, "${}()")]
			})
			for _, h := range w.settings.hosts {
				if in.calls(w, text, h) {
					results = append(results, result(CodeHostProbe, w.Object, "container %s: its %s calls the captured host %s. The sidecar accepts the connection even if that host is down, so a probe that only connects succeeds. Let the probe wait for an answer, or remove the host from the list", c.name(), probe, h.Name).
						At(c.path+"."+probe+".exec.command", h.Name, ""))
				}
			}
		}
	}
	return results
}

// calls reports whether a command calls a host: by a URL, with a flag for hosts, or by the name followed
// by the port.
func (in *input) calls(w *workload, command string, h contract.CaptureHost) bool {
	var ports []string
	for _, p := range h.Ports {
		ports = append(ports, fmt.Sprint(p))
	}
	for _, name := range in.namesOf(w, h.Name) {
		if !strings.Contains(strings.ToLower(command), name) {
			continue
		}
		name = regexp.QuoteMeta(name)
		if regexp.MustCompile(`(?i)(://|@|-h[ =]?|--host[ =]|/dev/tcp/)`+name+`($|[^\w.-])`).MatchString(command) ||
			regexp.MustCompile(`(?i)(^|[^\w.-])`+name+`[: /](`+strings.Join(ports, "|")+`)($|\D)`).MatchString(command) {
			return true
		}
	}
	return false
}
