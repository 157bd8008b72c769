package contract

// HeaderReplay is the header that a replay sets on every request it sends, to the ID of
// its run. Capture tags what carries it, so a selection can leave a replay's traffic out.
// The ecosystem has no header for this; requests to gRPC servers carry it as metadata.
const HeaderReplay = "Tapedeck-Replay"

// MaxReplayID is how long the ID of a run may be, in bytes.
const MaxReplayID = 63

// IsReplayID tells whether a text can be the ID of a run: a DNS label (RFC 1123), such as
// a UUID in lower case or the name of a Job. Anybody may send the header, so capture
// takes nothing else for an ID.
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

// Parts of a replay in a cluster: the values of LabelReplayPart.
const (
	// PartCopy is the workload that is replayed to.
	PartCopy = "copy"
	// PartGenerator is the Job that sends the recorded requests.
	PartGenerator = "generator"
	// PartResponder is the mock that stands in for the copy's dependencies.
	PartResponder = "responder"
)

// Ports of the responder: those of `tapedeck mock`.
const (
	// ResponderPort is a forward proxy: HTTP, CONNECT and SOCKS.
	ResponderPort = 4140
	// ResponderAdminPort serves /healthz, /metrics, /receipt and /reset.
	ResponderAdminPort = 4141
)

// Names of what the pods of a generator and a responder hold.
const (
	// GeneratorContainer and ResponderContainer are their containers. A Job's
	// podFailurePolicy names the first, since exit codes of init containers match too.
	GeneratorContainer = "generator"
	ResponderContainer = "responder"
	// WaitContainer is the init container of a copy that has no sidecar. It waits for the
	// responder.
	WaitContainer = "tapedeck-wait"
	// WorkVolume and WorkDir are for the file with recorded requests or answers.
	WorkVolume = "tapedeck-work"
	WorkDir    = "/var/lib/tapedeck/work"
	// PlaceVolume brings the volume claim of a place that is a directory.
	PlaceVolume = "tapedeck-place"
	// CredentialsDir holds a directory for each Secret with credentials, by its name.
	CredentialsDir = "/etc/tapedeck/credentials"
	// CredentialsName is the key of such a Secret, under which lines as
	// `header.Authorization=Bearer …` are.
	CredentialsName = "credentials"
	// TerminationLog is the file whose first 4096 bytes Kubernetes shows with the state of
	// a container.
	TerminationLog = "/dev/termination-log"
	// EnvRun is the variable by which a generator's arguments name the Job's UID.
	EnvRun = "TAPEDECK_RUN"
	// EnvShard is the variable that Kubernetes gives the pods of an Indexed Job.
	EnvShard = "JOB_COMPLETION_INDEX"
)

// RunsDir is the element of a key in front of a run's: shards meet, and the report is,
// under runs/JOB/UID of the place.
const RunsDir = "runs"

// DefaultReplayTimeout is how long a run may make no progress, as in the ecosystem.
const DefaultReplayTimeout = "20m"
