package transformer

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/contract"
)

// FormerReplayPrefix is the prefix of the annotations that requested replays in older versions of the
// ecosystem.
const FormerReplayPrefix = "test.speedscale.com/"

// These constants are the values of the annotations replay and routing.
const (
	replayCopy    = "copy"
	replayInPlace = "in-place"

	routingHosts = "hostalias"
	routingNAT   = "nat"
)

// everything is the slice key that selects all slices.
const everything = "*"

// maxReplayPods limits shards and replicas. The shards of a run meet through the place and read one
// result of each shard. With a digit too many, a cluster would add hundreds of nodes.
const maxReplayPods = 1000

// These kinds of values appear only in replays. None of them allows control characters, because the
// values end up in arguments, labels or annotations.
var (
	snapshotKind = Kind{Name: "snapshot", Allowed: "a snapshot ID, which is a UUID in lower case, optionally followed by @sha256: and 64 lower-case hexadecimal digits",
		Pattern: `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(@sha256:[0-9a-f]{64})?$`, check: checkSnapshot, hidden: true}
	urlKind = Kind{Name: "URL", Allowed: "a URL without path and credentials, such as http://checkout.shop:8080, or a part of one: SCHEME://, HOST, HOST:PORT or :PORT; its scheme is " + oneOf(targetSchemes),
		check: func(v string) error { _, err := parseTarget(v); return err }, hidden: true}
	durationKind = Kind{Name: "duration", Allowed: "a duration from 1s to 24h, such as 20m or 1h30m", Pattern: `^([0-9.]+(ms|s|m|h))+$`, check: lasting(time.Second, 24*time.Hour)}
	podsKind     = Kind{Name: "number", Allowed: fmt.Sprintf("a whole number from 1 to %d", maxReplayPods), Pattern: `^[0-9]{1,4}$`, check: whole(1, maxReplayPods)}
	secretsKind  = Kind{Name: "list", Allowed: "names of Secrets in the workload's namespace, separated by commas", check: eachOf("the name of a Secret", secretKind.Check)}
	slicesKind   = Kind{Name: "list", Allowed: "slice keys SERVICE:HOST:PORT, or parts of them, separated by commas, or * for all", check: eachOf("a slice key", checkSliceKey)}
	sliceKind    = Kind{Name: "slice key", Allowed: "SERVICE:HOST:PORT, a part of that, or * for all", check: checkSliceKey}
	goalsKind    = Kind{Name: "lines", Allowed: `goals that are missed if they hold, one per line, such as "latency.p95 > 100"`, check: checkGoals, hidden: true}
	goalKind     = Kind{Name: "goal", Allowed: `a goal that is missed if it holds, such as "latency.p95 > 100"`, check: checkGoal, hidden: true}
	lineKind     = Kind{Name: "text", Allowed: "a line of at most 200 characters", check: checkLine}
	idKind       = patternKind("id", "letters, digits, dots, dashes and underscores, at most 253", `^[A-Za-z0-9]([-A-Za-z0-9._]{0,251}[A-Za-z0-9])?$`)
	hooksKind    = Kind{Name: "lines", Allowed: "lines of KEY=VALUE, with keys of " + oneOf(hookPrefixes), check: func(v string) error { _, err := parseHooks(v); return err }}
	modeKind     = enumKind(string(fullReplay), string(generatorOnly), string(responderOnly))
	routingKind  = enumKind(routingHosts, routingNAT)
)

// These conditions say in which replays a setting has an effect.
var (
	withGenerator = &Condition{Doc: "mode full-replay or generator-only", replays: func(r *replaySpec) bool { return r.Mode != responderOnly }}
	withResponder = &Condition{Doc: "mode full-replay or responder-only", replays: func(r *replaySpec) bool { return r.Mode != generatorOnly }}
	withCopy      = &Condition{Doc: "tapedeck.dev/replay: copy", replays: func(r *replaySpec) bool { return !r.InPlace }}
)

// These texts say why some settings of the ecosystem have no effect here.
const (
	gitRemoves   = "to remove what was rendered, remove the annotations or the object that requested the replay, and apply with pruning"
	logsAreThere = "nothing collects logs; the logs of the pods are where the cluster keeps them"
	noNAT        = "it needs iptables rules and NET_ADMIN; the copy's sidecar leads to the responder without them"
)

