package transformer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// All calls of a replayed workload go to the responder, which has the recorded answers:
//
// captured:      app ──HTTP_PROXY, hosts file──▶ sidecar ──SOCKS──▶ responder
// not captured:  app ──HTTP_PROXY──────────────────────────────────────▶ responder
//
// The sidecar does not look up names, and waits until the responder is ready. The application's proxies
// and its lists of hosts to reach directly have no effect, because the calls to those hosts are recorded
// too.

// caCertificate is the key of the CA's certificate in its Secret.
const caCertificate = "tls.crt"

// responderProxy returns the URL of a responder as a proxy. Every client supports the scheme http. The
// sidecar uses socks5h, which delivers a request as it was sent. A client of an HTTP proxy rewrites
// the request target, which loses a Host that differs from the URL.
func responderProxy(scheme, host string) string {
	return fmt.Sprintf("%s://%s:%d", scheme, host, contract.ResponderPort)
}

// responderHealth returns the URL that reports whether a responder is ready.
func responderHealth(host string) string {
	return fmt.Sprintf("http://%s:%d/healthz", host, contract.ResponderAdminPort)
}

// goThroughResponder changes the settings of a workload so that its sidecar sends calls to the
// responder of its replay, if it has one. The sidecar then captures outbound calls, including TLS.
func (in *input) goThroughResponder(w *workload) {
	r, s := w.replay, &w.settings
	s.responder = ""
	if !r.responds() {
		return
	}
	s.responder = r.responderHost()
	s.TLSOut = true
	if s.ProxyType == typeReverse {
		s.ProxyType = typeDual
		if s.ProxyProtocol == "tcp" {
			s.ProxyProtocol = "tcp:http"
		}
	}
	if r.HostsFile {
		s.CaptureHosts = r.hostsFile(s.CaptureHosts)
		s.explicit = maps.Clone(s.explicit)
		if s.explicit == nil {
			s.explicit = map[string]source{}
		}
		s.explicit["capture-hosts"] = source{value: s.CaptureHosts} // without a path, so that a host that can't be captured is left out
	}
}

// hostsFile returns the hosts that the hosts file leads to the sidecar: those that are captured
// anyway, those of mocks that are given by host and port, and those that the environment names.
func (r *replay) hostsFile(captured string) string {
	list := &captureList{}
	named, _, err := parseCaptureHosts(captured)
	if err != nil { // already reported for the original
		named = nil
	}
	for _, key := range r.Mocks.Keys {
		parts := strings.Split(key, ":")
		if more, err := contract.ParseCaptureHosts(strings.Join(parts[max(len(parts)-2, 0):], ":")); err == nil {
			named = append(named, more...)
		}
	}
	for _, h := range named {
		list.add(h.Name, h.Ports...)
	}
	return strings.TrimPrefix(contract.FormatCaptureHosts(list.hosts)+","+hostsAuto, ",")
}

// chainToResponder returns the variables with which the sidecar sends calls to all hosts to the
// responder. For a workload that is edited in place it keeps the application's proxies, so that an undo
// can restore them.
func chainToResponder(w *workload, apps []*appEnv) map[string]*yaml.Node {
	upstream := map[string]*yaml.Node{}
	for _, row := range proxyVariables {
		upstream[row.upper] = nodes.Mapping("name", row.upper, "value", responderProxy("socks5h", w.settings.responder))
	}
	for _, a := range apps {
		a.delegated = without(a.directHosts(), append(directHosts(&w.settings, a.in.cfg), "::1"))
		for _, had := range a.formerProxies() {
			name := nodes.StringAt(had, "name")
			a.say(CodeReplayProxy, name, "", "variable %s names a proxy; the sidecar goes through the responder instead", name)
			if w.original != nil {
				continue
			}
			former := yaml.CopyYNode(had)
			nodes.At(former, "name").Value = contract.EnvFormerPrefix + name
			if other := upstream[contract.EnvFormerPrefix+name]; other != nil && !same(other, former) {
				a.say(CodeProxyConflict, name, "", "variable %s differs from that of another container, and the sidecar can keep only one proxy for the undo of a replay in place; allowed: the same for all containers", name)
			}
			upstream[contract.EnvFormerPrefix+name] = former
		}
	}
	return upstream
}

// formerProxies returns the variables that name a proxy, in order. For a copy it does not report
// proxies that can't be chained to, because the copy does not use them.
func (a *appEnv) formerProxies() []*yaml.Node {
	quiet := *a
	if a.w.original != nil {
		quiet.results = &Results{}
	}
	had := quiet.proxies()
	var out []*yaml.Node
	for _, name := range sortedKeys(had) {
		out = append(out, had[name])
	}
	return out
}

