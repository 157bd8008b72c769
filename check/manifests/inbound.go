package manifests

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/transformer"
)

// reason is the finding for a port. A table has a row for each reason that a render gives for
// capturing a port or not.
type reason struct {
	state check.State
	// found completes the sentence "port 8080 …", fix says what to change.
	found, fix func(w *workload, p transformer.CapturePort) string
}

func text(s string) func(*workload, transformer.CapturePort) string {
	return func(*workload, transformer.CapturePort) string { return s }
}

var reasons = map[transformer.PortReason]reason{
	transformer.PortNotTCP: {check.LeftOut,
		func(_ *workload, p transformer.CapturePort) string {
			return "is not captured: the sidecar captures only TCP, and this is " + p.Protocol
		},
		text("if the protocol also runs over TCP, serve it over TCP")},
	transformer.PortUnresolved: {check.Problem,
		func(_ *workload, p transformer.CapturePort) string {
			return fmt.Sprintf("is not captured: %s leads to it, and no container has a port of that name, so no call arrives", some(p.Services))
		},
		func(_ *workload, p transformer.CapturePort) string {
			return fmt.Sprintf("give a containerPort the name %s, or make targetPort a number", p.Names[0])
		}},
	transformer.PortMesh: {check.LeftOut, text("is not captured: the mesh listens on it"), text("have the application listen on another port")},
	transformer.PortNotNamed: {check.LeftOut,
		func(w *workload, _ transformer.CapturePort) string {
			if named := captured(w.Capture); len(named) > 0 {
				return "is not captured: the annotation names " + portList(named)
			}
			return "is not captured: the annotation names other ports"
		}, addPort},
	transformer.PortOutboundOnly: {check.LeftOut, text("is not captured: proxy-type is forward, which captures only outbound calls"),
		func(w *workload, p transformer.CapturePort) string {
			return w.leadThere(p, w.bothHalves())
		}},
	transformer.PortWatched: {check.LeftOut, text("is not captured: by its name it serves only metrics or health"), addPort},
	transformer.PortNotIntercepted: {check.LeftOut,
		func(_ *workload, p transformer.CapturePort) string {
			return fmt.Sprintf("is not captured: Istio does not intercept it, since %s is %q", p.Field, p.Found)
		},
		func(_ *workload, p transformer.CapturePort) string {
			return fmt.Sprintf("let %s intercept %d, or set the option inbound to service", p.Field, p.Number)
		}},
	transformer.PortUnclear: {check.Problem, text("is not captured: no Service in the input leads to any of the containers' ports, so it is not clear which one is called"),
		func(w *workload, _ transformer.CapturePort) string {
			var ports []int
			for _, p := range w.Ports {
				if p.Why == transformer.PortUnclear {
					ports = append(ports, p.Number)
				}
			}
			return "check the Service together with the workload; or of the ports that are called, " + w.namePorts(ports)
		}},
	transformer.PortOldImage: {check.Partly,
		func(w *workload, _ transformer.CapturePort) string {
			return fmt.Sprintf("is not captured: images of contract %d take one port", w.Config.ImageContract)
		},
		text("use a newer image, and set the option imageContract to its contract")},
	transformer.PortNotServed: {check.Problem, text("should be captured, but no Service of the workload leads to it, so no call arrives"),
		func(w *workload, _ transformer.CapturePort) string {
			var ports []int
			for _, p := range w.Ports {
				if len(p.Services) > 0 && p.Number != 0 && p.Protocol == "TCP" {
					ports = append(ports, p.Number)
				}
			}
			if len(ports) == 0 {
				return "add a port to the Service that leads to it"
			}
			return w.namePorts(ports) + ", to which Services lead; or add a port to the Service"
		}},
	transformer.PortHeadless: {check.Problem, text("is not captured: with inbound: service the callers of a headless Service dial the pods and bypass the sidecar"),
		text("give the Service an address (no clusterIP: None), or set the option inbound to sidecar")},
	transformer.PortNoService: {check.LeftOut, text("is not captured: no Service in the input leads to it, although Services lead to other ports"),
		text("add a port to the Service that leads to it, if others call it")},
	transformer.PortSocket: {check.LeftOut, text("is not captured: a Sidecar of the input has Envoy take its calls to a Unix socket"),
		text("have the application listen on a port, and lead the Sidecar's defaultEndpoint there")},
	transformer.PortProbed: {check.LeftOut, text("is not captured: only probes name it, and calls of the kubelet bypass the sidecar"),
		text("add a port to the Service that leads to it, if others call it, too")},
	transformer.PortEnds: {check.LeftOut, text("is not captured: the pods run to completion, so the Service that selects them belongs to another workload"),
		func(w *workload, p transformer.CapturePort) string { return "if it serves the port, " + addPort(w, p) }},
}

// addPort returns the fix that names a port in addition to the captured ones.
func addPort(w *workload, p transformer.CapturePort) string {
	ports := append(captured(w.Capture), p.Number)
	slices.Sort(ports)
	return w.leadThere(p, w.namePorts(ports))
}

// leadThere also puts a port of a Service into a fix, if Services lead only to other ports: no call
// arrives at a port that only an annotation names.
func (w *workload) leadThere(p transformer.CapturePort, fix string) string {
	if !served(p) && slices.ContainsFunc(w.Ports, served) {
		return "add a port to the Service that leads to it, and " + fix
	}
	return fix
}

