package transformer

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// Programs that ignore their proxy variables are captured by a hosts file:
//
//	the sidecar ── writes ──▶ the trust volume's hosts ── subPath ──▶ /etc/hosts of the application
//	postgres.db ─ 127.0.1.1:5432 ─▶ the sidecar ─▶ postgres.db:5432
//
// A kubelet leaves /etc/hosts alone in a container that mounts it itself
// (k8s.io/kubernetes v1.34, pkg/kubelet/kubelet_pods.go, makeMounts), so the sidecar and
// Envoy keep the pod's own, and find the real hosts. A kubelet makes a directory of a
// subPath that is not there, so no container may mount the file that starts before the
// sidecar has written it: see lateContainers.

// hostsAuto, in a list of hosts to capture, stands for those that the environment of the
// application names.
const hostsAuto = "auto"

var captureHostsKind = Kind{Name: "list", Allowed: hostsAuto + ", or " + contract.CaptureHostsAllowed + "; " + hostsAuto + " may stand among them",
	hidden: true, // somebody may put a DSN there
	check:  func(v string) error { _, _, err := parseCaptureHosts(v); return err }}

// parseCaptureHosts parts a list into the hosts that it names and whether it has auto.
func parseCaptureHosts(list string) (named []contract.CaptureHost, auto bool, err error) {
	entries := contract.SplitHosts(list)
	others := slices.DeleteFunc(slices.Clone(entries), func(e string) bool { return e == hostsAuto })
	named, err = contract.ParseCaptureHosts(strings.Join(others, ","))
	return named, len(others) < len(entries), err
}

// resolveHosts decides which hosts of a workload are captured. A host that the workload
// itself asks for and that can't be captured is an error. One that was inferred, or that
// configuration names for all workloads, is left out, and that is said.
func (in *input) resolveHosts(w *workload) Results {
	s := &w.settings
	named, auto, err := parseCaptureHosts(s.CaptureHosts)
	if err != nil || !s.outbound() { // which is said already
		return nil
	}
	var results Results
	var left []string
	src := s.explicit["capture-hosts"]
	taken := in.portsOfPod(w)
	kept := &captureList{}
	for _, h := range named {
		whole := true // the hosts file leads calls of every port to the sidecar
		for _, port := range h.Ports {
			code, why := in.refusesHost(w, taken, h.Name, port)
			switch {
			case code == "":
				continue
			case src.path == "":
				left = append(left, fmt.Sprintf("%s:%d: %s", h.Name, port, why))
			default:
				results = append(results, result(code, w.Object, "capture-hosts: %s:%d can't be captured: %s", h.Name, port, why).At(src.path, src.value, ""))
			}
			whole = false
		}
		if whole {
			kept.add(h.Name, h.Ports...)
		}
	}
	var found []string
	if auto {
		var more []string
		found, more = in.inferHosts(w, taken, kept)
		left = append(left, more...)
	}
	s.hosts = kept.hosts
	at := s.where("capture-hosts")
	switch {
	case len(found) > 0:
		results = append(results, result(CodeHostsInferred, w.Object, "the hosts file captures %s", strings.Join(found, "; ")).At(at, s.CaptureHosts, ""))
	case auto:
		results = append(results, result(CodeHostsNone, w.Object, "capture-hosts: %s", reasons[CodeHostsNone].Sentence).At(at, s.CaptureHosts, ""))
	}
	if len(left) > 0 {
		results = append(results, result(CodeHostsLeft, w.Object, "not captured through the hosts file: %s", strings.Join(left, "; ")).At(at, s.CaptureHosts, ""))
	}
	if len(s.hosts) > 0 {
		results = append(results, in.checkHosts(w, taken)...)
	}
	return results
}

// captureList is a list of captured hosts that is added to.
type captureList struct {
	hosts []contract.CaptureHost
	ports int
}

// add adds ports of a host: all, or none and false where there is no room.
func (l *captureList) add(name string, ports ...int) bool {
	i := slices.IndexFunc(l.hosts, func(h contract.CaptureHost) bool { return h.Name == name })
	if i >= 0 {
		ports = without(ports, l.hosts[i].Ports)
	}
	switch {
	case l.ports+len(ports) > contract.MaxCapturePorts, i < 0 && len(l.hosts) == contract.MaxCaptureHosts:
		return false
	case i < 0:
		i = len(l.hosts)
		l.hosts = append(l.hosts, contract.CaptureHost{Name: name})
	}
	l.hosts[i].Ports = append(l.hosts[i].Ports, ports...)
	l.ports += len(ports)
	return true
}

// usesTrustVolume tells whether the sidecar writes files for the application.
func (s *Settings) usesTrustVolume() bool { return s.intercepts() || len(s.hosts) > 0 }

// lateContainers are the init containers of the application that start after the
// sidecar: they are captured, too. A native sidecar's startupProbe holds back whatever
// stands behind it until the hosts file is written.
//
// A classic sidecar is no init container. Its postStart holds the others back, but only
// if it starts at all: a kubelet goes on to the next container where it does not. So an
// init container puts the file in place: see hostsContainer.
func (in *input) lateContainers(w *workload) (late, early []container) {
	list := nodes.At(w.podSpec(), "initContainers")
	at := len(nodes.Items(list))
	if in.cfg.Sidecar == sidecarNative && list != nil {
		at = nativeIndex(list, w.settings.InsertInitFirst)
	}
	for i, c := range nodes.Items(list) {
		name := nodes.StringAt(c, "name")
		if meshContainers[name] || slices.Contains([]string{redirectContainer, coreDumpContainer, validationContainer}, name) {
			continue
		}
		if init := (container{c, pathItem(w.at("spec.initContainers"), nodes.ID(c))}); i < at {
			early = append(early, init)
		} else {
			late = append(late, init)
		}
	}
	return late, early
}

