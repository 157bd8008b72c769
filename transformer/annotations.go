package transformer

import (
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/contract/filter"
)

// Annotation is one row of the table of annotations. Parsing, docs/annotations.md and the
// JSON Schema are made from it.
type Annotation struct {
	// Name is the key without its prefix.
	Name string
	// Own and Replay choose the prefix: tapedeck.dev/ for annotations that only Tapedeck
	// has, replay.speedscale.com/ for those of replays, else sidecar.speedscale.com/.
	Own, Replay bool
	Kind        Kind
	// Default applies when neither the workload, its pod template nor the
	// configuration's defaults set the annotation.
	Default string
	// Inferred is set instead of Default if the value is inferred. It says how it follows from the input.
	Inferred string
	// Doc says what the annotation does.
	Doc string
	// When says where the annotation has an effect; nil means everywhere.
	When *Condition
	// NoMeaning says why the annotation has no effect, for example because Tapedeck redirects no packets.
	// A workload that sets the annotation gets this text as a result.
	NoMeaning string
	// Former has the names of the annotation in old manifests.
	Former []string

	// target returns the address of the parsed value. Replay annotations use asks instead.
	target func(*Settings) any
	asks   func(*replayRequest) any
}

// Condition reports whether an annotation has an effect in combination with the others.
type Condition struct {
	// Doc completes the sentence "valid with …".
	Doc string
	// holds applies to the sidecar's annotations, replays to replay annotations.
	holds   func(*Settings) bool
	replays func(*replaySpec) bool
}

var (
	withInbound    = &Condition{Doc: "proxy-type reverse or dual", holds: (*Settings).inbound}
	withOutbound   = &Condition{Doc: "proxy-type forward or dual", holds: (*Settings).outbound}
	withTLSOut     = &Condition{Doc: "tls-out", holds: func(s *Settings) bool { return s.outbound() && s.TLSOut }}
	withPrometheus = &Condition{Doc: "prometheus-port", holds: func(s *Settings) bool { return s.PrometheusPort != 0 }}
)

// Key returns the annotation's full key.
func (a Annotation) Key() string {
	switch {
	case a.Own:
		return contract.OwnPrefix + a.Name
	case a.Replay:
		return contract.ReplayPrefix + a.Name
	}
	return contract.SidecarPrefix + a.Name
}

// bareName returns an annotation's name without its prefix.
func bareName(key string) string {
	return strings.TrimPrefix(strings.TrimPrefix(key, contract.SidecarPrefix), contract.OwnPrefix)
}

// Capture types, the values of proxy-type.
const (
	typeTransparent = "transparent"
	typeReverse     = "reverse"
	typeForward     = "forward"
	typeDual        = "dual"
)

// Settings are the parsed annotations of one workload, with defaults. Each field has the name of its
// annotation.
type Settings struct {
	Inject          bool
	InsertInitFirst bool

	CaptureMode   string
	ProxyType     string
	ProxyProtocol string
	ProxyHost     string
	ProxyPort     string // a number or a name
	ProxyPorts    []string
	ProxyInPort   int
	ProxyOutPort  int

	TLSOut               bool
	TLSJavaToolOptions   bool
	TLSJavaToolOptionsTo string
	TLSInSecret          string
	TLSInPrivate         string
	TLSInPublic          string
	TLSMutualSecret      string
	TLSMutualPrivate     string
	TLSMutualPublic      string
	MountKnownCA         bool

	CPURequest, CPULimit                           string
	MemoryRequest, MemoryLimit                     string
	EphemeralStorageRequest, EphemeralStorageLimit string

	// Package filter parses the fields from Capture to CaptureConfig.
	Capture                        string
	CaptureInclude, CaptureExclude string
	CaptureSample                  string
	CaptureConfig                  string
	CaptureHosts                   string

	KubeAPISupport       bool
	ExtraEnv             []EnvVar
	PrometheusPort       int
	PrometheusAnnotation bool
	Diagnostics          bool
	JavaProxy            bool

	// explicit holds the annotations that were set, by name; a built-in default doesn't count.
	explicit map[string]source

	// routes maps the captured ports to ports of the sidecar: see infer. portsBy names the annotation
	// that lists the ports; "" if none does.
	routes  []contract.InRoute
	portsBy string
	// inferred lists the values that were inferred, and their sources. unclear lists the ports among
	// which the input doesn't decide.
	inferred []string
	unclear  string
	// left says, by port number, why known ports are not captured.
	left map[int]PortReason
	// noPort reports whether the workload has neither a port nor anything else to capture.
	noPort bool
	// hosts are captured through the hosts file: see resolveHosts.
	hosts []contract.CaptureHost
	// responder is the host of the responder that gets all outbound calls of a workload in a
	// replay; "" if the calls go to their hosts.
	responder string
}

