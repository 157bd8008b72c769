package contract

// Annotation prefixes. The first two are the vocabulary that users of the
// sidecar ecosystem have in their manifests already.
const (
	SidecarPrefix  = "sidecar.speedscale.com/"
	ReplayPrefix   = "replay.speedscale.com/"
	OperatorPrefix = "operator.speedscale.com/"
	// OwnPrefix is for what has no name in that vocabulary.
	OwnPrefix = "tapedeck.dev/"
)

// Keys that the renderer writes, and that `tapedeck uninject` takes away.
const (
	// LabelInjected marks pods that run the sidecar.
	LabelInjected = SidecarPrefix + "injected"
	// LabelWorkload is unique to one workload's rewritten pods. The Istio
	// Sidecar selects by it, so pods of the previous revision, which have no
	// proxy to send to, keep their listeners during a rollout.
	LabelWorkload = OwnPrefix + "workload"
	// LabelReplay is on everything that belongs to one replay, its pods included, and
	// LabelReplayPart says which part of it that is. The Services and policies of a replay
	// select by both, and nothing else does.
	LabelReplay     = OwnPrefix + "replay"
	LabelReplayPart = OwnPrefix + "replay-part"
	// AnnotationUndo keeps what an injection added and replaced.
	AnnotationUndo = OwnPrefix + "undo"
	// AnnotationFor names, on an object that the renderer created, the
	// workload it was created for.
	AnnotationFor = OwnPrefix + "created-for"
	// AnnotationHolds names, on a ConfigMap that stands in the place of a TrafficReplay or
	// a TestConfig, the object whose text it holds.
	AnnotationHolds = OwnPrefix + "holds"
)

// AnnotationIgnore, when "true", leaves a workload alone whatever else it says.
const AnnotationIgnore = OperatorPrefix + "ignore"
