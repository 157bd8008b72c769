package transformer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// One annotation is enough. The render infers the other settings from the input:
//
// proxy-type      dual, or forward if there is no port to capture
// proxy-protocol  tcp:http
// the ports       those that Services lead to, or else the only containerPort
//
// An explicit value always wins. Every captured port of the application gets its own port on the
// sidecar, both in ascending order, so the result depends only on the set of ports:
//
// 8080 ◀── 4143, or proxy-in-port
// 9090 ◀── the next port that nothing in the pod uses

// podPort is a TCP port of a pod that may be captured.
type podPort struct {
	number int
	// names are the names of the Services' ports that lead here and of the container's port.
	names []string
	// from says where the port was found.
	from string
}

func (p podPort) String() string {
	if len(p.names) == 0 {
		return strconv.Itoa(p.number)
	}
	return fmt.Sprintf("%d (%s)", p.number, p.names[0])
}

// infer completes a workload's settings from the input. The workload's result lists the inferred
// values.
func (in *input) infer(w *workload) Results {
	s := &w.settings
	if s.ProxyType == "" {
		s.ProxyType = typeDual
		if s.set("proxy-protocol") && !slices.Contains(protocols[typeDual], s.ProxyProtocol) {
			s.ProxyType = typeReverse // the only type with protocol tcp
		}
		s.inferred = append(s.inferred, "proxy-type "+s.ProxyType)
		if s.ProxyProtocol == "" {
			s.ProxyProtocol = "tcp:http"
			s.inferred = append(s.inferred, "proxy-protocol "+s.ProxyProtocol)
		}
	}
	s.ProxyProtocol = cmp.Or(s.ProxyProtocol, "http")
	if !s.inbound() || !slices.Contains(protocols[s.ProxyType], s.ProxyProtocol) {
		return nil // checkSettings reports a wrong protocol
	}
	ports, results := in.portsToCapture(w)
	if results.Failed() {
		return results
	}
	if len(ports) == 0 {
		return append(results, in.withoutInbound(w)...)
	}
	return append(results, in.allocate(w, ports)...)
}

// portsToCapture returns the ports that the annotations name, or else the inferred ports, in ascending
// order.
func (in *input) portsToCapture(w *workload) ([]int, Results) {
	s := &w.settings
	one, several := s.explicit["proxy-port"], s.explicit["proxy-ports"]
	switch {
	case !s.set("proxy-port") && !s.set("proxy-ports"):
		return in.inferPorts(w)
	case s.set("proxy-port") && s.set("proxy-ports") && (one.path == "") == (several.path == ""):
		return nil, Results{result(CodeBadCombination, w.Object, "proxy-ports: found %q together with proxy-port %q; allowed: one of the two", several.value, one.value).At(s.where("proxy-ports"), several.value, "")}
	}
	s.portsBy = "proxy-ports"
	named, source := s.ProxyPorts, several
	if s.set("proxy-port") && (one.path != "" || !s.set("proxy-ports")) { // a workload's own annotation wins over a default
		s.portsBy, named, source = "proxy-port", []string{s.ProxyPort}, one
	}
	if source.path == "" { // a default applies to every workload, but need not fit each one
		named = slices.DeleteFunc(slices.Clone(named), func(p string) bool { return atoi(p) == 0 && w.portNumber(p) == 0 })
		if len(named) == 0 {
			s.portsBy = ""
			return in.inferPorts(w)
		}
	}
	return w.resolve(s.portsBy, named)
}

