package transformer

import (
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// sidecarMounts builds the sidecar's mounts. sidecarVolumes builds their
// volumes.
func sidecarMounts(w *workload, cfg *Config, sink *collector) (*yaml.Node, Results) {
	s := &w.settings
	var mounts []*yaml.Node
	var results Results
	readOnly := func(volume, dir string) {
		mounts = append(mounts, nodes.Mapping("name", volume, "mountPath", dir, "readOnly", true))
	}
	kept := strings.TrimPrefix(cfg.Sink, "file://")
	if sink != nil {
		kept = contract.RecordingDir
	}
	mounts = append(mounts, nodes.Mapping("name", contract.RecordingVolume, "mountPath", kept))
	if sink != nil {
		readOnly(contract.SinkTokenVolume, contract.SinkTokenDir)
	}
	if cfg.RedactKeySecret != "" {
		readOnly(contract.RedactKeyVolume, contract.RedactKeyDir)
	}
	if s.usesTrustVolume() {
		mounts = append(mounts, trustMount(false))
	}
	if s.intercepts() {
		readOnly(contract.CAVolume, contract.CADir)
		if cfg.UpstreamCASecret != "" {
			readOnly(contract.UpstreamCAVolume, contract.UpstreamCADir)
		}
	}
	if s.CaptureConfig != "" {
		readOnly(contract.CaptureVolume, contract.CaptureDir)
	}
	for _, t := range w.tlsFiles() {
		if t.secret != "" {
			readOnly(t.volume, t.dir)
			continue
		}
		for _, file := range []string{t.public, t.private} {
			m, found := w.mountOf(file), "no container of the pod mounts the file"
			if s.intercepts() && under(file, contract.TrustDir) {
				m, found = nil, "the trust files replace the file"
			}
			if m != nil && nodes.At(m, "subPathExpr") != nil { // it refers to variables that the sidecar lacks
				m, found = nil, "a mount with subPathExpr has the file"
			}
			if m == nil {
				results = append(results, result(CodeBadCombination, w.Object, "%s: %s %s; allowed: the path of a mounted file, or a Secret's name in %s",
					t.annotation, found, file, strings.Replace(t.annotation, "public", "secret", 1)).At(s.where(t.annotation), file, ""))
				continue
			}
			shared := nodes.Mapping("name", nodes.StringAt(m, "name"), "mountPath", nodes.StringAt(m, "mountPath"), "subPath", nodes.At(m, "subPath"), "readOnly", true)
			if !mounted(mounts, nodes.StringAt(m, "mountPath")) {
				mounts = append(mounts, shared)
			}
		}
	}
	for _, m := range mounts[1:] {
		if at := nodes.StringAt(m, "mountPath"); under(at, kept) || under(kept, at) {
			results = append(results, result(CodeNameClash, w.Object, "the option sink is %s, but the sidecar mounts volume %s at %s; allowed: a directory that the sidecar does not use otherwise", cfg.Sink, nodes.StringAt(m, "name"), at))
		}
	}
	return nodes.Sequence(mounts...), results
}

// tlsFiles returns the certificates that the sidecar of a workload gets.
func (w *workload) tlsFiles() []tlsFiles {
	var files []tlsFiles
	if t := w.settings.tlsIn(); t.on() && w.settings.inbound() {
		files = append(files, t)
	}
	if t := w.settings.tlsMutual(); t.on() && w.settings.intercepts() {
		files = append(files, t)
	}
	return files
}

// mountOf returns the mount through which one of the application's containers has
// a file: the nearest if there are several.
func (w *workload) mountOf(file string) (nearest *yaml.Node) {
	for _, c := range w.appContainers() {
		for _, m := range nodes.Items(nodes.At(c.Node, "volumeMounts")) {
			at := strings.TrimSuffix(nodes.StringAt(m, "mountPath"), "/")
			if at != "" && under(file, at) && len(at) > len(nodes.StringAt(nearest, "mountPath")) {
				nearest = m
			}
		}
	}
	return nearest
}

// under reports whether a path is a directory or in it.
func under(file, dir string) bool { return file == dir || strings.HasPrefix(file, dir+"/") }

func mounted(mounts []*yaml.Node, at string) bool {
	for _, m := range mounts {
		if nodes.StringAt(m, "mountPath") == at {
			return true
		}
	}
	return false
}

// sidecarVolumes builds the sidecar's volumes. Secrets and the ConfigMap are optional, so
// the pod starts without them. Then TLS remains unread, filters remain unchanged, tokens
// use a random key, or recordings remain in the pod. Their files have the default mode,
// 0644, because root owns them, and the sidecar's user is not root and may have no
// fsGroup. No other container mounts these volumes.
func sidecarVolumes(w *workload, cfg *Config, sink *collector) []*yaml.Node {
	empty := func(name string) *yaml.Node { return nodes.Mapping("name", name, "emptyDir", nodes.Mapping()) }
	secret := func(name, secret string) *yaml.Node {
		return nodes.Mapping("name", name, "secret", nodes.Mapping("secretName", secret, "optional", true))
	}
	volumes := []*yaml.Node{empty(contract.RecordingVolume)}
	if sink != nil {
		volumes = append(volumes, secret(contract.SinkTokenVolume, cfg.SinkTokenSecret))
	}
	if cfg.RedactKeySecret != "" {
		volumes = append(volumes, secret(contract.RedactKeyVolume, cfg.RedactKeySecret))
	}
	if w.settings.usesTrustVolume() {
		volumes = append(volumes, empty(contract.TrustVolume))
	}
	if w.settings.intercepts() {
		volumes = append(volumes, secret(contract.CAVolume, cfg.CASecret))
		if cfg.UpstreamCASecret != "" {
			volumes = append(volumes, secret(contract.UpstreamCAVolume, cfg.UpstreamCASecret))
		}
	}
	if name := w.settings.CaptureConfig; name != "" {
		volumes = append(volumes, nodes.Mapping("name", contract.CaptureVolume, "configMap", nodes.Mapping("name", name, "optional", true)))
	}
	for _, t := range w.tlsFiles() {
		if t.secret != "" {
			volumes = append(volumes, secret(t.volume, t.secret))
		}
	}
	return volumes
}
