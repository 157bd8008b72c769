package manifests

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/transformer"
)

const (
	proxyType    = contract.SidecarPrefix + "proxy-type"
	captureHosts = contract.OwnPrefix + "capture-hosts"
	javaProxy    = contract.OwnPrefix + "java-proxy"
	javaTrust    = contract.SidecarPrefix + "tls-java-tool-options"
)

// outbound reports for each container how its calls are captured.
func (w *workload) outbound() {
	if !w.Outbound {
		w.say(check.Outbound, check.LeftOut, "", w.bothHalves(), "outbound calls are not captured: proxy-type is %s, which captures only inbound ones", w.Settings.ProxyType)
		return
	}
	if w.Filter.KeepsNone(false) {
		w.say(check.Outbound, check.LeftOut, "", changeFilters, "outbound calls are not captured: the filters leave out every one")
		return
	}
	var early []string
	for _, x := range w.Containers {
		switch {
		case x.Init && !x.HostsFile:
			early = append(early, x.Name)
		case x.Init:
			w.say(check.Outbound, check.OK, "", "", "init container %s starts after the sidecar, and its calls of the hosts below are captured through the hosts file", x.Name)
		default:
			w.container(x)
		}
	}
	if len(early) > 0 {
		w.say(check.Outbound, check.LeftOut, "", w.earlyFix(),
			"init %s %s %s not led to the sidecar, so %s calls are not captured", noun(len(early), "container"), some(early), verb(len(early), "is", "are"), verb(len(early), "its", "their"))
	}
	w.hosts()
}

// bothHalves returns the fix that adds the other half of the sidecar.
func (w *workload) bothHalves() string {
	fix := "set " + proxyType + ": dual"
	if w.Settings.ProxyProtocol == "tcp" { // tcp is for inbound calls only
		fix += fmt.Sprintf(", and %sproxy-protocol: tcp:http", contract.SidecarPrefix)
	}
	return fix
}

// earlyFix returns the fix for calls of init containers: only the hosts file captures them, and
// only in containers that start after the sidecar.
func (w *workload) earlyFix() string {
	var needs []string
	if w.Config.Sidecar == "classic" {
		needs = append(needs, "set the option sidecar to native")
	}
	if !w.Settings.InsertInitFirst {
		needs = append(needs, fmt.Sprintf("set %sinsert-init-first: \"true\"", contract.SidecarPrefix))
	}
	if len(w.Hosts) == 0 {
		needs = append(needs, "name the hosts in "+captureHosts)
	}
	if len(needs) == 0 { // for example, the container mounts another hosts file
		needs = []string{"see the other findings about the hosts file"}
	}
	return "if their calls matter: " + strings.Join(needs, ", and ")
}

// container reports how the calls of one container are captured.
func (w *workload) container(x transformer.CaptureContainer) {
	about := w.resultsOf(x)
	runs, known := runtimeOf(x)
	const web = "HTTP, HTTPS and gRPC"
	kept, isKept := find(about, transformer.CodeNoProxyKept)
	switch apart, ok := find(about, transformer.CodeProxyApart); {
	case isKept && kept.Field != nil && kept.Field.CurrentValue != "": // it is *
		w.say(check.Outbound, check.Problem, kept.Code(), "remove it, or set the option captureNoProxy to true", "%s", before(kept.Message, "; remove it"))
		return
	case ok:
		w.say(check.Outbound, check.Problem, apart.Code(), "give it the same proxy variables as the other one", "%s", before(apart.Message, "; give it"))
		return
	case !x.Proxied:
		w.say(check.Outbound, check.Problem, "", fmt.Sprintf("remove the proxy variables of the container, or name the hosts in %s", captureHosts),
			"container %s: its proxy variables don't lead to the sidecar", x.Name)
	case known && runs.java && x.JavaProxy:
		w.say(check.Outbound, check.OK, "", "", "container %s runs %s, by %s: its flags lead %s to the sidecar, and drivers that open sockets themselves only %s", x.Name, runs.name, runs.by, web, captureHosts)
	case known && !runs.reads && x.HostsFile:
		w.say(check.Outbound, check.OK, "", "", "container %s runs %s, by %s, which reads no proxy variables: its calls of the hosts below are captured, and no others", x.Name, runs.name, runs.by)
	case known && !runs.reads:
		fix := fmt.Sprintf("name the hosts in %s, or write auto there", captureHosts)
		switch {
		case runs.java && w.Settings.JavaProxy:
			fix = fmt.Sprintf("%s is set, but the variables of the container keep it from working: fix them as described here, or name the hosts in %s", javaProxy, captureHosts)
		case runs.java:
			fix = fmt.Sprintf("set %s: \"true\", and for drivers of databases %s: auto", javaProxy, captureHosts)
		}
		w.say(check.Outbound, check.Problem, "", fix, "container %s runs %s, by %s, which reads no proxy variables: its calls are not captured", x.Name, runs.name, runs.by)
	case known:
		w.say(check.Outbound, check.OK, "", "", "container %s runs %s, by %s, which usually reads proxy variables: they lead %s to the sidecar", x.Name, runs.name, runs.by, web)
	case x.HostsFile:
		w.say(check.Outbound, check.OK, "", "", "container %s: the hosts file leads its calls of the hosts below to the sidecar, and its proxy variables lead %s there if the program reads them", x.Name, web)
	default:
		w.say(check.Outbound, check.Unknown, "", fmt.Sprintf("docs/outbound.md says which programs do; for others set %s: auto. For a running pod, tapedeck check http://localhost:4100 reports whether calls are seen", captureHosts),
			"container %s: its proxy variables lead %s to the sidecar if the program reads them, which a manifest doesn't show", x.Name, web)
	}
	w.past(x, about)
	if chained, ok := find(about, transformer.CodeProxyChained); ok {
		w.say(check.Outbound, check.OK, chained.Code(), "", "%s", chained.Message)
	}
}

