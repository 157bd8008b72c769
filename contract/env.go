package contract

import "strconv"

// Env describes one environment variable of the sidecar's container.
type Env struct {
	// Name of the variable.
	Name string
	// Default is what the proxy assumes when the variable is unset or empty.
	Default string
	// Doc says in a sentence what the variable does.
	Doc string
}

// Names of the sidecar's environment variables. Those without TAPEDECK_ are
// the sidecar ecosystem's own, so manifests, compose files and task
// definitions written for it keep working.
const (
	EnvCaptureMode      = "CAPTURE_MODE"
	EnvProxyType        = "PROXY_TYPE"
	EnvProxyProtocol    = "PROXY_PROTOCOL"
	EnvProxyInPort      = "PROXY_IN_PORT"
	EnvProxyOutPort     = "PROXY_OUT_PORT"
	EnvReverseProxyHost = "REVERSE_PROXY_HOST"
	EnvReverseProxyPort = "REVERSE_PROXY_PORT"
	EnvProxyInAddress   = "TAPEDECK_IN_ADDRESS"
	EnvInPorts          = "TAPEDECK_IN_PORTS"

	EnvTLSOutUnwrap        = "TLS_OUT_UNWRAP"
	EnvTLSInUnwrap         = "TLS_IN_UNWRAP"
	EnvTLSInPublicKey      = "TLS_IN_PUBLIC_KEY"
	EnvTLSInPrivateKey     = "TLS_IN_PRIVATE_KEY"
	EnvTLSMutualPublicKey  = "TLS_MUTUAL_PUBLIC_KEY"
	EnvTLSMutualPrivateKey = "TLS_MUTUAL_PRIVATE_KEY"
	EnvTLSCertDir          = "TLS_CERT_DIR"
	EnvCADir               = "TAPEDECK_CA_DIR"
	EnvUpstreamCA          = "TAPEDECK_UPSTREAM_CA"
	EnvUpstreamReady       = "TAPEDECK_UPSTREAM_READY"

	EnvCapture        = "TAPEDECK_CAPTURE"
	EnvCaptureInclude = "TAPEDECK_CAPTURE_INCLUDE"
	EnvCaptureExclude = "TAPEDECK_CAPTURE_EXCLUDE"
	EnvCaptureSample  = "TAPEDECK_CAPTURE_SAMPLE"
	EnvCaptureDir     = "TAPEDECK_CAPTURE_DIR"
	EnvCaptureHosts   = "TAPEDECK_CAPTURE_HOSTS"
	EnvSink           = "TAPEDECK_SINK"
	EnvSinkSize       = "TAPEDECK_SINK_SIZE"
	EnvSpool          = "TAPEDECK_SPOOL"
	EnvSinkTokenFile  = "TAPEDECK_SINK_TOKEN_FILE"
	EnvSinkPlainHTTP  = "TAPEDECK_SINK_PLAIN_HTTP"
	EnvMemory         = "TAPEDECK_MEMORY"
	EnvSidecar        = "TAPEDECK_SIDECAR"
	EnvDrain          = "TAPEDECK_DRAIN"
	EnvBodyLimit      = "TAPEDECK_BODY_LIMIT"
	EnvOpaqueBytes    = "TAPEDECK_OPAQUE_BYTES"
	EnvRedactHeaders  = "TAPEDECK_REDACT_HEADERS"
	EnvRedact         = "TAPEDECK_REDACT"
	EnvRedactKeyFile  = "TAPEDECK_REDACT_KEY_FILE"
	EnvLogLevel       = "LOG_LEVEL"
	EnvPrometheusPort = "PROMETHEUS_PORT"

	EnvAppLabel       = "APP_LABEL"
	EnvPodName        = "APP_POD_NAME"
	EnvPodNamespace   = "APP_POD_NAMESPACE"
	EnvNodeName       = "SPEC_NODENAME"
	EnvServiceAccount = "SPEC_SERVICEACCOUNTNAME"
	EnvHostIP         = "STATUS_HOST_IP"
	EnvPodIP          = "STATUS_POD_IP"
	EnvCluster        = "CLUSTER_NAME"

	EnvUpstreamHTTPProxy  = "HTTP_PROXY"
	EnvUpstreamHTTPSProxy = "HTTPS_PROXY"
	EnvUpstreamAllProxy   = "ALL_PROXY"
	EnvUpstreamNoProxy    = "NO_PROXY"
)

