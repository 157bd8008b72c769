package transformer

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// tlsFiles are a certificate and key for the sidecar, inbound or outbound. They come from a Secret, or
// are files that the application's container mounts.
type tlsFiles struct {
	secret, public, private string
	annotation              string // the annotation that names the files, for results
	volume, dir             string
}

// on reports whether the files were requested. Without a Secret, either both are full paths or neither:
// see checkSettings.
func (t tlsFiles) on() bool { return t.secret != "" || path.IsAbs(t.public) }

func (t tlsFiles) path(file string) string {
	if t.secret == "" {
		return file
	}
	return path.Join(t.dir, file)
}

func (s *Settings) tlsIn() tlsFiles {
	return tlsFiles{s.TLSInSecret, s.TLSInPublic, s.TLSInPrivate, "tls-in-public", contract.TLSInVolume, contract.TLSInDir}
}

func (s *Settings) tlsMutual() tlsFiles {
	return tlsFiles{s.TLSMutualSecret, s.TLSMutualPublic, s.TLSMutualPrivate, "tls-mutual-public", contract.TLSMutualVolume, contract.TLSMutualDir}
}

// intercepts reports whether the sidecar reads outbound TLS.
func (s *Settings) intercepts() bool { return s.outbound() && s.TLSOut }

// sidecarContainer builds the sidecar. It complies with Pod Security "restricted", and has the
// environment of package contract. Its probes are exec probes, because Istio rewrites other probes
// (https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/).
func sidecarContainer(w *workload, cfg *Config, sink *collector, upstream map[string]*yaml.Node) (*yaml.Node, Results) {
	s := &w.settings
	mounts, results := sidecarMounts(w, cfg, sink)
	var restart any
	if cfg.Sidecar == sidecarNative {
		restart = "Always"
	}
	program := contract.ProgramOf(cfg.ImageContract)
	var postStart *yaml.Node
	if cfg.Sidecar == sidecarClassic {
		// Containers start in order, and the next one waits for this hook. So the trust files exist,
		// and the ports are open, before the application starts.
		postStart = nodes.Mapping("postStart", nodes.Mapping("exec", nodes.Mapping("command", append(slices.Clone(program.Healthz), "--wait", "60s"))))
	}
	healthz := nodes.Mapping("command", program.Healthz)
	words := func(list []string) any {
		if list == nil {
			return nil
		}
		return list
	}
	env := sidecarEnv(w, cfg, sink, upstream)
	results = append(results, checkImageContract(w, cfg, env)...)
	return nodes.Mapping(
		"name", contract.Container,
		"image", cfg.Image,
		"imagePullPolicy", pullPolicy(cfg),
		"command", words(program.Command),
		"args", words(program.Args),
		"restartPolicy", restart,
		"env", env,
		"ports", sidecarPorts(s),
		"resources", sidecarResources(s),
		"lifecycle", postStart,
		"startupProbe", nodes.Mapping("exec", healthz, "periodSeconds", 1, "timeoutSeconds", 5, "failureThreshold", 60),
		"livenessProbe", nodes.Mapping("exec", healthz, "periodSeconds", 10, "timeoutSeconds", 5, "failureThreshold", 6),
		"securityContext", securityContext(cfg),
		"volumeMounts", mounts,
	), results
}

// checkImageContract reports variables that the image does not know. The image would silently ignore
// them.
func checkImageContract(w *workload, cfg *Config, env *yaml.Node) Results {
	var results Results
	for _, item := range nodes.Items(env) {
		name := nodes.StringAt(item, "name")
		if since := contract.Since(name); since > cfg.ImageContract {
			results = append(results, result(CodeImageContract, w.Object, "the sidecar needs variable %s, which images read since contract version %d, but the option imageContract is %d; allowed: a newer image, or settings without that variable", name, since, cfg.ImageContract))
		}
	}
	return results
}

// pullPolicy returns the image's pull policy; nil omits it.
func pullPolicy(cfg *Config) any {
	if cfg.ImagePullPolicy == "" {
		return nil
	}
	return cfg.ImagePullPolicy
}

