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

// source says where a setting was written: the annotation's field path and value.
type source struct{ path, value string }

// set reports whether an annotation is set on the workload, its pod template or in the configuration's
// defaults.
func (s *Settings) set(name string) bool { _, ok := s.explicit[name]; return ok }

// where returns the field path of an annotation, for results.
func (s *Settings) where(name string) string {
	if src, ok := s.explicit[name]; ok && src.path != "" {
		return src.path
	}
	row, _ := annotation(name)
	return pathKey("metadata.annotations", row.Key())
}

// readSettings parses the workload's annotations. Those on the workload win over those of its
// templates, and these win over the configuration's defaults. If the workload clearly does not ask for
// the sidecar, errors become warnings.
func readSettings(w *workload, cfg *Config) (Settings, Results) {
	var results Results
	s := Settings{explicit: map[string]source{}}
	wrong := map[string]bool{} // annotations with an invalid value
	if cfg.CaptureHosts != "" {
		s.explicit["capture-hosts"] = source{value: cfg.CaptureHosts}
	}
	for name, value := range cfg.Defaults {
		s.explicit[name] = source{value: value}
	}
	results = append(results, sidecarWords.read(w.Object, cfg, w.annotated(), s.explicit, wrong)...)

	for _, row := range annotations {
		src, explicit := s.explicit[row.Name]
		value := row.Default
		if explicit {
			value = src.value
		}
		if row.target == nil || value == "" && !explicit {
			continue
		}
		if err := row.Kind.store(row.target(&s), value); err != nil {
			wrong[row.Name] = true
			results = append(results, result(CodeBadValue, w.Object, "annotation %s: %v", row.Key(), err).At(s.where(row.Name), row.Kind.shown(value), ""))
		}
	}
	if !s.Inject && !wrong["inject"] { // the workload is not rendered, so errors do no harm
		results.ease()
	}
	return s, results
}

// vocabulary describes the annotations of a table.
type vocabulary struct {
	// has reports whether a key belongs to the vocabulary, even if it has no row.
	has func(key string) bool
	// find returns a key's row, or nil, and whether the key is an old spelling.
	find func(key string) (row *Annotation, former bool)
	// unknown returns the result for a key without a row.
	unknown func(o *Object, cfg *Config, key string) Result
}

// sidecarWords is the vocabulary of the annotations that configure capture.
var sidecarWords = vocabulary{
	has: func(key string) bool {
		return bareName(key) != key && !isReplayKey(key) && key != contract.AnnotationUndo && key != contract.AnnotationFor
	},
	find: func(key string) (*Annotation, bool) {
		row, old := annotation(bareName(key))
		if row == nil || !old && row.Key() != key || old && !strings.HasPrefix(key, contract.SidecarPrefix) {
			return nil, false
		}
		return row, old
	},
	unknown: unknownAnnotation,
}

// read reads the annotations in places of an object into explicit, by the names of their rows. The
// weakest place comes first. It adds to wrong the names of annotations whose value is not a string.
func (v vocabulary) read(o *Object, cfg *Config, places [][]string, explicit map[string]source, wrong map[string]bool) (results Results) {
	for _, place := range places {
		place = append(slices.Clone(place), "metadata", "annotations")
		annotations, path := nodes.At(o.Node, place...), strings.Join(place, ".")
		former := map[string]bool{} // by name, whether it was read from an old spelling
		for i := 0; annotations != nil && i+1 < len(annotations.Content); i += 2 {
			key, value := annotations.Content[i].Value, annotations.Content[i+1]
			at := pathKey(path, key)
			if !v.has(key) {
				continue
			}
			row, old := v.find(key)
			if row == nil {
				results = append(results, v.unknown(o, cfg, key).At(at, "", ""))
				continue
			}
			switch {
			case value.Kind != yaml.ScalarNode || nodes.IsNull(value):
				wrong[row.Name] = true
				results = append(results, result(CodeBadValue, o, "annotation %s: found %s, allowed: a string", key, describeKind(value)).At(at, Kind{}.shown(value.Value), ""))
				continue
			case readAs(value) != "":
				wrong[row.Name] = true
				results = append(results, unquoted(o, "annotation "+key, at, value))
				continue
			}
			text, shown := value.Value, row.Kind.shown(value.Value)
			if old {
				if key == contract.SidecarPrefix+"tls" && text == "all" { // a value of the former annotation
					text, shown = "true", "true"
				}
				instead := fmt.Sprintf("%s: %q", row.Key(), shown)
				if shown == "" && text != "" {
					instead = row.Key()
				}
				results = append(results, result(CodeLegacyAnnotation, o, "annotation %s is an old name; write %s", key, instead).At(at, shown, ""))
			}
			switch wasOld, seen := former[row.Name]; {
			case seen && !wasOld:
				continue // the new spelling wins
			case seen && old && explicit[row.Name].value != text:
				both := fmt.Sprintf("%q, and %q", shown, row.Kind.shown(explicit[row.Name].value))
				if strings.Contains(both, `""`) {
					both = "a value, and another one"
				}
				results = append(results, result(CodeBadCombination, o, "annotation %s: found %s under another old name too; allowed: one, as %s", key, both, row.Key()).At(at, shown, ""))
			}
			former[row.Name] = old
			explicit[row.Name] = source{at, text}
		}
	}
	return results
}