// EnvEdits is a variable of the sidecar's that the sidecar does not read. It tells
// an undo what the render was told to add, and what the application had already.
const EnvEdits = "TAPEDECK_EDITS"

// EnvFormerPrefix begins the names of further such variables. A sidecar that goes through
// the responder of a replay has there, for an undo, the proxies that the application had.
const EnvFormerPrefix = "TAPEDECK_FORMER_"

// Envs lists every variable that the proxy reads, in the order in which the
// renderer writes them and the reference page shows them. The pod's facts come
// first: Kubernetes resolves $(STATUS_POD_IP) in what follows.
func Envs() []Env {
	return []Env{
		{EnvAppLabel, "", "Name under which exchanges are recorded; the workload's `app` label, or its name."},
		{EnvPodName, "", "Pod's name."},
		{EnvPodNamespace, "", "Pod's namespace."},
		{EnvNodeName, "", "Node's name."},
		{EnvServiceAccount, "", "Pod's service account."},
		{EnvHostIP, "", "Node's address."},
		{EnvPodIP, "", "Pod's address."},
		{EnvCluster, "undefined", "Cluster's name, written into every record."},
		{EnvCaptureMode, "proxy", "Capture mode; `proxy` is the only one."},
		{EnvProxyType, "dual", "Which halves run: `reverse` (inbound), `forward` (outbound) or `dual` (both)."},
		{EnvProxyProtocol, "tcp:http", "What the halves speak: `tcp` (reverse only), `http`, `socks`, `tcp:http` or `tcp:socks` (dual only)."},
		{EnvProxyInPort, "4143", "Port of the reverse proxy."},
		{EnvProxyOutPort, "4140", "Port of the forward proxy; HTTP, CONNECT, SOCKS4, SOCKS4a and SOCKS5 are all understood on it."},
		{EnvProxyInAddress, "loopback", "Where the reverse proxy listens: `loopback` (127.0.0.1 and ::1, which is where an Istio Sidecar sends) or `all` (every address of the pod, for a Service that points at it)."},
		{EnvReverseProxyHost, "localhost", "Host the reverse proxy forwards to; `https://host` makes it speak TLS to the application."},
		{EnvReverseProxyPort, "80", "Port the reverse proxy forwards to."},
		{EnvInPorts, "", "Every port that is captured, where there are several: pairs of a port of the reverse proxy and the port it forwards to, as `4143=8080,4144=9090`. The first pair is that of the two variables above."},
		{EnvTLSOutUnwrap, "false", "Intercept the TLS of outbound connections."},
		{EnvTLSInUnwrap, "false", "Terminate the TLS of inbound connections."},
		{EnvTLSInPublicKey, "", "File with the inbound server's certificate chain, PEM."},
		{EnvTLSInPrivateKey, "", "File with the inbound server's private key, PEM."},
		{EnvTLSMutualPublicKey, "", "File with the client certificate shown to upstreams, PEM."},
		{EnvTLSMutualPrivateKey, "", "File with the client certificate's private key, PEM."},
		{EnvTLSCertDir, TrustDir, "Directory into which the sidecar writes the trust files that the application reads."},
		{EnvCADir, CADir, "Directory with the CA's `tls.crt` and `tls.key`."},
		{EnvUpstreamCA, "", "File with further roots, PEM, that upstreams are verified against beside the public and the system's ones."},
		{EnvUpstreamReady, "", "URL that has to answer with status 200 before the outbound half connects to anything: until then, connections of the application wait. Set for a proxy that everything is chained to, such as the responder of a replay: the proxies below are then the [only way out](sidecar.md#a-proxy-that-everything-is-chained-to). The sidecar doesn't start with it unless `ALL_PROXY` is set, or `PROXY_TYPE` is `reverse`. The URL has no user."},
		{EnvCapture, "on", "`off` captures nothing; traffic passes as before."},
		{EnvCaptureInclude, "", "Rules, one of which an exchange has to match to be captured ([filters](filters.md)); unset: all are captured."},
		{EnvCaptureExclude, "", "Rules, none of which an exchange may match to be captured; they win over the former."},
		{EnvCaptureSample, "1", "Part of the traces to capture, as `0.1` or `10%`: of one trace everything is captured, or nothing."},
		{EnvCaptureDir, "", "Directory whose files `capture`, `include`, `exclude` and `sample` take the place of the four variables above, and may change at any time: a mounted ConfigMap."},
		{EnvCaptureHosts, "", "Hosts, with their ports, that are captured though the application ignores its proxy variables ([hosts files](sidecar.md#hosts-files)), as in `postgres.db:5432, redis:6379`."},
		{EnvSink, DefaultSink, "Where recordings go, as a URL: `file:///directory`, or `https://host:port` of a [collector](collector.md)."},
		{EnvSinkSize, strconv.Itoa(DefaultSinkSize>>30) + "Gi", "Bound on the size of the sink's directory, in bytes or with Ki, Mi, Gi: the oldest segments in it, whoever wrote them, make room for new ones. 0: none."},
		{EnvSpool, RecordingDir, "Directory for what a collector does not have yet."},
		{EnvSinkTokenFile, SinkTokenDir + "/" + SinkTokenName, "File with the token that the collector wants; read whenever it is needed, so that it may come and change."},
		{EnvSinkPlainHTTP, "false", "Send to a collector by plain HTTP, at an address beyond the pod: bodies and the token travel in clear, unless a mesh encrypts them."},
		{EnvMemory, strconv.Itoa(DefaultMemory>>20) + "Mi", "Bound on the memory for capture, in bytes or with Ki, Mi, Gi: copied traffic that waits, bodies that are put together, records that wait for the sink. What does not fit is dropped from the recording and counted. Under a memory limit it is three sixteenths of that at most, and a body at most a twenty-fourth of what it is."},
		{EnvSidecar, "native", "When SIGTERM comes. `native`: after the application has ended, so the inbound half closes at once, and the outbound half when the last inbound connection has ended. `classic`: together with the application, so both halves go on until it is silent."},
		{EnvDrain, "25s", "How long in-flight connections may take to finish after SIGTERM. Writing what was recorded takes up to 5 s more, so at least as much less than the pod's terminationGracePeriodSeconds."},
		{EnvBodyLimit, "1Mi", "How much of a body, or of a message, is recorded; the rest is counted. With 0 nothing is kept of bodies, messages and streams."},
		{EnvOpaqueBytes, "false", "Record the bytes of streams in protocols that no decoder knows. Such streams carry logins, which cannot be redacted; unset, only their sizes and times are recorded."},
		{EnvRedactHeaders, "", "Headers, and parameters of URLs by the same names, to redact besides the usual ones, as a whole; separated by commas."},
		{EnvRedact, "", "What to redact besides secrets, separated by commas: `email`, `phone` (numbers that begin with `+`), and `grpc`, which leaves out the bytes of gRPC messages and keeps their sizes."},
		{EnvRedactKeyFile, "", "File with the key under which equal secrets get equal tokens, in every process that has the same key: 16 bytes or more, read once at the start. Without it, or if it can't be used, each process makes a random key of its own."},
		{EnvLogLevel, "info", "Log level: `debug`, `info`, `warn` or `error`."},
		{EnvPrometheusPort, "", "Port that serves `/metrics` on the pod's address, for scraping; unset: on the loopback admin port only."},
		{EnvUpstreamHTTPProxy, "", "Proxy that plain HTTP is chained to: what the application had in this variable."},
		{EnvUpstreamHTTPSProxy, "", "Proxy that TLS is chained to: what the application had in this variable."},
		{EnvUpstreamAllProxy, "", "Proxy that everything else is chained to: what the application had in this variable."},
		{EnvUpstreamNoProxy, "", "Hosts reached without that proxy: what the application had in this variable. Without effect where proxies are the only way out."},
	}
}
