package transformer

import "regexp"

// kustomizeHash matches the suffix that kustomize appends to the names from its generators. kustomize
// also changes the references that Kubernetes defines, but not those in annotations and in Tapedeck's
// options. A transformer of the kustomization runs before that change, and a pipe after it.
var kustomizeHash = regexp.MustCompile(`-[2456789bcdfghkmt]{10}$`)

// mountedObject is a ConfigMap or a Secret that the sidecar mounts.
type mountedObject struct {
	kind, name string
	setting    string // the setting that names it, for messages
	path       string // the field path of that setting; "" for an option
}

// mountedObjects returns the objects that the sidecar of a workload mounts. All are optional in
// Kubernetes, so nobody would notice a wrong name.
func (in *input) mountedObjects(w *workload) []mountedObject {
	var out []mountedObject
	s := &w.settings
	annotated := func(kind, name, setting string) {
		row, _ := annotation(setting)
		out = append(out, mountedObject{kind, name, "annotation " + row.Key(), s.where(setting)})
	}
	if s.CaptureConfig != "" {
		annotated("ConfigMap", s.CaptureConfig, "capture-config")
	}
	if t := s.tlsIn(); t.secret != "" && s.inbound() {
		annotated("Secret", t.secret, "tls-in-secret")
	}
	if t := s.tlsMutual(); t.secret != "" && s.intercepts() {
		annotated("Secret", t.secret, "tls-mutual-secret")
	}
	if name := in.cfg.RedactKeySecret; name != "" {
		out = append(out, mountedObject{"Secret", name, "option redactKeySecret", ""})
	}
	if in.sink != nil {
		out = append(out, mountedObject{"Secret", in.cfg.SinkTokenSecret, "option sinkTokenSecret", ""})
	}
	if s.intercepts() {
		out = append(out, mountedObject{"Secret", in.cfg.CASecret, "option caSecret", ""})
		if name := in.cfg.UpstreamCASecret; name != "" {
			out = append(out, mountedObject{"Secret", name, "option upstreamCASecret", ""})
		}
	}
	return out
}

// checkMountedNames warns about names that kustomize has changed.
func (in *input) checkMountedNames(w *workload) Results {
	var results Results
	for _, r := range in.mountedObjects(w) {
		if in.find("", r.kind, w.namespace(), r.name) != nil {
			continue
		}
		renamed := regexp.MustCompile(`(^|[-.])` + regexp.QuoteMeta(r.name) + `-`)
		for _, o := range in.byKind["/"+r.kind] {
			if o.namespace() != w.namespace() || !kustomizeHash.MatchString(o.name()) || !renamed.MatchString(o.name()) {
				continue
			}
			base := kustomizeHash.ReplaceAllString(o.name(), "")
			results = append(results, result(CodeNameHashed, w.Object,
				"%s names %s %s, and the input has %s, whose name has a hash from kustomize: the sidecar will not find it; set options: {disableNameSuffixHash: true} in its generator, and the %s to %s",
				r.setting, r.kind, r.name, o.Ref(), r.setting, base).At(r.path, r.name, base))
			break
		}
	}
	return results
}