// past reports which calls of a container bypass the sidecar because of NO_PROXY.
func (w *workload) past(x transformer.CaptureContainer, about transformer.Results) {
	if kept, ok := find(about, transformer.CodeNoProxyKept); ok {
		w.say(check.Outbound, check.Unknown, kept.Code(), "check that it has localhost and 127.0.0.1, and no host whose calls should be captured", "%s", before(kept.Message, "; localhost"))
		return
	}
	if len(x.Past) == 0 {
		return
	}
	state, code := check.LeftOut, transformer.Code("")
	if _, ok := find(about, transformer.CodeNoProxyWide); ok {
		state, code = check.Partly, transformer.CodeNoProxyWide
	}
	w.say(check.Outbound, state, code, "remove them from NO_PROXY, or set the option captureNoProxy to true", "container %s: calls of %s bypass the sidecar, because of NO_PROXY", x.Name, some(x.Past))
}

// before returns the part of a message before its own advice.
func before(message, advice string) string {
	message, _, _ = strings.Cut(message, advice)
	return message
}

// resultsOf returns the results about a container.
func (w *workload) resultsOf(x transformer.CaptureContainer) (about transformer.Results) {
	for _, r := range w.results {
		if r.Field != nil && strings.HasPrefix(r.Field.Path, x.Path) {
			about = append(about, r)
		}
	}
	return about
}

// hosts reports which hosts the hosts file captures.
func (w *workload) hosts() {
	if len(w.Hosts) == 0 {
		return
	}
	names := make([]string, len(w.Hosts))
	for i, h := range w.Hosts {
		names[i] = contract.FormatCaptureHosts([]contract.CaptureHost{h})
	}
	bytes := "for protocols other than HTTP, sizes and times are recorded"
	if w.Config.OpaqueBytes {
		bytes = "for protocols other than HTTP, the bytes are recorded, including logins"
	}
	found := "the hosts file leads calls of " + some(names) + " to the sidecar; " + bytes
	if r, ok := find(w.results, transformer.CodeHostsInferred); ok {
		found = r.Message + "; " + bytes
	}
	w.say(check.Outbound, check.OK, "", "", "%s", found)
}

// tls reports whether outbound TLS is read, and which containers trust the CA.
func (w *workload) tls() {
	if !w.Outbound {
		return
	}
	if !w.ReadsTLS {
		fix := fmt.Sprintf("set %stls-out: \"true\"", contract.SidecarPrefix)
		if slices.ContainsFunc(w.Containers, lacksTruststore) {
			fix += fmt.Sprintf(" and, for Java, %s: \"true\"", javaTrust)
		}
		w.say(check.TLS, check.LeftOut, "", fix+", and apply the output of tapedeck ca",
			"outbound TLS is not read: of an HTTPS call, only the host, sizes and times are recorded")
		return
	}
	if r, ok := find(w.results, transformer.CodeCASecret); ok {
		w.say(check.TLS, check.Unknown, r.Code(), fmt.Sprintf("if the namespace has none: tapedeck ca --name %s --output - | kubectl apply%s -f -", w.Config.CASecret, inNamespace(w.Workload.Namespace)),
			"outbound TLS is read with the CA of Secret %s, which is not in the input; without it TLS passes unread", w.Config.CASecret)
	} else {
		w.say(check.TLS, check.OK, "", "", "outbound TLS is read with the CA of Secret %s", w.Config.CASecret)
	}
	for _, x := range w.Containers {
		if x.Init && !x.HostsFile {
			continue
		}
		runs, known := runtimeOf(x)
		switch {
		case known && runs.java && x.JavaTrust:
			w.say(check.TLS, check.OK, "", "", "container %s runs %s, by %s, and JAVA_TOOL_OPTIONS names a truststore with the CA", x.Name, runs.name, runs.by)
		case known && runs.java:
			fix := fmt.Sprintf("set %s: \"true\", or %s: \"true\"", javaTrust, javaProxy)
			if w.Settings.JavaProxy || w.Settings.TLSJavaToolOptions {
				fix = "add the truststore where JAVA_TOOL_OPTIONS is defined: another finding here has the flags"
			}
			w.say(check.TLS, check.Problem, "", fix,
				"container %s runs %s, by %s, and nothing in JAVA_TOOL_OPTIONS makes it trust the CA: its TLS calls through the sidecar fail", x.Name, runs.name, runs.by)
		case len(x.Trusts) > 0:
			w.say(check.TLS, check.OK, "", "", "container %s trusts the CA by %s", x.Name, some(x.Trusts))
		}
	}
}

