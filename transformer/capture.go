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

// A Capture describes what a render decided, for callers that want to know what will be captured
// rather than the manifests. It makes no decisions itself. The render notes ports and containers
// before the first edit, and reasons when it infers and routes ports. The rest is read from the
// rendered objects.

// Capture says what a render captures of one workload, and why it does not capture the rest.
type Capture struct {
	Workload ResourceRef
	// File is the input file that has the workload.
	File File
	// Injected reports whether the workload has the sidecar now. If not, its results say why. Rendered
	// reports whether an earlier render of the input had injected it.
	Injected, Rendered bool
	// Settings are the settings from its annotations and the inferred ones. They are incomplete if
	// nothing asks for the sidecar.
	Settings Settings
	// Inbound and Outbound report which halves of the sidecar run. ReadsTLS reports whether it reads
	// outbound TLS.
	Inbound, Outbound, ReadsTLS bool
	// ReadsTLSIn reports whether the sidecar terminates the application's inbound TLS.
	ReadsTLSIn bool
	// Ports are the ports that the input names, in ascending order; ports without a number come last.
	// Ports is nil if nothing asks for the sidecar.
	Ports []CapturePort
	// Containers are the application's containers, init containers first, each group in the pod's
	// order.
	Containers []CaptureContainer
	// Hosts are the hosts that are captured through the hosts file.
	Hosts []contract.CaptureHost
	// SinkSize is the limit for recordings in the pod that the render gives the sidecar; "" leaves the
	// limit to the sidecar.
	SinkSize string
	// Include and Exclude are the filters; "" means none. Filters has the filters of the ConfigMap of
	// the annotation capture-config, which replace them, by key; it is nil if the input does not have
	// that ConfigMap. All are quoted, and hidden if they may contain a credential.
	Include, Exclude string
	Filters          map[string]string
	// Filter is the filter that those settings and the sampling rate make; nil if one of them is
	// invalid.
	Filter *filter.Filter
	// TokenInInput reports whether the input has the Secret with the collector's token.
	// CertificateInInput reports whether it has the Secret with the application's certificate.
	TokenInInput, CertificateInInput bool
}

// PortReason says why a port is not captured.
type PortReason string

// These are the reasons. A captured port has "".
const (
	PortNotTCP         PortReason = "not-tcp"         // its protocol is UDP or SCTP
	PortUnresolved     PortReason = "unresolved"      // a Service leads to a port name that no container has
	PortMesh           PortReason = "mesh"            // the mesh itself listens on it
	PortNotNamed       PortReason = "not-named"       // proxy-port or proxy-ports names other ports
	PortOutboundOnly   PortReason = "outbound-only"   // proxy-type is forward
	PortWatched        PortReason = "watched"         // by its names, it serves only metrics or health
	PortNotIntercepted PortReason = "not-intercepted" // Istio is configured not to intercept it
	PortUnclear        PortReason = "unclear"         // there are several ports, and no Service leads to one
	PortOldImage       PortReason = "old-image"       // the image captures only one port
	PortNotServed      PortReason = "not-served"      // no Service leads to it, so no call would be captured
	PortHeadless       PortReason = "headless"        // the option inbound is service, and callers connect to the pods directly
	PortNoService      PortReason = "no-service"      // Services lead to other ports
	PortSocket         PortReason = "socket"          // a Sidecar of the input sends its calls to a Unix socket
	PortProbed         PortReason = "probed"          // only probes name it
	PortEnds           PortReason = "ends"            // a Service selects pods that run to completion, so they serve nothing
)

// CapturePort is a port of a pod.
type CapturePort struct {
	Number   int    // 0 if a Service leads to a port name that no container has
	Protocol string // TCP, UDP or SCTP
	// Names are the names of the Services' ports that lead here and of the containers' ports. For a
	// port without a number, the first one is the name that the Service leads to.
	Names []string
	// Services are the Service ports that lead here, such as "Service/cart port 80". Container is the
	// container that declares the port. Probes are the probes that use it, such as "readinessProbe of
	// container app".
	Services  []string
	Container string
	Probes    []string
	// Speaks is the protocol that the Services declare, with Istio's name; "" if they declare none.
	Speaks string
	// In is the sidecar's port that receives the calls; 0 if the port is not captured. Why is then the
	// reason.
	In  int
	Why PortReason
	// Field is the path of the field that keeps Istio from intercepting the port. Found is its value.
	Field, Found string
}

// CaptureContainer is a container of the application after the render.
type CaptureContainer struct {
	Name, Image string
	// Program is its command with its arguments; nil if the image sets them.
	Program []string
	// Variables are the names of the variables under env before the render.
	Variables []string
	// Path is its field path. Field paths of results about the container begin with it.
	Path string
	// Init reports whether it is an init container. Early reports whether it starts before the sidecar.
	Init, Early bool
	// Proxied reports whether its proxy variables lead to the sidecar.
	Proxied bool
	// Past are the NO_PROXY entries whose calls bypass the sidecar, except for those that every render
	// writes: the pod itself, metadata servers and the Kubernetes API.
	Past []string
	// JavaProxy reports whether JAVA_TOOL_OPTIONS leads Java to the sidecar. JavaTrust reports whether it
	// sets a truststore.
	JavaProxy, JavaTrust bool
	// HostsFile reports whether it has the sidecar's hosts file.
	HostsFile bool
	// Trusts are the rendered variables with which it trusts the CA.
	Trusts []string
	// OnPodIP is the argument that contains the pod's address, up to its value; "" if there is none.
	// The application may listen only on that address.
	OnPodIP string
}

// Captures renders objects as Render does, and describes for each workload of the input what is
// captured. It returns no captures if an earlier render can't be undone; the results then have the
// errors. Its rules for concurrent use are those of Render.
func Captures(objects []*Object, cfg Config) (Output, []Capture) { return render(objects, cfg, true) }

// known is the information about a workload in the input, before any edit.
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

// portKey identifies a port of a pod.
type portKey struct {
	number   int
	protocol string
	name     string // only for a port without a number
}

// knownPorts returns the ports that Services, containers and probes name, in any order.
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
				continue // it has neither number nor name, which Kubernetes rejects
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

// rankOf sorts ports without a number after the others.
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

// captureOf describes what a render did with a workload.
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
			ports = append(ports, CapturePort{Number: app, Protocol: "TCP"}) // only an annotation names it
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

// shownRules returns rules, quoted, as a report may show them. A rule may name the secret value of a
// header.
func shownRules(rules string) string {
	switch {
	case rules == "":
		return ""
	case mayBeSecret(rules):
		return "a rule that is not shown, because it may contain a credential"
	}
	return strconv.Quote(rules)
}

// captureOfPort says whether a port is captured, and why not.
func (in *input) captureOfPort(w *workload, p CapturePort) CapturePort {
	s := &w.settings
	route, captured := s.routeTo(p.Number)
	left := s.left[p.Number]
	switch {
	case p.Why != "": // knownPorts found the reason in the input
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

// captureOfContainer describes a container after the render.
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

// namesPodIP returns the argument of a container that refers to a variable with the pod's address; ""
// if there is none.
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
