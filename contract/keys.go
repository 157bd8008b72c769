package contract

// These are the annotation prefixes. Users of the sidecar ecosystem already have the first two in
// their manifests.
const (
	SidecarPrefix  = "sidecar.speedscale.com/"
	ReplayPrefix   = "replay.speedscale.com/"
	OperatorPrefix = "operator.speedscale.com/"
	// OwnPrefix is for keys that the ecosystem does not define.
	OwnPrefix = "tapedeck.dev/"
)

// These are the keys that the renderer writes, and that `tapedeck uninject` removes.
const (
	// LabelInjected marks pods that run the sidecar.
	LabelInjected = SidecarPrefix + "injected"
	// LabelWorkload is unique to the rewritten pods of one workload. The Istio Sidecar selects by it,
	// so pods of the previous revision, which have no sidecar, keep their listeners during a rollout.
	LabelWorkload = OwnPrefix + "workload"
	// LabelReplay is on every object of a replay, including its pods. LabelReplayPart names the part
	// that an object belongs to. Only the Services and policies of a replay select by both.
	LabelReplay     = OwnPrefix + "replay"
	LabelReplayPart = OwnPrefix + "replay-part"
	// AnnotationUndo records what an injection added and replaced.
	AnnotationUndo = OwnPrefix + "undo"
	// AnnotationFor names, on an object that the renderer created, the workload for which it was
	// created.
	AnnotationFor = OwnPrefix + "created-for"
	// AnnotationHolds names, on a ConfigMap that replaces a TrafficReplay or a TestConfig, the object
	// whose text it keeps.
	AnnotationHolds = OwnPrefix + "holds"
)

// AnnotationIgnore, when "true", makes the render leave a workload alone, whatever its other
// annotations are.
const AnnotationIgnore = OperatorPrefix + "ignore"