// hostsContainer builds the init container that puts the hosts file in place before a
// classic sidecar runs. It needs no network, so it may stand anywhere; its resources are
// the sidecar's, which a namespace's quota or LimitRange lets through.
func hostsContainer(w *workload, cfg *Config) *yaml.Node {
	return nodes.Mapping(
		"name", contract.HostsContainer,
		"image", cfg.Image,
		"imagePullPolicy", pullPolicy(cfg),
		"command", contract.ProgramOf(cfg.ImageContract).Hosts,
		"resources", sidecarResources(&w.settings),
		"securityContext", securityContext(cfg),
		"volumeMounts", nodes.Sequence(trustMount(false)),
	)
}

// addedHosts tells whether a container is one that hostsContainer built.
func addedHosts(c *yaml.Node) bool {
	command := nodes.Items(nodes.At(c, "command"))
	return len(command) == 2 && nodes.String(command[0]) == contract.ProxyBinary && nodes.String(command[1]) == "hosts"
}

// mountHosts mounts the hosts file over a container's own, unless it mounts something
// there itself.
func (a *appEnv) mountHosts() {
	for _, m := range nodes.Items(nodes.At(a.c.Node, "volumeMounts")) {
		if path.Clean(nodes.StringAt(m, "mountPath")) == contract.SystemHosts {
			*a.results = append(*a.results, result(CodeHostsMounted, a.w.Object, "container %s mounts volume %s at %s, so the render does not mount the hosts file there: the sidecar captures only what the container calls through its proxy variables", a.c.name(), nodes.StringAt(m, "name"), contract.SystemHosts).
				At(pathItem(a.c.path+".volumeMounts", nodes.StringAt(m, "mountPath")), nodes.StringAt(m, "name"), ""))
			return
		}
	}
	mounts, at := a.collection(a.c.Node, a.c.path, "volumeMounts", yaml.SequenceNode)
	a.appendItem(mounts, at, nodes.Mapping("name", contract.TrustVolume, "mountPath", contract.SystemHosts, "subPath", contract.HostsName, "readOnly", true))
}

// openPorts lets the sidecar, which has no privileges, listen on the ports of captured
// hosts that are below 1024.
func (in *input) openPorts(e *editor, w *workload) Results {
	lowest := contract.LowestCapturePort(w.settings.hosts)
	if lowest == 0 || lowest >= contract.UnprivilegedPorts {
		return nil
	}
	context, at := e.collection(w.podSpec(), w.at("spec"), "securityContext", yaml.MappingNode)
	list, at := e.collection(context, at, "sysctls", yaml.SequenceNode)
	value, said := strconv.Itoa(lowest), "has"
	switch own := walk(list, []string{contract.SysctlPortStart}); {
	case own == nil:
		e.appendItem(list, at, nodes.Mapping("name", contract.SysctlPortStart, "value", value))
		said = "is given"
	case nodes.At(own, "value") != nil && portStart(own) > lowest:
		said = fmt.Sprintf("is given, in place of %s,", nodes.StringAt(own, "value"))
		e.replace(own, pathItem(at, contract.SysctlPortStart), "value", value)
	default:
		value = nodes.StringAt(own, "value")
	}
	return Results{result(CodeHostsSysctl, w.Object, "a captured host's port is %d: the pod %s the sysctl %s: %s, so that the sidecar can listen there without privileges; Pod Security allows it under every profile", lowest, said, contract.SysctlPortStart, value).
		At(pathItem(at, contract.SysctlPortStart), value, "")}
}

// portStart reads the sysctl; what is no number leaves every low port privileged.
func portStart(sysctl *yaml.Node) int {
	n, err := strconv.Atoi(nodes.StringAt(sysctl, "value"))
	if err != nil || n < 0 {
		return contract.UnprivilegedPorts
	}
	return n
}

// hosts are those that a rendered sidecar captures through the hosts file.
func (i *injected) hosts() []contract.CaptureHost {
	hosts, _ := contract.ParseCaptureHosts(i.value(contract.EnvCaptureHosts))
	return hosts
}

// addedSysctl inverts what openPorts added.
func addedSysctl(t *taking, s site) (bool, error) {
	lowest := contract.LowestCapturePort(t.own.hosts())
	switch {
	case s.id != contract.SysctlPortStart:
		return false, fmt.Errorf("%w; allowed: %s", errNotWritten, contract.SysctlPortStart)
	case lowest == 0 || lowest >= contract.UnprivilegedPorts:
		return false, errNotAsked
	}
	return same(s.now, nodes.Mapping("name", s.id, "value", strconv.Itoa(lowest))), nil
}

// replacedSysctl inverts its lowering of the value that was there.
func replacedSysctl(t *taking, s site, old *yaml.Node) (bool, error) {
	lowest := contract.LowestCapturePort(t.own.hosts())
	switch {
	case lowest == 0 || lowest >= contract.UnprivilegedPorts:
		return false, errNotAsked
	case old.Kind != yaml.ScalarNode || portStart(nodes.Mapping("value", old)) <= lowest:
		return false, fmt.Errorf("it restores what would have been enough for port %d", lowest)
	}
	return nodes.String(s.now) == strconv.Itoa(lowest), nil
}