// ReplayAnnotations returns the table of annotations that request a replay, in the order of the
// reference. Annotations without Own are for workloads. Those with Own are for TrafficReplays too.
//
// The others have the names, defaults and meaning of
// https://docs.speedscale.com/reference/kubernetes-annotations/, until August 2025.
func ReplayAnnotations() []Annotation { return replayAnnotations }

var replayAnnotations = []Annotation{
	{Name: "snapshot-id", Replay: true, Kind: snapshotKind, Former: []string{"scenarioid"},
		Doc:  "Snapshot to replay. Setting it requests the replay. With `@sha256:` and the digest, as `tapedeck snapshot show` prints it, nobody can replace the snapshot.",
		asks: func(q *replayRequest) any { return &q.SnapshotID }},
	{Name: "testconfig-id", Replay: true, Kind: idKind, Default: standardConfig, Former: []string{"testconfigid"},
		Doc:  "[Test config](cluster-replay.md#test-configs): " + "load, goals, and how answers are compared.",
		asks: func(q *replayRequest) any { return &q.TestConfigID }},
	{Name: "mode", Replay: true, Kind: modeKind, Default: string(fullReplay), Former: []string{"mode"},
		Doc:  "Parts of the replay that run: `full-replay` sends the recorded requests and mocks the dependencies, `generator-only` mocks nothing, `responder-only` sends nothing.",
		asks: func(q *replayRequest) any { return &q.Mode }},
	{Name: "build-tag", Replay: true, Kind: lineKind, Former: []string{"tag"}, When: withGenerator,
		Doc:  "Name of the build, for the report.",
		asks: func(q *replayRequest) any { return &q.BuildTag }},
	{Name: "timeout", Replay: true, Kind: durationKind, Default: contract.DefaultReplayTimeout, When: withGenerator,
		Doc:  "How long the generator may make no progress. The run itself may take longer.",
		asks: func(q *replayRequest) any { return &q.Timeout }},
	{Name: "sut-url", Replay: true, Kind: urlKind, Former: []string{"sutURL"}, When: withGenerator,
		Doc:  "URL to send requests to. Scheme, host and port of a partial URL each replace those of the copy's Service. A host needs `mode: generator-only` or `tapedeck.dev/replay: in-place`, because the copy has a different host.",
		asks: func(q *replayRequest) any { return &q.URL }},
	{Name: "secrets", Replay: true, Kind: secretsKind, Former: []string{"secrets"}, When: withGenerator,
		Doc:  "Secrets whose `" + contract.CredentialsName + "` holds lines such as `header.Authorization=Bearer …`, for credentials that only a client has.",
		asks: func(q *replayRequest) any { return &q.Secrets }},
	{Name: "generator-low-data", Replay: true, Kind: boolKind, Default: "false", When: withGenerator,
		Doc:  "Do not compare answers. The report then has only times and failures.",
		asks: func(q *replayRequest) any { return &q.LowData }},
	{Name: "replay", Own: true, Kind: enumKind(replayCopy, replayInPlace), Default: replayCopy,
		Doc:  "The target: a `copy` of the Deployment next to it, or the workload itself (`in-place`). With `in-place`, all callers of the workload get answers that depend on mocks, so use it only in test clusters.",
		asks: func(q *replayRequest) any { return &q.How }},
	{Name: "replay-shards", Own: true, Kind: podsKind, Default: "1", When: withGenerator,
		Doc:  "Number of pods that send requests. Together they send what one pod would.",
		asks: func(q *replayRequest) any { return &q.Shards }},
	{Name: "replay-replicas", Own: true, Kind: podsKind, Default: "1", When: withCopy,
		Doc:  "Number of pods of the copy.",
		asks: func(q *replayRequest) any { return &q.Replicas }},
	{Name: "replay-fail-if", Own: true, Kind: goalsKind, When: withGenerator,
		Doc:  "[Goals](replay.md#goals), besides those of the test config.",
		asks: func(q *replayRequest) any { return &q.FailIf }},
	{Name: "replay-passthrough", Own: true, Kind: passthroughKind, When: withResponder,
		Doc:  "Hosts that the responder may reach where the snapshot has no answer, besides those of the option `replayPassthrough`.",
		asks: func(q *replayRequest) any { return &q.Passthrough }},
	{Name: "replay-annotations", Own: true, Kind: hooksKind, When: withGenerator,
		Doc:  "Annotations of the generator's Job, such as `argocd.argoproj.io/hook=PostSync`. The render copies such annotations of a TrafficReplay by itself.",
		asks: func(q *replayRequest) any { return &q.Hooks }},
	{Name: "replay-tests", Own: true, Kind: slicesKind, When: withGenerator,
		Doc:  "Recorded requests to send, by slice keys; if unset, those that the workload received. Only for workloads: a TrafficReplay has `tests`.",
		asks: func(q *replayRequest) any { return &q.target().Tests }},
	{Name: "replay-mocks", Own: true, Kind: slicesKind, When: withResponder,
		Doc:  "Recorded answers that the responder gives, by slice keys; if unset, those that the workload got. Only for workloads: a TrafficReplay has `mocks`.",
		asks: func(q *replayRequest) any { return &q.target().Mocks }},
	{Name: "replay-routing", Own: true, Kind: routingKind, When: withResponder,
		Doc:  "`hostalias` also leads the copy to the responder through a [hosts file](outbound.md#hosts-file). Only for workloads: a TrafficReplay has `routing`.",
		asks: func(q *replayRequest) any { return &q.target().Routing }},
	{Name: "cleanup", Replay: true, Kind: enumKind("inventory", "all", "none"), Default: "inventory", Former: []string{"cleanup"},
		Doc: "Cleanup of the environment afterwards.", NoMeaning: gitRemoves},
	{Name: "responder-low-data", Replay: true, Kind: boolKind, Default: "false",
		Doc: "Keep only counts of mocked requests.", NoMeaning: "a responder never keeps more than the counts of its receipt and the first misses"},
	{Name: "collect-logs", Replay: true, Kind: boolKind,
		Doc: "Collect the pods' logs.", NoMeaning: logsAreThere},
	{Name: "env-id", Replay: true, Kind: textKind, Former: []string{"env-id"},
		Doc: "Name of the TrafficReplay that the operator created.", NoMeaning: "an operator wrote it, and Tapedeck doesn't read it"},
}

