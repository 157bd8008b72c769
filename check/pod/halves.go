package pod

import (
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/oneline"
	"github.com/tapedeck/tapedeck/proxy/status"
)

// half has the facts and the fixes for one direction.
type half struct {
	direction         string // the value of the label in metrics
	name              string
	absent            string       // the fix if that half doesn't run
	half              *status.Half // nil: that half doesn't run, or the sidecar doesn't report it
	none, unfinished  string       // the fixes if nothing came, and if something came but nothing was recorded
	refused           string       // the fix if the target can't be reached
	connected, listed count        // connections and exchanges
}

func (s *seen) inbound() []finding {
	namespace, _ := s.names()
	h := half{
		direction: "IN", name: "inbound",
		absent: `set the annotation ` + contract.SidecarPrefix + `proxy-type to "dual", and render again`,
		none: causes("send a request to a Service of the pod, from another pod of the mesh, and check again with --for 30s",
			fmt.Sprintf("no Istio Sidecar routes the pod's ports to the sidecar: `kubectl get sidecars.networking.istio.io -n %s` must show the one that the render wrote", namespace),
			"Envoy isn't in the pod, so nothing obeys that Sidecar: have Istio inject the pod, or set the option inbound to service",
			"the request bypassed Envoy, as with kubectl port-forward and kubectl exec",
			"the port isn't captured"+s.captured()+": set the annotation "+contract.SidecarPrefix+"proxy-port or "+contract.OwnPrefix+"proxy-ports"),
		unfinished: causes("send a complete request, wait for its answer, and check again",
			"inbound TLS passes untouched: give its certificate with the annotation "+contract.SidecarPrefix+"tls-in-secret",
			"filters leave the exchanges out: see below"),
		refused: "have the application listen there, or correct the annotations " + contract.SidecarPrefix + "proxy-port and " + contract.SidecarPrefix + "proxy-host",
	}
	if s.status != nil {
		h.half = s.status.Inbound
	}
	return s.direction(h)
}

// captured lists the captured ports of the application.
func (s *seen) captured() string {
	if s.status == nil || s.status.Inbound == nil {
		return ""
	}
	var apps []string
	for _, p := range s.status.Inbound.Ports {
		apps = append(apps, p.App)
	}
	return ", only " + list(apps)
}

func (s *seen) outbound() []finding {
	namespace, pod := s.names()
	port := contract.OutPort
	if s.status != nil && s.status.Outbound != nil && len(s.status.Outbound.Ports) > 0 {
		port = s.status.Outbound.Ports[0].Port
	}
	h := half{
		direction: "OUT", name: "outbound",
		absent: `set the annotation ` + contract.SidecarPrefix + `proxy-type to "dual" or "forward", and render again`,
		none: causes("send a request that makes the application call a dependency, and check again with --for 30s",
			"the application's runtime ignores proxy variables, as Java, database drivers and Node.js before 22.21 do: set the annotation "+contract.OwnPrefix+"capture-hosts, for Java "+contract.OwnPrefix+"java-proxy (docs/outbound.md has each runtime's way)",
			"NO_PROXY names the hosts that are called: set the option captureNoProxy to true",
			fmt.Sprintf("the container lacks the variables: `kubectl get pod -n %s %s -o yaml` must show HTTPS_PROXY=http://127.0.0.1:%d, or the pod is older than the render", namespace, pod, port)),
		unfinished: causes("have the application make a complete call, and check again",
			"the connections are kept open, and are recorded once they end",
			"filters leave the exchanges out: see below"),
		refused: causes("see whether the application reaches that host without the sidecar",
			"a NetworkPolicy, or the egress hosts of an Istio Sidecar, allow the host only for the application's calls",
			"the name resolves to the pod's own loopback, which the sidecar refuses"),
	}
	if s.status != nil {
		h.half = s.status.Outbound
	}
	return append(s.direction(h), s.capturedHosts()...)
}

// capturedHosts reports hosts for which the sidecar can't listen.
func (s *seen) capturedHosts() []finding {
	var down []string
	for _, m := range s.metrics["tapedeck_captured_host_up"] {
		if m.value == 0 {
			down = append(down, m.labels["host"]+":"+m.labels["port"])
		}
	}
	if len(down) == 0 {
		return nil
	}
	return []finding{{check.Partly, "the sidecar can't listen for captured hosts, so the application reaches them directly: " + list(down),
		causes("render again, which sets the sysctl net.ipv4.ip_unprivileged_port_start for ports below 1024",
			"another process of the pod listens on that port of every address: remove the host from "+contract.OwnPrefix+"capture-hosts",
			"the reason is in "+s.logs())}}
}

// direction judges one half.
func (s *seen) direction(h half) []finding {
	if s.status != nil && h.half == nil {
		return []finding{{check.LeftOut, "the " + h.name + " half doesn't run", h.absent}}
	}
	h.connected = s.count("tapedeck_connections_total", "direction", h.direction)
	h.listed = s.count("tapedeck_exchanges_by_direction_total", "direction", h.direction)
	if !h.connected.ok {
		return lacks("connections of that direction")
	}
	found := s.times(h.connected, "connection")
	if failed := s.count("tapedeck_connections_failed_total", "direction", h.direction); failed.all > 0 {
		found += fmt.Sprintf("; %.0f failed", failed.all)
	}
	moved := s.count("tapedeck_bytes_total", "direction", h.direction) // includes bytes on older connections
	broken := s.unreachable(h)
	switch {
	case h.connected.all == 0 && s.status == nil:
		return []finding{{check.Unknown, found + ", and an older sidecar doesn't say whether the " + h.name + " half runs", h.none}}
	case h.connected.all == 0:
		return []finding{{check.Unknown, found, h.none}}
	case s.off():
		return append(broken, finding{check.LeftOut, found + "; capture is off", turnOn})
	case !h.listed.ok:
		return append(broken, finding{check.Unknown, found + "; an older sidecar doesn't say how much of that it recorded", older})
	case s.recent(h.listed) > 0:
		return append(broken, finding{check.OK, found + "; " + s.times(h.listed, "exchange"), ""})
	case len(broken) > 0:
		return broken
	case s.recent(h.connected)+s.recent(moved) == 0:
		return []finding{{check.Unknown, found + "; no bytes were sent while the pod was watched", h.none}}
	}
	return []finding{{check.Unknown, found + "; no exchange of them is recorded yet", h.unfinished}}
}

func (s *seen) off() bool {
	on, ok := s.metrics.sum("tapedeck_capture_on")
	return ok && on == 0
}

// turnOn is the fix if nothing is recorded because capture is off.
const turnOn = "turn capture on: see above"

// sendOne is the fix if nothing was recorded yet.
func (s *seen) sendOne() string {
	if s.off() {
		return turnOn
	}
	return "send a request, and check again"
}

// unreachable reports the last connection whose target could not be reached.
func (s *seen) unreachable(h half) []finding {
	if h.half == nil || h.half.Failed == nil || h.half.Failed.Reason != status.Unreachable {
		return nil
	}
	f := h.half.Failed
	if !s.isRecent(f.Time) {
		return nil
	}
	state := check.Partly
	if s.recent(h.listed) == 0 {
		state = check.Problem
	}
	return []finding{{state, fmt.Sprintf("a connection to %s failed, %s: %s", oneline.Text(f.Target, maxQuoted), s.when(f.Time), lastWords(f.Error)), h.refused}}
}

// lastWords returns an error's text without the part that the finding already shows.
func lastWords(text string) string {
	text = oneline.Text(text, status.MaxText)
	if _, rest, ok := strings.Cut(text, ": dial tcp "); ok {
		return rest
	}
	return text
}
