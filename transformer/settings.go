package transformer

import (
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/contract"
)

// source is where a setting was written: the annotation's field path and value.
type source struct{ path, value string }

// set tells whether an annotation was written on the workload, its pod
// template or among the configuration's defaults.
func (s *Settings) set(name string) bool { _, ok := s.explicit[name]; return ok }

// where returns the field path of an annotation, for results.
func (s *Settings) where(name string) string {
	if src, ok := s.explicit[name]; ok && src.path != "" {
		return src.path
	}
	return pathKey("metadata.annotations", contract.SidecarPrefix+name)
}

// readSettings parses the workload's annotations. The workload's own win over
// its pod template's, and those over the configuration's defaults.
func readSettings(w *workload, cfg *Config) (Settings, Results) {
	var results Results
	s := Settings{explicit: map[string]source{}}
	for name, value := range cfg.Defaults {
		s.explicit[name] = source{value: value}
	}
	read := func(annotations *yaml.Node, path string) {
		former := map[string]bool{} // by name, whether it was read from an old spelling
		for i := 0; annotations != nil && i+1 < len(annotations.Content); i += 2 {
			key, value := annotations.Content[i].Value, annotations.Content[i+1]
			at := pathKey(path, key)
			if strings.HasPrefix(key, contract.ReplayPrefix) {
				results = append(results, result(CodeReplay, w.Object, "annotation %s is not rendered: replay is not part of the render yet", key).at(at, str(value), ""))
			}
			name, ok := strings.CutPrefix(key, contract.SidecarPrefix)
			if !ok {
				continue
			}
			row, old := annotation(name)
			if row == nil {
				results = append(results, unknownAnnotation(w.Object, cfg, name).at(at, str(value), ""))
				continue
			}
			if value.Kind != yaml.ScalarNode || value.ShortTag() != yaml.NodeTagString {
				results = append(results, result(CodeBadValue, w.Object, "annotation %s: found %s, which YAML reads as %s; allowed: a string, so put it in quotes",
					key, value.Value, strings.TrimPrefix(value.ShortTag(), "!!")).at(at, value.Value, `"`+value.Value+`"`))
				continue
			}
			text := value.Value
			if old {
				if name == "tls" && text == "all" { // the former switch had words of its own
					text = "true"
				}
				results = append(results, result(CodeLegacyAnnotation, w.Object, "annotation %s is an old spelling; write %s: %q", key, row.Key(), text).at(at, str(value), ""))
			}
			if wasOld, seen := former[row.Name]; seen && !wasOld {
				continue // the new spelling wins
			}
			former[row.Name] = old
			s.explicit[row.Name] = source{at, text}
		}
	}
	if w.path != "" {
		read(field(w.template, "metadata", "annotations"), w.at("metadata.annotations"))
	}
	read(field(w.Node, "metadata", "annotations"), "metadata.annotations")

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
			results = append(results, result(CodeBadValue, w.Object, "annotation %s: %v", row.Key(), err).at(s.where(row.Name), value, ""))
		}
	}
	return s, results
}

// unknownAnnotation is a warning, and an error in strict mode: a typing error
// in a key is otherwise never seen.
func unknownAnnotation(o *Object, cfg *Config, name string) Result {
	if fate, ok := retired[name]; ok {
		return result(CodeNoMeaning, o, "annotation %s%s has no meaning any more: %s", contract.SidecarPrefix, name, fate)
	}
	names := make([]string, 0, len(annotations))
	for _, a := range annotations {
		names = append(names, a.Name)
	}
	r := result(CodeUnknownAnnotation, o, "annotation %s%s is unknown%s", contract.SidecarPrefix, name, didYouMean(name, names))
	if cfg.Strict {
		r.Severity = Error
	}
	return r
}

// checkSettings reports settings that exclude each other or mean nothing.
func checkSettings(w *workload) Results {
	s := &w.settings
	var results Results
	bad := func(name, message string, args ...any) {
		results = append(results, result(CodeBadCombination, w.Object, message, args...).at(s.where(name), s.explicit[name].value, ""))
	}
	protocols := map[string][]string{
		typeReverse: {"tcp", "http", "socks"},
		typeForward: {"http", "socks"},
		typeDual:    {"tcp:http", "tcp:socks", "http", "socks"},
	}
	if allowed := protocols[s.ProxyType]; allowed != nil && !slices.Contains(allowed, s.ProxyProtocol) {
		bad("proxy-protocol", "proxy-protocol: found %q with proxy-type %s, allowed with it: %s", s.ProxyProtocol, s.ProxyType, oneOf(allowed))
	}
	for _, pair := range []struct{ secret, name, file, where string }{
		{s.TLSInSecret, "tls-in-private", s.TLSInPrivate, "tls-in-secret"},
		{s.TLSInSecret, "tls-in-public", s.TLSInPublic, "tls-in-secret"},
		{s.TLSMutualSecret, "tls-mutual-private", s.TLSMutualPrivate, "tls-mutual-secret"},
		{s.TLSMutualSecret, "tls-mutual-public", s.TLSMutualPublic, "tls-mutual-secret"},
	} {
		full := strings.HasPrefix(pair.file, "/")
		switch {
		case !s.set(pair.name):
		case pair.secret == "" && !full:
			bad(pair.name, "%s: found %q, a file's name, but no %s to find it in; allowed: set %s, or give the full path of a mounted file", pair.name, pair.file, pair.where, pair.where)
		case pair.secret != "" && full:
			bad(pair.name, "%s: found %q, a full path, together with %s; allowed: the file's name in that Secret", pair.name, pair.file, pair.where)
		}
	}
	for _, row := range annotations {
		src, explicit := s.explicit[row.Name]
		if !explicit || src.path == "" { // defaults are for every workload, and need not fit each
			continue
		}
		switch {
		case row.NoMeaning != "":
			results = append(results, result(CodeNoMeaning, w.Object, "annotation %s has no meaning here: %s", row.Key(), row.NoMeaning).at(src.path, src.value, ""))
		case row.When != nil && !row.When.holds(s):
			results = append(results, result(CodeNeedless, w.Object, "annotation %s has no effect: it is valid with %s", row.Key(), row.When.Doc).at(src.path, src.value, ""))
		}
	}
	return results
}