// pointAtResponder points the containers of a copy without a sidecar at the responder. This works only
// for programs that read the variables.
func (in *input) pointAtResponder(r *replay) Results {
	w := r.copied
	if !r.responds() {
		return nil
	}
	results := Results{r.result(CodeReplayNoSidecar, "%s is not captured, so its copy has no sidecar: only variables lead it to the responder. The NetworkPolicy stops calls of programs that ignore them, such as Java and database drivers. To give both a sidecar, set %sinject: \"true\"%s", w.original.Ref(), contract.SidecarPrefix, r.withoutHostsFile())}
	for _, needed := range [][2]string{{"volumes", contract.TrustVolume}, {"initContainers", contract.WaitContainer}} {
		if nodes.Named(nodes.At(w.podSpec(), needed[0]), needed[1]) != nil {
			return append(results, result(CodeNameClash, w.Object, "the pod already has %s among its %s, and the copy needs that name; rename it", needed[1], needed[0]))
		}
	}
	e := in.editorOf(w.Object)
	for _, c := range w.allContainers() {
		if meshContainers[c.name()] || slices.Contains([]string{redirectContainer, coreDumpContainer, validationContainer}, c.name()) {
			continue
		}
		a := &appEnv{editor: e, in: in, w: w, c: c, results: &results}
		a.callResponder()
		a.mountTrust()
		results = append(results, in.checkMounts(w, c, nodes.Items(nodes.At(c.Node, "volumeMounts")))...)
	}
	if in.canWait(w) {
		first, at := e.collection(w.podSpec(), w.at("spec"), "initContainers", yaml.SequenceNode)
		e.insertItem(first, at, 0, in.waitContainer(w))
	}
	volumes, at := e.collection(w.podSpec(), w.at("spec"), "volumes", yaml.SequenceNode)
	e.appendItem(volumes, at, nodes.Mapping("name", contract.TrustVolume, "secret", nodes.Mapping(
		"secretName", in.cfg.CASecret,
		"items", nodes.Sequence(nodes.Mapping("key", caCertificate, "path", strings.TrimPrefix(contract.CACert, contract.TrustDir+"/"))), // the copy must not get the CA's key
	)))
	return results
}

// canWait reports whether an init container of a copy can reach the responder. If an Envoy redirects,
// containers that start before it have no network. The image does not run on Windows.
func (in *input) canWait(w *workload) bool {
	windows, _ := in.windows(w)
	return windows == "" && (!in.meshed(w) || in.ambient(w) != "")
}

// waitContainer builds the init container that makes a copy without a sidecar start after the
// responder is ready, so that calls at the application's start are answered.
func (in *input) waitContainer(w *workload) *yaml.Node {
	return nodes.Mapping(
		"name", contract.WaitContainer,
		"image", in.cfg.Image,
		"imagePullPolicy", pullPolicy(in.cfg),
		"command", []string{contract.Binary, "healthz", "--wait", "1h", "--url", responderHealth(w.settings.responder)},
		"resources", sidecarResources(&w.settings),
		"securityContext", securityContext(in.cfg),
	)
}

// withoutHostsFile says, for a result, that the hosts file does nothing without a sidecar.
func (r *replay) withoutHostsFile() string {
	if r.HostsFile {
		return ", without which routing: hostalias does nothing"
	}
	return ""
}

// callResponder sets the variables that a container would get with a sidecar, but with the responder
// instead.
func (a *appEnv) callResponder() {
	s := &a.w.settings
	for _, row := range proxyVariables {
		for _, name := range spellings(row.upper) {
			if v, exists := a.in.findVariable(a.w, a.c, name); exists || row.upper != contract.EnvUpstreamAllProxy {
				a.set(name, v, exists, responderProxy("http", s.responder))
			}
		}
	}
	if _, exists := a.in.findVariable(a.w, a.c, nodeUseEnvProxy); !exists {
		a.add(nodeUseEnvProxy, "1")
	}
	a.goDirect(directHosts(s, a.in.cfg))
	for _, row := range trustVariables {
		v, exists := a.in.findVariable(a.w, a.c, row.Name)
		a.set(row.Name, v, exists, contract.CACert)
	}
}

// namedHosts reports hosts that the environment of a copy names and that the hosts file does not lead
// to the responder. Programs that ignore proxy variables do not reach them.
func (in *input) namedHosts(r *replay) Results {
	w := r.copied
	if w.settings.responder == "" || r.HostsFile {
		return nil
	}
	list := &captureList{}
	for _, h := range w.settings.hosts {
		list.add(h.Name, h.Ports...)
	}
	found, _ := in.inferHosts(w, in.portsOfPod(w), list)
	if len(found) == 0 {
		return nil
	}
	return Results{r.result(CodeReplayHosts, "the environment of %s names %s. If the program ignores proxy variables, its calls don't reach the responder, and the NetworkPolicy stops them; set routing: hostalias, or %scapture-hosts", w.original.Ref(), strings.Join(found, "; "), contract.OwnPrefix)}
}