func securityContext(cfg *Config) *yaml.Node {
	id := func(n int) any {
		if n == 0 {
			return nil
		}
		return n
	}
	return nodes.Mapping(
		"allowPrivilegeEscalation", false,
		"capabilities", nodes.Mapping("drop", []string{"ALL"}),
		"readOnlyRootFilesystem", true,
		"runAsNonRoot", true,
		"runAsUser", id(cfg.RunAsUser),
		"runAsGroup", id(cfg.RunAsGroup),
		"seccompProfile", nodes.Mapping("type", "RuntimeDefault"),
	)
}

func sidecarPorts(s *Settings) *yaml.Node {
	var ports []*yaml.Node
	if s.inbound() {
		for i, r := range s.routes {
			name := "proxy-in"
			if i > 0 {
				name = fmt.Sprintf("proxy-in-%d", r.In)
			}
			ports = append(ports, nodes.Mapping("name", name, "containerPort", r.In))
		}
	}
	if s.PrometheusPort != 0 {
		ports = append(ports, nodes.Mapping("name", "tapedeck-prom", "containerPort", s.PrometheusPort))
	}
	if ports == nil {
		return nil
	}
	return nodes.Sequence(ports...)
}

// sidecarResources builds the sidecar's resources. If a default request is higher than the limit, it
// lowers the request to the limit.
func sidecarResources(s *Settings) *yaml.Node {
	request := func(r resource) string {
		if r.exceeds() && !s.set(r.requestName) {
			return r.limit
		}
		return r.request
	}
	list := func(value func(resource) string) *yaml.Node {
		var pairs []any
		for _, r := range s.resources() {
			if v := value(r); v != "" {
				pairs = append(pairs, r.name, v)
			}
		}
		if pairs == nil {
			return nil
		}
		return nodes.Mapping(pairs...)
	}
	return nodes.Mapping("requests", list(request), "limits", list(func(r resource) string { return r.limit }))
}

// resource is one resource that the sidecar requests, with the annotation of its request.
type resource struct{ name, request, limit, requestName string }

// exceeds reports whether the request is higher than the limit. The API server rejects that.
func (r resource) exceeds() bool {
	return r.limit != "" && parseQuantity(r.request) > parseQuantity(r.limit)
}

func (s *Settings) resources() []resource {
	return []resource{
		{"cpu", s.CPURequest, s.CPULimit, "cpu-request"},
		{"memory", s.MemoryRequest, s.MemoryLimit, "memory-request"},
		{"ephemeral-storage", s.EphemeralStorageRequest, s.EphemeralStorageLimit, "ephemeral-storage-request"},
	}
}

