package contract

// HeaderReplay is the header that a replay sets on every request. Its value is the ID of the run.
// Capture tags such requests, so a selection can exclude a replay's traffic. The ecosystem has no
// header for this. Requests to gRPC servers have it as metadata.
const HeaderReplay = "Tapedeck-Replay"

// MaxReplayID is the maximum length of a run's ID, in bytes.
const MaxReplayID = 63

// IsReplayID reports whether text can be the ID of a run: a DNS label (RFC 1123), such as a UUID in
// lower case or the name of a Job. Anybody may send the header, so capture accepts no other text as an
// ID.
func IsReplayID(id string) bool {
	if id == "" || len(id) > MaxReplayID || id[0] == '-' || id[len(id)-1] == '-' {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// These are the parts of a replay in a cluster: the values of LabelReplayPart.
const (
	// PartCopy is the workload that the replay tests.
	PartCopy = "copy"
	// PartGenerator is the Job that sends the recorded requests.
	PartGenerator = "generator"
	// PartResponder is the mock that replaces the copy's dependencies.
	PartResponder = "responder"
)

// These are the ports of the responder, the same as those of `tapedeck mock`.
const (
	// ResponderPort is a forward proxy: HTTP, CONNECT and SOCKS.
	ResponderPort = 4140
	// ResponderAdminPort serves /healthz, /metrics, /receipt and /reset.
	ResponderAdminPort = 4141
)

// These are names in the pods of a generator and a responder.
const (
	// GeneratorContainer and ResponderContainer are the names of their containers. A Job's
	// podFailurePolicy names GeneratorContainer, because it would otherwise also match exit codes of
	// init containers.
	GeneratorContainer = "generator"
	ResponderContainer = "responder"
	// WaitContainer is the init container of a copy that has no sidecar. It waits for the
	// responder.
	WaitContainer = "tapedeck-wait"
	// WorkVolume and WorkDir are for the file with recorded requests or answers.
	WorkVolume = "tapedeck-work"
	WorkDir    = "/var/lib/tapedeck/work"
	// PlaceVolume mounts the volume claim of a place that is a directory.
	PlaceVolume = "tapedeck-place"
	// CredentialsDir has a directory for each Secret with credentials, with the Secret's name.
	CredentialsDir = "/etc/tapedeck/credentials"
	// CredentialsName is the key of such a Secret with lines such as `header.Authorization=Bearer …`.
	CredentialsName = "credentials"
	// TerminationLog is the file whose first 4096 bytes Kubernetes shows with the state of a
	// container.
	TerminationLog = "/dev/termination-log"
	// EnvRun is the variable with the Job's UID. A generator's arguments refer to it.
	EnvRun = "TAPEDECK_RUN"
	// EnvShard is the variable that Kubernetes sets in the pods of an Indexed Job.
	EnvShard = "JOB_COMPLETION_INDEX"
)

// RunsDir is the element before a run's ID in a key. The shards of a run meet under runs/JOB/UID of
// the place, and its report is there.
const RunsDir = "runs"

// DefaultReplayTimeout is how long a run may make no progress by default, as in the ecosystem.
const DefaultReplayTimeout = "20m"