// workloadOnly maps the annotations that a TrafficReplay replaces with fields to those fields.
var workloadOnly = map[string]string{"replay-tests": "tests", "replay-mocks": "mocks", "replay-routing": "routing"}

// retiredReplay has the annotations of the former prefix without a direct replacement, each with
// advice.
var retiredReplay = map[string]string{
	"deployGenerator": "write " + contract.ReplayPrefix + "mode: responder-only for a replay without generator",
	"deployResponder": "write " + contract.ReplayPrefix + "mode: generator-only for a replay without responder",
	"jwt":             "write " + contract.ReplayPrefix + "secrets with the name of a Secret, which holds credentials",
}

// isReplayKey reports whether an annotation configures a replay.
func isReplayKey(key string) bool {
	own, isOwn := strings.CutPrefix(key, contract.OwnPrefix)
	return strings.HasPrefix(key, contract.ReplayPrefix) || strings.HasPrefix(key, FormerReplayPrefix) || isOwn && (own == "replay" || strings.HasPrefix(own, "replay-"))
}

// isReplayName reports whether a name, with or without its prefix, is the name of a replay annotation.
func isReplayName(name string) bool {
	return slices.ContainsFunc(replayAnnotations, func(row Annotation) bool { return name == row.Name || name == row.Key() })
}

// replayWords is the vocabulary of the annotations that configure replays.
var replayWords = vocabulary{has: isReplayKey, find: replayAnnotation, unknown: unknownReplayAnnotation}

// replayAnnotation returns the row of a key.
func replayAnnotation(key string) (row *Annotation, former bool) {
	old, isOld := strings.CutPrefix(key, FormerReplayPrefix)
	for i := range replayAnnotations {
		row := &replayAnnotations[i]
		if row.Key() == key || isOld && slices.Contains(row.Former, old) {
			return row, isOld
		}
	}
	return nil, false
}

