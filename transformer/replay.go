package transformer

import (
	"github.com/tapedeck/tapedeck/contract"
)

// A render writes a replay next to the workload that it tests:
//
// replay.speedscale.com/* annotations, or a TrafficReplay
//         │ readReplays
//         ▼
//      replay ──▶ addCopy ───────▶ copy ◀── chained to ── responder          Deployments, Services
//         │                          ▲                        ▲
//         │                          │ recorded requests      │ receipt
//         ├─────▶ generator ─────────┴────────────────────────┘               Job
//         └─────▶ policies: which pods may reach which                        NetworkPolicy, AuthorizationPolicy, ServiceEntry
//
// These are the files:
//
// replay_annotations.go, replay_object.go                requests for replays
// replay_testconfig.go, replay_fields.go                 how to send and compare; reading objects by tables
// replay_spec.go                                         the replay that results from both
// replay_names.go                                        names and their hash, labels, and recognizing objects by them
// replay_copy.go, replay_volumes.go, replay_inplace.go   the copy, or the workload itself
// replay_chain.go                                        settings that lead it to the responder
// replay_generator.go, replay_responder.go               the other pods
// replay_pods.go                                         what generator and responder have in common
// replay_policies.go, replay_istio.go                    which pods may reach which, and where this can't work
// replay_holder.go                                       the ConfigMap that replaces a TrafficReplay
//
// The copy is a workload of the input like any other, and is captured like the original.

// replayMode says which parts of a replay run.
type replayMode string

const (
	fullReplay    replayMode = "full-replay"
	generatorOnly replayMode = "generator-only"
	responderOnly replayMode = "responder-only"
)

// replaySpec is a request for a replay, from an annotation or an object.
type replaySpec struct {
	// Snapshot is the ID, with the digest if it is pinned. The option replayPlace is its place.
	Snapshot contract.SnapshotRef
	Mode     replayMode
	BuildTag string
	// Timeout is how long the generator may make no progress, as a Go duration.
	Timeout string
	// URL is the destination of requests instead of the copy: customURL or sut-url. Scheme, host and
	// port of a partial URL each replace those of the copy's Service.
	URL string
	// Secrets are the names of Secrets with credentials.
	Secrets []string
	// InPlace edits the workload instead of copying it.
	InPlace bool
	// Shards is the number of pods that send, at least 1. Replicas is the number of pods of the copy.
	Shards, Replicas int
	// Tests and Mocks say which exchanges of the snapshot are sent and answered.
	Tests, Mocks traffic
	// HostsFile makes the hosts file lead the copy to the responder too.
	HostsFile bool
	// Passthrough lists the hosts that the responder may call if the snapshot has no answer.
	Passthrough []string
	// GeneratorFlags and ResponderFlags are additional flags of `tapedeck replay` and `tapedeck mock`,
	// such as `--copies=10`, in the order of their table.
	GeneratorFlags, ResponderFlags []string
	// Hooks are annotations for the Job, such as argocd.argoproj.io/hook.
	Hooks map[string]string
}

// traffic selects exchanges of a snapshot by keys SERVICE:HOST:PORT, or parts of one.
type traffic struct {
	// All selects every exchange, and None selects none. Without both, and without keys, it selects
	// the exchanges that the workload of the replay recorded.
	All, None bool
	Keys      []string
}

// replay is one replay of one workload.
type replay struct {
	replaySpec
	// from is the object that requests the replay: a TrafficReplay, or the workload itself. Results
	// refer to it. at is the field path of the request in it.
	from *Object
	at   string
	// urlAt is the field path of the URL.
	urlAt string
	// w is the workload that is tested; nil if the target is only a URL.
	w *workload
	// copied is w's copy, or w itself for a replay in place; nil if there is none.
	copied *workload
	// name is the name of the copy, its Service and the policies: NAME-replay-HASH.
	name string
	// inferred describes the test config, for results.
	inferred string
	// service leads to copied. Its ports have the pod's numbers, in ascending order. It is nil if no
	// port is known.
	service *Object
	ports   []int
}

// generates and responds report whether the replay has a generator and a responder.
func (r *replay) generates() bool { return r.Mode != responderOnly && !r.Tests.None }
func (r *replay) responds() bool  { return r.Mode != generatorOnly && !r.Mocks.None && r.copied != nil }

// elsewhere reports whether requests go to a URL rather than to the workload or a copy. They do if
// there is no workload, or if the URL has a host and nothing is mocked.
func (r *replay) elsewhere() bool {
	return r.w == nil || r.url().host != "" && r.Mode == generatorOnly
}

// url returns the scheme, host and port of the URL. The URL was checked when it was read.
func (r *replay) url() target {
	t, _ := parseTarget(r.URL)
	return t
}

// namespace returns the namespace of all objects of the replay.
func (r *replay) namespace() string {
	if r.w != nil {
		return r.w.namespace()
	}
	return r.from.namespace()
}

// result returns a result about the replay, at the place of its request.
func (r *replay) result(code Code, message string, args ...any) Result {
	return result(code, r.from, message, args...).At(r.at, "", "")
}

// aboutURL returns a result about the URL of the replay, at the place of the URL.
func (r *replay) aboutURL(code Code, message string, args ...any) Result {
	return result(code, r.from, message, args...).At(r.urlAt, "", "")
}

// addReplays reads the requested replays, and adds their copies to the input, so that they are
// captured like the originals. It runs after the render has decided which workloads to inject, and
// before it injects any.
func (in *input) addReplays() Results {
	replays, results := in.readReplays()
	results = append(results, in.nameReplays(replays)...)
	if results.Failed() {
		return results
	}
	for _, r := range replays {
		if r.w != nil && r.w.said.Failed() { // nothing will be written
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

// renderReplays builds the objects next to the copies, after these were injected.
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
