package transformer

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// A Capture is what a render decided, for those who want to know what will be captured
// and not the manifests. It says nothing of its own accord: ports and containers are
// noted before the first edit, the reasons by what infers and routes, and the rest is
// read from what was rendered.

// Capture says what a render captures of one workload, and why not the rest.
type Capture struct {
	Workload ResourceRef
	// File is where the workload stands in the input.
	File File
	// Injected tells that the workload has the sidecar now; or else its results say why
	// not. Rendered tells that an earlier render of the input gave it one.
	Injected, Rendered bool
	// Settings are those of its annotations, with what was inferred. They are not
	// complete where nothing asks for the sidecar.
	Settings Settings
	// Inbound, Outbound and ReadsTLS are the halves of the sidecar that run, and whether
	// it reads outbound TLS.
	Inbound, Outbound, ReadsTLS bool
	// ReadsTLSIn tells that the sidecar terminates the application's own inbound TLS.
	ReadsTLSIn bool
	// Ports are those that the input knows, in ascending order; those whose number is 0
	// come last. They are nil where nothing asks for the sidecar.
	Ports []CapturePort
	// Containers are the application's, init containers first, each in the pod's order.
	Containers []CaptureContainer
	// Hosts are captured through the hosts file.
	Hosts []contract.CaptureHost
	// SinkSize is how much is kept in the pod, as the sidecar is told; "" leaves it to that.
	SinkSize string
	// Include and Exclude are the filters, "" for none, and Filters is what the ConfigMap of the
	// annotation capture-config has in their place, by key, nil where the input does not have
	// it. They are quoted, and not shown where a credential may be in them.
	Include, Exclude string
	Filters          map[string]string
	// Filter is what those settings and the rate say together; nil if one of them is invalid.
	Filter *filter.Filter
	// TokenInInput tells that the input has the Secret with the collector's token, and
	// CertificateInInput that it has the one with the application's certificate.
	TokenInInput, CertificateInInput bool
}

// PortReason says why a port is not captured.
type PortReason string

// The reasons. "" is that of a captured port.
const (
	PortNotTCP         PortReason = "not-tcp"         // its protocol is UDP or SCTP
	PortUnresolved     PortReason = "unresolved"      // a Service leads to a name that no container's port has
	PortMesh           PortReason = "mesh"            // a mesh listens there itself
	PortNotNamed       PortReason = "not-named"       // proxy-port or proxy-ports names others
	PortOutboundOnly   PortReason = "outbound-only"   // proxy-type is forward
	PortWatched        PortReason = "watched"         // its names say that it serves metrics or health alone
	PortNotIntercepted PortReason = "not-intercepted" // Istio is told not to intercept it
	PortUnclear        PortReason = "unclear"         // no Service leads to one of several
	PortOldImage       PortReason = "old-image"       // the image takes one port alone
	PortNotServed      PortReason = "not-served"      // it would be captured, and no Service leads there
	PortHeadless       PortReason = "headless"        // inbound is service, and callers dial the pods
	PortNoService      PortReason = "no-service"      // Services lead to others
	PortSocket         PortReason = "socket"          // a Sidecar of the input takes its calls to a Unix socket
	PortProbed         PortReason = "probed"          // probes alone name it
	PortEnds           PortReason = "ends"            // a Service selects pods that are meant to end, which serve nothing
)

// CapturePort is a port of a pod.
type CapturePort struct {
	Number   int    // 0 where a Service leads to a name that no container's port has
	Protocol string // TCP, UDP or SCTP
	// Names are those of the Services' ports that lead here and of the containers'. The first
	// one of a port without a number is what the Service leads to.
	Names []string
	// Services are the ports that lead here, as "Service/cart port 80"; Container is the one
	// that declares it, and Probes are the probes that ask it, as "readinessProbe of
	// container app".
	Services  []string
	Container string
	Probes    []string
	// Speaks is the protocol that the Services declare, as Istio names it; "" where they
	// declare none.
	Speaks string
	// In is the sidecar's port to which calls go, 0 where the port is not captured, and
	// Why says then why.
	In  int
	Why PortReason
	// Field is the path of the field that keeps Istio from intercepting, and Found its
	// value.
	Field, Found string
}