// unknownReplayAnnotation returns the result for an unknown annotation: a warning, or an error in
// strict mode.
func unknownReplayAnnotation(o *Object, cfg *Config, key string) Result {
	if fate, ok := retiredReplay[strings.TrimPrefix(key, FormerReplayPrefix)]; ok && strings.HasPrefix(key, FormerReplayPrefix) {
		return result(CodeNoMeaning, o, "annotation %s has no effect: %s", key, fate)
	}
	names := map[string]string{} // keys, by name
	for _, row := range replayAnnotations {
		names[row.Name] = row.Key()
	}
	name := key[strings.LastIndexByte(key, '/')+1:]
	hint := ""
	if near := didYouMean(name, sortedKeys(names)); near != "" {
		near = strings.TrimSuffix(strings.TrimPrefix(near, "; did you mean "), "?")
		hint = fmt.Sprintf("; did you mean %s?", names[near])
	}
	return result(CodeUnknownAnnotation, o, "annotation %s is unknown%s", key, hint).ifStrict(cfg)
}

// readAnnotations reads the annotations of a request from the given places of the object. The weakest
// place comes first.
func (q *replayRequest) readAnnotations(cfg *Config, places [][]string) Results {
	wrong, explicit := map[string]bool{}, map[string]source{}
	results := replayWords.read(q.from, cfg, places, explicit, wrong)
	for _, row := range replayAnnotations {
		src, isSet := explicit[row.Name]
		if !isSet {
			continue
		}
		label, shown := "annotation "+row.Key(), row.Kind.shown(src.value)
		if why := q.noMeaning(row); why != "" {
			results = append(results, result(CodeNoMeaning, q.from, "%s has no effect: %s", label, why).At(src.path, shown, ""))
			continue
		}
		if err := row.Kind.store(row.asks(q), src.value); err != nil {
			results = append(results, result(CodeBadValue, q.from, "%s: %v", label, err).At(src.path, shown, ""))
			continue
		}
		q.said = append(q.said, statement{row.Name, label, src.path, shown, row.When})
	}
	return results
}

// noMeaning says why an annotation has no effect on this object; "" if it has one.
func (q *replayRequest) noMeaning(row Annotation) string {
	field, onWorkload := workloadOnly[row.Name]
	switch onObject := q.from.is(replayGroup, trafficReplayKind); {
	case onObject && onWorkload:
		return "a " + trafficReplayKind + " has spec.workloads[]." + field
	case onObject && !row.Own:
		return "it is for workloads; the spec of a " + trafficReplayKind + " says it"
	}
	return row.NoMeaning
}

// hookPrefixes are the prefixes of annotations that tell Argo CD, Helm and Flux when and how to apply
// an object.
var hookPrefixes = []string{"argocd.argoproj.io/", "helm.sh/", "kustomize.toolkit.fluxcd.io/"}

// hookName matches the names that Kubernetes allows after such a prefix.
var hookName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)

// isHook reports whether an annotation says when or how its object is applied. The tracking ID is not a
// hook: it names the application that owns an object in Argo CD, so a second object must not have it.
func isHook(key string) bool {
	prefix, name, _ := strings.Cut(key, "/")
	return slices.Contains(hookPrefixes, prefix+"/") && hookName.MatchString(name) && key != "argocd.argoproj.io/tracking-id"
}

// parseHooks reads lines of KEY=VALUE.
func parseHooks(v string) (map[string]string, error) {
	hooks := map[string]string{}
	for i, line := range lines(v) {
		key, value, ok := strings.Cut(line, "=")
		switch {
		case !ok || !isHook(key) || !isLine(value):
			return nil, fmt.Errorf("line %d is not an allowed KEY=VALUE", i+1)
		case hooks[key] != "":
			return nil, fmt.Errorf("line %d repeats the key of an earlier line", i+1)
		}
		hooks[key] = value
	}
	return hooks, nil
}

