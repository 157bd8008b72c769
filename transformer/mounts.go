package transformer

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// A container runtime creates a mount point before it mounts there. If the mount point is in the
// volume of another mount that is read-only, the container does not start:
//
//	/etc/ssl/certs                        ConfigMap, read-only
//	/etc/ssl/certs/ca-certificates.crt    from the trust volume; the mount point can't be created

// checkMounts reports mounts of a container that conflict with those of a render.
func (in *input) checkMounts(w *workload, c container, mounts []*yaml.Node) Results {
	var results Results
	ours := func(m *yaml.Node) bool { return sidecarVolumeNames[nodes.StringAt(m, "name")] != "" }
	byDir := map[string]*yaml.Node{}
	for _, m := range mounts {
		byDir[path.Clean(nodes.StringAt(m, "mountPath"))] = m
	}
	for _, inner := range mounts {
		at := path.Clean(nodes.StringAt(inner, "mountPath"))
		var outer *yaml.Node // the nearest
		for dir := at; outer == nil && len(dir) > 1; {
			dir = path.Dir(dir)
			outer = byDir[dir]
		}
		if outer == nil || !ours(inner) && !ours(outer) || !in.readOnly(w, outer) || in.has(w, outer, at) {
			continue
		}
		results = append(results, result(CodeMountNested, w.Object, "container %s mounts volume %s at %s, inside the read-only volume %s at %s. If that volume lacks the mount point, the container does not start. Mount one of the two elsewhere%s",
			c.name(), nodes.StringAt(inner, "name"), at, nodes.StringAt(outer, "name"), path.Clean(nodes.StringAt(outer, "mountPath")), remedyOf(at)).At(pathItem(c.path+".volumeMounts", nodes.StringAt(inner, "mountPath")), nodes.StringAt(inner, "name"), ""))
	}
	return results
}

// remedyOf names the setting that causes a mount of a render, if the user can turn it off.
func remedyOf(at string) string {
	if slices.Contains(systemBundles, at) {
		return ", or remove mount-known-ca"
	}
	return ""
}

// readOnly reports whether nothing can be created in a mount, because of the mount or of its volume.
func (in *input) readOnly(w *workload, mount *yaml.Node) bool {
	volume := nodes.Named(nodes.At(w.podSpec(), "volumes"), nodes.StringAt(mount, "name"))
	for _, kind := range []string{"configMap", "secret", "projected", "downwardAPI", "image"} {
		if nodes.At(volume, kind) != nil {
			return true
		}
	}
	return nodes.IsTrue(nodes.At(mount, "readOnly")) || nodes.IsTrue(nodes.At(volume, "persistentVolumeClaim", "readOnly")) || nodes.IsTrue(nodes.At(volume, "csi", "readOnly"))
}

// has reports whether the input shows that a volume contains a file: a ConfigMap or Secret with that
// key.
func (in *input) has(w *workload, mount *yaml.Node, file string) bool {
	if nodes.At(mount, "subPath") != nil || nodes.At(mount, "subPathExpr") != nil {
		return false
	}
	volume := nodes.Named(nodes.At(w.podSpec(), "volumes"), nodes.StringAt(mount, "name"))
	file = strings.TrimPrefix(strings.TrimPrefix(file, path.Clean(nodes.StringAt(mount, "mountPath"))), "/")
	for _, from := range []struct{ kind, source, name string }{{"ConfigMap", "configMap", "name"}, {"Secret", "secret", "secretName"}} {
		source := nodes.At(volume, from.source)
		if source == nil {
			continue
		}
		key := file
		if chosen := nodes.Items(nodes.At(source, "items")); len(chosen) > 0 {
			i := slices.IndexFunc(chosen, func(n *yaml.Node) bool { return nodes.StringAt(n, "path") == file })
			if i < 0 {
				return false
			}
			key = nodes.StringAt(chosen[i], "key")
		}
		o := in.find("", from.kind, w.namespace(), nodes.StringAt(source, from.name))
		if o == nil {
			return false
		}
		for _, part := range []string{"data", "binaryData", "stringData"} {
			if nodes.At(o.Node, part, key) != nil {
				return true
			}
		}
	}
	return false
}
