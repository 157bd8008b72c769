package transformer

import (
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// A copy may read the original's volumes, but must not write to shared ones:
//
// emptyDir, ephemeral, configMap, …     separate for each pod, or not writable: kept
// others, read-only                     kept
// others, writable                      an error, or an emptyDir with the option replayVolumes

// ownVolumes are the kinds of volumes that are separate for each pod, or that no pod can write to.
var ownVolumes = []string{"emptyDir", "ephemeral", "configMap", "secret", "projected", "downwardAPI", "image", "gitRepo"}

// copyVolumes keeps a copy from writing to shared data through its volumes.
func (in *input) copyVolumes(r *replay, spec *yaml.Node) Results {
	var results Results
	var emptied []string
	for _, v := range nodes.Items(nodes.At(spec, "volumes")) {
		name, kind := nodes.StringAt(v, "name"), volumeKind(v)
		at := pathItem(r.w.at("spec.volumes"), name)
		writers, device := volumeWriters(spec, name)
		readOnly := len(writers) == 0 || kind != "hostPath" && nodes.IsTrue(nodes.At(v, kind, "readOnly"))
		switch {
		case kind == "":
		case readOnly:
		case in.cfg.ReplayVolumes == volumesEmpty && !device:
			emptied = append(emptied, name)
			*v = *nodes.Mapping("name", name, "emptyDir", nodes.Mapping())
		case device:
			results = append(results, result(CodeReplayVolume, r.w.Object, "volume %s is a %s, and %s uses it as a block device, so a copy would write to the original's data; allowed: readOnly: true on the claim, or %sreplay: in-place", name, kind, strings.Join(writers, " and "), contract.OwnPrefix).At(at, kind, ""))
		default:
			results = append(results, result(CodeReplayVolume, r.w.Object, "volume %s is a %s that %s may write to, so a copy would write to the original's data; allowed: readOnly: true on its mounts, or the option replayVolumes: emptyDir, which gives the copy an empty volume", name, kind, strings.Join(writers, " and ")).At(at, kind, ""))
		}
	}
	if len(emptied) > 0 {
		results = append(results, r.result(CodeReplayEmptied, "the copy of %s has an empty volume instead of %s, because of the option replayVolumes", r.w.Ref(), strings.Join(emptied, ", ")))
	}
	return results
}

// volumeKind returns the kind of a volume that others may share; "" for one of ownVolumes.
// A volume without a kind is an emptyDir.
func volumeKind(v *yaml.Node) string {
	for _, key := range sortedKeys(nodes.Strings(v)) {
		if key != "name" && !slices.Contains(ownVolumes, key) {
			return key
		}
	}
	return ""
}

// volumeWriters names the containers that can write to a volume. device reports whether one uses it as a
// block device.
func volumeWriters(spec *yaml.Node, volume string) (writers []string, device bool) {
	for _, c := range containersOf(spec) {
		writes := false
		for _, m := range nodes.Items(nodes.At(c, "volumeMounts")) {
			writes = writes || nodes.StringAt(m, "name") == volume && !nodes.IsTrue(nodes.At(m, "readOnly"))
		}
		for _, d := range nodes.Items(nodes.At(c, "volumeDevices")) {
			if nodes.StringAt(d, "name") == volume {
				writes, device = true, true
			}
		}
		if writes {
			writers = append(writers, "container "+nodes.StringAt(c, "name"))
		}
	}
	return writers, device
}