// lacksTruststore reports whether a container runs Java that does not trust the sidecar's CA.
func lacksTruststore(x transformer.CaptureContainer) bool {
	runs, known := runtimeOf(x)
	return known && runs.java && !x.JavaProxy && !x.JavaTrust && !x.Init
}

func inNamespace(ns string) string {
	if ns == "" {
		return ""
	}
	return " -n " + ns
}

// changeFilters is the fix if filters leave out a whole direction.
const changeFilters = "change the filters, which are listed below"

// filters reports which exchanges are left out, how much of a body is kept, and what a ConfigMap may change
// while the sidecar runs.
func (w *workload) filters() {
	s := &w.Settings
	for _, f := range []struct{ name, value, unset, found, fix string }{
		{"capture", s.Capture, "on", "nothing is recorded while capture is %s: traffic passes", "remove %s, or set it to on"},
		{"capture-include", w.Include, "", "only exchanges that match this are recorded: %s", "remove %s to record all"},
		{"capture-exclude", w.Exclude, "", "exchanges that match this are left out: %s", "remove the rule from %s to record them"},
	} {
		if f.value != f.unset {
			w.say(check.Filters, check.LeftOut, "", fmt.Sprintf(f.fix, contract.OwnPrefix+f.name), f.found, f.value)
		}
	}
	if rate, err := filter.Parse(map[string]string{"sample": s.CaptureSample}); err == nil && rate.Sampling() {
		found := s.CaptureSample + " of the traces are recorded, each whole or not at all"
		if !rate.Samples(0) {
			found = "nothing is recorded with a sampling rate of " + s.CaptureSample + ": traffic passes"
		}
		w.say(check.Filters, check.LeftOut, "", "remove "+contract.OwnPrefix+"capture-sample to record all", "%s", found)
	}
	if name := s.CaptureConfig; name != "" {
		if w.Filters == nil {
			w.say(check.Filters, check.Unknown, "", "kubectl get configmap"+inNamespace(w.Workload.Namespace)+" "+name+" -o yaml shows it; check it together with the workload", "ConfigMap %s changes the filters while the sidecar runs, and is not in the input", name)
		} else {
			keys := []string{}
			for key, value := range w.Filters {
				keys = append(keys, fmt.Sprintf("%s is %s", key, value))
			}
			slices.Sort(keys)
			if len(keys) == 0 {
				keys = []string{"it sets nothing"}
			}
			w.say(check.Filters, check.LeftOut, "", "change its keys; the sidecar reads them within about a minute", "ConfigMap %s replaces these annotations: %s", name, some(keys))
		}
	}
	limit := w.Config.BodyLimit
	switch n, err := contract.ParseSize(limit); {
	case limit == "":
		w.say(check.Filters, check.OK, "", "", "up to 1Mi of each body and message is recorded; secrets in them are redacted")
	case err == nil && n == 0:
		w.say(check.Filters, check.LeftOut, "", "set the option bodyLimit to a size, such as 1Mi", "no bodies are recorded: the option bodyLimit is 0")
	default:
		w.say(check.Filters, check.OK, "", "", "up to %s of each body and message is recorded; secrets in them are redacted", limit)
	}
}

// sink reports where recordings go, and what is lost if they stay in the pod.
func (w *workload) sink() {
	size := w.SinkSize
	switch {
	case size == "":
		size = fmt.Sprintf("%dGi", contract.DefaultSinkSize>>30)
	case size == "0":
		size = "any size"
	}
	p, err := contract.ParseSink(w.Config.Sink)
	switch {
	case err != nil:
	case !p.IsCollector():
		w.say(check.Sink, check.OK, "", "", "recordings stay in a volume of the pod, up to %s, where the oldest make room; tapedeck pull fetches them, and they are deleted with the pod", size)
	case w.TokenInInput:
		w.say(check.Sink, check.OK, "", "", "recordings go to %s; up to %s wait in the pod while it does not answer", p, size)
	default:
		w.say(check.Sink, check.Unknown, "", fmt.Sprintf("if the namespace has none: put what tapedeck collect token%s prints into its key token", inNamespace(w.Workload.Namespace)),
			"recordings go to %s if the namespace has the Secret %s, which is not in the input; up to %s wait in the pod", p, w.Config.SinkTokenSecret, size)
	}
}