// served reports whether a Service leads to a port.
func served(p transformer.CapturePort) bool { return len(p.Services) > 0 }

// namePorts returns the fix that names ports by an annotation. This annotation excludes the one
// that names a single port.
func (w *workload) namePorts(ports []int) string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = strconv.Itoa(p)
	}
	fix := fmt.Sprintf("set %sproxy-ports: %q", contract.OwnPrefix, strings.Join(list, ","))
	if w.Settings.PortsBy() == "proxy-port" {
		fix += fmt.Sprintf(" in place of %sproxy-port", contract.SidecarPrefix)
	}
	return fix
}

// opaque has the protocols, by Istio's names, that no decoder of the sidecar reads.
var opaque = map[string]bool{"TCP": true, "MONGO": true, "MySQL": true, "REDIS": true}

// maxPorts bounds the ports of a workload that get a separate finding.
const maxPorts = 100

// inbound reports for each port whether it is captured.
func (w *workload) inbound() {
	for i, p := range w.Ports {
		if i == maxPorts {
			w.say(check.Inbound, check.Unknown, "", "run tapedeck render: its report lists all captured ports", "%d more ports are not shown", len(w.Ports)-maxPorts)
			break
		}
		w.port(p)
	}
	for _, x := range w.Containers {
		if x.OnPodIP != "" && w.Settings.ProxyHost == "localhost" && len(captured(w.Capture)) > 0 {
			w.say(check.Inbound, check.Unknown, "", fmt.Sprintf("if it does, set %sproxy-host: $(%s)", contract.SidecarPrefix, contract.EnvPodIP),
				"container %s is given the pod's address in %s: if it listens only there, the sidecar does not reach it at localhost", x.Name, x.OnPodIP)
		}
	}
	switch name := w.Settings.TLSInSecret; {
	case !w.ReadsTLSIn:
	case name != "" && !w.CertificateInInput:
		w.say(check.TLS, check.Unknown, "", fmt.Sprintf("check that the namespace has it: kubectl get secret%s %s", inNamespace(w.Workload.Namespace), name),
			"inbound TLS of the application is read with the certificate of Secret %s, which is not in the input; without it TLS passes unread", name)
	default:
		w.say(check.TLS, check.OK, "", "", "inbound TLS of the application is read with the certificate of %s", w.certificate())
	}
}

// certificate describes where the sidecar gets the application's certificate from.
func (w *workload) certificate() string {
	if name := w.Settings.TLSInSecret; name != "" {
		return "Secret " + name
	}
	return w.Settings.TLSInPublic
}

func (w *workload) port(p transformer.CapturePort) {
	name := portName(p)
	if p.In == 0 {
		why := reasons[p.Why]
		w.say(check.Inbound, why.state, "", why.fix(w, p), "%s %s", name, why.found(w, p))
		return
	}
	by := w.leads(p)
	switch {
	case w.Filter.KeepsNone(true):
		w.say(check.Inbound, check.LeftOut, "", changeFilters, "%s is not captured: the filters leave out every inbound exchange", name)
	case w.Config.Inbound == "none":
		w.say(check.Inbound, check.Unknown, "", fmt.Sprintf("lead its calls to port %d of the pod, or set the option inbound to sidecar or service", p.In),
			"%s is captured if calls come to the sidecar's port %d: inbound is none, so nothing leads them there", name, p.In)
	case (p.Speaks == "HTTPS" || p.Speaks == "TLS") && !w.ReadsTLSIn && !strings.HasPrefix(w.Settings.ProxyHost, "https://"):
		w.say(check.Inbound, check.Partly, "", fmt.Sprintf("name the Secret with the application's certificate and key in %stls-in-secret", contract.SidecarPrefix),
			"%s is captured without its content: %s. The Service says that the application speaks %s, so only sizes and times are recorded", name, by, p.Speaks)
	case opaque[p.Speaks] && !w.Config.OpaqueBytes:
		w.say(check.Inbound, check.LeftOut, "", "set the option opaqueBytes to true to record the bytes, logins included; if it is HTTP, name the Service's port accordingly",
			"%s is captured without its content: %s. The Service says that the application speaks %s, so only sizes and times are recorded", name, by, p.Speaks)
	default:
		w.say(check.Inbound, check.OK, "", "", "%s is captured: %s", name, by)
	}
}

// leads describes how calls reach a captured port.
func (w *workload) leads(p transformer.CapturePort) string {
	way := "Istio's Envoy passes its calls to the sidecar"
	if w.Config.Inbound == "service" {
		way = fmt.Sprintf("its targetPort becomes the sidecar's port %d", p.In)
	}
	if len(p.Services) > 0 {
		return fmt.Sprintf("%s %s to it, and %s", some(p.Services), verb(len(p.Services), "leads", "lead"), way)
	}
	if p.Container != "" {
		return fmt.Sprintf("container %s declares it, and %s", p.Container, way)
	}
	return "an annotation names it, and " + way
}

func verb(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// portName names a port as "port 8080 (http)".
func portName(p transformer.CapturePort) string {
	name := "port " + strconv.Itoa(p.Number)
	if p.Protocol != "TCP" {
		name += "/" + p.Protocol
	}
	if p.Number == 0 {
		return "the port " + p.Names[0]
	}
	if len(p.Names) > 0 {
		name += " (" + some(p.Names) + ")"
	}
	return name
}