// unquoted reports a value that YAML, and so Kubernetes, does not read as a string.
func unquoted(o *Object, label, at string, value *yaml.Node) Result {
	return result(CodeBadValue, o, "%s: found %s, which YAML reads as %s; allowed: a string, so put it in quotes", label, value.Value, readAs(value)).At(at, value.Value, `"`+value.Value+`"`)
}

// unknownAnnotation returns a warning, or an error in strict mode. Without it, nobody would notice a
// typo in a key.
func unknownAnnotation(o *Object, cfg *Config, key string) Result {
	name := bareName(key)
	if fate, ok := retired[name]; ok && key == contract.SidecarPrefix+name {
		return result(CodeNoMeaning, o, "annotation %s has no effect: %s", key, fate)
	}
	hint := didYouMean(name, annotationNames())
	if row, _ := annotation(name); row != nil { // with the other prefix
		hint = fmt.Sprintf("; did you mean %s?", row.Key())
	}
	return result(CodeUnknownAnnotation, o, "annotation %s is unknown%s", key, hint).ifStrict(cfg)
}

// protocols lists the protocols that each capture type allows.
var protocols = map[string][]string{
	typeReverse: {"tcp", "http", "socks"},
	typeForward: {"http", "socks"},
	typeDual:    {"tcp:http", "tcp:socks", "http", "socks"},
}

// checkSettings reports settings that exclude each other or have no effect.
func checkSettings(w *workload, cfg *Config) Results {
	s := &w.settings
	var results Results
	bad := func(name, message string, args ...any) {
		results = append(results, result(CodeBadCombination, w.Object, message, args...).At(s.where(name), s.explicit[name].value, ""))
	}
	if allowed := protocols[s.ProxyType]; allowed != nil && !slices.Contains(allowed, s.ProxyProtocol) {
		bad("proxy-protocol", "proxy-protocol: found %q with proxy-type %s, allowed with it: %s", s.ProxyProtocol, s.ProxyType, oneOf(allowed))
	}
	for _, pair := range []struct{ secret, name, file, otherName, other, where string }{
		{s.TLSInSecret, "tls-in-private", s.TLSInPrivate, "tls-in-public", s.TLSInPublic, "tls-in-secret"},
		{s.TLSInSecret, "tls-in-public", s.TLSInPublic, "tls-in-private", s.TLSInPrivate, "tls-in-secret"},
		{s.TLSMutualSecret, "tls-mutual-private", s.TLSMutualPrivate, "tls-mutual-public", s.TLSMutualPublic, "tls-mutual-secret"},
		{s.TLSMutualSecret, "tls-mutual-public", s.TLSMutualPublic, "tls-mutual-private", s.TLSMutualPrivate, "tls-mutual-secret"},
	} {
		full := path.IsAbs(pair.file)
		switch {
		case !s.set(pair.name):
		case pair.secret == "" && !full:
			bad(pair.name, "%s: found %q, a file's name, but no %s to find it in; allowed: set %s, or give the full path of a mounted file", pair.name, pair.file, pair.where, pair.where)
		case pair.secret == "" && !path.IsAbs(pair.other):
			bad(pair.name, "%s: found %q, a full path, but %s, which goes with it, is not; allowed: full paths for both, or a Secret in %s", pair.name, pair.file, pair.otherName, pair.where)
		case pair.secret != "" && full:
			bad(pair.name, "%s: found %q, a full path, together with %s; allowed: the file's name in that Secret", pair.name, pair.file, pair.where)
		}
	}
	for _, r := range s.resources() {
		if r.exceeds() && s.set(r.requestName) {
			bad(r.requestName, "%s: found %s, which is more than the limit of %s; allowed: at most that", r.requestName, r.request, r.limit)
		}
	}
	if limit := s.memoryLimit(); s.MemoryLimit != "" && parseQuantity(s.MemoryLimit) > 0 && limit < contract.MinMemoryLimit {
		results = append(results, result(CodeMemoryLimit, w.Object, "memory-limit: found %s, which kills the sidecar as soon as there is traffic; allowed: at least %dMi, or none", s.MemoryLimit, contract.MinMemoryLimit>>20).At(s.where("memory-limit"), s.MemoryLimit, ""))
	}
	if src := s.explicit["insert-init-first"]; s.InsertInitFirst && cfg.Sidecar == sidecarClassic && src.path != "" {
		results = append(results, result(CodeNeedless, w.Object, "annotation %sinsert-init-first has no effect: a classic sidecar is not an init container; allowed: with the option sidecar native", contract.SidecarPrefix).At(src.path, src.value, ""))
	}
	for _, row := range annotations {
		src, explicit := s.explicit[row.Name]
		if !explicit || src.path == "" { // defaults apply to every workload, but need not fit each one
			continue
		}
		switch {
		case row.NoMeaning != "":
			results = append(results, result(CodeNoMeaning, w.Object, "annotation %s has no effect: %s", row.Key(), row.NoMeaning).At(src.path, src.value, ""))
		case row.When != nil && !row.When.holds(s):
			results = append(results, result(CodeNeedless, w.Object, "annotation %s has no effect; allowed: with %s", row.Key(), row.When.Doc).At(src.path, src.value, ""))
		}
	}
	return results
}
