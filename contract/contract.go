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

// These are the ports of the sidecar. The first two are the defaults of the annotations proxy-in-port
// and proxy-out-port. The admin port is fixed, and bound only to loopback.
const (
	// InPort is the reverse proxy's port for inbound connections.
	InPort = 4143
	// OutPort is the forward proxy's port for HTTP, CONNECT and SOCKS.
	OutPort = 4140
	// AdminPort serves /metrics, /healthz, /connections and /status on loopback.
	AdminPort = 4100
)

// These IDs identify the sidecar's process. 1337 belongs to Envoy: Istio's iptables rules exempt its
// traffic, by UID and by GID, from redirection.
const (
	// UID and GID are the sidecar's user and group unless configured otherwise.
	UID = 2102
	GID = 2102
	// EnvoyUID is the user and group that Istio exempts from redirection.
	EnvoyUID = 1337
)

// These are names in a rendered pod.
const (
	// Container is the sidecar's container name.
	Container = "tapedeck-proxy"
	// Binary is the path of the whole program in the image.
	Binary = "/tapedeck"
	// ProxyBinary is the path of the sidecar's program in the image. Pods and their probes
	// run it.
	ProxyBinary = "/tapedeck-proxy"

	// TrustVolume is the volume to which the sidecar writes the trust files, and from which the
	// application reads them.
	TrustVolume = "tapedeck-trust"
	// CAVolume mounts the Secret with the CA's certificate and key, only in the sidecar.
	CAVolume = "tapedeck-ca"
	// TLSInVolume mounts the Secret of the annotation tls-in-secret.
	TLSInVolume = "tapedeck-tls-in"
	// TLSMutualVolume mounts the Secret of the annotation tls-mutual-secret.
	TLSMutualVolume = "tapedeck-tls-mutual"
	// UpstreamCAVolume mounts the Secret of the option upstreamCASecret.
	UpstreamCAVolume = "tapedeck-upstream-ca"
	// CaptureVolume mounts the ConfigMap of the annotation capture-config, only in the sidecar.
	CaptureVolume = "tapedeck-capture"
	// RedactKeyVolume mounts the Secret of the option redactKeySecret, only in the sidecar.
	RedactKeyVolume = "tapedeck-redact-key"
	// SinkTokenVolume mounts the Secret of the option sinkTokenSecret, only in the sidecar.
	SinkTokenVolume = "tapedeck-sink-token"
	// RecordingVolume has the recordings: all of them if the sink is a directory, or else those that
	// the collector does not have yet.
	RecordingVolume = "tapedeck-recordings"
)

// These are paths inside the pod.
const (
	// TrustDir is the mount path of TrustVolume, in the sidecar and in the application's containers.
	TrustDir = "/etc/ssl/speedscale"
	// CABundle has the public roots and the CA, for variables that replace a runtime's roots.
	CABundle = TrustDir + "/ca-bundle.crt"
	// CACert has only the CA, for variables that add to a runtime's roots.
	CACert = TrustDir + "/tls.crt"
	// TrustStore is a PKCS#12 store of the public roots and the CA, for Java.
	TrustStore = TrustDir + "/cacerts.p12"
	// TrustStorePassword is Java's usual password, because the store has no secret.
	TrustStorePassword = "changeit"

	// CADir has the CA's tls.crt and tls.key, only in the sidecar.
	CADir = "/etc/tapedeck/ca"
	// TLSInDir has the inbound server's certificate and key.
	TLSInDir = "/etc/tapedeck/tls-in"
	// TLSMutualDir has the client certificate and key for upstreams.
	TLSMutualDir = "/etc/tapedeck/tls-mutual"
	// UpstreamCADir has additional roots for upstreams, in ca.crt.
	UpstreamCADir = "/etc/tapedeck/upstream-ca"
	// CaptureDir has the files of CaptureVolume, one for each key.
	CaptureDir = "/etc/tapedeck/capture"
	// RedactKeyDir has the files of RedactKeyVolume. The key is in RedactKeyName.
	RedactKeyDir = "/etc/tapedeck/redact-key"
	// RedactKeyName is the key in the Secret that has the redaction key.
	RedactKeyName = "key"
	// SinkTokenDir has the files of SinkTokenVolume. The token is in SinkTokenName.
	SinkTokenDir = "/etc/tapedeck/sink-token"
	// SinkTokenName is the key in the Secret that has the token.
	SinkTokenName = "token"
	// RecordingDir is where RecordingVolume is mounted.
	RecordingDir = "/var/lib/tapedeck/recordings"
)

// These are the default limits of capture, in bytes.
const (
	// DefaultMemory limits the memory that capture uses.
	DefaultMemory = 64 << 20
	// DefaultSinkSize limits the recordings in the sink's directory.
	DefaultSinkSize = 1 << 30
)

// DefaultSink is the default place for recordings.
const DefaultSink = "file://" + RecordingDir