// sidecarEnv builds the environment, in the order of the contract's table.
func sidecarEnv(w *workload, cfg *Config, sink *collector, upstream map[string]*yaml.Node) *yaml.Node {
	s := &w.settings
	values := map[string]string{
		contract.EnvAppLabel:      w.appLabel(),
		contract.EnvCluster:       cfg.Cluster,
		contract.EnvCaptureMode:   s.CaptureMode,
		contract.EnvProxyType:     s.ProxyType,
		contract.EnvProxyProtocol: s.ProxyProtocol,
		contract.EnvLogLevel:      cfg.LogLevel,
		contract.EnvSink:          cfg.Sink,
		contract.EnvSidecar:       cfg.Sidecar,
		contract.EnvBodyLimit:     cfg.BodyLimit,
		contract.EnvRedactHeaders: strings.Join(cfg.RedactHeaders, ","),
		contract.EnvRedact:        strings.Join(cfg.Redact, ","),
	}
	if sink != nil {
		values[contract.EnvSpool] = contract.RecordingDir
		values[contract.EnvSinkTokenFile] = path.Join(contract.SinkTokenDir, contract.SinkTokenName)
		if sink.Scheme == "http" { // checkSink allowed plain HTTP
			values[contract.EnvSinkPlainHTTP] = "true"
		}
	}
	if cfg.RedactKeySecret != "" {
		values[contract.EnvRedactKeyFile] = path.Join(contract.RedactKeyDir, contract.RedactKeyName)
	}
	if cfg.OpaqueBytes {
		values[contract.EnvOpaqueBytes] = "true"
	}
	if s.Diagnostics {
		values[contract.EnvLogLevel] = "debug"
	}
	if s.inbound() {
		values[contract.EnvProxyInPort] = strconv.Itoa(s.ProxyInPort)
		values[contract.EnvReverseProxyHost] = s.ProxyHost
		values[contract.EnvReverseProxyPort] = strconv.Itoa(s.routes[0].App)
		if len(s.routes) > 1 {
			values[contract.EnvInPorts] = contract.FormatInRoutes(s.routes)
		}
		values[contract.EnvProxyInAddress] = "loopback"
		if cfg.Inbound != inboundSidecar {
			values[contract.EnvProxyInAddress] = "all"
		}
		if t := s.tlsIn(); t.on() {
			values[contract.EnvTLSInUnwrap] = "true"
			values[contract.EnvTLSInPublicKey] = t.path(t.public)
			values[contract.EnvTLSInPrivateKey] = t.path(t.private)
		}
	}
	if s.outbound() {
		values[contract.EnvProxyOutPort] = strconv.Itoa(s.ProxyOutPort)
		values[contract.EnvCaptureHosts] = contract.FormatCaptureHosts(s.hosts)
	}
	if s.intercepts() {
		values[contract.EnvTLSOutUnwrap] = "true"
		values[contract.EnvTLSCertDir] = contract.TrustDir
		values[contract.EnvCADir] = contract.CADir
		if cfg.UpstreamCASecret != "" {
			values[contract.EnvUpstreamCA] = path.Join(contract.UpstreamCADir, "ca.crt")
		}
		if s.responder != "" { // its certificates are signed by the CA
			values[contract.EnvUpstreamCA] = path.Join(contract.CADir, caCertificate)
			values[contract.EnvUpstreamReady] = responderHealth(s.responder)
		}
		if t := s.tlsMutual(); t.on() {
			values[contract.EnvTLSMutualPublicKey] = t.path(t.public)
			values[contract.EnvTLSMutualPrivateKey] = t.path(t.private)
		}
	}
	for name, chosen := range map[string]struct{ variable, value string }{
		"capture":         {contract.EnvCapture, s.Capture},
		"capture-include": {contract.EnvCaptureInclude, s.CaptureInclude},
		"capture-exclude": {contract.EnvCaptureExclude, s.CaptureExclude},
		"capture-sample":  {contract.EnvCaptureSample, s.CaptureSample},
	} {
		if s.set(name) {
			values[chosen.variable] = literal(chosen.value)
		}
	}
	if s.CaptureConfig != "" {
		values[contract.EnvCaptureDir] = contract.CaptureDir
	}
	if s.PrometheusPort != 0 {
		values[contract.EnvPrometheusPort] = strconv.Itoa(s.PrometheusPort)
	}
	values[contract.EnvMemory] = within(s.MemoryLimit, contract.DivideMemory(s.memoryLimit()).Capture, contract.DefaultMemory)
	values[contract.EnvSinkSize] = cmp.Or(cfg.SinkSize, within(s.EphemeralStorageLimit, wholeBytes(parseQuantity(s.EphemeralStorageLimit)*0.8), contract.DefaultSinkSize))
	values[contract.EnvDrain] = drainTime(nodes.At(w.podSpec(), "terminationGracePeriodSeconds"))
	fields := map[string]string{
		contract.EnvPodName:        "metadata.name",
		contract.EnvPodNamespace:   "metadata.namespace",
		contract.EnvNodeName:       "spec.nodeName",
		contract.EnvServiceAccount: "spec.serviceAccountName",
		contract.EnvHostIP:         "status.hostIP",
		contract.EnvPodIP:          "status.podIP",
	}
	env := nodes.Sequence[*yaml.Node]()
	for _, e := range contract.Envs() {
		switch {
		case upstream[e.Name] != nil:
			env.Content = append(env.Content, upstream[e.Name])
		case fields[e.Name] != "":
			env.Content = append(env.Content, nodes.Mapping("name", e.Name, "valueFrom", nodes.Mapping("fieldRef", nodes.Mapping("fieldPath", fields[e.Name]))))
		case values[e.Name] != "":
			env.Content = append(env.Content, nodes.Mapping("name", e.Name, "value", values[e.Name]))
		}
	}
	return env
}

