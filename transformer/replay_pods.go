package transformer

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// The pods of a generator and a responder are similar. They run Tapedeck's image with the rights of the
// sidecar, read a snapshot from the place, and store what they read in a file. They run no code of the
// application.

// replayPod has the settings in which the pods of the parts differ.
type replayPod struct {
	part, container string
	args            []string
	env, ports      *yaml.Node
	probes          []any // keys and values of a container's mapping
	restartPolicy   any
	grace           any // seconds, or nil
	// readOnly reports whether the pod only reads from the place.
	readOnly bool
	// secrets are mounted. Each provides one or more of its keys as files.
	secrets []secretFiles
}

// secretFiles are keys of a Secret, mounted as files in a directory.
type secretFiles struct {
	volume, secret, dir string
	keys                []string
}

// replayTemplate builds the template of the pods.
func (in *input) replayTemplate(r *replay, p replayPod) *yaml.Node {
	labels := r.podLabels(p.part)
	if in.replayPlace().Scheme == "azblob" && nodes.KeyIndex(labels, azureIdentity) < 0 {
		nodes.Set(labels, azureIdentity, nodes.New("true"))
	}
	// A classic Envoy starts at the same time as the container, which needs the network immediately.
	annotations := nodes.Mapping("proxy.istio.io/config", `{"holdApplicationUntilProxyStarts": true}`)
	if r.w != nil && r.w.podAnnotation(meshLabel) != "" { // the label was formerly an annotation
		nodes.Set(annotations, meshLabel, nodes.New(r.w.podAnnotation(meshLabel)))
	}
	mounts := []*yaml.Node{nodes.Mapping("name", contract.WorkVolume, "mountPath", contract.WorkDir)}
	volumes := []*yaml.Node{nodes.Mapping("name", contract.WorkVolume, "emptyDir", nodes.Mapping())}
	var security *yaml.Node
	if place := in.replayPlace(); place.IsDir() {
		var readOnly any
		if p.readOnly {
			readOnly = true
		}
		mounts = append(mounts, nodes.Mapping("name", contract.PlaceVolume, "mountPath", place.Path, "readOnly", readOnly))
		volumes = append(volumes, nodes.Mapping("name", contract.PlaceVolume, "persistentVolumeClaim", nodes.Mapping("claimName", in.cfg.ReplayClaim, "readOnly", readOnly)))
		if group := in.cfg.RunAsGroup; group != 0 {
			security = nodes.Mapping("fsGroup", group, "fsGroupChangePolicy", "OnRootMismatch")
		}
	}
	for _, s := range p.secrets {
		var files []*yaml.Node
		for _, key := range s.keys {
			files = append(files, nodes.Mapping("key", key, "path", key))
		}
		mounts = append(mounts, nodes.Mapping("name", s.volume, "mountPath", s.dir, "readOnly", true))
		volumes = append(volumes, nodes.Mapping("name", s.volume, "secret", nodes.Mapping("secretName", s.secret, "items", files)))
	}
	container := nodes.Mapping(
		"name", p.container,
		"image", in.replayImage(r),
		"imagePullPolicy", pullPolicy(in.cfg),
		"command", []string{contract.Binary},
		"args", p.args,
		"env", p.env,
		"ports", p.ports,
		"resources", in.replayResources(),
	)
	container.Content = append(container.Content, nodes.Mapping(append(p.probes, "securityContext", securityContext(in.cfg), "volumeMounts", mounts)...).Content...)
	return nodes.Mapping(
		"metadata", nodes.Mapping("labels", labels, "annotations", annotations),
		"spec", nodes.Mapping(
			"serviceAccountName", orNil(in.cfg.ReplayServiceAccount),
			"automountServiceAccountToken", false, // a cloud's identity uses a separate token
			"restartPolicy", p.restartPolicy,
			"terminationGracePeriodSeconds", p.grace,
			"imagePullSecrets", r.ofPods("imagePullSecrets"),
			"nodeSelector", in.placed(r, "nodeSelector"),
			"tolerations", in.placed(r, "tolerations"),
			"securityContext", security,
			"containers", nodes.Sequence(container),
			"volumes", nodes.Sequence(volumes...),
		),
	)
}

// replayImage returns the image for the pods of a replay. If others, such as kustomize's `images:`,
// changed the image of the workload's sidecar after a render, it returns that one.
func (in *input) replayImage(r *replay) string {
	if r.w != nil && r.w.Object.image != "" {
		return r.w.Object.image
	}
	return in.cfg.Image
}