// inbound and outbound report which halves of the sidecar run.
func (s *Settings) inbound() bool  { return s.ProxyType == typeReverse || s.ProxyType == typeDual }
func (s *Settings) outbound() bool { return s.ProxyType == typeForward || s.ProxyType == typeDual }

// socks reports whether the application speaks SOCKS to the forward proxy.
func (s *Settings) socks() bool { return s.ProxyProtocol == "socks" || s.ProxyProtocol == "tcp:socks" }

// noRedirect says why annotations that configure iptables have no effect.
const noRedirect = "it configures which packets iptables redirects, but Tapedeck redirects none: the application is pointed at the proxy, and Istio sends inbound traffic to it"

// Annotations returns the table, in the order in which the reference shows it.
//
// Names, defaults and meaning are those of
// https://docs.speedscale.com/reference/kubernetes-annotations/.
func Annotations() []Annotation { return annotations }

var annotations = []Annotation{
	{Name: "inject", Kind: boolKind, Default: "false",
		Doc:    "Add the sidecar. With `false`, or without the annotation, a render removes what an earlier render added.",
		target: func(s *Settings) any { return &s.Inject }},
	{Name: "insert-init-first", Kind: boolKind, Default: "false",
		Doc:    "Put the sidecar before the pod's other init containers instead of after them. A classic sidecar is no init container, and always comes first.",
		target: func(s *Settings) any { return &s.InsertInitFirst }},
	{Name: "capture-mode", Kind: enumKind("proxy"), Default: "proxy", Former: []string{"captureMode"},
		Doc:    "How traffic is captured. `proxy` is the only mode. The former mode `istio`, a WebAssembly filter in Envoy, no longer exists.",
		target: func(s *Settings) any { return &s.CaptureMode }},
	{Name: "proxy-type", Kind: enumKind(typeTransparent, typeReverse, typeForward, typeDual), Inferred: "`dual`, or `forward` without a port to capture", Former: []string{"proxyType", "proxyMode", "proxy-mode"},
		Doc:    "Which halves run: `reverse` captures inbound traffic, `forward` outbound, `dual` both. `transparent` needs iptables rules and NET_ADMIN, which Tapedeck never requests. A render skips such a workload, with a result.",
		target: func(s *Settings) any { return &s.ProxyType }},
	{Name: "proxy-protocol", Kind: enumKind("tcp", "http", "socks", "tcp:http", "tcp:socks"), Inferred: "`tcp:http`; `http` where proxy-type is set", Former: []string{"proxyProtocol"},
		Doc:    "Protocols of the halves. `tcp` is for `reverse`. `tcp:http` and `tcp:socks` are for `dual`: inbound traffic passes unchanged, and the outbound half is an HTTP or a SOCKS proxy.",
		target: func(s *Settings) any { return &s.ProxyProtocol }},
	{Name: "proxy-host", Kind: hostKind, Default: "localhost", Former: []string{"proxyHost"},
		Doc: "Host where the application listens. If it listens only on the pod's address, use `$(STATUS_POD_IP)`.", When: withInbound,
		target: func(s *Settings) any { return &s.ProxyHost }},
	{Name: "proxy-port", Kind: appPortKind, Inferred: "every TCP port that Services lead to, or else the only containerPort", Former: []string{"proxyPort"},
		Doc: "The application's port, by number or by the name of a containerPort. No other port is captured. " +
			"Inference leaves out ports for metrics or health, if others remain. Names of such ports consist of " + strings.Join(watchWords, ", ") + ", and words such as http.", When: withInbound,
		target: func(s *Settings) any { return &s.ProxyPort }},
	{Name: "proxy-ports", Own: true, Kind: appPortsKind,
		Doc: "Several ports of the application, in place of `proxy-port`.", When: withInbound,
		target: func(s *Settings) any { return &s.ProxyPorts }},
	{Name: "proxy-in-port", Kind: portKind, Default: "4143", Former: []string{"proxyInPort"},
		Doc: "Port where the sidecar accepts inbound connections. With several captured ports, it is for the lowest one, and the others get the next free ports.", When: withInbound,
		target: func(s *Settings) any { return &s.ProxyInPort }},
	{Name: "proxy-out-port", Kind: portKind, Default: "4140", Former: []string{"proxyOutPort"},
		Doc: "Port where the sidecar accepts outbound connections.", When: withOutbound,
		target: func(s *Settings) any { return &s.ProxyOutPort }},
	{Name: "capture-node-traffic", Kind: boolKind, Default: "false", Former: []string{"captureNodeTraffic"},
		Doc:       "Capture the node's own inbound traffic, such as the kubelet's probes.",
		NoMeaning: "Istio answers the kubelet's probes itself, and the sidecar captures other callers on any node"},
	{Name: "host-resolution", Kind: enumKind("smart", "standard", "none"), Default: "smart",
		Doc:       "How addresses become host names.",
		NoMeaning: "the application gives the forward proxy the host's name, so no address has to be looked up"},
	{Name: "tls-out", Kind: boolKind, Default: "false", Former: []string{"tls"},
		Doc: "Intercept outbound TLS, and make the application's containers trust the CA.", When: withOutbound,
		target: func(s *Settings) any { return &s.TLSOut }},
	{Name: "tls-java-tool-options", Kind: boolKind, Default: "false",
		Doc: "Add the truststore's flags to JAVA_TOOL_OPTIONS. Never adds proxy flags.", When: withTLSOut,
		target: func(s *Settings) any { return &s.TLSJavaToolOptions }},
	{Name: "tls-java-tool-options-value", Kind: textKind,
		Doc: "Flags to add to JAVA_TOOL_OPTIONS, in place of those of tls-java-tool-options.", When: withTLSOut,
		target: func(s *Settings) any { return &s.TLSJavaToolOptionsTo }},
	{Name: "java-proxy", Own: true, Kind: boolKind, Default: "false",
		Doc: "Make Java use the sidecar: append flags to JAVA_TOOL_OPTIONS for the proxy, for the hosts of NO_PROXY and, with tls-out, for the truststore.", When: withOutbound,
		target: func(s *Settings) any { return &s.JavaProxy }},
	{Name: "tls-in-secret", Kind: secretKind, Former: []string{"tlsinsecret", "tls-secret"},
		Doc: "Secret with the certificate and key of the application's own TLS. Setting it makes the sidecar terminate inbound TLS.", When: withInbound,
		target: func(s *Settings) any { return &s.TLSInSecret }},
	{Name: "tls-in-private", Kind: fileKind, Default: "tls.key", Former: []string{"tlsinprivate"},
		Doc: "Private key: a file of tls-in-secret. Without that Secret, the full path of a file that the application's container mounts.", When: withInbound,
		target: func(s *Settings) any { return &s.TLSInPrivate }},
	{Name: "tls-in-public", Kind: fileKind, Default: "tls.crt", Former: []string{"tlsinpublic"},
		Doc: "Certificate, given like tls-in-private.", When: withInbound,
		target: func(s *Settings) any { return &s.TLSInPublic }},
	{Name: "tls-mutual-secret", Kind: secretKind, Former: []string{"tlsmutualsecret"},
		Doc: "Secret with the client certificate and key for upstreams that ask for one.", When: withTLSOut,
		target: func(s *Settings) any { return &s.TLSMutualSecret }},
	{Name: "tls-mutual-private", Kind: fileKind, Default: "tls.key", Former: []string{"tlsmutualprivate"},
		Doc: "Private key: a file of tls-mutual-secret. Without that Secret, the full path of a file that the application's container mounts.", When: withTLSOut,
		target: func(s *Settings) any { return &s.TLSMutualPrivate }},
	{Name: "tls-mutual-public", Kind: fileKind, Default: "tls.crt", Former: []string{"tlsmutualpublic"},
		Doc: "Certificate, given like tls-mutual-private.", When: withTLSOut,
		target: func(s *Settings) any { return &s.TLSMutualPublic }},
	{Name: "mount-known-ca", Kind: boolKind, Default: "false",
		Doc: "Mount the bundle of public roots and the CA over the system's bundle, for programs that read no variable.", When: withTLSOut,
		target: func(s *Settings) any { return &s.MountKnownCA }},
	{Name: "ignore-src-ips", Kind: listKind, Former: []string{"ignoreSrcIPs", "ignoreSrcIps"},
		Doc: "Sources whose inbound traffic is not captured.", NoMeaning: noRedirect},
	{Name: "ignore-src-hosts", Kind: listKind, Former: []string{"ignoreSrcHosts"},
		Doc: "Sources, by name, whose inbound traffic is not captured.", NoMeaning: noRedirect},
	{Name: "ignore-inbound-ports", Kind: listKind,
		Doc: "Ports whose inbound traffic is not captured.", NoMeaning: noRedirect + "; the inbound ports that are captured are those of proxy-port or proxy-ports"},
	{Name: "ignore-dst-ips", Kind: listKind, Former: []string{"ignoreDstIPs", "ignoreDstIps"},
		Doc: "Destinations whose outbound traffic is not captured.", NoMeaning: noRedirect + "; hosts in NO_PROXY, or in the option noProxy, are reached directly"},
	{Name: "ignore-dst-hosts", Kind: listKind, Former: []string{"ignoreDstHosts"},
		Doc: "Destinations, by name, whose outbound traffic is not captured.", NoMeaning: noRedirect + "; hosts in NO_PROXY, or in the option noProxy, are reached directly"},
	{Name: "ignore-outbound-ports", Kind: listKind,
		Doc: "Ports whose outbound traffic is not captured.", NoMeaning: noRedirect},
	{Name: "ignore-loopback", Kind: boolKind, Default: "false",
		Doc: "Discard traffic on the loopback interface.", NoMeaning: noRedirect},
	{Name: "track-loopback", Kind: boolKind, Default: "false",
		Doc: "Redirect loopback traffic to the inbound port.", NoMeaning: noRedirect},
	{Name: "capture", Own: true, Kind: enumKind("on", "off"), Default: "on",
		Doc:    filter.KeyOf("capture").Doc + " A ConfigMap can turn capture on and off without a restart: see `capture-config`.",
		target: func(s *Settings) any { return &s.Capture }},
	{Name: "capture-include", Own: true, Kind: filterKind("include", "rules"),
		Doc:    filter.KeyOf("include").Doc,
		target: func(s *Settings) any { return &s.CaptureInclude }},
	{Name: "capture-exclude", Own: true, Kind: filterKind("exclude", "rules"),
		Doc:    filter.KeyOf("exclude").Doc,
		target: func(s *Settings) any { return &s.CaptureExclude }},
	{Name: "capture-sample", Own: true, Kind: filterKind("sample", "rate"), Default: "1",
		Doc:    filter.KeyOf("sample").Doc,
		target: func(s *Settings) any { return &s.CaptureSample }},
	{Name: "capture-config", Own: true, Kind: configMapKind,
		Doc:    "ConfigMap whose keys `capture`, `include`, `exclude` and `sample` override the annotations above while the sidecar runs. The pod also starts without the ConfigMap.",
		target: func(s *Settings) any { return &s.CaptureConfig }},
	{Name: "capture-hosts", Own: true, Kind: captureHostsKind,
		Doc: "Hosts to capture through a [hosts file](outbound.md#hosts-file), although the application ignores its proxy variables. `auto` captures the hosts in the environment of the application's containers. An empty value captures none and overrides the option captureHosts.", When: withOutbound,
		target: func(s *Settings) any { return &s.CaptureHosts }},
	{Name: "cpu-request", Kind: quantityKind, Default: "10m",
		Doc: "CPU that the sidecar requests.", target: func(s *Settings) any { return &s.CPURequest }},
	{Name: "cpu-limit", Kind: quantityKind,
		Doc: "CPU limit of the sidecar; 2 is recommended under load.", target: func(s *Settings) any { return &s.CPULimit }},
	{Name: "memory-request", Kind: quantityKind, Default: "32Mi",
		Doc: "Memory that the sidecar requests.", target: func(s *Settings) any { return &s.MemoryRequest }},
	{Name: "memory-limit", Kind: quantityKind,
		Doc: "Memory limit of the sidecar, at least 32Mi. Near the limit the sidecar drops and counts records; traffic continues. 1Gi is recommended under load.", target: func(s *Settings) any { return &s.MemoryLimit }},
	{Name: "ephemeral-storage-request", Kind: quantityKind,
		Doc: "Ephemeral storage that the sidecar requests.", target: func(s *Settings) any { return &s.EphemeralStorageRequest }},
	{Name: "ephemeral-storage-limit", Kind: quantityKind,
		Doc: "Ephemeral storage limit of the sidecar, recordings included.", target: func(s *Settings) any { return &s.EphemeralStorageLimit }},
	{Name: "kube-api-support", Kind: boolKind, Default: "false",
		Doc: "Send calls to the Kubernetes API through the proxy too, instead of listing it in NO_PROXY.", When: withTLSOut,
		target: func(s *Settings) any { return &s.KubeAPISupport }},
	{Name: "istio-cni", Kind: boolKind, Default: "false",
		Doc:       "The cluster uses the Istio CNI agent.",
		NoMeaning: "Tapedeck writes no iptables rules, so it doesn't matter who writes Istio's"},
	{Name: "extra-container-env-vars", Kind: envLinesKind,
		Doc: "Variables to add to the application's containers, one KEY=VALUE per line. The sidecar does not get them.", target: func(s *Settings) any { return &s.ExtraEnv }},
	{Name: "prometheus-port", Kind: portKind,
		Doc: "Port on the pod's address where the sidecar serves its metrics.", target: func(s *Settings) any { return &s.PrometheusPort }},
	{Name: "prometheus-enable-scrape-annotations", Kind: boolKind, Default: "false",
		Doc: "Add the prometheus.io annotations to the pod. If the pod already has such annotations, they stay unchanged.", When: withPrometheus,
		target: func(s *Settings) any { return &s.PrometheusAnnotation }},
	{Name: "diagnostics", Kind: boolKind, Default: "false", Former: []string{"debug"},
		Doc:    "Verbose log of the sidecar. It makes no packet captures, which need NET_RAW.",
		target: func(s *Settings) any { return &s.Diagnostics }},
}

// retired has annotations of old manifests that have no replacement, each with the reason why it has
// no effect.
var retired = map[string]string{
	"remove":          "without inject: \"true\" there is nothing to remove; use inject: \"false\"",
	"status":          "an operator wrote it, and Tapedeck doesn't read it",
	"envoy-filter":    "capturing inside Envoy is gone; Envoy sends to the sidecar through an Istio Sidecar",
	"envoyFilter":     "capturing inside Envoy is gone; Envoy sends to the sidecar through an Istio Sidecar",
	"detect-postgres": "protocols are always detected",
	"detect-mongo":    "protocols are always detected",
	"detect-amqpv091": "protocols are always detected",
	"injected":        "it is a label, which the render writes",
}