// checkSnapshot accepts only an ID, because the option replayPlace sets the place. Shards could not
// meet at the place of a snapshot elsewhere. Its errors quote no URL, which may contain a password.
func checkSnapshot(v string) error {
	if strings.ContainsAny(v, "/\\") {
		return errors.New("found a path or a URL; the place of snapshots is the option replayPlace")
	}
	if ref, err := contract.ParseSnapshotRef(v); err != nil || ref.String() != v {
		if mayBeSecret(v) {
			return errors.New("found something else")
		}
		return fmt.Errorf("found %q", v)
	}
	return nil
}

// targetSchemes are the schemes that `tapedeck replay --target` accepts.
var targetSchemes = []string{"http", "https", "h2c", "grpc", "grpcs"}

// parseTarget reads the scheme, host and port of a URL or a part of one. Its errors quote nothing.
func parseTarget(v string) (t target, err error) {
	authority := v
	if before, after, isURL := strings.Cut(v, "://"); isURL {
		t.scheme, authority = before, strings.TrimSuffix(after, "/")
		if !slices.Contains(targetSchemes, t.scheme) {
			if hostName.MatchString(t.scheme) {
				return target{}, fmt.Errorf("found scheme %s", t.scheme)
			}
			return target{}, errors.New("found another scheme")
		}
	}
	switch {
	case v == "":
		return target{}, errors.New("found nothing")
	case strings.Contains(authority, "@"):
		return target{}, errors.New("found a user or a password; put it into a Secret (annotation secrets, field secretRefs)")
	case strings.ContainsAny(authority, "/?#"):
		return target{}, errors.New("found a path, a query or a fragment; the recorded requests have their own")
	}
	t.host = authority
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		t.host, t.port = authority[:i], authority[i+1:]
		if err := checkPort(t.port); err != nil {
			if checkNumber(t.port) == nil {
				return target{}, fmt.Errorf("found port %s, which is not allowed", t.port)
			}
			return target{}, errors.New("its port is not a number")
		}
		t.port = strconv.Itoa(atoi(t.port))
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(t.host, "["), "]")
	switch ip := net.ParseIP(bare); {
	case t.host == "" && (t.scheme != "" || t.port != ""):
	case ip != nil && (strings.HasPrefix(t.host, "[") == strings.Contains(bare, ":")):
	case ip == nil && hostName.MatchString(t.host) && strings.ContainsFunc(t.host, unicode.IsLetter) && len(t.host) <= 253:
	default:
		return target{}, errors.New("its host is not valid")
	}
	return t, nil
}

// eachOf checks every value of a list that must not be empty. is describes a valid value.
func eachOf(is string, check func(string) error) func(string) error {
	return func(v string) error {
		all := splitList(v)
		if len(all) == 0 {
			return errors.New("found no value")
		}
		for _, one := range all {
			if check(one) != nil {
				return fmt.Errorf("%q is not %s", one, is)
			}
		}
		return nil
	}
}

func checkSliceKey(v string) error {
	if v == "" || len(v) > 512 || strings.Contains(v, "://") || strings.Contains(v, "@") || strings.TrimSpace(v) != v || strings.Contains(v, ",") || !isLine(v) {
		return errors.New("not a slice key")
	}
	return nil
}

func checkLine(v string) error {
	switch {
	case !isLine(v):
		return errors.New("a control character, a character that changes the text direction, or invalid UTF-8")
	case utf8.RuneCountInString(v) > 200:
		return errors.New("too long")
	}
	return nil
}

// isLine reports whether a text is one line without characters that change the text direction, so that
// reviewers see what it really says.
func isLine(v string) bool {
	return utf8.ValidString(v) && !strings.ContainsFunc(v, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	})
}

func checkGoals(v string) error {
	for _, goal := range lines(v) {
		if err := checkGoal(goal); err != nil {
			return err
		}
	}
	return nil
}

func checkGoal(v string) error {
	if err := checkLine(v); err != nil {
		return err
	}
	_, err := contract.ParseGoal(v)
	if err != nil && mayBeSecret(v) { // err quotes the value
		return errors.New("found a line that may contain a credential, so it is not shown")
	}
	return err
}

// lines returns the lines of a text, trimmed, without blank ones.
func lines(v string) (out []string) {
	for line := range strings.Lines(v) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