// orNil returns nil for an empty text. nodes.Mapping omits a key with the value nil.
func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// ofPods returns a field of the original's pods; nil if it has none.
func (r *replay) ofPods(key string) *yaml.Node {
	if r.w == nil {
		return nil
	}
	n := nodes.At(r.w.podSpec(), key)
	if n == nil || len(n.Content) == 0 {
		return nil
	}
	return uncommented(n)
}

// placed returns a field that says on which nodes the original's pods run. The rules that keep a
// team's pods together also apply to those of a replay. It returns nothing for Windows nodes, because
// the image is for Linux.
func (in *input) placed(r *replay, key string) *yaml.Node {
	if r.w == nil {
		return nil
	}
	if path, _ := in.windows(r.w); path != "" {
		return nil
	}
	return r.ofPods(key)
}

// replayPlace returns the place of snapshots and reports. Its syntax was checked when it was read.
func (in *input) replayPlace() contract.Place {
	p, _ := contract.ParsePlace(in.cfg.ReplayPlace)
	return p
}

// replayBucket returns the place if pods reach it through the network; nil if it is on a volume.
func (in *input) replayBucket() *contract.Place {
	if p := in.replayPlace(); in.cfg.ReplayPlace != "" && !p.IsDir() {
		return &p
	}
	return nil
}

// snapshotArgument returns the snapshot of a replay as an argument of commands.
func (in *input) snapshotArgument(r *replay) string {
	return literal(contract.SnapshotRef{Place: in.replayPlace(), ID: r.Snapshot.ID, Digest: r.Snapshot.Digest}.String())
}

// selection returns the flags that select exchanges of a snapshot.
func (r *replay) selection(t traffic) []string {
	switch {
	case len(t.Keys) > 0:
		return flags("slice", t.Keys)
	case t.All || r.w == nil:
		return nil
	}
	return flags("workload", []string{r.w.appLabel()})
}

// flags returns the flag with each of the values. It escapes references to variables, which Kubernetes
// would expand in arguments.
func flags(name string, values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = flag(name, v)
	}
	return out
}

func flag(name, value string) string { return "--" + name + "=" + literal(value) }

// redactKey returns the Secret and the flag for the key with which recordings were redacted, if the
// sidecars share one.
func (in *input) redactKey() (files []secretFiles, args []string) {
	if in.cfg.RedactKeySecret == "" {
		return nil, nil
	}
	return []secretFiles{{contract.RedactKeyVolume, in.cfg.RedactKeySecret, contract.RedactKeyDir, []string{contract.RedactKeyName}}},
		[]string{flag("redact-key", path.Join(contract.RedactKeyDir, contract.RedactKeyName))}
}

// replayResources builds the resources of the container of a generator or responder. It lowers
// requests to their limits.
func (in *input) replayResources() *yaml.Node {
	limits := pairsOf(in.cfg.ReplayLimits)
	requests := pairsOf(in.cfg.ReplayRequests)
	for name, limit := range limits {
		if request := requests[name]; request != "" && parseQuantity(request) > parseQuantity(limit) {
			requests[name] = limit
		}
	}
	list := func(values map[string]string) any {
		var pairs []any
		for _, name := range resourceNames {
			if values[name] != "" {
				pairs = append(pairs, name, values[name])
			}
		}
		if pairs == nil {
			return nil
		}
		return nodes.Mapping(pairs...)
	}
	return nodes.Mapping("requests", list(requests), "limits", list(limits))
}

// resourceNames are the resources that the pods of replays may request.
var resourceNames = []string{"cpu", "memory", "ephemeral-storage"}

// pairsOf returns the values of NAME=VALUE pairs by name.
func pairsOf(list []string) map[string]string {
	m := map[string]string{}
	for _, pair := range list {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	return m
}

func checkResourceList(v string) error {
	seen := map[string]bool{}
	for _, pair := range splitList(v) {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case !slices.Contains(resourceNames, name):
			return fmt.Errorf("%q does not name %s", pair, oneOf(resourceNames))
		case seen[name]:
			return fmt.Errorf("%s is given twice", name)
		case quantityKind.Check(value) != nil:
			return fmt.Errorf("%q is not a quantity", value)
		}
		seen[name] = true
	}
	return nil
}