// CaptureContainer is a container of the application, as it was rendered.
type CaptureContainer struct {
	Name, Image string
	// Program is its command with its arguments, nil where the image says them.
	Program []string
	// Variables are the names of those that env gives it, as they were before the render.
	Variables []string
	// Path is its field path. The field paths of results about it begin so.
	Path string
	// Init tells that it is an init container, and Early that it starts before the sidecar.
	Init, Early bool
	// Proxied tells that its proxy variables lead to the sidecar.
	Proxied bool
	// Past are the entries of NO_PROXY by which calls go past the sidecar, without those
	// of every render: the pod itself, metadata servers and the Kubernetes API.
	Past []string
	// JavaProxy tells that JAVA_TOOL_OPTIONS leads Java to the sidecar, and JavaTrust that
	// it has a truststore.
	JavaProxy, JavaTrust bool
	// HostsFile tells that it has the sidecar's hosts file.
	HostsFile bool
	// Trusts are the variables by which it trusts the CA, as far as they were rendered.
	Trusts []string
	// OnPodIP is the argument that names the pod's address, up to its value; "" for none. The
	// application may listen there alone.
	OnPodIP string
}

// Captures renders objects as Render does, and says of each workload of the input what
// comes of it. There are no captures where an earlier render can't be taken back: the
// results have the errors. It is as safe for concurrent use as Render is.
func Captures(objects []*Object, cfg Config) (Output, []Capture) { return render(objects, cfg, true) }

// known is what the input says of a workload before it is edited.
type known struct {
	ports      []CapturePort
	containers []knownContainer
}

type knownContainer struct {
	container
	init, early bool
	variables   []string
}

// know notes the ports and containers of a workload.
func (in *input) know(w *workload) *known {
	k := &known{ports: in.knownPorts(w)}
	late, early := in.lateContainers(w)
	for _, c := range early {
		k.containers = append(k.containers, knownContainer{container: c, init: true, early: true})
	}
	for _, c := range late {
		k.containers = append(k.containers, knownContainer{container: c, init: true})
	}
	for _, c := range w.appContainers() {
		k.containers = append(k.containers, knownContainer{container: c})
	}
	for i, c := range k.containers {
		for _, v := range nodes.Items(nodes.At(c.Node, "env")) {
			k.containers[i].variables = append(k.containers[i].variables, nodes.StringAt(v, "name"))
		}
	}
	return k
}

// portKey tells the ports of a pod apart.
type portKey struct {
	number   int
	protocol string
	name     string // of one without a number
}

// knownPorts returns the ports that Services, containers and probes name, in no order.
func (in *input) knownPorts(w *workload) []CapturePort {
	byKey := map[portKey]*CapturePort{}
	at := func(k portKey) *CapturePort {
		if byKey[k] == nil {
			byKey[k] = &CapturePort{Number: k.number, Protocol: k.protocol}
			if k.name != "" {
				byKey[k].Names = []string{k.name}
			}
		}
		return byKey[k]
	}
	lands := in.landing(w)
	for _, svc := range in.servicesOf(w) {
		for _, p := range nodes.Items(nodes.At(svc.Node, "spec", "ports")) {
			n := cmp.Or(nodes.Int(nodes.At(p, "targetPort")), nodes.Int(nodes.At(p, "port")))
			if !svc.entry() && !isTCP(p) && n != 0 {
				to := at(portKey{n, nodes.StringAt(p, "protocol"), ""})
				to.lead(svc, nodes.Int(nodes.At(p, "port")), nodes.StringAt(p, "name"))
			}
		}
		for _, p := range svc.ports(w) {
			key := portKey{lands(p.target), "TCP", ""}
			socket := key.number == 0 && p.target != 0
			switch {
			case socket:
				key.number = p.target
			case key.number == 0:
				key.name = nodes.StringAt(p.node, "targetPort")
			}
			if key.number == 0 && key.name == "" {
				continue // it has no number at all, which Kubernetes refuses
			}
			to := at(key)
			if socket {
				to.Why = PortSocket
			}
			if first := len(to.Services) == 0; first || to.Speaks == p.protocol {
				to.Speaks = p.protocol
			} else {
				to.Speaks = "" // Services disagree
			}
			to.lead(svc, p.number, nodes.StringAt(p.node, "name"))
		}
	}
	for _, c := range w.runningContainers() {
		if meshContainers[c.name()] {
			continue
		}
		for _, p := range nodes.Items(nodes.At(c.Node, "ports")) {
			if n := nodes.Int(nodes.At(p, "containerPort")); n >= 1 && n <= 65535 {
				to := at(portKey{n, cmp.Or(nodes.StringAt(p, "protocol"), "TCP"), ""})
				to.Container = cmp.Or(to.Container, c.name())
				to.name(nodes.StringAt(p, "name"))
			}
		}
		for _, probe := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
			for _, way := range []string{"httpGet", "tcpSocket", "grpc"} {
				port := nodes.At(c.Node, probe, way, "port")
				n := nodes.Int(port)
				if n == 0 && port != nil {
					n = w.portNumber(nodes.String(port))
				}
				if n >= 1 && n <= 65535 {
					to := at(portKey{n, "TCP", ""})
					to.Probes = append(to.Probes, probe+" of container "+c.name())
				}
			}
		}
	}
	ports := make([]CapturePort, 0, len(byKey))
	for _, p := range byKey {
		ports = append(ports, *p)
	}
	return ports
}

