package transformer

import (
	"github.com/tapedeck/tapedeck/contract"
)

// A replay is rendered beside the workload that it is for:
//
//	replay.speedscale.com/* annotations, or a TrafficReplay
//	        │ readReplays
//	        ▼
//	     replay ──▶ addCopies ─────▶ copy ◀── chained to ── responder          Deployments, Services
//	        │                          ▲                        ▲
//	        │                          │ recorded requests      │ receipt
//	        ├─────▶ generator ─────────┴────────────────────────┘               Job
//	        └─────▶ policies: who may reach whom                                NetworkPolicy, AuthorizationPolicy, ServiceEntry
//
//	replay_annotations.go, replay_object.go                what is asked for, and by whom
//	replay_testconfig.go, replay_fields.go                 how to send and compare; objects read by tables
//	replay_spec.go                                         the replay that all of this makes
//	replay_names.go                                        names and their hash, labels, and what is known by them
//	replay_copy.go, replay_volumes.go, replay_inplace.go   the copy, or the workload in its place
//	replay_chain.go                                        what leads it to the responder
//	replay_generator.go, replay_responder.go               what runs beside it
//	replay_pods.go                                         what these two have in common
//	replay_policies.go, replay_istio.go                    who may reach whom, and where it can't work
//	replay_holder.go                                       the ConfigMap that a TrafficReplay becomes
//
// The copy is a workload of the input like any other: it is captured as the original is.

// replayMode is what of a replay runs.
type replayMode string

const (
	fullReplay    replayMode = "full-replay"
	generatorOnly replayMode = "generator-only"
	responderOnly replayMode = "responder-only"
)

// replaySpec is what is asked for, whoever asks.
type replaySpec struct {
	// Snapshot is the id, and the digest if it is pinned; the option replayPlace is its
	// place.
	Snapshot contract.SnapshotRef
	Mode     replayMode
	BuildTag string
	// Timeout is how long the generator may make no progress, as a Go duration.
	Timeout string
	// URL is where requests are sent instead of to the copy: customURL or sut-url. Of a
	// partial one, scheme, host and port replace those of the copy's Service one by one.
	URL string
	// Secrets are the names of Secrets with credentials.
	Secrets []string
	// InPlace edits the workload instead of copying it.
	InPlace bool
	// Shards is how many pods send, at least 1. Replicas is how many pods the copy has.
	Shards, Replicas int
	// Tests and Mocks say what of the snapshot is sent and answered.
	Tests, Mocks traffic
	// HostsFile leads the copy to the responder through its hosts file, too.
	HostsFile bool
	// Passthrough are the hosts that the responder may reach where the snapshot has no
	// answer.
	Passthrough []string
	// GeneratorFlags and ResponderFlags are further flags of `tapedeck replay` and
	// `tapedeck mock`, as `--copies=10`, in the order of the table that they come from.
	GeneratorFlags, ResponderFlags []string
	// Hooks are annotations that the Job gets, such as argocd.argoproj.io/hook.
	Hooks map[string]string
}

// traffic selects exchanges of a snapshot by keys SERVICE:HOST:PORT, or parts of one.
type traffic struct {
	// All takes every exchange. None takes none. Without both, and without keys, those are
	// taken that the workload of the replay recorded.
	All, None bool
	Keys      []string
}

// replay is one replay of one workload.
type replay struct {
	replaySpec
	// from asks for the replay: a TrafficReplay, or the workload itself. Results are about
	// it. at is the field path of what asks there.
	from *Object
	at   string
	// urlAt is the field path of the URL.
	urlAt string
	// w is the workload that is replayed to; nil if only a URL is.
	w *workload
	// copied is w's copy, or w itself if it is replayed to in place; nil if there is none.
	copied *workload
	// name is that of the copy, its Service and the policies: NAME-replay-HASH.
	name string
	// inferred is, for results, the test config.
	inferred string
	// service leads to copied, at ports, each of which is the pod's under the same number;
	// nil if nobody knows one. ports are in ascending order.
	service *Object
	ports   []int
}

// generates and responds tell whether the replay has a generator and a responder.
func (r *replay) generates() bool { return r.Mode != responderOnly && !r.Tests.None }
func (r *replay) responds() bool  { return r.Mode != generatorOnly && !r.Mocks.None && r.copied != nil }

// elsewhere tells that requests are sent to a URL, and not to the workload or a copy: there is
// no workload, or its URL has a host and nothing is mocked.
func (r *replay) elsewhere() bool {
	return r.w == nil || r.url().host != "" && r.Mode == generatorOnly
}

// url is what the URL has of scheme, host and port; it was checked when it was read.
func (r *replay) url() target {
	t, _ := parseTarget(r.URL)
	return t
}

// namespace is where everything of the replay is.
func (r *replay) namespace() string {
	if r.w != nil {
		return r.w.namespace()
	}
	return r.from.namespace()
}

// result says something about the replay, where it is asked for.
func (r *replay) result(code Code, message string, args ...any) Result {
	return result(code, r.from, message, args...).At(r.at, "", "")
}

// aboutURL says something about the URL of the replay, where it is given.
func (r *replay) aboutURL(code Code, message string, args ...any) Result {
	return result(code, r.from, message, args...).At(r.urlAt, "", "")
}

// addReplays reads the replays that are asked for, and adds their copies to the input, so
// that these are captured as the workloads of which they are copies. It comes after the
// workloads were decided on, and before any is injected.
func (in *input) addReplays() Results {
	replays, results := in.readReplays()
	results = append(results, in.nameReplays(replays)...)
	if results.Failed() {
		return results
	}
	for _, r := range replays {
		if r.w != nil && r.w.said.Failed() { // nothing is written then
			continue
		}
		var more Results
		if !r.elsewhere() {
			more = in.addCopy(r)
		}
		more = append(more, in.checkReplayPods(r)...)
		more = append(more, in.checkProduction(r)...)
		if !more.Failed() {
			in.replays = append(in.replays, r)
			results = append(results, r.rendered())
		}
		results = append(results, more...)
	}
	return results
}

// renderReplays builds what runs beside the copies, once these are injected.
func (in *input) renderReplays() (created []Created, results Results) {
	for _, r := range in.replays {
		var objects []*Object
		for _, build := range []func(*replay) ([]*Object, Results){in.copyObjects, in.responder, in.generator, in.replayPolicies, in.replayIstio} {
			more, found := build(r)
			objects, results = append(objects, more...), append(results, found...)
		}
		for _, o := range objects {
			created = append(created, Created{o, r.from})
		}
	}
	return created, results
}