// memoryLimit returns the sidecar's memory limit in bytes; 0 means no limit.
func (s *Settings) memoryLimit() int64 { return wholeBytes(parseQuantity(s.MemoryLimit)) }

// wholeBytes converts a number of bytes to an int64, and caps it.
func wholeBytes(n float64) int64 { return int64(min(n, 1<<62)) }

// literal escapes a value that Kubernetes would expand: $(NAME) would become a variable's value, and
// $$ a single $.
func literal(value string) string {
	if !strings.Contains(value, "$(") && !strings.Contains(value, "$$") {
		return value
	}
	return strings.ReplaceAll(value, "$", "$$")
}

// within returns how much the sidecar may use under a limit: part, if that is less than usual, which is
// the sidecar's default. "" leaves the amount to the sidecar.
func within(limit string, part, usual int64) string {
	most := min(part, usual)
	if parseQuantity(limit) == 0 || most >= usual { // 0 is no limit
		return ""
	}
	return strconv.FormatInt(max(most, 1), 10) // 0 would mean no limit
}

// drainTime returns how long connections may take to finish, given the pod's grace period, of which it
// reserves 5 s for writing the recordings. It returns "" for the default grace period of 30 s.
func drainTime(grace *yaml.Node) string {
	var seconds float64 // Kubernetes also accepts 60.0
	switch {
	case grace == nil || nodes.IsNull(grace) || grace.Decode(&seconds) != nil || seconds == 30 || math.IsNaN(seconds):
		return ""
	case seconds <= 5:
		return "500ms"
	}
	return fmt.Sprintf("%ds", int(min(seconds, 1<<31))-5) // capped, because a time.Duration can't hold every number of seconds
}

// appLabel returns the name under which the workload's exchanges are recorded.
func (w *workload) appLabel() string {
	if w.original != nil {
		return w.original.appLabel()
	}
	labels := w.podLabels()
	for _, key := range []string{"app", "app.kubernetes.io/name"} {
		if labels[key] != "" {
			return labels[key]
		}
	}
	return trimName(w.name())
}

// describe says in a few words what a workload's sidecar captures.
func (s *Settings) describe() string {
	var parts []string
	if s.inbound() {
		var ways []string
		for _, r := range s.routes {
			ways = append(ways, fmt.Sprintf("%s:%d through port %d", s.ProxyHost, r.App, r.In))
		}
		parts = append(parts, "inbound "+strings.Join(ways, " and "))
	}
	if s.outbound() {
		kind := "HTTP"
		if s.socks() {
			kind = "SOCKS"
		}
		parts = append(parts, fmt.Sprintf("outbound %s proxy on port %d", kind, s.ProxyOutPort))
	}
	if len(s.hosts) > 0 {
		parts = append(parts, "hosts file for "+contract.FormatCaptureHosts(s.hosts))
	}
	if s.intercepts() {
		parts = append(parts, "TLS intercepted")
	}
	if s.Capture == "off" {
		parts = append(parts, "capture off")
	}
	if s.CaptureInclude != "" || s.CaptureExclude != "" {
		parts = append(parts, "filtered")
	}
	if s.set("capture-sample") {
		parts = append(parts, "sampled at "+s.CaptureSample)
	}
	if s.CaptureConfig != "" {
		parts = append(parts, "changed by ConfigMap "+s.CaptureConfig)
	}
	text := strings.Join(parts, ", ")
	if len(s.inferred) > 0 {
		text += "; inferred: " + strings.Join(s.inferred, ", ")
	}
	return text
}