func sortPorts(ports []CapturePort) {
	slices.SortFunc(ports, func(a, b CapturePort) int {
		return cmp.Or(cmp.Compare(rankOf(a.Number), rankOf(b.Number)), cmp.Compare(a.Protocol, b.Protocol), slices.Compare(a.Names, b.Names))
	})
}

// rankOf puts ports without a number behind the others.
func rankOf(port int) int {
	if port == 0 {
		return 65536
	}
	return port
}

func (p *CapturePort) lead(svc *service, number int, name string) {
	p.Services = append(p.Services, svc.id()+" port "+strconv.Itoa(number))
	p.name(name)
}

func (p *CapturePort) name(name string) {
	if name != "" && !slices.Contains(p.Names, name) {
		p.Names = append(p.Names, name)
	}
}

// captureOf says what came of a workload.
func (in *input) captureOf(w *workload, rendered bool) Capture {
	s := &w.settings
	c := Capture{Workload: w.Ref(), File: w.File, Rendered: rendered, Settings: *s}
	if w.known == nil {
		return c
	}
	c.Injected = w.injecting && !w.said.Failed()
	c.Inbound, c.Outbound, c.ReadsTLS = s.inbound(), s.outbound(), s.intercepts()
	c.ReadsTLSIn = s.tlsIn().on()
	c.Hosts = s.hosts
	ports := w.known.ports
	for _, app := range s.apps() {
		if !slices.ContainsFunc(ports, func(p CapturePort) bool { return p.Number == app && p.Protocol == "TCP" }) {
			ports = append(ports, CapturePort{Number: app, Protocol: "TCP"}) // an annotation alone names it
		}
	}
	sortPorts(ports)
	for _, p := range ports {
		c.Ports = append(c.Ports, in.captureOfPort(w, p))
	}
	for _, k := range w.known.containers {
		c.Containers = append(c.Containers, in.captureOfContainer(w, k))
	}
	for _, x := range w.allContainers() {
		if x.name() == contract.Container {
			c.SinkSize = nodes.StringAt(sidecarVariables(x.Node)[contract.EnvSinkSize], "value")
		}
	}
	c.Include, c.Exclude = shownRules(s.CaptureInclude), shownRules(s.CaptureExclude)
	settings := map[string]string{"capture": s.Capture, "include": s.CaptureInclude, "exclude": s.CaptureExclude, "sample": s.CaptureSample}
	if o := in.find("", "ConfigMap", w.namespace(), s.CaptureConfig); o != nil {
		c.Filters = map[string]string{}
		data := nodes.Strings(nodes.At(o.Node, "data"))
		for _, key := range filter.Keys() {
			if value, ok := data[key.Name]; ok {
				c.Filters[key.Name], settings[key.Name] = shownRules(value), value
			}
		}
	}
	if f, err := filter.Parse(settings); err == nil {
		c.Filter = f
	}
	c.TokenInInput = in.find("", "Secret", w.namespace(), in.cfg.SinkTokenSecret) != nil
	c.CertificateInInput = in.find("", "Secret", w.namespace(), s.TLSInSecret) != nil
	return c
}

