// Package contract holds the names and values that the renderer writes into a manifest and
// the sidecar reads in the pod: ports, environment variables, paths, labels and annotation
// keys. Both sides import it, so a rendered pod always agrees with the binary that it runs.
//
//	transformer ──writes──▶ manifest ──runs──▶ proxy
//	      └──────────── contract ────────────────┘
//
// It has constants, tables and the rules for reading a value. It imports only the standard
// library. Apart from its subpackage filter, it is the only package that transformer and
// proxy share.
package contract

// Ports of the sidecar. The first two are the defaults of the annotations
// proxy-in-port and proxy-out-port; the admin port is fixed and bound to
// loopback alone.
const (
	// InPort is the reverse proxy's port for inbound connections.
	InPort = 4143
	// OutPort is the forward proxy's port for HTTP, CONNECT and SOCKS.
	OutPort = 4140
	// AdminPort serves /metrics, /healthz, /connections and /status on loopback.
	AdminPort = 4100
)

// Identity of the sidecar's process. 1337 belongs to Envoy: Istio's iptables
// rules let its traffic, by UID and by GID, out of the mesh.
const (
	// UID and GID are the sidecar's user and group unless configured otherwise.
	UID = 2102
	GID = 2102
	// EnvoyUID is the user and group that Istio exempts from redirection.
	EnvoyUID = 1337
)

// Names in a rendered pod.
const (
	// Container is the sidecar's container name.
	Container = "tapedeck-proxy"
	// Binary is the path of the whole program in the image.
	Binary = "/tapedeck"
	// ProxyBinary is the path of the sidecar's program in the image. Pods and their probes
	// run it.
	ProxyBinary = "/tapedeck-proxy"

	// TrustVolume is the volume on which the sidecar writes the trust files
	// and the application reads them.
	TrustVolume = "tapedeck-trust"
	// CAVolume brings the Secret with the CA's certificate and key, to the
	// sidecar alone.
	CAVolume = "tapedeck-ca"
	// TLSInVolume brings the Secret of the annotation tls-in-secret.
	TLSInVolume = "tapedeck-tls-in"
	// TLSMutualVolume brings the Secret of the annotation tls-mutual-secret.
	TLSMutualVolume = "tapedeck-tls-mutual"
	// UpstreamCAVolume brings the Secret of the option upstreamCASecret.
	UpstreamCAVolume = "tapedeck-upstream-ca"
	// CaptureVolume brings the ConfigMap of the annotation capture-config, to the
	// sidecar alone.
	CaptureVolume = "tapedeck-capture"
	// RedactKeyVolume brings the Secret of the option redactKeySecret, to the sidecar
	// alone.
	RedactKeyVolume = "tapedeck-redact-key"
	// SinkTokenVolume brings the Secret of the option sinkTokenSecret, to the sidecar
	// alone.
	SinkTokenVolume = "tapedeck-sink-token"
	// RecordingVolume keeps recordings: all of them if the sink is a directory, or those
	// that the collector does not have yet.
	RecordingVolume = "tapedeck-recordings"
)

// Paths inside the pod.
const (
	// TrustDir is where TrustVolume is mounted, in the sidecar and in the
	// application's containers.
	TrustDir = "/etc/ssl/speedscale"
	// CABundle holds the public roots and the CA: for variables that replace
	// a runtime's roots.
	CABundle = TrustDir + "/ca-bundle.crt"
	// CACert holds the CA alone: for variables that add to a runtime's roots.
	CACert = TrustDir + "/tls.crt"
	// TrustStore is a PKCS#12 store of the public roots and the CA, for Java.
	TrustStore = TrustDir + "/cacerts.p12"
	// TrustStorePassword is Java's customary one: the store holds no secret.
	TrustStorePassword = "changeit"

	// CADir holds the CA's tls.crt and tls.key, in the sidecar alone.
	CADir = "/etc/tapedeck/ca"
	// TLSInDir holds the inbound server's certificate and key.
	TLSInDir = "/etc/tapedeck/tls-in"
	// TLSMutualDir holds the client certificate and key for upstreams.
	TLSMutualDir = "/etc/tapedeck/tls-mutual"
	// UpstreamCADir holds further roots for upstreams, in ca.crt.
	UpstreamCADir = "/etc/tapedeck/upstream-ca"
	// CaptureDir holds what CaptureVolume brings: a file for each key.
	CaptureDir = "/etc/tapedeck/capture"
	// RedactKeyDir holds what RedactKeyVolume brings; the key is in RedactKeyName.
	RedactKeyDir = "/etc/tapedeck/redact-key"
	// RedactKeyName is the key of the Secret under which the key for redaction is.
	RedactKeyName = "key"
	// SinkTokenDir holds what SinkTokenVolume brings; the token is in SinkTokenName.
	SinkTokenDir = "/etc/tapedeck/sink-token"
	// SinkTokenName is the key of the Secret under which the token is.
	SinkTokenName = "token"
	// RecordingDir is where RecordingVolume is mounted.
	RecordingDir = "/var/lib/tapedeck/recordings"
)

// The limits of capture unless configured otherwise, in bytes.
const (
	// DefaultMemory limits the memory that capture holds.
	DefaultMemory = 64 << 20
	// DefaultSinkSize limits the recordings in the sink's directory.
	DefaultSinkSize = 1 << 30
)

// DefaultSink is where recordings go unless configured otherwise.
const DefaultSink = "file://" + RecordingDir