// resolve turns port numbers and names into numbers.
func (w *workload) resolve(annotation string, ports []string) ([]int, Results) {
	var out []int
	for _, p := range ports {
		n := atoi(p)
		if n == 0 {
			n = w.portNumber(p)
		}
		if n == 0 {
			var names []string
			for _, port := range w.containerPorts() {
				names = append(names, port.names...)
			}
			allowed := "a number, because no container names a TCP port"
			if len(names) > 0 {
				allowed = "a number, or " + oneOf(names)
			}
			return nil, Results{result(CodeBadValue, w.Object, "%s: no container has a TCP port with the name %q; allowed: %s", annotation, p, allowed).At(w.settings.where(annotation), p, "")}
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// inferPorts returns the ports that Services lead to, or else the only port of the containers. It
// leaves out ports for metrics and health if others remain, and ports that Istio is configured not to
// intercept.
func (in *input) inferPorts(w *workload) ([]int, Results) {
	s := &w.settings
	found := in.servedPorts(w)
	served := len(found) > 0
	if !served {
		found = w.containerPorts()
	}
	found, left := leaveOut(found, podPort.watched)
	s.leave(PortWatched, left)
	if in.cfg.Inbound == inboundSidecar {
		var past []podPort
		found, past = leaveOut(found, func(p podPort) bool { path, _ := w.notIntercepted(p.number); return path != "" })
		s.leave(PortNotIntercepted, past)
	}
	if !served && len(found) > 1 {
		names := make([]string, len(found))
		for i, p := range found {
			names[i] = p.String()
		}
		s.unclear = strings.Join(names, ", ")
		s.leave(PortUnclear, found)
		return nil, nil
	}
	only := ""
	if len(found) > 1 && contract.Since(contract.EnvInPorts) > in.cfg.ImageContract {
		only = fmt.Sprintf("only the lowest of %d, because images of contract %d support only one: to capture another port, set proxy-port", len(found), in.cfg.ImageContract)
		s.leave(PortOldImage, found[1:])
		found = found[:1]
	}
	var ports []int
	byFrom := map[string][]int{}
	for _, p := range found {
		ports = append(ports, p.number)
		byFrom[p.from] = append(byFrom[p.from], p.number)
	}
	for _, from := range sortedKeys(byFrom) {
		s.inferred = append(s.inferred, joinPorts(byFrom[from])+" from "+from)
	}
	if only != "" {
		s.inferred = append(s.inferred, only)
	}
	if host, secure := strings.CutPrefix(s.ProxyHost, "https://"); secure && len(ports) > 1 {
		return nil, Results{result(CodeBadCombination, w.Object, "proxy-host: found https://%s, so the application speaks TLS on every captured port, and Services lead to several: %s; allowed: list those that speak TLS in proxy-port or proxy-ports", host, joinPorts(ports)).
			At(s.where("proxy-host"), s.ProxyHost, "")}
	}
	for i, p := range left {
		if i == 0 {
			s.inferred = append(s.inferred, "left out by name "+p.String())
			continue
		}
		s.inferred[len(s.inferred)-1] += ", " + p.String()
	}
	return ports, nil
}

// leave records why ports are not captured.
func (s *Settings) leave(why PortReason, ports []podPort) {
	for _, p := range ports {
		s.leaveNumber(why, p.number)
	}
}

func (s *Settings) leaveNumber(why PortReason, number int) {
	if s.left == nil {
		s.left = map[int]PortReason{}
	}
	s.left[number] = why
}

// leaveOut separates the ports that match a condition from the others. If all match, it keeps all.
func leaveOut(ports []podPort, condition func(podPort) bool) (kept, left []podPort) {
	for _, p := range ports {
		if condition(p) {
			left = append(left, p)
		} else {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return left, nil
	}
	return kept, left
}

// servedPorts returns the ports that Services lead to, in ascending order.
func (in *input) servedPorts(w *workload) []podPort {
	if !w.serves() {
		return nil // a Service that selects its pods belongs to another workload
	}
	byNumber := map[int]*podPort{}
	lands := in.landing(w)
	for _, svc := range in.servicesOf(w) {
		for _, p := range svc.ports(w) {
			p.target = lands(p.target)
			if p.target < 1 || p.target > 65535 || reservedPorts[p.target] != "" {
				continue // nothing listens there, or the mesh does
			}
			port := byNumber[p.target]
			if port == nil {
				port = &podPort{number: p.target, from: svc.Ref().String()}
				byNumber[p.target] = port
			}
			if name := nodes.StringAt(p.node, "name"); name != "" {
				port.names = append(port.names, name)
			}
		}
	}
	declared := w.containerPorts()
	var out []podPort
	for _, number := range slices.Sorted(maps.Keys(byNumber)) {
		port := byNumber[number]
		for _, d := range declared {
			if d.number == number {
				port.names = append(port.names, d.names...)
			}
		}
		out = append(out, *port)
	}
	return out
}

// landing returns a function that maps a Service's target port to the port of the pod where its calls
// arrive. A Sidecar of the input may make Envoy send them to another port; 0 means none.
func (in *input) landing(w *workload) func(port int) int {
	var ingress *yaml.Node
	if holding := in.sidecarsHolding(w); len(holding) == 1 {
		ingress = nodes.At(holding[0].Node, "spec", "ingress")
	}
	return func(port int) int {
		if entry := findListener(ingress, port); nodes.StringAt(entry, "defaultEndpoint") != "" {
			return endpointPort(entry)
		}
		return port
	}
}

// containerPorts returns the TCP ports that the application's containers declare, in
// ascending order.
func (w *workload) containerPorts() []podPort {
	byNumber := map[int]*podPort{}
	for _, c := range w.runningContainers() {
		for _, p := range nodes.Items(nodes.At(c.Node, "ports")) {
			n := nodes.Int(nodes.At(p, "containerPort"))
			if !isTCP(p) || n < 1 || n > 65535 || meshContainers[c.name()] {
				continue
			}
			if byNumber[n] == nil {
				byNumber[n] = &podPort{number: n, from: "container " + c.name()}
			}
			if name := nodes.StringAt(p, "name"); name != "" {
				byNumber[n].names = append(byNumber[n].names, name)
			}
		}
	}
	var out []podPort
	for _, n := range slices.Sorted(maps.Keys(byNumber)) {
		out = append(out, *byNumber[n])
	}
	return out
}

// The name of a port that serves only metrics or health consists of watchWords, and optionally
// plainWords: metrics, http-metrics, health-check. watchWords does not include admin, because an admin
// port may serve anything.
var (
	watchWords = []string{"metric", "metrics", "prom", "prometheus", "monitoring", "exporter",
		"health", "healthz", "healthcheck", "livez", "liveness", "readyz", "readiness", "probe", "probes"}
	plainWords = []string{"http", "https", "http2", "h2c", "grpc", "tcp", "tls", "port", "check", "checks"}
)

// watched reports whether, by all of its names, a port serves only metrics or health.
func (p podPort) watched() bool {
	return len(p.names) > 0 && !slices.ContainsFunc(p.names, func(name string) bool {
		words := strings.Split(strings.ToLower(name), "-")
		others := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return slices.Contains(plainWords, w) })
		return len(others) == 0 || slices.ContainsFunc(others, func(w string) bool { return !slices.Contains(watchWords, w) })
	})
}

// withoutInbound limits a workload to outbound capture, and reports that. If only inbound traffic was to
// be captured, the workload is skipped: see skipReason.
func (in *input) withoutInbound(w *workload) Results {
	s := &w.settings
	if s.ProxyType == typeReverse {
		s.noPort = true
		return nil
	}
	s.ProxyType, s.ProxyProtocol = typeForward, strings.TrimPrefix(s.ProxyProtocol, "tcp:")
	s.inferred = slices.DeleteFunc(s.inferred, func(what string) bool { return strings.HasPrefix(what, "proxy-") })
	if s.unclear != "" {
		return Results{result(CodePortsUnclear, w.Object, "only outbound traffic is captured: the containers have several ports, %s, and no Service in the input leads to one. Render the Service together with the workload%s, or list the ports in %s",
			s.unclear, in.serviceElsewhere(w), contract.OwnPrefix+"proxy-ports").At(s.where("proxy-ports"), "", "")}
	}
	return Results{result(CodeOutboundOnly, w.Object, "only outbound traffic is captured: the containers declare no TCP port, and no Service in the input leads to one. If the workload serves a port, render its Service together with it%s, or set proxy-port",
		in.serviceElsewhere(w)).At(s.where("proxy-port"), "", "")}
}

// firstUnprivileged is the first port that needs no privilege to listen on.
const firstUnprivileged = 1024

// allocate gives every captured port of the application a port of the sidecar.
func (in *input) allocate(w *workload, ports []int) Results {
	s := &w.settings
	fixedFirst := s.set("proxy-in-port") || s.portsBy == "proxy-port" // the user's choice, or the port of earlier versions
	if fixedFirst && len(ports) == 1 {
		s.routes = []contract.InRoute{{In: s.ProxyInPort, App: ports[0]}}
		return nil
	}
	used := in.usedPorts(w, ports)
	next := s.ProxyInPort
	for i, app := range ports {
		fixed := fixedFirst && i == 0
		for tries := 0; !fixed && used[next]; tries++ {
			if next++; next > 65535 {
				next = firstUnprivileged
			}
			if tries > 65535 {
				return Results{result(CodePortClash, w.Object, "the sidecar has no free port left for the connections to port %d; allowed: fewer ports in proxy-ports", app).At(s.where("proxy-ports"), "", "")}
			}
		}
		s.routes = append(s.routes, contract.InRoute{In: next, App: app})
		used[next] = true
	}
	s.ProxyInPort = s.routes[0].In
	return nil
}

// usedPorts returns the ports that the sidecar must not choose.
func (in *input) usedPorts(w *workload, captured []int) map[int]bool {
	s := &w.settings
	used := map[int]bool{contract.AdminPort: true, s.ProxyOutPort: true, s.PrometheusPort: true,
		atoi(w.podAnnotation(scrapePrefix + "port")): true}
	for port := range reservedPorts {
		used[port] = true
	}
	for port := range w.takenPorts() {
		used[port] = true
	}
	for _, port := range captured {
		used[port] = true
	}
	for _, svc := range in.servicesOf(w) {
		for _, p := range svc.ports(w) {
			used[p.target] = true
		}
	}
	for _, c := range w.allContainers() {
		for _, probe := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
			for _, way := range []string{"httpGet", "tcpSocket", "grpc"} {
				used[nodes.Int(nodes.At(c.Node, probe, way, "port"))] = true
			}
		}
	}
	return used
}

// routeIn returns the route from a port of the sidecar. routeTo returns the route to a port of the
// application.
func (s *Settings) routeIn(in int) (contract.InRoute, bool) {
	return findRoute(s.routes, func(r contract.InRoute) bool { return r.In == in })
}

func (s *Settings) routeTo(app int) (contract.InRoute, bool) {
	return findRoute(s.routes, func(r contract.InRoute) bool { return r.App == app })
}

func findRoute(routes []contract.InRoute, is func(contract.InRoute) bool) (contract.InRoute, bool) {
	if i := slices.IndexFunc(routes, is); i >= 0 {
		return routes[i], true
	}
	return contract.InRoute{}, false
}

// nameOf says, for a result, which setting a captured port comes from.
func (s *Settings) nameOf(app int) string {
	switch s.portsBy {
	case "proxy-port":
		return fmt.Sprintf("proxy-port is %d", app)
	case "proxy-ports":
		return fmt.Sprintf("proxy-ports has %d", app)
	}
	return fmt.Sprintf("the container's port is %d", app)
}

// PortsBy returns the annotation that names the captured ports, "proxy-port" or "proxy-ports"; "" if
// they are inferred.
func (s *Settings) PortsBy() string { return s.portsBy }

// wherePorts returns the field path of the annotation that names the ports.
func (s *Settings) wherePorts() string { return s.where(cmp.Or(s.portsBy, "proxy-port")) }

// apps returns the captured ports of the application.
func (s *Settings) apps() []int {
	ports := make([]int, len(s.routes))
	for i, r := range s.routes {
		ports[i] = r.App
	}
	return ports
}