// shownRules are rules, quoted, as a report may show them: one may name a header's secret value.
func shownRules(rules string) string {
	switch {
	case rules == "":
		return ""
	case mayBeSecret(rules):
		return "a rule that is not shown, since a credential may be in it"
	}
	return strconv.Quote(rules)
}

// captureOfPort says whether a port is captured, and why not.
func (in *input) captureOfPort(w *workload, p CapturePort) CapturePort {
	s := &w.settings
	route, captured := s.routeTo(p.Number)
	left := s.left[p.Number]
	switch {
	case p.Why != "": // by what the input says
	case p.Protocol != "TCP":
		p.Why = PortNotTCP
	case p.Number == 0:
		p.Why = PortUnresolved
	case captured && left == "":
		p.In = route.In
	case left != "":
		p.Why = left
		if left == PortNotIntercepted {
			p.Field, p.Found = w.notIntercepted(p.Number)
		}
	case reservedPorts[p.Number] != "":
		p.Why = PortMesh
	case s.explicit["proxy-type"].value == typeForward:
		p.Why = PortOutboundOnly
	case len(p.Services) == 0 && p.Container == "":
		p.Why = PortProbed
	case !w.serves() && len(p.Services) > 0:
		p.Why = PortEnds
	case s.portsBy != "":
		p.Why = PortNotNamed
	default:
		p.Why = PortNoService
	}
	return p
}

// captureOfContainer reads what a container was rendered to.
func (in *input) captureOfContainer(w *workload, k knownContainer) CaptureContainer {
	s := &w.settings
	c := CaptureContainer{Name: k.name(), Image: nodes.StringAt(k.Node, "image"), Path: k.path, Init: k.init, Early: k.early, Variables: k.variables}
	for _, key := range []string{"command", "args"} {
		for _, word := range nodes.Items(nodes.At(k.Node, key)) {
			c.Program = append(c.Program, nodes.String(word))
		}
	}
	c.OnPodIP = in.namesPodIP(w, k.container)
	if !w.injecting || w.said.Failed() {
		return c
	}
	variable := func(name string) variable {
		v, _ := in.findVariable(w, k.container, name)
		return v
	}
	c.Proxied = s.outbound() && variable(contract.EnvUpstreamHTTPSProxy).leadsTo(s.ProxyOutPort)
	ours := append(directHosts(s, in.cfg), "::1")
	for _, name := range noProxyNames {
		if v := variable(name); v.from == nil {
			c.Past = append(c.Past, without(contract.SplitHosts(v.value), append(ours, c.Past...))...)
		}
	}
	java := variable(javaToolOptions).value
	c.JavaProxy = javaLeadsTo(java, s.ProxyOutPort)
	c.JavaTrust = s.intercepts() && (strings.Contains(java, trustStoreFlag) || s.TLSJavaToolOptionsTo != "" && strings.Contains(java, s.TLSJavaToolOptionsTo))
	for _, row := range trustVariables {
		if s.intercepts() && variable(row.Name).value == row.Value {
			c.Trusts = append(c.Trusts, row.Name)
		}
	}
	c.HostsFile = slices.ContainsFunc(nodes.Items(nodes.At(k.Node, "volumeMounts")), func(m *yaml.Node) bool {
		return nodes.StringAt(m, "name") == contract.TrustVolume && path.Clean(nodes.StringAt(m, "mountPath")) == contract.SystemHosts
	})
	return c
}

// namesPodIP returns the argument of a container that has a variable with the pod's
// address, "" for none.
func (in *input) namesPodIP(w *workload, c container) string {
	for _, key := range []string{"command", "args"} {
		for _, word := range nodes.Items(nodes.At(c.Node, key)) {
			for _, match := range reference.FindAllStringSubmatch(nodes.String(word), -1) {
				if v, _ := in.findVariable(w, c, match[1]); nodes.StringAt(v.from, "fieldRef", "fieldPath") == "status.podIP" {
					flag, _, _ := strings.Cut(nodes.String(word), "=")
					return Kind{}.shown(flag)
				}
			}
		}
	}
	return ""
}