// checkReplayPods reports settings that keep the pods of replays from starting.
func (in *input) checkReplayPods(r *replay) Results {
	var results Results
	fail := func(code Code, message string, args ...any) {
		results = append(results, r.result(code, message, args...))
	}
	if in.cfg.ImageContract < replayContract {
		fail(CodeImageContract, "images run generators and responders since contract version %d, and the option imageContract is %d; allowed: a newer image", replayContract, in.cfg.ImageContract)
	}
	if place := in.replayPlace(); place.IsDir() && slices.ContainsFunc(replayDirs, func(dir string) bool {
		return under(dir, strings.TrimSuffix(place.Path, "/")) || under(place.Path, dir)
	}) {
		fail(CodeReplayNoPlace, "the option replayPlace is %s, which the pods of a replay use for something else; allowed: a separate directory, such as /var/lib/tapedeck/place", place)
	}
	results = append(results, in.checkReplayQuotas(r)...)
	return append(results, in.checkReplaySecrets(r)...)
}

// resourceOption returns the option that sets the same resource for replays as a setting of the
// sidecar.
func resourceOption(setting string) string {
	if strings.HasSuffix(setting, "-request") {
		return "replayRequests"
	}
	return "replayLimits"
}

// limitsFor returns the LimitRanges that apply to the pods of a replay. replayAmounts returns the
// resources that each container of a generator and a responder gets with them.
func (in *input) limitsFor(r *replay) []limitRange {
	return in.limitRanges(&workload{Object: r.subject()})
}

func (in *input) replayAmounts(r *replay) amounts {
	return resourcesOf(nodes.Mapping("resources", in.replayResources()), in.limitsFor(r))
}

// ownPods returns the number of pods of a replay, without the copy's.
func (r *replay) ownPods() (n float64) {
	if r.generates() {
		n += float64(r.Shards)
	}
	if r.responds() {
		n++
	}
	return n
}

// checkReplayQuotas reports LimitRanges and ResourceQuotas that reject the pods. A quota on a resource
// requires every container to set it, unless a LimitRange does so.
func (in *input) checkReplayQuotas(r *replay) Results {
	limits, ours := in.limitsFor(r), in.replayAmounts(r)
	var results Results
	for _, l := range limits {
		if l.kind != "Container" && l.kind != "Pod" { // each pod has one container
			continue
		}
		for _, refused := range l.refusals(ours) {
			results = append(results, r.result(CodeLimitRange, "%s rejects the pods of the generator and the responder: their %s; set the option %s", l.Ref(), refused.message, resourceOption(refused.name)))
		}
	}
	for _, o := range in.byKind["/ResourceQuota"] {
		hard := quantities(nodes.At(o.Node, "spec", "hard"))
		for _, key := range sortedKeys(hard) {
			q, known := quotaResources[key]
			if !known || o.namespace() != r.namespace() || scoped(o) {
				continue
			}
			if _, has := q.of(ours)[q.resource]; !has {
				results = append(results, r.result(CodeQuota, "%s rejects the pods of the generator and the responder: it limits %s, so every container must set it, and they don't; set the option %s", o.Ref(), key, resourceOption(q.setting)))
			}
		}
	}
	return results
}

// replayDirs are the directories that the pods of a replay need, or get from Kubernetes and clouds.
var replayDirs = []string{contract.Binary, contract.CADir, contract.RedactKeyDir, contract.CredentialsDir, contract.UpstreamCADir, contract.WorkDir, "/dev", "/var/run/secrets"}

// replayContract is the first contract version that has generators and responders.
const replayContract = 3

// checkReplaySecrets reports missing Secrets for which the pods would wait.
func (in *input) checkReplaySecrets(r *replay) (results Results) {
	var needed []secretFiles
	if r.responds() {
		needed = in.responderPod(r).secrets
	}
	if r.generates() {
		needed = append(needed, in.generatorPod(r, in.targets(r)).secrets...)
	}
	var missing []string
	for _, s := range needed {
		o := in.find("", "Secret", r.namespace(), s.secret)
		if o == nil {
			missing = append(missing, fmt.Sprintf("%s with %s", s.secret, strings.Join(s.keys, " and ")))
			continue
		}
		for _, key := range s.keys {
			once, path := checked{o, "replay: " + key}, pathKey("data", key)
			if nodes.StringAt(o.Node, "stringData", key)+nodes.StringAt(o.Node, "data", key) == "" && !in.mountedChecked[once] {
				results = append(results, result(CodeReplaySecretKey, o, "%s is missing, and the pods of a replay need it", path).At(path, "", ""))
				in.mountedChecked[once] = true
			}
		}
	}
	if len(missing) > 0 {
		results = append(results, r.result(CodeReplaySecret, "the pods of the replay don't start without these Secrets, which are not in the input and may be in the cluster: %s", strings.Join(unique(missing), ", ")))
	}
	return results
}
