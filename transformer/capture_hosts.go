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

// A hosts file captures programs that ignore their proxy variables:
//
// the sidecar ── writes ──▶ the trust volume's hosts ── subPath ──▶ /etc/hosts of the application
// postgres.db ─ 127.0.1.1:5432 ─▶ the sidecar ─▶ postgres.db:5432
//
// A kubelet does not write /etc/hosts in a container that mounts it itself (k8s.io/kubernetes v1.34,
// pkg/kubelet/kubelet_pods.go, makeMounts). So the sidecar and Envoy keep the pod's file, and find the
// real hosts. A kubelet creates a directory for a subPath that does not exist. So no container that
// starts before the sidecar has written the file may mount it: see lateContainers.

// hostsAuto, in a list of hosts to capture, adds the hosts that the environment of the application
// names.
const hostsAuto = "auto"

var captureHostsKind = Kind{Name: "list", Allowed: hostsAuto + ", or " + contract.CaptureHostsAllowed + "; " + hostsAuto + " may be one of them",
	hidden: true, // somebody may put a DSN there
	check:  func(v string) error { _, _, err := parseCaptureHosts(v); return err }}

// parseCaptureHosts returns the hosts that a list names, and whether the list contains auto.
func parseCaptureHosts(list string) (named []contract.CaptureHost, auto bool, err error) {
	entries := contract.SplitHosts(list)
	others := slices.DeleteFunc(slices.Clone(entries), func(e string) bool { return e == hostsAuto })
	named, err = contract.ParseCaptureHosts(strings.Join(others, ","))
	return named, len(others) < len(entries), err
}

// resolveHosts decides which hosts of a workload are captured. It returns an error for a host that the
// workload itself requests and that can't be captured. It leaves out, and reports, such a host if it
// was inferred or comes from configuration for all workloads.
func (in *input) resolveHosts(w *workload) Results {
	s := &w.settings
	named, auto, err := parseCaptureHosts(s.CaptureHosts)
	if err != nil || !s.outbound() { // the error is already reported
		return nil
	}
	var results Results
	var left []string
	src := s.explicit["capture-hosts"]
	taken := in.portsOfPod(w)
	kept := &captureList{}
	for _, h := range named {
		whole := true // because the hosts file leads calls to every port to the sidecar
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

// captureList is a growing list of captured hosts.
type captureList struct {
	hosts []contract.CaptureHost
	ports int
}

// add adds the ports of a host. If there is no room for all of them, it adds none and returns false.
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

// usesTrustVolume reports whether the sidecar writes files for the application.
func (s *Settings) usesTrustVolume() bool { return s.intercepts() || len(s.hosts) > 0 }

// lateContainers returns the init containers of the application that start after the sidecar, which
// are captured too, and those that start before it. The startupProbe of a native sidecar delays the
// containers after it until the hosts file is written.
//
// A classic sidecar is not an init container. Its postStart delays the other containers, but only if
// it starts: if it does not, a kubelet continues with the next container. So an init container puts
// the file in place: see hostsContainer.
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

// hostsContainer builds the init container that puts the hosts file in place before a classic sidecar
// runs. It needs no network, so its position does not matter. It has the sidecar's resources, which a
// namespace's quota or LimitRange accepts.
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

// addedHosts reports whether hostsContainer built a container.
func addedHosts(c *yaml.Node) bool {
	command := nodes.Items(nodes.At(c, "command"))
	return len(command) == 2 && nodes.String(command[0]) == contract.ProxyBinary && nodes.String(command[1]) == "hosts"
}

// mountHosts mounts the hosts file over a container's /etc/hosts, unless the container itself mounts
// something there.
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

// openPorts lets the sidecar, which has no privileges, listen on ports below 1024 of captured hosts.
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

// portStart reads the sysctl. If its value is not a number, all low ports remain privileged.
func portStart(sysctl *yaml.Node) int {
	n, err := strconv.Atoi(nodes.StringAt(sysctl, "value"))
	if err != nil || n < 0 {
		return contract.UnprivilegedPorts
	}
	return n
}

// hosts returns the hosts that a rendered sidecar captures through the hosts file.
func (i *injected) hosts() []contract.CaptureHost {
	hosts, _ := contract.ParseCaptureHosts(i.value(contract.EnvCaptureHosts))
	return hosts
}

// addedSysctl inverts the addition by openPorts.
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

// replacedSysctl inverts the lowering of an existing value by openPorts.
func replacedSysctl(t *taking, s site, old *yaml.Node) (bool, error) {
	lowest := contract.LowestCapturePort(t.own.hosts())
	switch {
	case lowest == 0 || lowest >= contract.UnprivilegedPorts:
		return false, errNotAsked
	case old.Kind != yaml.ScalarNode || portStart(nodes.Mapping("value", old)) <= lowest:
		return false, fmt.Errorf("it restores a value that already allows port %d", lowest)
	}
	return nodes.String(s.now) == strconv.Itoa(lowest), nil
}
