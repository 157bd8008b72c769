package contract

import "strconv"

// Env describes one environment variable of the sidecar's container.
type Env struct {
	// Name is the name of the variable.
	Name string
	// Default is the value that the sidecar uses when the variable is unset or empty.
	Default string
	// Doc says in a sentence what the variable does.
	Doc string
}

// Names of the sidecar's environment variables. Names without TAPEDECK_ come from
// Speedscale's sidecar, so manifests, compose files and task definitions that were
// written for it keep working.
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

// EnvEdits is a variable on the sidecar's container that the sidecar does not read. An
// undo reads from it what the render added, and what the application had before.
const EnvEdits = "TAPEDECK_EDITS"

// EnvFormerPrefix begins the names of other variables that only an undo reads. They hold the
// application's former proxies if the sidecar forwards to a replay's responder.
const EnvFormerPrefix = "TAPEDECK_FORMER_"

// Envs lists every variable that the sidecar reads. The renderer writes them and the
// reference page shows them in this order. The facts about the pod come first, because
// Kubernetes resolves $(STATUS_POD_IP) only in later variables.
func Envs() []Env {
	return []Env{
		{EnvAppLabel, "", "Name of the workload in recordings. The renderer takes it from the workload's `app` label, or else from its name."},
		{EnvPodName, "", "Name of the pod."},
		{EnvPodNamespace, "", "Namespace of the pod."},
		{EnvNodeName, "", "Name of the node."},
		{EnvServiceAccount, "", "Service account of the pod."},
		{EnvHostIP, "", "IP address of the node."},
		{EnvPodIP, "", "IP address of the pod."},
		{EnvCluster, "undefined", "Name of the cluster. Every record has it."},
		{EnvCaptureMode, "proxy", "Capture mode. The only one is `proxy`."},
		{EnvProxyType, "dual", "Which proxies run: `reverse` (inbound), `forward` (outbound) or `dual` (both)."},
		{EnvProxyProtocol, "tcp:http", "Protocols of the proxies: `tcp` (only with `reverse`), `http`, `socks`, or, only with `dual`, `tcp:http` or `tcp:socks`."},
		{EnvProxyInPort, "4143", "Port that the reverse proxy listens on."},
		{EnvProxyOutPort, "4140", "Port that the forward proxy listens on. It accepts HTTP, CONNECT, SOCKS4, SOCKS4a and SOCKS5."},
		{EnvProxyInAddress, "loopback", "Addresses that the reverse proxy listens on: `loopback` (127.0.0.1 and ::1, where an Istio Sidecar sends traffic) or `all` (every address of the pod, for a Service that points at the sidecar)."},
		{EnvReverseProxyHost, "localhost", "Host that the reverse proxy forwards to. With `https://host` it speaks TLS to the application."},
		{EnvReverseProxyPort, "80", "Port that the reverse proxy forwards to."},
		{EnvInPorts, "", "All captured inbound ports, if there are several. Each pair is a port of the reverse proxy and the application's port, as in `4143=8080,4144=9090`. The first pair repeats `PROXY_IN_PORT` and `REVERSE_PROXY_PORT`."},
		{EnvTLSOutUnwrap, "false", "Intercept the TLS of outbound connections."},
		{EnvTLSInUnwrap, "false", "Terminate the TLS of inbound connections."},
		{EnvTLSInPublicKey, "", "PEM file with the certificate chain for inbound TLS."},
		{EnvTLSInPrivateKey, "", "PEM file with the private key for inbound TLS."},
		{EnvTLSMutualPublicKey, "", "PEM file with the client certificate that the sidecar shows to upstreams."},
		{EnvTLSMutualPrivateKey, "", "PEM file with the client certificate's private key."},
		{EnvTLSCertDir, TrustDir, "Directory to which the sidecar writes the trust files for the application."},
		{EnvCADir, CADir, "Directory with the CA's `tls.crt` and `tls.key`."},
		{EnvUpstreamCA, "", "PEM file with more root certificates. The sidecar verifies upstreams against them, the public roots and the system's roots."},
		{EnvUpstreamReady, "", "URL that must answer with status 200 before the forward proxy connects to anything. Until then, the application's connections wait. Use it with a proxy that all traffic is chained to, such as the responder of a replay: the proxies in the variables below are then the [only way out](sidecar.md#a-proxy-that-all-traffic-is-chained-to). It needs `ALL_PROXY`, unless `PROXY_TYPE` is `reverse`; otherwise the sidecar does not start. The URL must not have a user."},
		{EnvCapture, "on", "`on`, or `off` to capture nothing. Traffic passes in both cases."},
		{EnvCaptureInclude, "", "Rules ([filters](filters.md)). The sidecar captures only exchanges that match at least one of them. Without rules it captures everything."},
		{EnvCaptureExclude, "", "Rules. The sidecar does not capture exchanges that match one of them, even if they match `TAPEDECK_CAPTURE_INCLUDE`."},
		{EnvCaptureSample, "1", "Share of the traces to capture, such as `0.1` or `10%`. The sidecar captures a trace as a whole or not at all."},
		{EnvCaptureDir, "", "Directory, such as a mounted ConfigMap, with files `capture`, `include`, `exclude` and `sample`. They override the four variables above, and may change at any time."},
		{EnvCaptureHosts, "", "Hosts with ports, such as `postgres.db:5432, redis:6379`. The sidecar captures connections to them with a [hosts file](sidecar.md#hosts-files), even if the application ignores its proxy variables."},
		{EnvSink, DefaultSink, "URL of the place for recordings: `file:///directory`, or `https://host:port` of a [collector](collector.md)."},
		{EnvSinkSize, strconv.Itoa(DefaultSinkSize>>30) + "Gi", "Maximum size of the sink's directory, in bytes or with Ki, Mi or Gi. The sidecar deletes the oldest segments in it to make room, including those of other processes. 0: no maximum."},
		{EnvSpool, RecordingDir, "Directory for segments that are not yet stored by the collector."},
		{EnvSinkTokenFile, SinkTokenDir + "/" + SinkTokenName, "File with the token for the collector. The sidecar reads it for every attempt, so it may appear later and change."},
		{EnvSinkPlainHTTP, "false", "Allow plain HTTP to a collector outside the pod. Bodies and the token travel in clear text unless a mesh encrypts the connection."},
		{EnvMemory, strconv.Itoa(DefaultMemory>>20) + "Mi", "Maximum memory for capture, in bytes or with Ki, Mi or Gi. It covers copied traffic that waits for a decoder, bodies that are being assembled, and records that wait for the sink. The sidecar drops and counts records that do not fit. With a memory limit on the container, the maximum is 3/16 of that limit, and `TAPEDECK_BODY_LIMIT` is at most 1/24 of the maximum."},
		{EnvSidecar, "native", "Kind of sidecar, which decides when the proxies stop accepting connections after SIGTERM. `native`: the application has already ended. The inbound listener closes immediately, and the outbound one when the last inbound connection has ended. `classic`: the application gets SIGTERM at the same time. Both keep accepting until nothing was opened or sent for a fifth of `TAPEDECK_DRAIN`; the inbound listener closes after half of `TAPEDECK_DRAIN` at the latest."},
		{EnvDrain, "25s", "Time for open connections to finish after SIGTERM. Set it at least 5 s shorter than the pod's `terminationGracePeriodSeconds`, because the sidecar then needs up to 5 s to write its records."},
		{EnvBodyLimit, "1Mi", "Maximum number of bytes recorded of each body or message. The sidecar only counts the rest. With 0 it records no content of bodies, messages and streams."},
		{EnvOpaqueBytes, "false", "Record the bytes of streams in unknown protocols. They may contain logins, which the sidecar cannot redact. By default it records only their sizes and times."},
		{EnvRedactHeaders, "", "Names of more headers and URL parameters to redact, separated by commas. The sidecar replaces their whole value."},
		{EnvRedact, "", "More things to redact, separated by commas: `email`, `phone` (numbers that begin with `+`), and `grpc`, which drops the bytes of gRPC messages and keeps their sizes."},
		{EnvRedactKeyFile, "", "File with the redaction key, of 16 bytes or more. The sidecar reads it once, at the start. Processes with the same key replace equal secrets with equal tokens. Without a usable key, each process makes a random one."},
		{EnvLogLevel, "info", "Log level: `debug`, `info`, `warn` or `error`."},
		{EnvPrometheusPort, "", "Port that serves `/metrics` on the pod's address. Without it, only the admin port on loopback serves them."},
		{EnvUpstreamHTTPProxy, "", "Proxy for plain HTTP. The renderer copies it from the application's variable."},
		{EnvUpstreamHTTPSProxy, "", "Proxy for TLS. The renderer copies it from the application's variable."},
		{EnvUpstreamAllProxy, "", "Proxy for everything else. The renderer copies it from the application's variable."},
		{EnvUpstreamNoProxy, "", "Hosts that the sidecar reaches without these proxies. The renderer copies them from the application's variable. It has no effect with `TAPEDECK_UPSTREAM_READY`."},
	}
}
